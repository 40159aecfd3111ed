//! What `orchctl doctor` found.

use serde::Serialize;

use crate::output::{Cell, Page, Table, Tint, View, each};

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum CheckStatus {
    /// As it should be.
    Ok,
    /// Works, but look at it.
    Warning,
    /// Broken.
    Problem,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub check: &'static str,
    pub status: CheckStatus,
    pub found: String,
    /// What to do; null if nothing is to be done.
    pub fix: Option<String>,
}

impl Check {
    /// All is well.
    pub fn ok(check: &'static str, found: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Ok, found: found.into(), fix: None }
    }

    /// Worth a look.
    pub fn warning(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Warning, found: found.into(), fix: Some(fix.into()) }
    }

    /// Broken.
    pub fn problem(check: &'static str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { check, status: CheckStatus::Problem, found: found.into(), fix: Some(fix.into()) }
    }
}

/// Every check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DoctorView {
    pub server: String,
    pub checks: Vec<Check>,
}

impl DoctorView {
    /// Whether something is broken.
    pub fn broken(&self) -> bool {
        self.checks.iter().any(|check| check.status == CheckStatus::Problem)
    }
}

impl View for DoctorView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["STATUS", "CHECK", "FOUND", "FIX"]);
        for check in &self.checks {
            let status = match check.status {
                CheckStatus::Ok => Cell::tinted("ok", Tint::Good),
                CheckStatus::Warning => Cell::tinted("warning", Tint::Warn),
                CheckStatus::Problem => Cell::tinted("problem", Tint::Bad),
            };
            let fix = check.fix.clone().unwrap_or_default();
            table.row(vec![status, check.check.into(), Cell::from(&check.found), fix.into()]);
        }
        table.text(page, "nothing to check")
    }

    /// The checks that are not ok.
    fn names(&self) -> Vec<String> {
        let bad = self.checks.iter().filter(|check| check.status != CheckStatus::Ok);
        bad.map(|check| check.check.to_owned()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.checks)
    }
}

//! What a contract says to candidates, offline.

use orch_core::digest::Digest;
use serde::Serialize;

use crate::output::{Cell, Page, Table, Tint, View, each};

/// A verdict on a candidate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerdictView {
    /// From 1.
    pub line: u64,
    /// `accepted`, `duplicate` or `rejected`.
    pub verdict: &'static str,
    /// SHA-256 of its identity; null if it was rejected.
    pub digest: Option<Digest>,
    /// The line of the candidate that was there first; null unless it is a duplicate.
    pub duplicate_of: Option<u64>,
    /// The rule it broke; null unless it is rejected.
    pub rule: Option<&'static str>,
    pub message: Option<String>,
}

/// What a test of a contract came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TestView {
    /// `name@version`.
    pub contract: String,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
    /// How many distinct candidates make a job with this payload complete; null if the contract does not say.
    pub complete_count: Option<u64>,
    pub verdicts: Vec<VerdictView>,
}

impl View for TestView {
    fn table(&self, page: &Page) -> String {
        let mut lines = vec![format!("contract {} is well-formed", self.contract)];
        if let Some(count) = self.complete_count {
            let distinct = self.accepted;
            let verdict = if distinct == count { "which these are" } else { "which these are not" };
            let verdict = if self.verdicts.is_empty() { String::new() } else { format!(", {verdict} ({distinct})") };
            lines.push(format!("a job with this payload is complete with exactly {count} candidates{verdict}"));
        }
        if self.verdicts.is_empty() {
            return lines.join("\n");
        }
        let Self { accepted, duplicate, rejected, .. } = self;
        lines.push(format!("{accepted} accepted, {duplicate} duplicate, {rejected} rejected"));
        let mut table = Table::new(&[">LINE", "VERDICT", "DETAIL"]);
        for verdict in &self.verdicts {
            let (tint, detail) = match (verdict.duplicate_of, verdict.rule) {
                (_, Some(rule)) => (Tint::Bad, format!("{rule}: {}", verdict.message.as_deref().unwrap_or_default())),
                (Some(line), None) => (Tint::Warn, format!("of line {line}")),
                (None, None) => (Tint::Good, verdict.digest.map(|digest| digest.to_string()).unwrap_or_default()),
            };
            table.row(vec![verdict.line.into(), Cell::tinted(verdict.verdict, tint), detail.into()]);
        }
        format!("{}\n\n{}", lines.join("\n"), table.text(page, ""))
    }

    /// The lines that were rejected.
    fn names(&self) -> Vec<String> {
        let rejected = self.verdicts.iter().filter(|verdict| verdict.rule.is_some());
        rejected.map(|verdict| verdict.line.to_string()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.verdicts)
    }
}

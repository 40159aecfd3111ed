//! Reads a ledger for the checker, with the real verifier and the real reader.

use std::path::Path;
use std::sync::Arc;

use orch_ledger::disk::Dir;
use orch_ledger::disk::real::RealDir;
use orch_ledger::verify::verify_in;
use orch_ledger::{ChainChecker, Follower, Link, Position, VerifyError};
use serde_json::Value;

use super::{Acknowledged, Checker, Rule, Violation};

/// What a check found.
pub struct Checked {
    /// What does not hold; nothing if all is well.
    pub violations: Vec<Violation>,
    /// The last whole batch of the ledger.
    pub link: Link,
    /// How many records were read.
    pub records: u64,
}

/// Checks the ledger of a data directory against what clients were told. The directory may be in use: then what is
/// durable is checked.
pub fn check_dir(data: &Path, told: &[Acknowledged]) -> Vec<Violation> {
    check_in(Arc::new(RealDir::new(data)), told, None).violations
}

/// The same on any disk, and against the export of the live state if it is given.
pub fn check_in(dir: Arc<dyn Dir>, told: &[Acknowledged], live: Option<&Value>) -> Checked {
    let mut found = Vec::new();
    let until = match verify_in(&*dir, 1, &|_, _| {}) {
        Ok(report) => {
            found.extend(report.findings.iter().map(|refusal| Violation::new(Rule::Chain, refusal.to_string())));
            report.link
        }
        // Nothing was ever acknowledged by a ledger that is not there; what was told says otherwise, if anything was.
        Err(VerifyError::NoLedger { .. }) => Link::default(),
        Err(error @ (VerifyError::Format { .. } | VerifyError::Io { .. })) => {
            found.push(Violation::new(Rule::Chain, error.to_string()));
            Link::default()
        }
    };
    let mut checker = Checker::new();
    let records = match follow(dir, until, &mut checker) {
        Ok(records) => records,
        Err(message) => {
            found.push(Violation::new(Rule::Chain, message));
            checker.state().last_seq().0
        }
    };
    found.extend(checker.finish(told, live));
    Checked { violations: found, link: until, records }
}

/// Replays the whole batches of a ledger up to `until`.
fn follow(dir: Arc<dyn Dir>, until: Link, checker: &mut Checker) -> Result<u64, String> {
    let mut follower = Follower::new_in(dir, orch_core::id::Seq(1));
    let mut chain = ChainChecker::new();
    let mut records = 0;
    while let Some(line) = follower.next_line(until.seq).map_err(|error| error.to_string())? {
        chain.check_line(&line).map_err(|fault| format!("record {}: {fault}", line.seq))?;
        let record = line.record().map_err(|fault| format!("record {}: {fault}", line.seq))?;
        checker.take(&record, &Position { batch: line.batch, left: line.left, chain: line.chain });
        records += 1;
    }
    Ok(records)
}

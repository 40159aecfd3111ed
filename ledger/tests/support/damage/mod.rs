//! Damage of every kind to small ledgers, many of them: what a start and a verification make of it is compared with
//! what the format says. `tests/damage.rs` is the short form, `examples/damage.rs` the long one.
//!
//! Ledgers are small because every case reads one from its beginning; a size in bytes is their sum.

pub mod blocks;
pub mod cuts;
pub mod flips;
pub mod sample;

use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::verify::verify_in;
use orch_ledger::{OpenError, RecoveryReport};

use super::{open, open_with, options};
use sample::Sample;

/// What came of a start.
pub enum Start {
    /// It opened, with so many of the sample's records; the two that the start wrote are not counted.
    Opened(usize, RecoveryReport),
    /// It was refused, with this text.
    Refused(String),
}

/// Starts a ledger of which only parts may be the sample's.
///
/// # Panics
/// If a record is there that is not the sample's, or not in its place; or on any error but a refusal.
pub fn start(dir: &MemoryDir, sample: &Sample) -> Start {
    match open_with(dir, options()) {
        Ok((opened, found)) => {
            let records = found.records.len() - 2;
            let same = sample.seen.records.get(..records).is_some_and(|known| known == &found.records[..records]);
            assert!(same, "a wrong record was accepted");
            Start::Opened(records, opened.recovered)
        }
        Err(error @ (OpenError::Refused { .. } | OpenError::Format { .. })) => Start::Refused(error.to_string()),
        Err(error) => panic!("another error: {error}"),
    }
}

/// What was recovered stays so: a second start finds nothing to mend.
pub fn stays(dir: &MemoryDir, records: usize) {
    let (opened, found) = open(dir).unwrap_or_else(|error| panic!("refused at the second start: {error}"));
    assert_eq!(found.records.len(), records + 4);
    // A damaged slot of HEAD is written over when HEAD is next due.
    let head_slot_damaged = opened.recovered.head_slot_damaged;
    assert_eq!(opened.recovered, RecoveryReport { head_slot_damaged, ..RecoveryReport::default() });
}

/// A verification finds what the start found, in the same words, or nothing if it was content. To be asked before the
/// start, which mends.
pub fn findings(dir: &MemoryDir) -> Vec<String> {
    let report = verify_in(dir, 1, &|_, _| {}).unwrap_or_else(|error| panic!("{error}"));
    report.findings.iter().map(ToString::to_string).collect()
}

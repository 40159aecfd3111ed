//! Checks a whole ledger, offline and read-only, all segments at the same time.
//!
//! It finds what a start would find and says it in the same words. Each segment is checked from its own header on;
//! then the ends are laid against the headers. Beside a running orchestrator it checks up to what HEAD names.

mod part;
mod report;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use orch_core::record::{NEWEST_FORMAT, knows_format};
use orch_core::time::Timestamp;

use crate::chain::Link;
use crate::disk::Dir;
use crate::disk::real::RealDir;
use crate::fault::Refusal;
use crate::head::Head;
use crate::identity::Identity;
use crate::lock;
use crate::recovery::Sign;

use report::Report;

/// What stands behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but claimed space.
    Clean,
    /// A torn write that was never acknowledged: the next start puts it into the quarantine.
    Torn {
        /// What shows it.
        sign: Sign,
        /// Where it begins in the last segment.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// The last line lacks its newline: the next start adds it.
    NewlineMissing,
    /// A running orchestrator is writing there.
    InUse,
}

/// What a check of a whole ledger found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Which ledger.
    pub identity: Option<Identity>,
    /// What HEAD names.
    pub head: Option<Head>,
    /// The last good batch, up to the first finding.
    pub link: Link,
    /// How many segments there are.
    pub segments: u64,
    /// How many batches are good.
    pub batches: u64,
    /// How many records are good.
    pub records: u64,
    /// How many bytes the good records have.
    pub bytes: u64,
    /// How many good records there are of each event.
    pub events: BTreeMap<String, u64>,
    /// How often the ledger was taken into use.
    pub boots: u64,
    /// The times of the first and the last good record.
    pub times: Option<(Timestamp, Timestamp)>,
    /// How the ledger ends.
    pub tail: Tail,
    /// One slot of HEAD cannot be read.
    pub head_slot_damaged: bool,
    /// What is wrong; nothing if the ledger is good. At most one finding per segment, in order.
    pub findings: Vec<Refusal>,
}

/// Why a ledger cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no ledger.
    #[error("there is no ledger in {}", .dir.display())]
    NoLedger {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads format versions 1 to {NEWEST_FORMAT}", .dir.display())]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// The system failed.
    #[error("failed to read the ledger in {}", .dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks the ledger in `dir` with that many threads. `progress` is told, from any of them, how many bytes of how many
/// are done.
///
/// # Errors
/// [`VerifyError`] if there is nothing to check. Damage is no error but a finding.
pub fn verify(dir: &Path, threads: usize, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<VerifyReport, VerifyError> {
    verify_in(&RealDir::new(dir), threads, progress)
}

/// The same, on any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_in(
    dir: &dyn Dir,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<VerifyReport, VerifyError> {
    let running = lock::is_held(dir).map_err(|source| VerifyError::Io { dir: dir.path().to_owned(), source })?;
    check(dir, running, threads, progress)
}

/// Checks up to what HEAD names: what stands behind it in the last segment may be anything.
pub(crate) fn verify_up_to_head(dir: &dyn Dir) -> Result<VerifyReport, VerifyError> {
    check(dir, true, 1, &|_, _| {})
}

fn check(
    dir: &dyn Dir,
    running: bool,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<VerifyReport, VerifyError> {
    let failed = |source: io::Error| VerifyError::Io { dir: dir.path().to_owned(), source };
    let mut report = Report::new(dir, running);
    let firsts = report.survey().map_err(failed)?;
    match &report.out.identity {
        Some(identity) if !knows_format(identity.format) => {
            return Err(VerifyError::Format { dir: dir.path().to_owned(), found: identity.format });
        }
        Some(_) => {}
        None if firsts.is_empty() && report.out.findings.is_empty() => {
            return Err(VerifyError::NoLedger { dir: dir.path().to_owned() });
        }
        None => {}
    }
    let parts = report.check_all(&firsts, threads, progress).map_err(failed)?;
    report.stitch(parts).map_err(failed)?;
    Ok(report.out)
}

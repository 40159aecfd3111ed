//! Repairing a damaged ledger: explicit, into a new directory, and recorded there.
//!
//! The damaged directory is only read. [`Repair::plan`] finds the last batch up to which the chain is right, and what
//! stands behind it: that is what a repair loses, because nobody can vouch for what follows a fault. Nothing is
//! invented and no record is chained anew. [`Repair::carry_out`] copies what is good, byte for byte, puts damaged ends
//! into the quarantine, makes HEAD name the last kept batch, and appends a `ledger_repaired` record behind it. LEDGER_ID
//! is written last: a copy that was interrupted is no ledger.

mod carry_out;
mod find;
mod loss;

use std::io;
use std::path::PathBuf;

use orch_core::id::Seq;
use orch_core::time::Timestamp;

use crate::chain::Link;
use crate::disk::Dir;
use crate::fault::{Fault, Refusal};
use crate::head::Head;
use crate::identity::Identity;
use crate::lock::{self, LockGuard};
use crate::recovery::examine::Replay;

pub use loss::{Loss, Tally};

/// What a repair of a ledger keeps and what it loses.
#[derive(Clone, Debug)]
pub struct RepairPlan {
    /// Which ledger; its format is the one that the repaired ledger will have.
    pub identity: Identity,
    /// LEDGER_ID could not be read; the segments say which ledger it is.
    pub identity_rebuilt: bool,
    /// What HEAD names, if it can be read.
    pub head: Option<Head>,
    /// The last batch that is kept.
    pub kept: Link,
    /// How many bytes are kept.
    pub kept_bytes: u64,
    /// The segments that are kept, the last one perhaps in part.
    pub segments: Vec<KeptSegment>,
    /// What is wrong, as verification would say it. At least one.
    pub findings: Vec<Refusal>,
    /// What is lost.
    pub loss: Loss,
    /// The last boot that is kept.
    epoch: u64,
}

/// A segment that is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeptSegment {
    /// Its first record.
    pub first: Seq,
    /// The end of its last whole batch.
    pub bytes: u64,
    /// Its last line lacks its newline, which it gets.
    pub newline_missing: bool,
    /// How many bytes stand behind `bytes`, zeros at the end not counted. They go into the quarantine.
    pub behind: u64,
}

/// Who had a ledger repaired, and when, for the record of it.
#[derive(Clone, Debug)]
pub struct Signature {
    /// When.
    pub at: Timestamp,
    /// A person, a host, a program.
    pub by: String,
}

/// A ledger that was repaired.
#[derive(Clone, Debug)]
pub struct Repaired {
    /// Its last batch: the record of the repair.
    pub link: Link,
    /// What was put into the quarantine, below the new directory.
    pub quarantined: Vec<String>,
}

/// Why a ledger is not repaired. The damaged directory is unchanged in any case.
#[derive(Debug, thiserror::Error)]
pub enum RepairError {
    /// There is no ledger.
    #[error("there is no ledger in {}", .dir.display())]
    NoLedger {
        /// The directory.
        dir: PathBuf,
    },
    /// A process uses it.
    #[error("data directory {} is in use", .dir.display())]
    Locked {
        /// The directory.
        dir: PathBuf,
    },
    /// Nothing is wrong with it.
    #[error("the ledger in {} is whole up to seq {}: there is nothing to repair", .dir.display(), .link.seq)]
    Whole {
        /// The directory.
        dir: PathBuf,
        /// Its last batch.
        link: Link,
    },
    /// A newer version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads and writes format versions 1 to {}", .dir.display(), orch_core::record::NEWEST_FORMAT)]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// Neither LEDGER_ID nor a first segment says which ledger it is.
    #[error("nothing can be saved from {}: neither LEDGER_ID nor the first segment can be read", .dir.display())]
    Nothing {
        /// The directory.
        dir: PathBuf,
    },
    /// The new directory is in use for something.
    #[error("{} is not empty: it holds {found}", .dir.display())]
    NotEmpty {
        /// The new directory.
        dir: PathBuf,
        /// A file in it.
        found: String,
    },
    /// What was copied is not what was planned: the damaged directory was changed meanwhile, or a disk fails.
    #[error("the repaired ledger in {} is not as it must be: {fault}", .dir.display())]
    Copy {
        /// The new directory.
        dir: PathBuf,
        /// What is wrong with it.
        fault: Box<Fault>,
    },
    /// The system failed.
    #[error("failed to {doing} in {}", .dir.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A damaged ledger, held so that no orchestrator uses it, and what can be done about it.
#[derive(Debug)]
pub struct Repair<'a> {
    from: &'a dyn Dir,
    /// None if there is no lock file: then no process ever held it.
    _lock: Option<LockGuard>,
    plan: RepairPlan,
}

impl<'a> Repair<'a> {
    /// Looks at a ledger and changes nothing. Every good record goes through `replay`; one that it refuses counts as
    /// a fault of the ledger.
    ///
    /// # Errors
    /// [`RepairError`] if it cannot be repaired or need not be.
    pub fn plan(from: &'a dyn Dir, replay: &mut Replay<'_>) -> Result<Self, RepairError> {
        let dir = || from.path().to_owned();
        let failed = |source| RepairError::Io { doing: "take the lock", dir: dir(), source };
        let lock = match lock::try_take_existing(from).map_err(failed)? {
            None => None,
            Some(lock::Attempt::Taken(lock)) => Some(lock),
            Some(lock::Attempt::Held(_)) => return Err(RepairError::Locked { dir: dir() }),
        };
        let plan = find::find(from, replay)?;
        Ok(Self { from, _lock: lock, plan })
    }

    /// What it will keep and lose.
    pub fn the_plan(&self) -> &RepairPlan {
        &self.plan
    }
}

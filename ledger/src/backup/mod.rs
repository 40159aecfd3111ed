//! Backups: a ledger copied line by line, beside a running orchestrator or from lines that came over the wire.
//!
//! A backup is a directory like a data directory: `ledger/`, HEAD, LEDGER_ID, and the directory's SECRET. It ends exactly with a batch that the
//! source had durable, and every line's place in the chain was checked on its way into it. [`Backup`] writes it,
//! [`copy`] feeds it from a data directory, and [`restore()`] makes a data directory of it again.
//!
//! An interrupted backup can be gone on with. While it is new it has no LEDGER_ID, so nobody takes it for a ledger;
//! one that is being extended stays a backup of where it stood, or of a later batch.

mod begin;
mod copy;
mod restore;
mod write;

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::Seq;

use crate::chain::{ChainChecker, ChainFault, Link};
use crate::disk::Dir;
use crate::fault::{Fault, Refusal};
use crate::head::HeadFile;
use crate::identity::Identity;
use crate::lock::LockGuard;
use crate::reader::FollowError;

pub use copy::{copy, copy_in};
pub use restore::{RestoreError, Restored, restore, restore_in};

use write::Out;

/// Why there is no backup, or no newer one than before.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no ledger to back up.
    #[error("there is no ledger in {}", .dir.display())]
    NoLedger {
        /// The data directory.
        dir: PathBuf,
    },
    /// The source is not as it must be.
    #[error("the ledger is damaged and was not backed up: {refusal}")]
    Source {
        /// Where and what.
        refusal: Box<Refusal>,
    },
    /// The source cannot be read.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// Another process writes the backup, or an orchestrator runs on it.
    #[error("{} is in use by {holder}", .dir.display())]
    Locked {
        /// The backup.
        dir: PathBuf,
        /// What the holder says of itself.
        holder: String,
    },
    /// The directory holds something else.
    #[error("{} is no backup: it holds {found}", .dir.display())]
    NotABackup {
        /// The directory.
        dir: PathBuf,
        /// What no backup has.
        found: String,
    },
    /// It is a backup of another ledger.
    #[error("{} is a backup of ledger {found}, not of {expected}", .dir.display())]
    OtherLedger {
        /// The backup.
        dir: PathBuf,
        /// The ledger to back up.
        expected: String,
        /// The one in the backup.
        found: String,
    },
    /// A newer version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads and writes format versions 1 to {}", .dir.display(), orch_core::record::NEWEST_FORMAT)]
    Format {
        /// The directory.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// The backup stands behind the source.
    #[error("the backup in {} reaches seq {backup}, the ledger only seq {source_seq}: it was put back to an older state", .dir.display())]
    Behind {
        /// The backup.
        dir: PathBuf,
        /// Its last record.
        backup: Seq,
        /// The source's last record.
        source_seq: Seq,
    },
    /// The ledger and the backup have different histories.
    #[error("the ledger and the backup in {} part: at seq {seq} the ledger has chain link {found}, the backup {expected}", .dir.display())]
    Diverged {
        /// The backup.
        dir: PathBuf,
        /// The last record of a batch.
        seq: Seq,
        /// The link in the backup.
        expected: Digest,
        /// The link in the ledger.
        found: Digest,
    },
    /// A line is not the one that must follow.
    #[error("a line of the ledger is not as it must be: {fault}")]
    Line {
        /// What is wrong.
        fault: ChainFault,
    },
    /// The lines ended before the batch that was asked for.
    #[error("the ledger's lines end at seq {found}, before seq {expected}")]
    Short {
        /// The end that was announced.
        expected: Seq,
        /// The last whole batch that came.
        found: Seq,
    },
    /// The backup itself is not as it must be.
    #[error("the backup in {} is damaged: {refusal}", .refusal.dir.display())]
    Damaged {
        /// Where and what.
        refusal: Box<Refusal>,
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

/// A backup that is whole, durable and verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackedUp {
    /// Which ledger.
    pub identity: Identity,
    /// Its last batch: the proof of everything before it.
    pub link: Link,
    /// How many records came newly into it.
    pub added: u64,
    /// How many segments it has.
    pub segments: u64,
    /// How many bytes its segments have.
    pub bytes: u64,
}

/// A backup that is being written.
#[derive(Debug)]
pub struct Backup {
    dir: Arc<dyn Dir>,
    lock: LockGuard,
    identity: Identity,
    /// What LEDGER_ID says now; None while the backup is new.
    identified: Option<Identity>,
    head_file: HeadFile,
    /// The batch that it shall reach.
    target: Link,
    /// Where it stood before.
    before: Link,
    /// The source was seen to have the batch that the backup ended with.
    met: bool,
    checker: ChainChecker,
    epoch: u64,
    out: Option<Out>,
    /// Lines to write, those of the batch that has begun at the end.
    buffer: Vec<u8>,
    /// How many bytes of the buffer are whole batches.
    whole: usize,
}

impl Backup {
    /// The seq from which on it wants lines. Its own last record is among them: that shows whether both have one history.
    pub fn start(&self) -> Seq {
        Seq(self.before.seq.0.max(1))
    }

    /// The last whole batch that it has.
    pub fn link(&self) -> Link {
        self.checker.link()
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> BackupError + use<> {
        failed(&*self.dir, doing)
    }
}

fn failed(dir: &dyn Dir, doing: &'static str) -> impl Fn(io::Error) -> BackupError + use<> {
    let dir = dir.path().to_owned();
    move |source| BackupError::Io { doing, dir: dir.clone(), source }
}

fn damaged(dir: &dyn Dir, place: crate::fault::Place, fault: Fault) -> BackupError {
    BackupError::Damaged { refusal: Box::new(Refusal { dir: dir.path().to_owned(), place, fault }) }
}

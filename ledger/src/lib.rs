//! The ledger's file layer: self-checking lines, atomic batches, recovery, verification.
//!
//! It promises that an acknowledged record survives any crash or power loss, that an altered one is noticed, and that
//! it refuses to open rather than guess. It knows [`orch_core::record::Record`] and what is needed to keep records;
//! what they mean is the business of whoever replays them. It spawns no thread while it writes, reads no clock, and
//! reaches files only through [`disk::Dir`]. The format, for other implementers, is in `docs/ledger.md`.
//!
//! Where to look: [`mod@line`] has the bytes of a line, [`chain`] what binds batches, [`writer`] the write path, `recovery`
//! what happens at a start, [`reader`] following the files beside a writer, [`mod@verify`] checking them offline.

pub mod backup;
pub mod chain;
pub mod disk;
pub mod fault;
pub mod head;
mod identity;
pub mod layout;
pub mod line;
mod lock;
mod open;
pub mod reader;
mod recovery;
pub mod repair;
pub mod secret;
mod segment;
mod target;
pub mod verify;
pub mod writer;

use orch_core::digest::Digest;

pub use chain::{ChainChecker, Link};
pub use fault::{Fault, Place, Refusal};
pub use head::{Head, durable_head};
pub use identity::Identity;
pub use line::Line;
pub use open::{OpenError, OpenOptions, Opened, RecoveryReport};
pub use reader::{FollowError, Follower};
pub use recovery::Sign;
pub use recovery::mend::Quarantined;
pub use verify::{Tail, VerifyError, VerifyReport, verify};
pub use writer::{Commit, CommitError, Ledger, NoSpace, ReadError, Rolled, StageError, Written};

/// Where in the ledger's batches a record stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of its batch.
    pub batch: u64,
    /// How many records of the batch follow.
    pub left: u32,
    /// The chain link of the batch, at its last record.
    pub chain: Option<Digest>,
}

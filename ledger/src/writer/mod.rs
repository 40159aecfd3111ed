//! The write path. One owner, usually one thread, has the [`Ledger`]; every method is synchronous.
//!
//! A batch is staged record by record ([`Ledger::stage`]), then made durable as one ([`Ledger::commit`]). Staged
//! records have their seqs already and can be read. Exactly one batch is ever un-synced. What went wrong tells the
//! caller what to do: [`CommitError::NoSpace`] leaves the ledger as it was before the batch and usable, anything
//! else leaves it dead, and the process must end without answering anybody.

mod append;
mod read;
mod roll;
mod space;
mod stage;

use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::record::Record;

use crate::Position;
use crate::chain::Link;
use crate::disk::{Dir, is_no_space};
use crate::head::{Head, HeadFile};
use crate::identity::Identity;
use crate::lock::LockGuard;
use crate::open::OpenOptions;
use crate::recovery::examine::Examined;
use crate::segment::offsets::Offsets;

pub use append::{Commit, CommitError};
pub use read::ReadError;
pub use roll::Rolled;
pub use space::NoSpace;
pub use stage::StageError;

use append::Active;
use read::ReadCache;
use stage::Staged;

/// A ledger in use, locked against every other process.
#[derive(Debug)]
pub struct Ledger {
    dir: Arc<dyn Dir>,
    _lock: LockGuard,
    options: OpenOptions,
    id: String,
    /// The version of the format, which the ledger keeps.
    format: u32,
    epoch: u64,
    /// The last durable batch.
    last: Head,
    head_file: HeadFile,
    /// The batch that HEAD names, durably.
    head_names: u64,
    active: Active,
    offsets: Offsets,
    staged: Staged,
    /// The bytes of the batch being written.
    buffer: Vec<u8>,
    cache: Mutex<ReadCache>,
    /// A sync or an unknown write failed: nothing is sure any more.
    dead: bool,
}

impl Ledger {
    /// A ledger as examined, without an active segment: [`Ledger::boot`] must follow.
    pub(crate) fn start(
        dir: Arc<dyn Dir>,
        lock: LockGuard,
        options: OpenOptions,
        identity: Identity,
        head_file: HeadFile,
        head_names: u64,
        examined: &Examined,
    ) -> Self {
        let Link { seq, batch, chain } = examined.link;
        let offset = examined.last.as_ref().map_or(0, |s| s.whole + u64::from(s.newline_missing));
        let segment = examined.last.as_ref().map_or(Seq(0), |s| s.first);
        let epoch = examined.epoch + 1;
        Self {
            dir,
            _lock: lock,
            options,
            id: identity.ledger,
            format: identity.format,
            epoch,
            last: Head { generation: 0, epoch, batch, seq, segment, offset, chain },
            head_file,
            head_names,
            active: Active::none(),
            offsets: examined.offsets.clone(),
            staged: Staged::default(),
            buffer: Vec::new(),
            cache: Mutex::default(),
            dead: false,
        }
    }

    /// The ledger's id, a UUID.
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The number of this boot.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The data directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// The last durable batch: its number, its last seq, its chain link and where it ends. (`generation` is 0: it
    /// counts the writes of the file, which lags behind.)
    pub fn head(&self) -> Head {
        self.last
    }

    /// The seq that the next staged record gets.
    pub fn next_seq(&self) -> Seq {
        self.last.seq.plus(self.staged.len() as u64 + 1)
    }

    /// How many records are staged.
    pub fn staged_records(&self) -> usize {
        self.staged.len()
    }

    /// How many bytes the staged events have. The lines around them add about 110 bytes each.
    pub fn staged_bytes(&self) -> usize {
        self.staged.bytes()
    }

    /// Forgets what is staged. Its seqs are given to other records.
    pub fn discard_staged(&mut self) {
        self.staged.clear();
    }

    /// Makes HEAD name the last batch. For moments without work: while batches follow each other, HEAD lags by one.
    /// Where there is no space even for that (a file system that never writes in place), HEAD goes on lagging.
    ///
    /// # Errors
    /// [`CommitError::Fatal`]: the process must end.
    pub fn level_head(&mut self) -> Result<(), CommitError> {
        self.check_alive()?;
        match self.write_head() {
            Ok(()) => self.sync_head().map_err(|error| self.fatal("sync HEAD", error)),
            // The other slot is as it was; this one is written again later.
            Err(error) if is_no_space(&error) => Ok(()),
            Err(error) => Err(self.fatal("write HEAD", error)),
        }
    }

    /// Ends the use of the ledger: levels HEAD, gives back claimed space, drops the lock. Staged records are dropped.
    ///
    /// Without it nothing is lost; the next open trims the segment.
    ///
    /// # Errors
    /// [`CommitError::Fatal`].
    pub fn close(mut self) -> Result<(), CommitError> {
        self.level_head()?;
        self.active.trim().map_err(|error| self.fatal("trim the segment", error))
    }

    /// Writes the HEAD of the last batch if HEAD lags. Durable after [`Ledger::sync_head`], which must follow before the
    /// next write.
    fn write_head(&mut self) -> io::Result<()> {
        if self.head_names < self.last.batch { self.head_file.write(self.last) } else { Ok(()) }
    }

    fn sync_head(&mut self) -> io::Result<()> {
        if self.head_names < self.last.batch {
            self.head_file.sync()?;
            self.head_names = self.last.batch;
        }
        Ok(())
    }

    fn check_alive(&self) -> Result<(), CommitError> {
        if self.dead {
            let source = io::Error::other("an earlier write or sync failed");
            return Err(CommitError::Fatal { doing: "go on", source });
        }
        Ok(())
    }

    fn fatal(&mut self, doing: &'static str, source: io::Error) -> CommitError {
        self.dead = true;
        CommitError::Fatal { doing, source }
    }
}

/// A record that the ledger wrote itself, and where it stands.
pub type Written = (Record, Position);

/// The chain link of a batch with its place, for the caller of a commit.
pub(crate) fn commit_of(first: Seq, last: &Head, bytes: u64, previous: Digest) -> Commit {
    Commit { batch: last.batch, first, last: last.seq, chain: last.chain, previous, bytes }
}

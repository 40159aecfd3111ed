//! Committing a batch: one write, one sync, and HEAD beside them.

use std::io;
use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::seeded::{self, Bug};

use crate::disk::File;
use crate::head::Head;
use crate::layout;
use crate::line::encode_batch;

use super::space::NoSpace;
use super::{Ledger, commit_of};

/// A batch that is durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its number.
    pub batch: u64,
    /// Its first record.
    pub first: Seq,
    /// Its last record. Less than `first` if nothing was staged and nothing was written.
    pub last: Seq,
    /// Its chain link.
    pub chain: Digest,
    /// The chain link before it.
    pub previous: Digest,
    /// Its length in bytes.
    pub bytes: u64,
}

/// Why a batch is not durable.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// There was no space. What had been written was taken back, the staged records are dropped, and the ledger is
    /// as before: a state that ran ahead is rebuilt by [`Ledger::replay_all`].
    #[error(transparent)]
    NoSpace(#[from] NoSpace),
    /// A sync failed, or a write in an unknown way. Nobody knows what is on the disk: the process must end at once
    /// and answer nobody. The next start finds out.
    #[error("failed to {doing}; what is on the disk is unknown now, so the process must end")]
    Fatal {
        /// What failed.
        doing: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Active {
    /// `None` until the first segment of this boot is open.
    pub file: Option<Arc<dyn File>>,
    /// Below the data directory.
    pub name: String,
    /// The end of its last durable batch.
    pub end: u64,
    /// The end of the space that is claimed for it.
    pub claimed: u64,
    /// The end of the space that was written to, if only with zeros.
    pub touched: u64,
    /// Its seal is durable: the next segment must be opened before anything is written.
    pub sealed: bool,
    /// Whether the file system can claim space.
    pub can_claim: bool,
}

impl Active {
    pub(super) fn none() -> Self {
        Self { file: None, name: String::new(), end: 0, claimed: 0, touched: 0, sealed: false, can_claim: true }
    }

    pub(super) fn sync(&self) -> io::Result<()> {
        if seeded::on(Bug::FsyncRemoved) {
            return Ok(());
        }
        self.file.as_ref().map_or(Ok(()), |file| file.sync_data())
    }
}

/// A batch whose bytes are in the ledger's buffer.
#[derive(Debug)]
pub(super) struct Encoded {
    pub first: Seq,
    pub last: Seq,
    pub batch: u64,
    pub chain: Digest,
    /// Where some of its lines begin, counted from the batch's first byte.
    pub marks: Vec<(Seq, u64)>,
}

impl Ledger {
    /// Makes the staged records durable, as one batch: after this they may be answered for.
    ///
    /// When it returns, HEAD durably names this batch or the one before it. With nothing staged nothing is written,
    /// and the last batch is given with `bytes` 0.
    ///
    /// # Errors
    /// [`CommitError`] says what to do.
    pub fn commit(&mut self) -> Result<Commit, CommitError> {
        self.check_alive()?;
        if self.staged.len() == 0 {
            return Ok(commit_of(self.next_seq(), &self.last, 0, self.last.chain));
        }
        if self.active.sealed {
            self.staged.clear();
            let source = io::Error::new(io::ErrorKind::StorageFull, "the next segment could not be opened");
            return Err(CommitError::NoSpace(NoSpace { segment: layout::NEXT_TMP.to_owned(), needed: 0, source }));
        }
        let batch = self.encode_staged();
        self.staged.clear();
        self.append(&batch)
    }

    /// Turns the staged records into the bytes of a batch.
    pub(super) fn encode_staged(&mut self) -> Encoded {
        /// As dense as offsets are kept.
        const STRIDE: usize = 4096;
        let first = self.last.seq.next();
        let last = self.last.seq.plus(self.staged.len() as u64);
        let batch = self.last.batch + 1;
        let mut marks: Vec<(Seq, u64)> = Vec::new();
        let mut next_mark = 0;
        self.buffer.clear();
        let chain = encode_batch(&mut self.buffer, &self.last.chain, batch, first, self.staged.iter(), |seq, at| {
            if at >= next_mark {
                marks.push((seq, at as u64));
                next_mark = at + STRIDE;
            }
        });
        Encoded { first, last, batch, chain, marks }
    }

    /// The order that keeps records safe: the witness of the batch before and the bytes, then their syncs.
    pub(super) fn append(&mut self, batch: &Encoded) -> Result<Commit, CommitError> {
        self.write_head().map_err(|error| self.classify("write HEAD", 0, error))?;
        self.write_batch()?;
        let mut synced = self.active.sync();
        if seeded::on(Bug::RetryAfterFailedSync) {
            synced = synced.or_else(|_| self.active.sync());
        }
        synced.map_err(|error| self.fatal("sync the segment", error))?;
        self.sync_head().map_err(|error| self.fatal("sync HEAD", error))?;
        Ok(self.advance(batch))
    }

    /// One contiguous write. If there is no space for it, what it left is taken back.
    fn write_batch(&mut self) -> Result<(), CommitError> {
        let bytes = self.buffer.len() as u64;
        let claimed = self.active.claim(bytes, self.options.claim_bytes);
        let written = claimed.and_then(|()| self.active.write(&mut self.buffer, self.options.zero_bytes));
        if let Err(error) = written {
            let error = self.classify("write to the segment", bytes, error);
            if matches!(error, CommitError::NoSpace(_)) {
                self.active.take_back().map_err(|error| self.fatal("take back what was written", error))?;
                self.sync_head().map_err(|error| self.fatal("sync HEAD", error))?;
            }
            return Err(error);
        }
        Ok(())
    }

    /// The batch is durable.
    pub(super) fn advance(&mut self, batch: &Encoded) -> Commit {
        let start = self.active.end;
        let previous = self.last.chain;
        self.active.end += self.buffer.len() as u64;
        if let Some(offsets) = self.offsets.last_mut() {
            for (seq, at) in &batch.marks {
                offsets.note(*seq, start + at);
            }
            offsets.end = self.active.end;
            self.last.segment = offsets.first;
        }
        let Encoded { first, last, batch, chain, .. } = *batch;
        let segment = self.last.segment;
        self.last =
            Head { generation: 0, epoch: self.epoch, batch, seq: last, segment, offset: self.active.end, chain };
        self.buffer.shrink_to(8 << 20);
        commit_of(first, &self.last, self.active.end - start, previous)
    }
}

//! Reading any record by its seq: one small read from the page cache, or none if its neighbour was just read.

use std::io;
use std::sync::{Arc, PoisonError};

use orch_core::id::Seq;
use orch_core::record::Record;

use crate::chain::ChainFault;
use crate::disk::{self, Access, File};
use crate::fault::{Fault, Place};
use crate::layout;
use crate::line::{self, LineFault};
use crate::open::OpenError;
use crate::recovery::examine::{Replay, examine};
use crate::segment::offsets::Block;

use super::Ledger;

/// The most segments that are kept open for reading.
const MAX_OPEN: usize = 64;

/// Why a record cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// There is no such record.
    #[error("there is no record {seq}: the next to be written is {next}")]
    NoSuchRecord {
        /// What was asked for.
        seq: Seq,
        /// The next record's seq.
        next: Seq,
    },
    /// The bytes on the disk are no longer what was written.
    #[error("{place}: {fault}")]
    Damaged {
        /// Where.
        place: Place,
        /// What is wrong.
        fault: Fault,
    },
    /// The system failed.
    #[error("failed to read {file}")]
    Io {
        /// The file, below the data directory.
        file: String,
        /// What the system said.
        source: io::Error,
    },
}

/// What the last reads left: open segments, and the block read last.
#[derive(Debug, Default)]
pub(super) struct ReadCache {
    /// The segment used last stands last.
    files: Vec<(Seq, Arc<dyn File>)>,
    block: Option<Block>,
    bytes: Vec<u8>,
}

impl Ledger {
    /// A record, durable or staged.
    ///
    /// # Errors
    /// [`ReadError`].
    pub fn read(&self, seq: Seq) -> Result<Record, ReadError> {
        let none = || ReadError::NoSuchRecord { seq, next: self.next_seq() };
        if seq > self.last.seq {
            let i = usize::try_from(seq.0 - self.last.seq.0 - 1).unwrap_or(usize::MAX);
            return self.staged.record(i, seq).ok_or_else(none);
        }
        let block = self.offsets.block(seq).filter(|_| seq.0 > 0).ok_or_else(none)?;
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.block != Some(block) {
            self.fill(&mut cache, block)?;
        }
        find(&cache.bytes, block, seq)
    }

    fn fill(&self, cache: &mut ReadCache, block: Block) -> Result<(), ReadError> {
        let name = || layout::segment(block.segment);
        let failed = |source| ReadError::Io { file: name(), source };
        let file = self.segment_file(cache, block.segment).map_err(failed)?;
        cache.block = None;
        cache.bytes.clear();
        let len = usize::try_from(block.end - block.start).unwrap_or(0);
        disk::read_on_at(&*file, &mut cache.bytes, len, block.start).map_err(failed)?;
        cache.block = Some(block);
        Ok(())
    }

    fn segment_file(&self, cache: &mut ReadCache, first: Seq) -> io::Result<Arc<dyn File>> {
        let file = match cache.files.iter().rposition(|(seq, _)| *seq == first) {
            Some(i) => cache.files.remove(i).1,
            None => self.dir.open(&layout::segment(first), Access::Read)?,
        };
        if cache.files.len() >= MAX_OPEN {
            cache.files.remove(0);
        }
        cache.files.push((first, Arc::clone(&file)));
        Ok(file)
    }

    /// Hands out every durable record once more, in order, and checks the whole chain while it does: for a state that
    /// ran ahead of a batch that did not become durable.
    ///
    /// # Errors
    /// [`OpenError`], as a start would give it.
    pub fn replay_all(&self, replay: &mut Replay<'_>) -> Result<(), OpenError> {
        match examine(&*self.dir, &self.id, &self.last, replay) {
            Ok(_) => Ok(()),
            Err(error) => Err(OpenError::of_check(self.dir.path(), error)),
        }
    }
}

/// The record of `seq` among the lines of a block.
fn find(bytes: &[u8], block: Block, seq: Seq) -> Result<Record, ReadError> {
    let mut start = 0;
    for _ in block.seq.0..seq.0 {
        start += memchr::memchr(b'\n', &bytes[start..]).map_or(bytes.len() - start, |at| at + 1);
    }
    let len = memchr::memchr(b'\n', &bytes[start..]).unwrap_or(bytes.len() - start);
    let place = || Place { file: layout::segment(block.segment), line: 0, offset: block.start + start as u64 };
    let damaged = |fault: ChainFault| ReadError::Damaged { place: place(), fault: Fault::Line(fault) };
    let line = line::decode(&bytes[start..start + len]).map_err(|fault: LineFault| damaged(fault.into()))?;
    if line.seq != seq {
        return Err(damaged(ChainFault::Seq { expected: seq, found: line.seq }));
    }
    line.record().map_err(|fault| damaged(fault.into()))
}

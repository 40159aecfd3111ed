//! Following the ledger's files beside a running writer, without a lock.
//!
//! What a file shows behind the durable end means nothing: claimed space reads as zeros, and the batch on its way may
//! be half there or be taken back. So the follower is told up to which seq the ledger is durable (by the writer, or
//! by HEAD: [`crate::durable_head`]) and gives out nothing beyond; bytes that were read before that seq was durable
//! are read again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::id::Seq;

use crate::chain::ChainFault;
use crate::disk::real::RealDir;
use crate::disk::{self, Access, Dir, File};
use crate::fault::{Fault, Place, Refusal};
use crate::layout;
use crate::line::{self, Line, MAX_LINE_BYTES};
use crate::segment::list;

/// How much is read at once.
const BLOCK: usize = 256 << 10;

/// Why a follower cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The ledger is not as it must be.
    #[error("the ledger is damaged: {refusal}; run next: {}", .refusal.next_command())]
    Damaged {
        /// Where and what.
        refusal: Box<Refusal>,
    },
    /// The system failed.
    #[error("failed to read {file} in {}", .dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// The file, below it.
        file: String,
        /// What the system said.
        source: io::Error,
    },
}

/// Reads lines one after the other, from any seq.
#[derive(Debug)]
pub struct Follower {
    dir: Arc<dyn Dir>,
    next: Seq,
    /// The segment being read, once there is one.
    segment: Option<Open>,
    /// The bytes read ahead, from `at` in the segment.
    block: Vec<u8>,
    /// How much of the block was given out.
    used: usize,
    /// Lines up to this one were durable when the block was read.
    good_to: Seq,
    /// The segment was entered before the next line, and lines before it are passed over.
    entering: bool,
}

#[derive(Debug)]
struct Open {
    first: Seq,
    file: Arc<dyn File>,
    /// The offset of the block's first byte.
    at: u64,
}

impl Follower {
    /// A follower of the ledger in `dir` whose first line is that of `from`. Opens nothing yet: the ledger may still
    /// be on its way there.
    pub fn new(dir: &Path, from: Seq) -> Self {
        Self::new_in(Arc::new(RealDir::new(dir)), from)
    }

    /// The same, on any disk.
    pub fn new_in(dir: Arc<dyn Dir>, from: Seq) -> Self {
        Self {
            dir,
            next: Seq(from.0.max(1)),
            segment: None,
            block: Vec::new(),
            used: 0,
            good_to: Seq(0),
            entering: false,
        }
    }

    /// A follower of the same ledger whose first line is that of `from`.
    pub(crate) fn at(self, from: Seq) -> Self {
        Self::new_in(self.dir, from)
    }

    /// The seq of the next line.
    pub fn next_seq(&self) -> Seq {
        self.next
    }

    /// The next line, if it is durable: `until` is the last durable seq that the caller knows of. The line's checksum
    /// and seq are checked; whoever wants the chain checked as well gives each line to a [`crate::ChainChecker`].
    ///
    /// # Errors
    /// [`FollowError`], also if a line up to `until` is not there.
    pub fn next_line(&mut self, until: Seq) -> Result<Option<Line<'_>>, FollowError> {
        if self.next > until {
            return Ok(None);
        }
        if self.next > self.good_to {
            self.forget_block();
        }
        loop {
            let (start, len) = self.find_line(until)?;
            self.used = start + len + 1;
            // A segment is entered a little before the line that is wanted.
            let wanted = match line::decode(&self.block[start..start + len]) {
                Ok(line) if self.entering && line.seq < self.next => continue,
                Ok(line) if line.seq == self.next => Ok(()),
                Ok(line) => Err(ChainFault::Seq { expected: self.next, found: line.seq }),
                Err(fault) => Err(fault.into()),
            };
            self.entering = false;
            return match wanted {
                Ok(()) => {
                    self.next = self.next.next();
                    // Read a second time, because a reference cannot leave a loop that goes on borrowing.
                    Ok(line::decode(&self.block[start..start + len]).ok())
                }
                Err(fault) => {
                    self.used = start;
                    Err(self.damaged(start, Fault::Line(fault)))
                }
            };
        }
    }

    /// Where in the block the next line lies; reads on, or opens the next segment, until it is there.
    fn find_line(&mut self, until: Seq) -> Result<(usize, usize), FollowError> {
        loop {
            if self.segment.is_none() {
                self.open_segment(until)?;
            }
            let start = self.used.min(self.block.len());
            if let Some(len) = memchr::memchr(b'\n', &self.block[start..]) {
                return Ok((start, len));
            }
            let more = self.read_on(until)?;
            match self.block.first() {
                // Nothing follows here, and the line is durable: it begins the next segment.
                None | Some(0) => self.open_segment(until)?,
                Some(_) if more == 0 => return Err(self.damaged(0, Fault::Newline { found: None })),
                // Too long to be a line, which whoever reads it will say.
                Some(_) if self.block.len() > MAX_LINE_BYTES + BLOCK => return Ok((0, self.block.len())),
                Some(_) => {}
            }
        }
    }

    /// Drops what was given out and reads a block behind the rest. Says how many bytes it got.
    fn read_on(&mut self, until: Seq) -> Result<usize, FollowError> {
        let Some(open) = &mut self.segment else { return Ok(0) };
        open.at += self.used as u64;
        self.block.drain(..self.used.min(self.block.len()));
        self.used = 0;
        if self.block.is_empty() {
            self.good_to = until;
        }
        let have = self.block.len();
        let read = disk::read_on_at(&*open.file, &mut self.block, BLOCK, open.at + have as u64);
        let first = open.first;
        read.map_err(|error| self.failed(layout::segment(first), error))
    }

    fn forget_block(&mut self) {
        if let Some(open) = &mut self.segment {
            open.at += self.used as u64;
        }
        self.block.clear();
        self.used = 0;
    }

    /// Opens the segment that holds the next line, and finds the line in it.
    fn open_segment(&mut self, until: Seq) -> Result<(), FollowError> {
        let listed = list::list(&*self.dir).map_err(|error| self.failed(layout::LEDGER.into(), error))?;
        let firsts = listed.map_err(|(place, fault)| self.refused(place, fault))?;
        let i = firsts.partition_point(|first| *first <= self.next);
        let first = i.checked_sub(1).map(|i| firsts[i]);
        let came_from = self.segment.as_ref().map(|open| open.first);
        // A segment that was read to its end does not hold the line; it should begin the next one.
        let Some(first) = first.filter(|first| came_from.is_none_or(|from| from < *first)) else {
            return Err(match (firsts.get(i), came_from) {
                (None, Some(_)) => self.ends_early(until),
                (found, _) => {
                    let place =
                        Place::file(found.map_or_else(|| layout::LEDGER.to_owned(), |seq| layout::segment(*seq)));
                    self.refused(place, Fault::Segment { expected: self.next, found: found.copied() })
                }
            });
        };
        let name = layout::segment(first);
        let file = self.dir.open(&name, Access::Read).map_err(|error| self.failed(name.clone(), error))?;
        self.entering = first < self.next;
        let at = if self.entering { seek(&*file, self.next) } else { Ok(0) };
        let at = at.map_err(|error| self.failed(name, error))?;
        self.block.clear();
        self.used = 0;
        self.segment = Some(Open { first, file, at });
        Ok(())
    }

    /// The line that begins at `start` in the block is damaged.
    fn damaged(&self, start: usize, fault: Fault) -> FollowError {
        self.refused(self.place(start), fault)
    }

    /// The last segment ends although a later line is durable.
    fn ends_early(&self, until: Seq) -> FollowError {
        let fault = Fault::EndsEarly { until, last: Seq(self.next.0 - 1) };
        self.refused(self.place(self.used.min(self.block.len())), fault)
    }

    /// The place of the byte at `start` in the block. Its line is counted from the beginning of the segment: this is for
    /// messages only.
    fn place(&self, start: usize) -> Place {
        let Some(open) = &self.segment else { return Place::file(layout::LEDGER) };
        let offset = open.at + start as u64;
        let line = lines_before(&*open.file, offset).map_or(0, |lines| lines + 1);
        Place { file: layout::segment(open.first), line, offset }
    }

    fn refused(&self, place: Place, fault: Fault) -> FollowError {
        FollowError::Damaged { refusal: Box::new(Refusal { dir: self.dir.path().to_owned(), place, fault }) }
    }

    fn failed(&self, file: String, source: io::Error) -> FollowError {
        FollowError::Io { dir: self.dir.path().to_owned(), file, source }
    }
}

/// How many lines end before an offset.
fn lines_before(file: &dyn File, offset: u64) -> io::Result<u64> {
    let (mut at, mut lines) = (0, 0);
    let mut block = vec![0; 64 << 10];
    while at < offset {
        let wanted = usize::try_from(offset - at).unwrap_or(usize::MAX).min(block.len());
        let n = disk::read_full_at(file, &mut block[..wanted], at)?;
        if n == 0 {
            break;
        }
        lines += memchr::memchr_iter(b'\n', &block[..n]).count() as u64;
        at += n as u64;
    }
    Ok(lines)
}

/// The offset of a line of a seq at or before `seq`, near it: halves the file, reading a line in the middle. Where no
/// good line is found (claimed space, damage), it looks further ahead in the file, so that the reading that follows
/// meets the damage.
fn seek(file: &dyn File, seq: Seq) -> io::Result<u64> {
    let (mut low, mut high) = (0, file.len()?);
    let mut block = vec![0; 64 << 10];
    while high - low > BLOCK as u64 {
        let middle = low + (high - low) / 2;
        let n = disk::read_full_at(file, &mut block, middle)?;
        let found = memchr::memchr(b'\n', &block[..n]).and_then(|newline| {
            let rest = &block[newline + 1..n];
            let len = memchr::memchr(b'\n', rest)?;
            let line = line::decode(&rest[..len]).ok()?;
            Some((line.seq, middle + newline as u64 + 1))
        });
        match found {
            Some((found, offset)) if found <= seq => low = offset,
            Some(_) | None => high = middle,
        }
    }
    Ok(low)
}

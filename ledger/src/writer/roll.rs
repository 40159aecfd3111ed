//! Segments that come and go: a new one at every boot and whenever the active one is full.
//!
//! The next segment is written under another name and gets its own only when its first batch is durable, so that a
//! segment always begins with a whole batch. Its space is claimed before the old one is sealed.

use std::io;

use orch_core::id::Seq;
use orch_core::record::{Event, Record};
use orch_core::seeded::{self, Bug};
use orch_core::time::Timestamp;

use crate::Position;
use crate::chain::Link;
use crate::layout;
use crate::segment::offsets::SegmentOffsets;

use crate::open::OpenOptions;

use super::append::{Active, Commit, CommitError, Encoded};
use super::{Ledger, StageError, Written};

/// More than a segment's first batch needs.
const FIRST_BATCH: u64 = 16 << 10;

/// What a new segment cost: the records that the ledger wrote about it.
#[derive(Clone, Debug)]
pub struct Rolled {
    /// The records, in order: the caller's state takes them like any other.
    pub records: Vec<Written>,
    /// The last of the batches that they make up.
    pub commit: Commit,
}

impl Ledger {
    /// Seals the active segment and opens the next one, if it is over its size. To be called between batches, before
    /// anything is staged; with staged records it does nothing.
    ///
    /// # Errors
    /// [`CommitError`]. After `NoSpace` the seal may be written already: the state is rebuilt by replay, and this is
    /// called again before the next batch.
    pub fn maybe_roll(&mut self, at: Timestamp) -> Result<Option<Rolled>, CommitError> {
        self.check_alive()?;
        let full = self.active.end >= self.options.segment_bytes.min(1 << 30);
        if self.staged.len() > 0 || !(full || self.active.sealed) {
            return Ok(None);
        }
        let next = self.prepare_next()?;
        let mut records = Vec::new();
        if !self.active.sealed {
            let sealed = self.seal(at).inspect_err(|_| {
                // It may hold the very space that is missing.
                let _ = self.remove_next();
            });
            records.extend(sealed?);
        }
        let (commit, header) = self.open_next(next, at, Vec::new())?;
        records.extend(header);
        Ok(Some(Rolled { records, commit }))
    }

    /// Opens the first segment of this boot and records the boot.
    pub(crate) fn boot(&mut self) -> Result<Rolled, CommitError> {
        let OpenOptions { now, version, host, pid, .. } = self.options.clone();
        let booted = Event::Booted { epoch: self.epoch, version, host, pid };
        let next = self.prepare_next()?;
        let (commit, records) = self.open_next(next, now, vec![booted])?;
        Ok(Rolled { records, commit })
    }

    /// Opens a segment with the record of a repair: the first batch behind what the repair kept. No boot is counted.
    pub(crate) fn record_repair(&mut self, at: Timestamp, event: Event) -> Result<Link, CommitError> {
        self.epoch = self.epoch.saturating_sub(1);
        let next = self.prepare_next()?;
        let (commit, _) = self.open_next(next, at, vec![event])?;
        Ok(Link { seq: commit.last, batch: commit.batch, chain: commit.chain })
    }

    /// The next segment's file under its temporary name, with space for its first batches.
    fn prepare_next(&mut self) -> Result<Active, CommitError> {
        let mut next = Active { name: layout::NEXT_TMP.to_owned(), ..Active::none() };
        let prepared = self.remove_next().and_then(|()| {
            next.file = Some(self.dir.create_new(layout::NEXT_TMP)?);
            next.claim(FIRST_BATCH, self.options.claim_bytes)
        });
        if let Err(error) = prepared {
            let _ = self.remove_next();
            return Err(self.classify("claim space for the next segment", 0, error));
        }
        Ok(next)
    }

    /// Removes what is left of an attempt. An error is of no account: the next attempt tries again.
    fn remove_next(&self) -> io::Result<()> {
        match self.dir.remove(layout::NEXT_TMP) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Ends the active segment with its seal, and gives back what it does not need.
    fn seal(&mut self, at: Timestamp) -> Result<Vec<Written>, CommitError> {
        let seal = self.encode_own(at, &[Event::SegmentSealed {}])?;
        let commit = self.append(&seal)?;
        self.active.sealed = true;
        self.active.trim().map_err(|error| self.fatal("trim the sealed segment", error))?;
        Ok(written(&commit, at, vec![Event::SegmentSealed {}]))
    }

    /// Writes the first batch of the next segment and gives it its name.
    fn open_next(
        &mut self,
        next: Active,
        at: Timestamp,
        more: Vec<Event>,
    ) -> Result<(Commit, Vec<Written>), CommitError> {
        let first = self.last.seq.next();
        let mut events =
            vec![Event::SegmentOpened { ledger: self.id.clone(), format: self.format, previous: self.last.chain }];
        events.extend(more);
        let header = self.encode_own(at, &events)?;
        let before = std::mem::replace(&mut self.active, next);
        if let Err(error) = self.write_next(first) {
            if matches!(error, CommitError::NoSpace(_)) {
                // Nothing has happened but for HEAD and a temporary file.
                self.active = before;
                let _ = self.remove_next();
                self.sync_head().map_err(|error| self.fatal("sync HEAD", error))?;
            }
            return Err(error);
        }
        let commit = self.advance(&header);
        Ok((commit, written(&commit, at, events)))
    }

    /// The order that makes a segment appear whole or not at all.
    fn write_next(&mut self, first: Seq) -> Result<(), CommitError> {
        let name = layout::segment(first);
        self.write_head().map_err(|error| self.classify("write HEAD", 0, error))?;
        let written = self.active.write(&mut self.buffer, 0);
        written.map_err(|error| self.classify("write the next segment", 0, error))?;
        let synced = self.active.file.as_ref().map_or(Ok(()), |file| file.sync_all());
        synced.map_err(|error| self.fatal("sync the next segment", error))?;
        self.sync_head().map_err(|error| self.fatal("sync HEAD", error))?;
        let named = self.dir.rename(layout::NEXT_TMP, &name);
        named.map_err(|error| self.classify("name the next segment", 0, error))?;
        if !seeded::on(Bug::DirectorySyncRemoved) {
            self.dir.sync_dir(layout::LEDGER).map_err(|error| self.fatal("sync the ledger's directory", error))?;
        }
        self.active.name = name;
        self.offsets.push(SegmentOffsets::new(first));
        Ok(())
    }

    /// Encodes a batch of the ledger's own records.
    fn encode_own(&mut self, at: Timestamp, events: &[Event]) -> Result<Encoded, CommitError> {
        for event in events {
            if let Err(error) = self.stage(at, event) {
                self.staged.clear();
                return Err(self.unstaged(&error));
            }
        }
        let encoded = self.encode_staged();
        self.staged.clear();
        Ok(encoded)
    }

    /// The ledger's own records fit a line unless a host's name or a clock is absurd.
    fn unstaged(&mut self, error: &StageError) -> CommitError {
        self.fatal("write the ledger's own records", io::Error::new(io::ErrorKind::InvalidInput, error.to_string()))
    }
}

/// The records of a batch as their reader sees them.
fn written(commit: &Commit, at: Timestamp, events: Vec<Event>) -> Vec<Written> {
    let Commit { batch, first, last, chain, .. } = *commit;
    let seqs = (first.0..=last.0).map(Seq);
    let record = |(seq, event): (Seq, Event)| {
        let left = u32::try_from(last.0 - seq.0).unwrap_or(u32::MAX);
        let position = Position { batch, left, chain: (left == 0).then_some(chain) };
        (Record { seq, at, event }, position)
    };
    seqs.zip(events).map(record).collect()
}

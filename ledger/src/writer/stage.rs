//! Staging: a record gets its seq and its bytes, and everything is checked that a replay will check.
//!
//! An event that could be written but not read again would stop every later start, so it is read back here, before
//! anything of the batch is on its way.

use std::io;

use orch_core::id::Seq;
use orch_core::record::{CandidateAccepted, Event, Record};
use orch_core::time::Timestamp;

use crate::line::{AtText, EventFault, MAX_BATCH_BYTES, MAX_EVENT_BYTES, MAX_EVENT_DEPTH, MAX_LINE_BYTES, check_event};

use super::Ledger;

/// Room for the fields around an event.
const ENVELOPE: usize = MAX_LINE_BYTES - MAX_EVENT_BYTES;

/// Why an event cannot be staged. Nothing was staged.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// Its line would be longer than a line may be.
    #[error("a record of {bytes} bytes is longer than the {MAX_EVENT_BYTES} that fit into a line")]
    TooLong {
        /// The event's length.
        bytes: usize,
    },
    /// The batch would be larger than a batch may be: commit first.
    #[error("a batch of {bytes} bytes is larger than the {MAX_BATCH_BYTES} that a batch may have")]
    BatchFull {
        /// The batch's length with this event.
        bytes: usize,
    },
    /// It could be written but not read again.
    #[error("a record that could not be read again: {reason}")]
    Unreadable {
        /// Why not.
        reason: String,
    },
    /// The time cannot be written.
    #[error("time {}ms lies outside the years 0000 to 9999", .at.0)]
    Time {
        /// The time.
        at: Timestamp,
    },
}

/// The records of the batch to come.
#[derive(Debug, Default)]
pub(super) struct Staged {
    /// Their events as JSON, end to end.
    events: Vec<u8>,
    /// Per record its time, and where its event ends.
    records: Vec<(AtText, usize)>,
}

impl Staged {
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.events.len()
    }

    pub(super) fn clear(&mut self) {
        self.events.clear();
        self.records.clear();
        // One large batch does not hold on to its memory.
        self.events.shrink_to(8 << 20);
        self.records.shrink_to(1 << 16);
    }

    /// Times and events, in order.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = (&AtText, &[u8])> {
        self.records.iter().enumerate().map(|(i, (at, _))| (at, self.event(i)))
    }

    fn event(&self, i: usize) -> &[u8] {
        let start = i.checked_sub(1).map_or(0, |before| self.records[before].1);
        &self.events[start..self.records[i].1]
    }

    /// The record staged as the `i`-th, from 0. Its seq is `seq`.
    pub(super) fn record(&self, i: usize, seq: Seq) -> Option<Record> {
        let at = self.records.get(i)?.0.time();
        // It was read back when it was staged.
        serde_json::from_slice(self.event(i)).ok().map(|event| Record { seq, at, event })
    }

    fn push(&mut self, at: AtText, event: &Event) -> Result<(), StageError> {
        let start = self.events.len();
        self.write(start, event).inspect_err(|_| self.events.truncate(start))?;
        self.records.push((at, self.events.len()));
        Ok(())
    }

    fn write(&mut self, start: usize, event: &Event) -> Result<(), StageError> {
        let unreadable = |reason: String| StageError::Unreadable { reason };
        let sink = Bounded { bytes: &mut self.events, limit: start + MAX_EVENT_BYTES, written: start };
        serde_json::to_writer(sink, event).map_err(|error| match error.io_error_kind() {
            Some(_) => StageError::TooLong { bytes: MAX_EVENT_BYTES + 1 },
            None => unreadable(error.to_string()),
        })?;
        let json = &self.events[start..];
        check_event(json).map_err(|fault| match fault {
            EventFault::TooLong { bytes } => StageError::TooLong { bytes },
            EventFault::TooDeep => unreadable(format!("it is nested more than {MAX_EVENT_DEPTH} levels deep")),
            EventFault::ControlByte { at } => unreadable(format!("it has a control character at byte {at}")),
        })?;
        if !reads_back(event) {
            let read: Event = serde_json::from_slice(json).map_err(|error| unreadable(error.to_string()))?;
            // Not every loss is an error: an infinite number, say, is written as null and read as none.
            let same = serde_json::to_writer(Compared { rest: json }, &read);
            same.map_err(|_| unreadable("it is read back as another one".to_owned()))?;
        }
        let bytes = self.events.len() + (self.records.len() + 1) * ENVELOPE;
        if bytes > MAX_BATCH_BYTES && !self.records.is_empty() {
            return Err(StageError::BatchFull { bytes });
        }
        Ok(())
    }

    fn last_at(&self) -> Option<AtText> {
        self.records.last().map(|record| record.0)
    }
}

/// Whether an event is surely read back as it was written, so that nobody has to try: every field of these is of a
/// type whose every value has a text that is read back, checked by `tests/round_trip.rs`. They are nearly all records
/// of a busy ledger.
fn reads_back(event: &Event) -> bool {
    if let Event::CandidateAccepted(accepted) = event {
        let CandidateAccepted { origin: _, contract, digest: _, offsets: _, candidate: _ } = &**accepted;
        // Versions begin at 1, but the field is open.
        return contract.version > 0;
    }
    false
}

/// Stops a serialisation that grows beyond its limit, so that a huge event costs no huge buffer.
struct Bounded<'a> {
    bytes: &'a mut Vec<u8>,
    limit: usize,
    written: usize,
}

impl io::Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.written += bytes.len();
        if self.written > self.limit {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Fails if something else is written to it than what it was given.
struct Compared<'a> {
    rest: &'a [u8],
}

impl io::Write for Compared<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.rest = self.rest.strip_prefix(bytes).ok_or(io::ErrorKind::InvalidData)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Ledger {
    /// Adds a record to the batch to come and gives its seq.
    ///
    /// # Errors
    /// [`StageError`]; nothing was staged.
    pub fn stage(&mut self, at: Timestamp, event: &Event) -> Result<Seq, StageError> {
        let text = match self.staged.last_at() {
            Some(last) if last.time() == at => last,
            Some(_) | None => AtText::new(at).ok_or(StageError::Time { at })?,
        };
        let seq = self.next_seq();
        self.staged.push(text, event)?;
        Ok(seq)
    }
}

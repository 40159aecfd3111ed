//! Whole batches on their way from the thread that checks bytes to the one that reads events.

use std::ops::Range;

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::record::Record;
use orch_core::time::Timestamp;

use crate::chain::ChainFault;
use crate::fault::{Fault, Place};
use crate::layout;
use crate::line::{Line, read_event};

use super::check::CheckError;

/// How many bytes of events are handed over at once, if no batch is larger.
const LARGE: usize = 256 << 10;

/// A record of a whole batch, and where it lies.
#[derive(Debug)]
pub(crate) struct Entry {
    pub record: Record,
    pub batch: u64,
    pub left: u32,
    pub chain: Option<Digest>,
    /// Its line in the segment, from 1.
    pub line: u64,
    pub offset: u64,
    /// The offset of the byte after its newline.
    pub end: u64,
}

/// Lines whose bytes and chain are right.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    segment: Seq,
    /// Their events, end to end.
    events: String,
    lines: Vec<Head>,
}

/// What is known of a line without reading its event.
#[derive(Debug)]
struct Head {
    seq: Seq,
    at: Timestamp,
    batch: u64,
    left: u32,
    chain: Option<Digest>,
    line: u64,
    offset: u64,
    end: u64,
    event: Range<usize>,
}

impl Chunk {
    pub(super) fn new(segment: Seq) -> Self {
        Self { segment, ..Self::default() }
    }

    pub(super) fn clear(&mut self, segment: Seq) {
        self.segment = segment;
        self.events.clear();
        self.lines.clear();
    }

    pub(super) fn push(&mut self, line: &Line<'_>, number: u64, offset: u64, end: u64) {
        let start = self.events.len();
        self.events.push_str(line.event_json);
        let event = start..self.events.len();
        let Line { seq, at, batch, left, chain, .. } = *line;
        self.lines.push(Head { seq, at, batch, left, chain, line: number, offset, end, event });
    }

    pub(super) fn is_large(&self) -> bool {
        self.events.len() >= LARGE
    }

    pub(super) fn is_empty(&self) -> bool {
        self.lines.is_empty()
    }

    /// Drops the lines of a batch that has no end.
    pub(super) fn keep_whole_batches(&mut self) {
        let whole = self.lines.iter().rposition(|line| line.left == 0).map_or(0, |last| last + 1);
        self.lines.truncate(whole);
    }

    /// Reads the events, and gives each record to `sink`.
    pub(crate) fn read(&self, sink: &mut dyn FnMut(Seq, Entry) -> Result<(), Fault>) -> Result<(), CheckError> {
        for head in &self.lines {
            let Head { seq, at, batch, left, chain, line, offset, end, event } = head;
            let place = || Place { file: layout::segment(self.segment), line: *line, offset: *offset };
            let event = read_event(&self.events[event.clone()])
                .map_err(|fault| CheckError::Fault(place(), Fault::Line(ChainFault::Line(fault))))?;
            let record = Record { seq: *seq, at: *at, event };
            let entry =
                Entry { record, batch: *batch, left: *left, chain: *chain, line: *line, offset: *offset, end: *end };
            sink(self.segment, entry).map_err(|fault| CheckError::Fault(place(), fault))?;
        }
        Ok(())
    }
}

//! Follows the chain through one segment, read-only: the heart of recovery and of verification.

use std::io;
use std::sync::Arc;

use orch_core::id::Seq;
use orch_core::record::{Event, NEWEST_FORMAT, knows_format};

use crate::chain::{ChainChecker, ChainFault, Link};
use crate::disk::{Access, Dir, File};
use crate::fault::{Fault, Place};
use crate::layout;
use crate::line::{Line, LineFault};

use super::chunk::Chunk;
use super::scan::{RawLine, Scanner, used_len};

/// What a check found.
#[derive(Debug)]
pub(crate) struct Segment {
    pub first: Seq,
    pub file: Arc<dyn File>,
    /// What the segment follows: as asked for, or as its header says.
    pub before: Link,
    /// Its last whole batch.
    pub link: Link,
    /// The offset of the byte after its last whole batch, newline included.
    pub whole: u64,
    /// How many lines its whole batches have.
    pub lines: u64,
    /// Its length without zeros at the end.
    pub used: u64,
    /// Its length.
    pub len: u64,
    /// The last line of the last batch is there but for its newline.
    pub newline_missing: bool,
    /// What is wrong with what follows the last whole batch, if anything does.
    pub fault: Option<(Place, Fault)>,
}

/// Why a check ended early.
#[derive(Debug)]
pub(crate) enum CheckError {
    Io(io::Error),
    /// Something that no torn write explains.
    Fault(Place, Fault),
}

impl From<io::Error> for CheckError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Which segment, of which ledger, after what.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Task<'a> {
    pub dir: &'a dyn Dir,
    /// The ledger's id; `None` takes the header's word for it.
    pub ledger: Option<&'a str>,
    /// The first seq of the segment, as its name says.
    pub first: Seq,
    /// The link before it; `None` takes the header's word for it.
    pub before: Option<Link>,
}

/// Checks a segment and hands out the lines of its whole batches, in order, in chunks. Who gets a chunk may take it.
pub(crate) fn check(task: Task<'_>, sink: &mut ChunkSink<'_>) -> Result<Segment, CheckError> {
    let name = layout::segment(task.first);
    let file = task.dir.open(&name, Access::Read)?;
    let (len, used) = (file.len()?, used_len(&*file)?);
    let mut walk = Walk::new(task, &name);
    let mut scanner = Scanner::new(&*file, 0, used);
    let walked = walk.run(&mut scanner, used, sink);
    // What came before a fault counts before the fault does.
    walk.hand_over(sink)?;
    walked?;
    let Walk { before, checker, whole, lines, newline_missing, fault, .. } = walk;
    let link = checker.link();
    Ok(Segment { first: task.first, file, before, link, whole, lines, used, len, newline_missing, fault })
}

/// Gets whole batches.
pub(crate) type ChunkSink<'a> = dyn FnMut(&mut Chunk) -> Result<(), CheckError> + 'a;

struct Walk<'a> {
    task: Task<'a>,
    name: &'a str,
    before: Link,
    checker: ChainChecker,
    /// Lines to hand over, those of the batch that has begun at its end.
    chunk: Chunk,
    whole: u64,
    lines: u64,
    /// The format of its lines, as its header says.
    format: u32,
    sealed: bool,
    newline_missing: bool,
    fault: Option<(Place, Fault)>,
}

impl<'a> Walk<'a> {
    fn new(task: Task<'a>, name: &'a str) -> Self {
        let before = task.before.unwrap_or_default();
        Self {
            task,
            name,
            before,
            checker: ChainChecker::after(before),
            chunk: Chunk::new(task.first),
            whole: 0,
            lines: 0,
            format: NEWEST_FORMAT,
            sealed: false,
            newline_missing: false,
            fault: None,
        }
    }

    fn place(&self, line: u64, offset: u64) -> Place {
        Place { file: self.name.to_owned(), line, offset }
    }

    fn run(&mut self, scanner: &mut Scanner<'_>, used: u64, sink: &mut ChunkSink<'_>) -> Result<(), CheckError> {
        let mut number = 0;
        while let Some(raw) = scanner.next()? {
            number += 1;
            if !self.step(raw, number, used)? {
                break;
            }
            if self.chunk.is_large() && self.checker.lines_missing().is_none() {
                self.hand_over(sink)?;
            }
        }
        self.at_end(number + 1, used);
        Ok(())
    }

    /// Hands over the whole batches.
    fn hand_over(&mut self, sink: &mut ChunkSink<'_>) -> Result<(), CheckError> {
        self.chunk.keep_whole_batches();
        if !self.chunk.is_empty() {
            sink(&mut self.chunk)?;
            self.chunk.clear(self.task.first);
        }
        Ok(())
    }

    /// Takes a line. `false`: it is the first that a torn write may explain, and nothing behind it counts.
    fn step(&mut self, raw: RawLine<'_>, number: u64, used: u64) -> Result<bool, CheckError> {
        let line = match self.take(&raw, number) {
            Ok(line) => line,
            Err(CheckError::Fault(place, Fault::Line(fault))) => {
                self.fault = Some((place, Fault::Line(fault)));
                return Ok(false);
            }
            Err(error) => return Err(error),
        };
        self.note_kind(&line, number, raw.offset)?;
        let end = raw.offset + raw.bytes.len() as u64 + 1;
        self.chunk.push(&line, number, raw.offset, end);
        if !raw.newline && line.left > 0 {
            self.fault = Some((self.place(number, raw.offset), Fault::Newline { found: None }));
            return Ok(false);
        }
        if line.left == 0 {
            self.newline_missing = !raw.newline;
            self.whole = end.min(used);
            self.lines = number;
        }
        Ok(true)
    }

    /// Reads a line and moves the chain on; the first line says what the segment follows.
    fn take<'l>(&mut self, raw: &RawLine<'l>, number: u64) -> Result<Line<'l>, CheckError> {
        let fault =
            |walk: &Self, fault: ChainFault| CheckError::Fault(walk.place(number, raw.offset), Fault::Line(fault));
        let line = crate::line::decode(raw.bytes).map_err(|f| fault(self, damaged_newline(raw, f)))?;
        if number == 1 {
            let place = self.place(number, raw.offset);
            self.header(&line, place)?;
        }
        self.checker.check_line(&line).map_err(|f| fault(self, f))?;
        Ok(line)
    }

    /// Checks the first line against the segment's name, the ledger's id and the link before.
    fn header(&mut self, line: &Line<'_>, place: Place) -> Result<(), CheckError> {
        let wrong =
            |expected: String, found: String| Err(CheckError::Fault(place.clone(), Fault::Header { expected, found }));
        let event = line.event().map_err(|f| CheckError::Fault(place.clone(), Fault::Line(ChainFault::Line(f))))?;
        let Event::SegmentOpened { ledger, format, previous } = event else {
            return wrong("segment_opened".into(), line.event_name().into());
        };
        if !knows_format(format) {
            return wrong(
                format!("a format of 1 to {NEWEST_FORMAT}, which this version reads,"),
                format!("format {format}"),
            );
        }
        self.format = format;
        if self.task.ledger.is_some_and(|expected| expected != ledger) {
            return wrong(format!("ledger {}", self.task.ledger.unwrap_or_default()), format!("ledger {ledger}"));
        }
        if line.seq != self.task.first {
            return wrong(format!("seq {}, as the file is named,", self.task.first), format!("seq {}", line.seq));
        }
        let claimed = Link { seq: Seq(line.seq.0 - 1), batch: line.batch.saturating_sub(1), chain: previous };
        match self.task.before {
            None => {
                self.before = claimed;
                self.checker = ChainChecker::after(claimed);
            }
            Some(before) if before.chain != previous => {
                return wrong(format!("previous chain link {}", before.chain), previous.to_string());
            }
            Some(_) => {}
        }
        Ok(())
    }

    /// Headers stand first and seals last.
    fn note_kind(&mut self, line: &Line<'_>, number: u64, offset: u64) -> Result<(), CheckError> {
        if self.sealed {
            return Err(CheckError::Fault(self.place(number, offset), Fault::AfterSeal));
        }
        // An event is an object with one key, its name: the text begins with it.
        if number > 1 && line.event_json.starts_with("{\"segment_opened\"") {
            return Err(CheckError::Fault(self.place(number, offset), Fault::StrayHeader));
        }
        if self.format < 2 && line.event_json.starts_with("{\"ledger_repaired\"") {
            let fault = Fault::TooNew { event: line.event_name().to_owned(), since: 2, format: self.format };
            return Err(CheckError::Fault(self.place(number, offset), fault));
        }
        self.sealed = line.event_json.starts_with("{\"segment_sealed\"");
        Ok(())
    }

    /// What the end of the file says: an empty segment, or a batch that is not all there.
    fn at_end(&mut self, number: u64, used: u64) {
        if self.fault.is_some() {
            return;
        }
        let place = self.place(number, used);
        if used == 0 {
            let fault = Fault::Header { expected: "segment_opened".into(), found: "an empty file".into() };
            self.fault = Some((place, fault));
        } else if let Some(missing) = self.checker.lines_missing() {
            let batch = self.checker.link().batch + 1;
            self.fault = Some((place, Fault::BatchCut { batch, missing }));
        }
    }
}

/// A line with something behind it that should be its newline is told as such by whoever looks at the bytes; the
/// checksum alone would send the reader to the wrong place.
fn damaged_newline(raw: &RawLine<'_>, fault: LineFault) -> ChainFault {
    let Some(line) = crate::line::decode_prefix(raw.bytes) else { return fault.into() };
    let at = line.raw().len();
    let found = format!("`{}`", raw.bytes[at..raw.bytes.len().min(at + 24)].escape_ascii());
    LineFault::Form { expected: "a newline", at, found }.into()
}

//! Records from the ledger's files.

use std::path::{Path, PathBuf};

use orch_core::id::Seq;
use orch_ledger::Line;
use orch_ledger::reader::{self, FollowError};

use super::follower::{Read, Source, SourceError};

/// How much is read at once, in bytes of lines.
const READ_BYTES: usize = 4 << 20;

/// Reads the segments beside the writer.
#[derive(Debug)]
pub struct LedgerSource {
    dir: PathBuf,
    reader: Option<reader::Follower>,
}

impl LedgerSource {
    /// A source of the ledger in this data directory.
    pub fn new(dir: &Path) -> Self {
        Self { dir: dir.to_owned(), reader: None }
    }

    fn read_some(&mut self, after: Seq, until: Seq) -> Result<Vec<Read>, FollowError> {
        let reader = match &mut self.reader {
            Some(reader) if reader.next_seq() == after.next() => reader,
            place => place.insert(reader::Follower::new(&self.dir, after.next())),
        };
        let mut reads = Vec::new();
        let mut bytes = 0;
        while bytes < READ_BYTES
            && let Some(line) = reader.next_line(until)?
        {
            bytes += line.raw().len();
            let record = line.record().map_err(|fault| damaged(&self.dir, &line, fault))?;
            reads.push(Read { record, witness: witness(&line) });
        }
        Ok(reads)
    }
}

fn damaged(dir: &Path, line: &Line<'_>, fault: orch_ledger::line::LineFault) -> FollowError {
    let place = orch_ledger::Place { file: format!("record {}", line.seq), line: 0, offset: 0 };
    let refusal = orch_ledger::Refusal { dir: dir.to_owned(), place, fault: orch_ledger::Fault::Line(fault.into()) };
    FollowError::Damaged { refusal: Box::new(refusal) }
}

/// The checksum that stands at the end of a line: `"crc":"xxxxxxxx"}`. The reader has checked it.
fn witness(line: &Line<'_>) -> u32 {
    let raw = line.raw();
    let digits = raw.len().checked_sub(10).and_then(|at| raw.get(at..at + 8));
    let digits = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    digits.and_then(|digits| u32::from_str_radix(digits, 16).ok()).unwrap_or_default()
}

impl Source for LedgerSource {
    fn read(&mut self, after: Seq, until: Seq) -> Result<Vec<Read>, SourceError> {
        self.read_some(after, until).map_err(|error| {
            // Begin again from the directory: the segment may have been closed, the error may have gone away.
            self.reader = None;
            SourceError(chain(&error))
        })
    }

    fn witness(&mut self, seq: Seq) -> Result<Option<u32>, SourceError> {
        let mut reader = reader::Follower::new(&self.dir, seq);
        match reader.next_line(seq) {
            Ok(line) => Ok(line.map(|line| witness(&line))),
            Err(error) => Err(SourceError(chain(&error))),
        }
    }
}

/// An error with its sources.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    text
}

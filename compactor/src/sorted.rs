//! The data set in order, ready to be written.

use std::cmp::Ordering;
use std::io::Write;
use std::path::{Path, PathBuf};

use orch_core::id::Seq;

use crate::error::CompactError;
use crate::key;
use crate::output::{AtomicFile, OutputError};
use crate::sort::{Lines, SortError};
use crate::summary::{Progress, Summary};

/// How many lines are written between two reports of progress.
const REPORT_EVERY: u64 = 8192;

/// The data set in order: canonical JSON, line by line. What is given out is also counted and checked.
#[derive(Debug)]
pub struct Sorted {
    lines: Lines,
    summary: Summary,
    total: u64,
    /// The key of the line given out last.
    last: Vec<u8>,
    /// Where the temporary file lies, for messages.
    tmp: PathBuf,
}

impl Sorted {
    pub(crate) fn new(lines: Lines, summary: Summary, total: u64, tmp: PathBuf) -> Self {
        Self { lines, summary, total, last: Vec::new(), tmp }
    }

    /// How many candidates there are in all.
    pub fn total(&self) -> u64 {
        self.total
    }

    /// What was read, and what was given out so far: `bytes` with a newline for each line.
    pub fn summary(&self) -> &Summary {
        &self.summary
    }

    /// The next candidate, without a newline.
    ///
    /// # Errors
    /// [`CompactError::Twice`] if the ledger holds a candidate twice; [`CompactError::Sort`] if the temporary file
    /// fails.
    pub fn next_line(&mut self) -> Result<Option<&[u8]>, CompactError> {
        let altered = || SortError::Altered { dir: self.tmp.clone() };
        let Some((sort_key, line)) = self.lines.next()? else {
            return if self.summary.written == self.total { Ok(None) } else { Err(altered().into()) };
        };
        // The comparison costs little, and an order that is right shows that what was spilled came back.
        match key::identity(sort_key).cmp(key::identity(&self.last)) {
            Ordering::Greater => {}
            Ordering::Equal if !self.last.is_empty() => {
                let (first, second): (Seq, Seq) = (key::seq(&self.last), key::seq(sort_key));
                return Err(CompactError::Twice { first, second });
            }
            Ordering::Equal | Ordering::Less => return Err(altered().into()),
        }
        self.last.clear();
        self.last.extend_from_slice(sort_key);
        self.summary.written += 1;
        self.summary.bytes += line.len() as u64 + 1;
        Ok(Some(line))
    }

    /// Writes every candidate and a newline behind each. `name` is the output's, for messages.
    ///
    /// # Errors
    /// As [`Sorted::next_line`], and [`CompactError::Output`] if the output fails.
    pub fn write_jsonl(
        mut self,
        out: &mut dyn Write,
        name: &Path,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Summary, CompactError> {
        let total = self.total;
        let failed = |source| OutputError::Io { doing: "write to", path: name.to_owned(), source };
        while let Some(line) = self.next_line()? {
            out.write_all(line).and_then(|()| out.write_all(b"\n")).map_err(failed)?;
            let done = self.summary.written;
            if done.is_multiple_of(REPORT_EVERY) || done == total {
                progress(Progress::Writing { done, total });
            }
        }
        out.flush().map_err(failed)?;
        Ok(self.summary)
    }

    /// Writes every candidate to a file, as JSON lines, and gives the file its name.
    ///
    /// # Errors
    /// As [`Sorted::write_jsonl`]; what had the name before is there still.
    pub fn save(self, mut file: AtomicFile, progress: &mut dyn FnMut(Progress)) -> Result<Summary, CompactError> {
        let name = file.path().to_owned();
        let summary = self.write_jsonl(&mut file, &name, progress)?;
        file.commit()?;
        Ok(summary)
    }
}

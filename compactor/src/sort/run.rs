//! Sorted runs in a temporary file without a name, which is gone when the process is, however it ends.
//!
//! A line: length of the key and of the line (32 bits each, little-endian), key, line.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::{Pair, SortError};

/// The two lengths before each line.
const HEAD: usize = 8;

/// How much is written at once.
const WRITE: usize = 256 << 10;

/// Where a run lies in its file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    start: u64,
    end: u64,
}

/// A temporary file.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    dir: PathBuf,
    end: u64,
}

impl Spill {
    /// A file in `dir`.
    pub(super) fn create(dir: &Path) -> Result<Self, SortError> {
        let made = tempfile::tempfile_in(dir);
        let file = made.map_err(|source| SortError::Io { doing: "make", dir: dir.to_owned(), source })?;
        Ok(Self { file, dir: dir.to_owned(), end: 0 })
    }

    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same file, for one more reader.
    pub(super) fn again(&self) -> Result<Self, SortError> {
        let file = self.file.try_clone().map_err(|error| self.failed("open", error))?;
        Ok(Self { file, dir: self.dir.clone(), end: self.end })
    }

    /// Begins a run at the end of the file.
    pub(super) fn writer(&mut self) -> RunWriter<'_> {
        let (start, dir) = (self.end, &self.dir);
        RunWriter { start, end: &mut self.end, dir, file: BufWriter::with_capacity(WRITE, &self.file) }
    }

    fn failed(&self, doing: &'static str, source: io::Error) -> SortError {
        SortError::Io { doing, dir: self.dir.clone(), source }
    }
}

/// Writes one run.
#[derive(Debug)]
pub(super) struct RunWriter<'a> {
    start: u64,
    end: &'a mut u64,
    dir: &'a Path,
    file: BufWriter<&'a File>,
}

impl RunWriter<'_> {
    /// Writes a line; its key is greater than the one before.
    pub(super) fn push(&mut self, key: &[u8], line: &[u8]) -> Result<(), SortError> {
        let mut write = || {
            self.file.write_all(&(key.len() as u32).to_le_bytes())?;
            self.file.write_all(&(line.len() as u32).to_le_bytes())?;
            self.file.write_all(key)?;
            self.file.write_all(line)
        };
        write().map_err(|source| SortError::Io { doing: "write to", dir: self.dir.to_owned(), source })?;
        *self.end += (HEAD + key.len() + line.len()) as u64;
        Ok(())
    }

    pub(super) fn end(mut self) -> Result<Run, SortError> {
        let flushed = self.file.flush();
        flushed.map_err(|source| SortError::Io { doing: "write to", dir: self.dir.to_owned(), source })?;
        Ok(Run { start: self.start, end: *self.end })
    }
}

/// Reads one run through a window on it, which holds at least one line.
#[derive(Debug)]
pub(super) struct RunReader {
    window: Vec<u8>,
    size: usize,
    /// How much of the window lies before the current line.
    used: usize,
    /// The current line's key and line; `None` before the first and after the last.
    current: Option<(usize, usize)>,
    /// Where the file goes on behind the window.
    next: u64,
    end: u64,
}

impl RunReader {
    /// A reader that stands before the first line.
    pub(super) fn new(run: Run, size: usize) -> Self {
        Self { window: Vec::new(), size, used: 0, current: None, next: run.start, end: run.end }
    }

    /// Moves on to the next line. `false`: there is none.
    pub(super) fn advance(&mut self, spill: &Spill) -> Result<bool, SortError> {
        if let Some((key, line)) = self.current.take() {
            self.used += HEAD + key + line;
        }
        if !self.hold(HEAD, spill)? {
            return Ok(false);
        }
        let length = |at: usize| {
            let bytes = self.window[self.used + at..].first_chunk::<4>();
            bytes.map_or(0, |bytes| u32::from_le_bytes(*bytes) as usize)
        };
        let (key, line) = (length(0), length(4));
        if !self.hold(HEAD + key + line, spill)? {
            return Err(SortError::Altered { dir: spill.dir.clone() });
        }
        self.current = Some((key, line));
        Ok(true)
    }

    /// The current key and line.
    pub(super) fn current(&self) -> Pair<'_> {
        let (key, line) = self.current.unwrap_or_default();
        let start = if self.current.is_some() { self.used + HEAD } else { self.window.len() };
        self.window[start..][..key + line].split_at(key)
    }

    /// Sees to it that the window holds `n` bytes from `used` on. `false`: the run ends before.
    fn hold(&mut self, n: usize, spill: &Spill) -> Result<bool, SortError> {
        let have = self.window.len() - self.used;
        if have >= n {
            return Ok(true);
        }
        let left = usize::try_from(self.end - self.next).unwrap_or(usize::MAX);
        if have.saturating_add(left) < n {
            return if have + left == 0 { Ok(false) } else { Err(SortError::Altered { dir: spill.dir.clone() }) };
        }
        self.window.drain(..self.used);
        self.used = 0;
        // A line larger than the window takes more for as long as it is read.
        let want = left.min(self.size.max(n) - have);
        self.window.resize(have + want, 0);
        self.window.shrink_to(self.size);
        let read = spill.file.read_exact_at(&mut self.window[have..], self.next);
        read.map_err(|error| spill.failed("read", error))?;
        self.next += want as u64;
        Ok(true)
    }
}

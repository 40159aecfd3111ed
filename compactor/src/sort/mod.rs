//! Sorts any number of lines by their keys in bounded memory.
//!
//! Lines are collected in a [`buffer`]; when it is full it is sorted and written to a temporary file as a run
//! ([`run`]); at the end the runs are merged ([`merge`]), in several passes if there are more of them than can be
//! read at once. If everything fits, no file is made. Keys are bytes and all differ, so that the order that comes
//! out does not depend on where the runs were cut.

mod buffer;
mod merge;
mod run;

use std::io;
use std::path::{Path, PathBuf};

use buffer::Buffer;
use merge::Merge;
use run::{Run, Spill};

/// A key and its line.
type Pair<'a> = (&'a [u8], &'a [u8]);

/// Why a sort failed.
#[derive(Debug, thiserror::Error)]
pub enum SortError {
    /// The memory that it may use is not to be had.
    #[error("{bytes} bytes of memory are not to be had for sorting: allow fewer")]
    Memory {
        /// How much was asked for.
        bytes: usize,
    },
    /// The temporary file failed.
    #[error("failed to {doing} the temporary file for sorting in {}", .dir.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// The directory that it lies in.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was read back is not what was written.
    #[error("the temporary file for sorting in {} was read back altered", .dir.display())]
    Altered {
        /// The directory that it lies in.
        dir: PathBuf,
    },
}

/// How the memory is divided.
#[derive(Clone, Copy, Debug)]
struct Share {
    /// All of it.
    memory: usize,
    /// For each run that is read.
    window: usize,
    /// How many runs are read at once.
    fan_in: usize,
}

impl Share {
    fn of(memory: usize) -> Self {
        // Large reads while there is memory for many of them; more runs at once would only make the reads smaller.
        let window = (memory / 16).clamp(4 << 10, 256 << 10);
        Self { memory, window, fan_in: (memory / window).clamp(2, 512) }
    }
}

/// Takes lines in any order.
#[derive(Debug)]
pub(crate) struct Sorter {
    share: Share,
    dir: PathBuf,
    buffer: Buffer,
    spill: Option<Spill>,
    runs: Vec<Run>,
    lines: u64,
}

impl Sorter {
    /// A sorter that uses about `memory` bytes, and a nameless file in `dir` for what does not fit.
    pub(crate) fn new(memory: usize, dir: &Path) -> Self {
        Self {
            share: Share::of(memory),
            dir: dir.to_owned(),
            buffer: Buffer::new(memory),
            spill: None,
            runs: Vec::new(),
            lines: 0,
        }
    }

    /// How many lines it took.
    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    /// Takes a line. No two keys are the same.
    pub(crate) fn push(&mut self, key: &[u8], line: &[u8]) -> Result<(), SortError> {
        self.buffer.reserve().map_err(|()| SortError::Memory { bytes: self.share.memory })?;
        if !self.buffer.has_room(key, line) {
            self.spill()?;
        }
        self.buffer.push(key, line);
        self.lines += 1;
        Ok(())
    }

    /// Makes the buffer a run.
    fn spill(&mut self) -> Result<(), SortError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        self.buffer.sort();
        let spill = match &mut self.spill {
            Some(spill) => spill,
            None => self.spill.insert(Spill::create(&self.dir)?),
        };
        let mut writer = spill.writer();
        for at in 0..self.buffer.len() {
            let (key, line) = self.buffer.get(at);
            writer.push(key, line)?;
        }
        self.runs.push(writer.end()?);
        self.buffer.clear();
        Ok(())
    }

    /// Ends the taking: the lines come out sorted, together with how many runs were written.
    pub(crate) fn finish(mut self) -> Result<(Lines, u64), SortError> {
        if self.spill.is_none() {
            self.buffer.sort();
            return Ok((Lines::Memory { buffer: self.buffer, next: 0 }, 0));
        }
        self.spill()?;
        let Self { share, dir, buffer, spill, mut runs, .. } = self;
        // Its memory is what the merge reads with.
        drop(buffer);
        let written = runs.len() as u64;
        let mut spill = match spill {
            Some(spill) => spill,
            None => Spill::create(&dir)?,
        };
        while runs.len() > share.fan_in {
            (spill, runs) = merge_pass(spill, &runs, share)?;
        }
        Ok((Lines::Merge(Merge::new(spill, &runs, share.window)?), written))
    }
}

/// Merges each `fan_in` runs into one, in a new file; the old one goes.
fn merge_pass(from: Spill, runs: &[Run], share: Share) -> Result<(Spill, Vec<Run>), SortError> {
    let mut into = Spill::create(from.dir())?;
    let mut merged = Vec::with_capacity(runs.len().div_ceil(share.fan_in));
    for group in runs.chunks(share.fan_in) {
        let mut merge = Merge::new(from.again()?, group, share.window)?;
        let mut writer = into.writer();
        while let Some((key, line)) = merge.next()? {
            writer.push(key, line)?;
        }
        merged.push(writer.end()?);
    }
    Ok((into, merged))
}

/// The lines in order.
#[derive(Debug)]
pub(crate) enum Lines {
    /// They fitted.
    Memory { buffer: Buffer, next: usize },
    /// They did not.
    Merge(Merge),
}

impl Lines {
    /// The next key and line.
    pub(crate) fn next(&mut self) -> Result<Option<Pair<'_>>, SortError> {
        match self {
            Self::Memory { buffer, next } if *next < buffer.len() => {
                *next += 1;
                Ok(Some(buffer.get(*next - 1)))
            }
            Self::Memory { .. } => Ok(None),
            Self::Merge(merge) => merge.next(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = Vec<(Vec<u8>, Vec<u8>)>;

    fn sorted(memory: usize, pairs: &Owned) -> (Owned, u64) {
        let dir = tempfile::tempdir().unwrap();
        let mut sorter = Sorter::new(memory, dir.path());
        for (key, line) in pairs {
            sorter.push(key, line).unwrap();
        }
        assert_eq!(sorter.lines(), pairs.len() as u64);
        let (mut lines, runs) = sorter.finish().unwrap();
        let mut out = Vec::new();
        while let Some((key, line)) = lines.next().unwrap() {
            out.push((key.to_vec(), line.to_vec()));
        }
        let left = std::fs::read_dir(dir.path()).unwrap().count();
        assert_eq!(left, 0, "the temporary file has no name");
        (out, runs)
    }

    /// Keys with long common beginnings, and such as are the beginning of others.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        prop_oneof![
            "[ab]{0,40}".prop_map(String::into_bytes),
            prop::collection::vec(any::<u8>(), 0..24),
            ("[a]{20}", prop::collection::vec(any::<u8>(), 0..3)).prop_map(|(a, b)| [a.as_bytes(), &b].concat()),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(96))]
        #[test]
        fn any_memory_gives_the_same_order(
            map in prop::collection::hash_map(keys(), prop::collection::vec(any::<u8>(), 0..300), 0..400),
            memory in prop_oneof![Just(0_usize), 100..2000_usize, 2000..100_000_usize],
        ) {
            let pairs: Vec<_> = map.into_iter().collect();
            let mut expected = pairs.clone();
            expected.sort();
            prop_assert_eq!(sorted(memory, &pairs).0, expected);
        }
    }

    #[test]
    fn more_runs_than_can_be_read_at_once_are_merged_in_passes() {
        let pairs: Vec<_> =
            (0..3000_u32).map(|n| (n.wrapping_mul(2_654_435_761).to_be_bytes().to_vec(), vec![7; 40])).collect();
        let mut expected = pairs.clone();
        expected.sort();
        let (out, runs) = sorted(2000, &pairs);
        assert!(runs > 100, "{runs} runs");
        assert!(out == expected);
    }

    #[test]
    fn a_line_larger_than_the_memory_is_sorted_all_the_same() {
        let pairs: Vec<_> = (0..5_u8).rev().map(|n| (vec![n], vec![n; 300_000])).collect();
        let (out, runs) = sorted(1000, &pairs);
        assert_eq!(runs, 5);
        assert!(out.iter().map(|(key, line)| (key[0], line.len(), line[0])).eq((0..5).map(|n| (n, 300_000, n))));
    }

    #[test]
    fn memory_that_cannot_be_had_is_an_error() {
        let mut sorter = Sorter::new(usize::MAX, Path::new("/"));
        let error = sorter.push(b"k", b"v").unwrap_err();
        assert!(matches!(error, SortError::Memory { .. }), "{error}");
    }

    #[test]
    fn a_directory_that_takes_no_file_is_named() {
        let mut sorter = Sorter::new(0, Path::new("/no/such/dir"));
        sorter.push(b"a", b"1").unwrap();
        let error = sorter.push(b"b", b"2").unwrap_err();
        assert_eq!(error.to_string(), "failed to make the temporary file for sorting in /no/such/dir");
    }
}

//! Merges sorted runs: a binary heap of readers, the one with the least key on top.

use super::run::{Run, RunReader, Spill};
use super::{Pair, SortError};

/// Several runs as one.
#[derive(Debug)]
pub(crate) struct Merge {
    spill: Spill,
    /// A heap by current key; every reader in it stands on a line.
    heap: Vec<RunReader>,
    /// Whether the line on top was given out.
    given: bool,
}

impl Merge {
    pub(super) fn new(spill: Spill, runs: &[Run], window: usize) -> Result<Self, SortError> {
        let mut heap = Vec::with_capacity(runs.len());
        for run in runs {
            let mut reader = RunReader::new(*run, window);
            if reader.advance(&spill)? {
                heap.push(reader);
            }
        }
        let mut merge = Self { spill, heap, given: false };
        for at in (0..merge.heap.len() / 2).rev() {
            merge.sift_down(at);
        }
        Ok(merge)
    }

    /// The next key and line.
    pub(super) fn next(&mut self) -> Result<Option<Pair<'_>>, SortError> {
        if self.given
            && let Some(top) = self.heap.first_mut()
        {
            if !top.advance(&self.spill)? {
                self.heap.swap_remove(0);
            }
            self.sift_down(0);
        }
        self.given = true;
        Ok(self.heap.first().map(RunReader::current))
    }

    fn sift_down(&mut self, mut at: usize) {
        loop {
            let mut least = at;
            for child in [2 * at + 1, 2 * at + 2] {
                if child < self.heap.len() && self.heap[child].current().0 < self.heap[least].current().0 {
                    least = child;
                }
            }
            if least == at {
                return;
            }
            self.heap.swap(at, least);
            at = least;
        }
    }
}

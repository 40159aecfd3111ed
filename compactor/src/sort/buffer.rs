//! Lines in memory: their bytes end to end, and an index that is what is sorted.

use super::Pair;

/// Bytes of the index for each line.
const ENTRY: usize = size_of::<Entry>();

/// Where a line lies.
#[derive(Clone, Copy, Debug)]
struct Entry {
    /// The sixteen bytes of the key behind what all keys have in common, once sorted by. Nearly every comparison ends
    /// here, without a look at the key itself, which lies anywhere in memory.
    lead: u128,
    start: usize,
    key: u32,
    line: u32,
}

/// Lines in memory.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    entries: Vec<Entry>,
    max_bytes: usize,
    max_entries: usize,
    /// How many bytes all keys have in common.
    common: usize,
}

impl Buffer {
    /// A buffer of about `memory` bytes, none of which it takes yet.
    pub(super) fn new(memory: usize) -> Self {
        let max_entries = (memory / 3 / ENTRY).max(1);
        Self { bytes: Vec::new(), entries: Vec::new(), max_bytes: memory / 3 * 2, max_entries, common: 0 }
    }

    /// Claims all of the memory at once: growing step by step would take half as much again, and the system gives
    /// pages only once they are used.
    pub(super) fn reserve(&mut self) -> Result<(), ()> {
        if self.entries.capacity() > 0 {
            return Ok(());
        }
        self.bytes.try_reserve_exact(self.max_bytes).map_err(|_| ())?;
        self.entries.try_reserve_exact(self.max_entries).map_err(|_| ())
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Whether a line still fits. An empty buffer takes any.
    pub(super) fn has_room(&self, key: &[u8], line: &[u8]) -> bool {
        self.is_empty()
            || (self.entries.len() < self.max_entries && self.bytes.len() + key.len() + line.len() <= self.max_bytes)
    }

    /// Takes a line. Neither key nor line reaches 4 GiB: a ledger's line has 1 MiB at most.
    pub(super) fn push(&mut self, key: &[u8], line: &[u8]) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(key);
        self.bytes.extend_from_slice(line);
        self.common = match self.entries.first() {
            None => key.len(),
            Some(first) => common(&self.bytes[first.start..][..self.common], key),
        };
        self.entries.push(Entry { lead: 0, start, key: key.len() as u32, line: line.len() as u32 });
    }

    /// Brings the lines into the order of their keys.
    pub(super) fn sort(&mut self) {
        let Self { bytes, entries, common, .. } = self;
        let key = |entry: &Entry| &bytes[entry.start..][..entry.key as usize];
        for entry in &mut *entries {
            entry.lead = lead(&key(entry)[*common..]);
        }
        entries.sort_unstable_by(|a, b| a.lead.cmp(&b.lead).then_with(|| key(a).cmp(key(b))));
    }

    /// The key and the line at a place.
    pub(super) fn get(&self, at: usize) -> Pair<'_> {
        let Entry { start, key, line, .. } = self.entries[at];
        self.bytes[start..][..key as usize + line as usize].split_at(key as usize)
    }

    /// Forgets the lines and keeps the memory, but not what one huge line took beyond it.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(self.max_bytes);
        self.entries.clear();
        self.common = 0;
    }
}

/// How many bytes two keys have in common at their beginning.
fn common(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// The first sixteen bytes as a number, zeros for what is missing. Where two numbers differ, their order is that of
/// the bytes.
fn lead(bytes: &[u8]) -> u128 {
    let mut first = [0; 16];
    let n = bytes.len().min(16);
    first[..n].copy_from_slice(&bytes[..n]);
    u128::from_be_bytes(first)
}

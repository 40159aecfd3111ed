//! The set of accepted identities: what tells a duplicate from a new candidate.
//!
//! It is the largest thing in an orchestrator's memory, so an entry is 32 bytes: 128 bits of the digest, the seq, and
//! the offset of the one numeric field that most contracts have. Two different candidates share 128 bits of a
//! SHA-256 with probability 2^-128 a pair.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::identity::same;
use super::screen::{Probe, Screened};
use crate::digest::Digest;
use crate::id::Seq;

/// A map is grown by moving all of it: with this many, growth stops the engine for a fraction as long each time, and
/// old and new table of only one are in memory at once.
const SHARDS: usize = 64;

/// A set smaller than this is one map: the sets that live as long as a batch should cost little.
const SHARDED_FROM: usize = 1 << 14;

type Shard<V> = HashMap<u128, V, BuildHasherDefault<DigestBits>>;

/// Every accepted candidate's identity, and the seq of the record that accepted it.
#[derive(Clone, Debug, Default)]
pub struct AcceptedSet {
    /// None before the first insert, then one, then [`SHARDS`], by the digest's top bits.
    shards: Vec<Shard<Entry>>,
    /// Offsets of candidates with two numeric fields or more.
    wide: Shard<Box<[u32]>>,
    len: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    seq: Seq,
    /// The offset of the only numeric field.
    offset: u32,
    /// How many numeric fields there are: from two on, `wide` has their offsets.
    fields: u32,
}

const _: () = assert!(size_of::<(u128, Entry)>() == 32);

impl AcceptedSet {
    /// An empty set.
    pub fn new() -> Self {
        Self::default()
    }

    /// The first candidate ever accepted that is the same as this one, if there is one.
    ///
    /// Being the same is not transitive, so that there may be several, in buckets side by side. The first one is the
    /// answer that never changes: what is accepted later has a greater seq, so a batch that is sent again gets the
    /// verdicts that it got.
    pub fn find(&self, candidate: &Screened) -> Option<Seq> {
        self.find_raw(candidate.digest(), candidate.offsets(), candidate.neighbours())
    }

    /// [`Self::find`], from a candidate's parts.
    pub fn find_raw(&self, digest: Digest, offsets: &[u32], neighbours: &[Probe]) -> Option<Seq> {
        // Two candidates in one bucket are less than a quantum apart.
        let own = self.entry(digest.truncated()).map(|entry| entry.seq);
        let same_as = |probe: &Probe| {
            let key = probe.digest.truncated();
            let entry = self.entry(key)?;
            self.is_same(key, entry, offsets, &probe.steps).then_some(entry.seq)
        };
        own.into_iter().chain(neighbours.iter().filter_map(same_as)).min()
    }

    /// Adds an accepted candidate, as its record has it. The first one of a bucket stays.
    pub fn insert(&mut self, digest: Digest, offsets: &[u32], seq: Seq) {
        let key = digest.truncated();
        self.grow();
        let shard = self.shard_of(key);
        let std::collections::hash_map::Entry::Vacant(place) = self.shards[shard].entry(key) else { return };
        let (offset, fields) = match offsets {
            [] => (0, 0),
            [offset] => (*offset, 1),
            several => {
                self.wide.insert(key, several.into());
                (0, several.len() as u32)
            }
        };
        place.insert(Entry { seq, offset, fields });
        self.len += 1;
    }

    /// How many candidates it holds.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// About how many bytes of memory it takes.
    pub fn heap_bytes(&self) -> usize {
        // The standard map keeps one control byte a slot, and has 8 slots for every 7 of its capacity.
        let table = |capacity: usize, pair: usize| capacity * 8 / 7 * (pair + 1);
        let shards: usize = self.shards.iter().map(|shard| table(shard.capacity(), 32)).sum();
        let offsets: usize = self.wide.values().map(|offsets| size_of_val(&**offsets)).sum();
        shards + table(self.wide.capacity(), size_of::<(u128, Box<[u32]>)>()) + offsets
    }

    fn entry(&self, key: u128) -> Option<&Entry> {
        self.shards.get(self.shard_of(key))?.get(&key)
    }

    fn shard_of(&self, key: u128) -> usize {
        if self.shards.len() == SHARDS { (key >> (128 - SHARDS.ilog2())) as usize } else { 0 }
    }

    fn grow(&mut self) {
        if self.shards.is_empty() {
            self.shards.push(Shard::default());
        }
        if self.shards.len() == 1 && self.len >= SHARDED_FROM {
            let all = std::mem::take(&mut self.shards);
            self.shards.resize_with(SHARDS, Shard::default);
            for (key, entry) in all.into_iter().flatten() {
                let shard = self.shard_of(key);
                self.shards[shard].insert(key, entry);
            }
        }
    }

    fn is_same(&self, key: u128, entry: &Entry, offsets: &[u32], steps: &[i8]) -> bool {
        match entry.fields {
            0 => same(offsets, steps, &[]),
            1 => same(offsets, steps, &[entry.offset]),
            _ => self.wide.get(&key).is_some_and(|theirs| same(offsets, steps, theirs)),
        }
    }
}

/// Digests are random bits already: their low half is the hash.
#[derive(Default)]
struct DigestBits(u64);

impl Hasher for DigestBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not reached for u128 keys; right for any other.
        for &byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(byte);
        }
    }

    fn write_u128(&mut self, bits: u128) {
        self.0 = bits as u64;
    }
}

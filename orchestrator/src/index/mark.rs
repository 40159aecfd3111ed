//! The mark: how far the index is, and a digest (XXH3) by which damage shows.
//!
//! It is written in the same atomic step as the keys that it speaks of.

use orch_core::id::Seq;
use twox_hash::XxHash3_128;

use super::keys;
use super::store::{Store, StoreError};

/// Where the index stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Mark {
    /// The last record that is in it.
    pub(super) applied: Seq,
    /// The checksum of that record's line: tells a ledger that was put back to an older copy and went on from there.
    pub(super) witness: u32,
    /// How many keys there are beside the mark.
    pub(super) keys: u64,
    /// The sum of [`pair`] over them; the order in which they came does not matter.
    pub(super) digest: u128,
}

/// What a key and its value add to the digest.
pub(super) fn pair(key: &[u8], value: &[u8]) -> u128 {
    // Not of both in a row: (ab, c) and (a, bc) are two pairs.
    let of_key = XxHash3_128::oneshot(key);
    XxHash3_128::oneshot_with_seed(of_key as u64, value).wrapping_add(of_key.rotate_left(64))
}

const BYTES: usize = 8 + 4 + 8 + 16;

impl Mark {
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { applied, witness, keys, digest } = self;
        let mut bytes = Vec::with_capacity(BYTES);
        bytes.extend_from_slice(&applied.0.to_be_bytes());
        bytes.extend_from_slice(&witness.to_be_bytes());
        bytes.extend_from_slice(&keys.to_be_bytes());
        bytes.extend_from_slice(&digest.to_be_bytes());
        bytes
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        Some(Self {
            applied: Seq(u64::from_be_bytes(bytes[..8].try_into().ok()?)),
            witness: u32::from_be_bytes(bytes[8..12].try_into().ok()?),
            keys: u64::from_be_bytes(bytes[12..20].try_into().ok()?),
            digest: u128::from_be_bytes(bytes[20..].try_into().ok()?),
        })
    }

    pub(super) fn add(&mut self, key: &[u8], value: &[u8]) {
        self.keys += 1;
        self.digest = self.digest.wrapping_add(pair(key, value));
    }

    pub(super) fn remove(&mut self, key: &[u8], value: &[u8]) {
        self.keys = self.keys.wrapping_sub(1);
        self.digest = self.digest.wrapping_sub(pair(key, value));
    }
}

/// The mark of a store, checked against every key in it. None if it is a new one.
pub(super) fn verified(store: &dyn Store) -> Result<Option<Mark>, StoreError> {
    const CHUNK: usize = 512;
    let mut found = Mark::default();
    let mut from = vec![0];
    loop {
        let pairs = store.range(&from, &[u8::MAX], CHUNK)?;
        for (key, value) in pairs.iter().filter(|(key, _)| key != keys::MARK) {
            found.add(key, value);
        }
        match pairs.last() {
            Some((key, _)) if pairs.len() == CHUNK => {
                from.clone_from(key);
                from.push(0);
            }
            Some(_) | None => break,
        }
    }
    let Some(bytes) = store.get(keys::MARK)? else {
        if found.keys == 0 {
            return Ok(None);
        }
        return Err(StoreError::Damaged(format!("{} keys and no mark", found.keys)));
    };
    let mark = Mark::decode(&bytes).ok_or_else(|| StoreError::Damaged("its mark cannot be read".into()))?;
    if (found.keys, found.digest) != (mark.keys, mark.digest) {
        let what = format!("{} keys where its mark says {}, or other ones", found.keys, mark.keys);
        return Err(StoreError::Damaged(what));
    }
    Ok(Some(mark))
}

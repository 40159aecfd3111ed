//! Maps by seq. Seqs are given out by the ledger, one after the other, so that nobody can choose them to collide: they need
//! no defence against that, and one multiplication spreads them.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from ids that are seqs.
pub(super) type SeqMap<K, V> = HashMap<K, V, BuildHasherDefault<SeqHasher>>;

/// Spreads one number.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeqHasher(u64);

impl Hasher for SeqHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, n: u64) {
        // The golden ratio: the high bits, which choose the group, and the low ones both depend on every bit.
        let spread = (self.0 ^ n).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        self.0 = spread ^ (spread >> 32);
    }
}

//! Entries lie in blocks: those of the 64 jobs whose ids differ in the last six bits only, under one key.
//!
//! A key per job would cost sled about 15 µs and 1 KiB of memory for each; jobs that are submitted together, and
//! change together, share a key instead. Which places of a block belong to a queue and phase is a bitmap.
//!
//! ```text
//! <bitmap of the places that are taken: 8> { <length: LEB128> <entry> } per place, ascending
//! ```

use orch_core::id::JobId;

use super::bytes::{Reader, Writer};
use super::entry::Entry;
use super::store::StoreError;

/// The number of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct BlockId(pub(super) u64);

/// A place in a block, 0 to 63.
pub(super) type Place = u32;

/// The block and place of a job.
pub(super) const fn locate(job: JobId) -> (BlockId, Place) {
    (BlockId(job.get() >> 6), (job.get() & 63) as Place)
}

impl BlockId {
    /// The job at a place.
    pub(super) const fn job(self, place: Place) -> JobId {
        JobId::new(self.0 << 6 | place as u64)
    }

    /// An error that names this block.
    pub(super) fn unreadable(self) -> StoreError {
        StoreError::Damaged(format!("the block of jobs {} to {} cannot be read", self.job(0), self.job(63)))
    }
}

/// The entries of a block, by place.
pub(super) fn entries(bytes: &[u8]) -> Option<Vec<(Place, &[u8])>> {
    let (taken, rest) = bytes.split_first_chunk::<8>()?;
    let mut rest = Reader(rest);
    let entries = places(u64::from_be_bytes(*taken)).map(|place| Some((place, rest.raw()?)));
    let entries = entries.collect::<Option<_>>()?;
    rest.0.is_empty().then_some(entries)
}

/// The bytes of a block with these entries, which are ordered by place.
pub(super) fn encode<'a>(entries: impl Iterator<Item = (Place, &'a [u8])>) -> Vec<u8> {
    let mut taken = 0u64;
    let mut bytes = Writer(vec![0; 8]);
    for (place, entry) in entries {
        taken |= 1 << place;
        bytes.raw(entry);
    }
    bytes.0[..8].copy_from_slice(&taken.to_be_bytes());
    bytes.0
}

/// The entry at a place.
pub(super) fn find(block: BlockId, place: Place, bytes: &[u8]) -> Result<Option<Entry>, StoreError> {
    let entries = entries(bytes).ok_or_else(|| block.unreadable())?;
    let Some((_, entry)) = entries.iter().find(|(at, _)| *at == place) else { return Ok(None) };
    Entry::decode(entry).map(Some).ok_or_else(|| block.unreadable())
}

/// The places that a bitmap names, ascending.
pub(super) fn places(mut bitmap: u64) -> impl Iterator<Item = Place> {
    std::iter::from_fn(move || {
        let place = bitmap.trailing_zeros();
        bitmap &= bitmap.wrapping_sub(1);
        (place < 64).then_some(place)
    })
}

/// A bitmap from its bytes.
pub(super) fn bitmap(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_block_survives_its_bytes(
            held in proptest::collection::btree_map(0..64u32, proptest::collection::vec(any::<u8>(), 0..300), 0..64)
        ) {
            let bytes = encode(held.iter().map(|(place, entry)| (*place, &entry[..])));
            let found = entries(&bytes).unwrap();
            let found: BTreeMap<Place, Vec<u8>> = found.into_iter().map(|(place, entry)| (place, entry.to_vec())).collect();
            prop_assert_eq!(found, held);
            prop_assert_eq!(entries(&bytes[..bytes.len() - 1]), None);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = entries(&bytes);
        }

        #[test]
        fn a_job_has_one_place(job in any::<u64>()) {
            let (block, place) = locate(JobId::new(job));
            prop_assert_eq!(block.job(place), JobId::new(job));
            prop_assert_eq!(places(1 << place).collect::<Vec<_>>(), [place]);
        }
    }
}

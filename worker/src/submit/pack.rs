//! Packs candidates into batches that fit the orchestrator's bounds. Pure.

use prost::bytes::Bytes;

use super::message::cost;

/// How large one batch may be; the orchestrator says so at registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchLimits {
    pub bytes: usize,
    pub candidates: usize,
}

/// One candidate that no batch can hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a candidate of {bytes} bytes is larger than a whole batch may be ({limit} bytes)")]
pub(crate) struct TooLarge {
    pub bytes: usize,
    pub limit: usize,
}

/// The batch that is being filled.
#[derive(Debug)]
pub(crate) struct Packer {
    limits: BatchLimits,
    candidates: Vec<Bytes>,
    bytes: usize,
}

impl Packer {
    pub(crate) fn new(limits: BatchLimits) -> Self {
        Self { limits, candidates: Vec::new(), bytes: 0 }
    }

    /// Adds a candidate; a batch that it did not fit into comes back, ready to go.
    ///
    /// # Errors
    /// [`TooLarge`] if no batch can hold it; what was added before stays.
    pub(crate) fn add(&mut self, candidate: Bytes) -> Result<Option<Vec<Bytes>>, TooLarge> {
        let bytes = cost(&candidate);
        if bytes > self.limits.bytes {
            return Err(TooLarge { bytes: candidate.len(), limit: self.limits.bytes });
        }
        let full = self.bytes + bytes > self.limits.bytes || self.candidates.len() >= self.limits.candidates.max(1);
        let ready = if full { self.take() } else { None };
        self.bytes += bytes;
        self.candidates.push(candidate);
        Ok(ready)
    }

    /// What was added since the last batch, if anything.
    pub(crate) fn take(&mut self) -> Option<Vec<Bytes>> {
        self.bytes = 0;
        (!self.candidates.is_empty()).then(|| std::mem::take(&mut self.candidates))
    }

    /// Whether nothing waits to be packed.
    pub(crate) fn is_empty(&self) -> bool {
        self.candidates.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_candidate_beyond_every_batch_is_refused_by_its_size() {
        let mut packer = Packer::new(BatchLimits { bytes: 100, candidates: 10 });
        let error = packer.add(Bytes::from(vec![b'x'; 96])).unwrap_err();
        assert_eq!(error.to_string(), "a candidate of 96 bytes is larger than a whole batch may be (100 bytes)");
        assert!(packer.is_empty());
    }

    proptest! {
        #[test]
        fn batches_keep_order_and_bounds(sizes in prop::collection::vec(0_usize..90, 0..200), most in 1_usize..20) {
            let limits = BatchLimits { bytes: 100, candidates: most };
            let mut packer = Packer::new(limits);
            let candidates: Vec<Bytes> =
                sizes.iter().enumerate().map(|(i, &n)| Bytes::from(vec![(i % 251) as u8; n])).collect();
            let mut batches = Vec::new();
            for candidate in &candidates {
                batches.extend(packer.add(candidate.clone()).unwrap());
            }
            batches.extend(packer.take());
            for batch in &batches {
                prop_assert!(!batch.is_empty() && batch.len() <= most);
                prop_assert!(batch.iter().map(cost).sum::<usize>() <= limits.bytes);
            }
            prop_assert_eq!(batches.concat(), candidates);
            prop_assert!(packer.take().is_none());
        }
    }
}

//! Receipts: which chain link stands for a record.

use std::collections::VecDeque;

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::receipt::Receipt;

/// The last batches and their links: 40 bytes each, enough for every worker that asks again after a restart.
const REMEMBERED: usize = 100_000;

/// The chain links of the last batches.
#[derive(Default)]
pub(super) struct Receipts {
    /// Last seq and link per batch, oldest first.
    links: VecDeque<(Seq, Digest)>,
    /// The last record before the first remembered batch.
    forgotten: Seq,
}

impl Receipts {
    /// Takes a durable batch.
    pub(super) fn note(&mut self, last: Seq, chain: Digest) {
        self.links.push_back((last, chain));
        if self.links.len() > REMEMBERED
            && let Some((seq, _)) = self.links.pop_front()
        {
            self.forgotten = seq;
        }
    }

    /// The receipt for a record; None if it is not durable or too long ago.
    pub(super) fn find(&self, seq: Seq) -> Option<Receipt> {
        if seq <= self.forgotten {
            return None;
        }
        let index = self.links.partition_point(|(last, _)| *last < seq);
        self.links.get(index).map(|(_, chain)| Receipt { seq, chain: *chain, ..Receipt::default() })
    }

    /// The receipt for everything that is durable.
    pub(super) fn head(&self) -> Receipt {
        let (seq, chain) = self.links.back().copied().unwrap_or_default();
        Receipt { seq, chain, ..Receipt::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_names_the_batch_that_holds_the_record() {
        let mut receipts = Receipts::default();
        let (one, two) = (Digest::of(b"1"), Digest::of(b"2"));
        receipts.note(Seq(3), one);
        receipts.note(Seq(5), two);
        let chain = |seq| receipts.find(Seq(seq)).map(|receipt| receipt.chain);
        assert_eq!(
            [chain(1), chain(3), chain(4), chain(5), chain(6)],
            [Some(one), Some(one), Some(two), Some(two), None]
        );
        assert_eq!(receipts.head(), Receipt { seq: Seq(5), chain: two, ..Receipt::default() });
    }
}

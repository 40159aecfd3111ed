//! A token bucket in whole numbers: exact, and the same on replay.

use crate::limit::Rate;
use crate::time::{Span, Timestamp};

/// How full a bucket is. A token is `per` parts, and each millisecond brings `tokens` parts, so that nothing is rounded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bucket {
    rate: Rate,
    parts: u128,
    /// The latest time that it has seen. Wall time that jumps back brings nothing.
    at: Timestamp,
}

impl Bucket {
    /// A full bucket.
    pub(super) fn new(rate: Rate, at: Timestamp) -> Self {
        Self { rate, parts: capacity(rate), at }
    }

    /// The same bucket under another rate: what is in it stays, as far as there is room.
    pub(super) fn change(&mut self, rate: Rate, at: Timestamp) {
        let parts = self.parts_at(at);
        let scaled = parts * u128::from(rate.per.0) / u128::from(self.rate.per.0.max(1));
        *self = Self { rate, parts: scaled.min(capacity(rate)), at: self.at.max(at) };
    }

    fn parts_at(&self, now: Timestamp) -> u128 {
        let gained = u128::from(now.since(self.at).0) * u128::from(self.rate.tokens);
        (self.parts + gained).min(capacity(self.rate))
    }

    /// Takes a token, or what there is of one.
    pub(super) fn take(&mut self, at: Timestamp) {
        let parts = self.parts_at(at);
        self.parts = parts.saturating_sub(u128::from(self.rate.per.0));
        self.at = self.at.max(at);
    }

    /// Whether there is a token.
    pub(super) fn has_token(&self, now: Timestamp) -> bool {
        self.parts_at(now) >= u128::from(self.rate.per.0)
    }

    /// When there is a token; a time that is over if there is one now.
    pub(super) fn token_at(&self) -> Timestamp {
        self.reaches(u128::from(self.rate.per.0))
    }

    /// When it is full.
    pub(super) fn full_at(&self) -> Timestamp {
        self.reaches(capacity(self.rate))
    }

    fn reaches(&self, parts: u128) -> Timestamp {
        let missing = parts.saturating_sub(self.parts);
        let wait = missing.div_ceil(u128::from(self.rate.tokens.max(1)));
        self.at.plus(Span(u64::try_from(wait).unwrap_or(u64::MAX)))
    }

    /// Whole tokens in it.
    pub(super) fn tokens(&self, now: Timestamp) -> u64 {
        u64::try_from(self.parts_at(now) / u128::from(self.rate.per.0.max(1))).unwrap_or(u64::MAX)
    }
}

fn capacity(rate: Rate) -> u128 {
    u128::from(rate.burst) * u128::from(rate.per.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: Rate = Rate { tokens: 3, per: Span(1000), burst: 2 };

    #[test]
    fn a_bucket_gives_its_burst_and_then_its_rate() {
        let mut bucket = Bucket::new(RATE, Timestamp(0));
        assert_eq!((bucket.tokens(Timestamp(0)), bucket.token_at()), (2, Timestamp(0)));
        bucket.take(Timestamp(0));
        bucket.take(Timestamp(0));
        // A third of a second, rounded up to the millisecond in which the token is whole.
        assert_eq!((bucket.tokens(Timestamp(333)), bucket.token_at()), (0, Timestamp(334)));
        bucket.take(Timestamp(334));
        assert_eq!(bucket.token_at(), Timestamp(667), "the rounding is not lost");
        assert_eq!(bucket.full_at(), Timestamp(1000));
    }

    #[test]
    fn time_that_jumps_back_brings_nothing() {
        let mut bucket = Bucket::new(RATE, Timestamp(10_000));
        bucket.take(Timestamp(10_000));
        bucket.take(Timestamp(5_000));
        assert_eq!(bucket.token_at(), Timestamp(10_334));
    }

    #[test]
    fn a_new_rate_keeps_what_is_in_the_bucket() {
        let mut bucket = Bucket::new(RATE, Timestamp(0));
        bucket.take(Timestamp(0));
        bucket.change(Rate { tokens: 1, per: Span(60_000), burst: 10 }, Timestamp(0));
        assert_eq!(bucket.tokens(Timestamp(0)), 1);
        assert_eq!(bucket.full_at(), Timestamp(9 * 60_000));
    }
}

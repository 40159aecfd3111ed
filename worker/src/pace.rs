//! How long to wait before trying again: exponential, bounded, and spread so that a thousand workers that lost the
//! same orchestrator do not return in the same millisecond.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// The waits between tries of one thing. Never gives up by itself.
#[derive(Debug)]
pub(crate) struct Pace {
    first: Duration,
    cap: Duration,
    waits: ExponentialBackoff,
}

impl Pace {
    /// Waits that start between `first` and twice that, double, and stay below twice `cap`.
    pub(crate) fn new(first: Duration, cap: Duration) -> Self {
        Self { first, cap, waits: waits(first, cap) }
    }

    /// For calls to the orchestrator: from 0.1 s to 10 s, so that a restarted orchestrator is found within seconds.
    pub(crate) fn of_calls() -> Self {
        Self::new(Duration::from_millis(100), Duration::from_secs(5))
    }

    /// How long to wait now.
    pub(crate) fn next_wait(&mut self) -> Duration {
        self.waits.next().unwrap_or(self.cap)
    }

    /// The thing worked: the next wait is a short one again.
    pub(crate) fn reset(&mut self) {
        self.waits = waits(self.first, self.cap);
    }
}

fn waits(first: Duration, cap: Duration) -> ExponentialBackoff {
    // backon adds a jitter between nothing and the wait itself.
    ExponentialBuilder::default()
        .with_min_delay(first)
        .with_max_delay(cap)
        .with_factor(2.0)
        .without_max_times()
        .with_jitter()
        .build()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_cap_and_start_again_after_success() {
        let (first, cap) = (Duration::from_millis(100), Duration::from_secs(5));
        let mut pace = Pace::new(first, cap);
        let waits: Vec<Duration> = (0..50).map(|_| pace.next_wait()).collect();
        assert!(waits[0] >= first && waits[0] <= 2 * first, "{:?}", waits[0]);
        assert!(waits.iter().all(|&wait| wait <= 2 * cap));
        assert!(waits[10..].iter().all(|&wait| wait >= cap));
        pace.reset();
        assert!(pace.next_wait() <= 2 * first);
    }
}

//! How long jobs stood ready until a worker had them, by queue: in so much memory and no more, whatever they waited.
//!
//! Counts of times in steps of an eighth of a power of two, so that a quantile is at most an eighth too long.

use orch_core::time::Span;

/// Queues of which the times are kept; more than this many are not measured one by one.
const MAX_QUEUES: usize = 1000;

/// Parts of each power of two, as a power of two.
const PART_BITS: u32 = 3;

/// Steps up to two years in milliseconds; what took longer counts as that.
const STEPS: usize = 36 << PART_BITS;

/// The times of one queue.
#[derive(Clone, Debug)]
pub struct Waits {
    steps: Box<[u64; STEPS]>,
    count: u64,
    longest: Span,
}

impl Default for Waits {
    fn default() -> Self {
        Self { steps: Box::new([0; STEPS]), count: 0, longest: Span(0) }
    }
}

impl Waits {
    fn note(&mut self, wait: Span) {
        self.steps[step(wait)] += 1;
        self.count += 1;
        self.longest = self.longest.max(wait);
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The longest.
    pub fn longest(&self) -> Span {
        self.longest
    }

    /// A time that so many hundredths of them did not exceed; None if there are none.
    pub fn quantile(&self, hundredths: u64) -> Option<Span> {
        let wanted = (u128::from(self.count) * u128::from(hundredths)).div_ceil(100).max(1);
        let mut seen = 0;
        let reached = self.steps.iter().position(|count| {
            seen += u128::from(*count);
            seen >= wanted
        });
        reached.map(|step| end_of(step).min(self.longest))
    }
}

/// The step that a time belongs to.
fn step(wait: Span) -> usize {
    let ms = wait.0;
    let power = ms.checked_ilog2().unwrap_or(0);
    if power < PART_BITS {
        // The first steps are single milliseconds.
        return usize::try_from(ms).unwrap_or(0);
    }
    let part = (ms >> (power - PART_BITS)) - (1 << PART_BITS);
    let step = (u64::from(power - PART_BITS + 1) << PART_BITS) + part;
    usize::try_from(step).unwrap_or(STEPS).min(STEPS - 1)
}

/// The longest time that belongs to a step.
fn end_of(step: usize) -> Span {
    let (power, part) = (step >> PART_BITS, step as u64 & ((1 << PART_BITS) - 1));
    match power {
        0 => Span(part),
        _ => Span((((1 << PART_BITS) + part + 1) << (power - 1)) - 1),
    }
}

/// The times by the queue's number, since the engine started.
#[derive(Clone, Debug, Default)]
pub struct WaitsByQueue {
    by_number: Vec<Option<Waits>>,
    measured: usize,
}

impl WaitsByQueue {
    /// The times of a queue, if one of its jobs was leased.
    pub fn of(&self, queue: u32) -> Option<&Waits> {
        self.by_number.get(queue as usize)?.as_ref()
    }

    /// Forgets the queues from this number on: they were undone, and others get their numbers.
    pub(super) fn truncate(&mut self, queues: usize) {
        self.by_number.truncate(queues);
        self.measured = self.by_number.iter().flatten().count();
    }

    pub(super) fn note(&mut self, queue: u32, wait: Span) {
        let place = queue as usize;
        if place >= self.by_number.len() {
            self.by_number.resize(place + 1, None);
        }
        let waits = &mut self.by_number[place];
        if waits.is_none() && self.measured < MAX_QUEUES {
            *waits = Some(Waits::default());
            self.measured += 1;
        }
        if let Some(waits) = waits {
            waits.note(wait);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_belongs_to_the_step_that_ends_with_it_or_behind_it() {
        let mut last = None;
        for step in 0..STEPS {
            let end = end_of(step);
            assert_eq!(super::step(end), step, "{end:?}");
            assert!(last.is_none_or(|last: Span| super::step(Span(last.0 + 1)) == step), "step {step}");
            if let Some(Span(before)) = last {
                assert!(end.0 - before <= 1.max((before + 1) / 8), "a step is at most an eighth: {before} to {end:?}");
            }
            last = Some(end);
        }
        assert_eq!(step(Span(u64::MAX)), STEPS - 1);
    }

    #[test]
    fn quantiles_are_at_most_an_eighth_too_long() {
        let mut waits = Waits::default();
        assert_eq!(waits.quantile(50), None);
        for ms in 1..=1000 {
            waits.note(Span(ms));
        }
        let (p50, p99) = (waits.quantile(50).unwrap().0, waits.quantile(99).unwrap().0);
        assert!((500..=563).contains(&p50) && (990..=1000).contains(&p99), "{p50} {p99}");
        assert_eq!((waits.count(), waits.longest()), (1000, Span(1000)));
    }

    #[test]
    fn a_queue_that_was_undone_leaves_its_times_to_nobody() {
        let mut waits = WaitsByQueue::default();
        for queue in [0, 2] {
            waits.note(queue, Span(7));
        }
        waits.truncate(2);
        assert_eq!((waits.of(0).map(Waits::count), waits.of(2).map(Waits::count)), (Some(1), None));
        waits.note(2, Span(7));
        assert_eq!(waits.of(2).map(Waits::count), Some(1));
    }
}

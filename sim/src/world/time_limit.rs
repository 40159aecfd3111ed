//! Workers that live for a limited time, and jobs that ask for some of it.

use orch_core::job::JobSpec;
use orch_core::resource::Variant;
use orch_core::time::Span;

use super::dice::Dice;
use super::variety::Variety;

/// For so long a worker whose time is over goes on with what it has. A job that takes longer is given back.
const GRACE: u64 = 2_500;

/// What jobs ask for: some of it nearly every worker has left, and some of it only one without a limit.
const WANTED: [Span; 6] =
    [Span::seconds(1), Span::seconds(3), Span::seconds(6), Span::seconds(9), Span::seconds(30), Span::seconds(3_600)];

/// Until when a worker's process works, by its own clock.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TimeLimit(Option<u64>);

impl TimeLimit {
    /// Draws it for a process that starts now: none, one that is over soon, or one that the run does not see the end of. Once it is
    /// `calm` there is none.
    pub(crate) fn draw(now: u64, calm: bool, variety: &mut Variety) -> Self {
        let Variety { limits, later: dice, .. } = variety;
        if calm || !*limits || dice.chance(350) {
            return Self(None);
        }
        let lives_for = if dice.chance(300) { dice.between(300_000, 900_000) } else { dice.between(2_000, 12_000) };
        Self(Some(now + lives_for))
    }

    /// What is left, if there is a limit.
    pub(crate) fn remaining(self, now: u64) -> Option<Span> {
        self.0.map(|end| Span(end.saturating_sub(now)))
    }

    /// Whether the worker is to take no more jobs.
    pub(crate) fn is_over(self, now: u64) -> bool {
        self.0.is_some_and(|end| end <= now)
    }

    /// Whether it is to leave with what it has.
    pub(crate) fn grace_is_over(self, now: u64) -> bool {
        self.0.is_some_and(|end| end + GRACE <= now)
    }

    /// What is left at most, until the run has ended at `last`: a process that ends before is followed by one without a limit, as
    /// every one is once the faults have ended.
    pub(crate) fn left_until(self, last: u64, now: u64) -> Option<Span> {
        self.remaining(now).filter(|left| now + left.0 > last)
    }
}

/// Has a job ask for a worker that lives for so long yet, in each of its alternatives or only in the first.
pub(crate) fn ask(job: &mut JobSpec, dice: &mut Dice) {
    if !dice.chance(450) {
        return;
    }
    let wanted = WANTED[dice.below(WANTED.len())];
    if job.resources.0.is_empty() {
        job.resources.0.push(Variant::default());
    }
    let all = if dice.chance(300) { 1 } else { job.resources.0.len() };
    for variant in job.resources.0.iter_mut().take(all) {
        variant.min_time = Some(wanted);
    }
}

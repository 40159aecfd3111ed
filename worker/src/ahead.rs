//! How many jobs to lease before there is a slot for them. Pure.
//!
//! Asking for a job costs a turn to the orchestrator and its sync to disk. Next to a job of a second that is nothing;
//! a job of a millisecond would leave its slot idle half of the time. So a worker whose jobs are short holds one more
//! per slot. It never holds long ones back from other workers: as soon as one waits for longer than [`PATIENCE`], it is
//! given back without charge, and nothing is leased ahead until jobs are short again.

use std::time::Duration;

/// Jobs that take less than this, on average, are short.
const SHORT: Duration = Duration::from_millis(50);

/// How long a leased job may wait for a slot.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// What is known of how long jobs take.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    mean: Option<Duration>,
}

impl Ahead {
    /// A job took so long.
    pub(crate) fn took(&mut self, time: Duration) {
        // A moving mean over about four jobs. One long job weighs as if it had been just too long, so that the jobs
        // behind it decide, but it weighs.
        let time = time.min(4 * SHORT);
        self.mean = Some(self.mean.map_or(time, |mean| (3 * mean + time) / 4));
    }

    /// A job waited in vain for a slot.
    pub(crate) fn waited_in_vain(&mut self) {
        self.mean = None;
    }

    /// How many jobs may wait for slots.
    pub(crate) fn jobs(&self, slots: usize) -> usize {
        if self.mean.is_some_and(|mean| mean < SHORT) { slots } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn only_short_jobs_are_leased_ahead() {
        let mut ahead = Ahead::default();
        assert_eq!(ahead.jobs(4), 0, "nothing is known yet");
        ahead.took(10 * MS);
        assert_eq!(ahead.jobs(4), 4);
        ahead.took(3_600_000 * MS);
        assert_eq!(ahead.jobs(4), 0);
        for _ in 0..6 {
            ahead.took(10 * MS);
        }
        assert_eq!(ahead.jobs(4), 4, "short again");
        ahead.waited_in_vain();
        assert_eq!(ahead.jobs(4), 0);
    }
}

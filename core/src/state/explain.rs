//! Why a ready job is not leased, as far as the ledger says. Which workers there are is the engine's to add.

use super::{Hold, JobState, State};
use crate::id::{JobId, Kind};
use crate::resource::Requirements;

impl State {
    /// What keeps a ready job from being leased; empty if nothing does. None if the job is not ready.
    pub fn holds(&self, job: JobId) -> Option<Vec<Hold>> {
        let held = self.jobs.get(&job).filter(|held| held.state == JobState::Ready)?;
        Some(self.schedule.holds(held.lane))
    }

    /// How many ready jobs of its queue and kind go before a ready one, held back or not.
    pub fn ahead_of(&self, job: JobId) -> u64 {
        self.jobs.get(&job).map_or(0, |held| self.schedule.ahead_of(held.lane, job))
    }

    /// Ready jobs by kind, held back or not, in no order.
    pub fn ready_by_kind(&self) -> impl Iterator<Item = (&Kind, u64)> {
        self.schedule.ready_by_kind()
    }

    /// Ready jobs that require something of their worker, held back or not, by kind and requirements.
    pub fn ready_by_need(&self) -> impl Iterator<Item = (&Kind, &Requirements, u64)> {
        self.schedule.ready_by_need()
    }

    /// The job that a worker that runs these kinds would get now, if it could run what `fits` says.
    pub fn next_job(&self, kinds: &[Kind], fits: &dyn Fn(&Requirements) -> bool) -> Option<JobId> {
        self.schedule.next(kinds, fits)
    }
}

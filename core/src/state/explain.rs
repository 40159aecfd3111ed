//! Why a ready job is not leased, as far as the ledger says. Which workers there are is the engine's to add.

use super::schedule::Choice;
use super::{Hold, JobState, State};
use crate::id::{JobId, Kind, QueueName};
use crate::limit::KeyValue;
use crate::resource::Requirements;

/// The job that would be leased next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NextLease {
    /// The job.
    pub job: JobId,
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: Kind,
    /// Its priority.
    pub priority: i32,
    /// The value of its fair key.
    pub fair_key: Option<KeyValue>,
    /// Why it and no other: one reason for each step of the choice.
    pub why: Vec<String>,
}

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

    /// The next lease of a worker that runs these kinds, if it could run what `fits` says, and why it is that one.
    pub fn next_lease(&self, kinds: &[Kind], fits: &dyn Fn(&Requirements) -> bool) -> Option<NextLease> {
        let Choice { job: id, kinds: among, queues, rivals } = self.schedule.choice(kinds, fits)?;
        let job = self.jobs.get(&id)?;
        let (queue, kind, priority) = self.lane(job);
        let (weight, fair_weight) = self.schedule.weights(job.lane);
        let fair_key = self.fair_key(job);
        let mut why = vec![
            match among {
                1 => format!("kind {kind} is the only one with a job that may run"),
                n => format!("of {n} kinds with a job that may run, {kind} was leased least recently"),
            },
            match queues {
                1 => format!("queue {queue} is the only one of that kind with such a job"),
                n => format!("of {n} queues of that kind, {queue} of weight {weight} is furthest behind its share"),
            },
            format!("{priority} is the highest priority there"),
        ];
        if rivals {
            why.push(match fair_key {
                Some(value) => format!("fair key {value} of weight {fair_weight} is furthest behind its share"),
                None => format!("jobs without a fair key, of weight {fair_weight}, are furthest behind their share"),
            });
        }
        why.push("it is the oldest of those".to_owned());
        let (queue, kind, fair_key) = (queue.clone(), kind.clone(), fair_key.cloned());
        Some(NextLease { job: id, queue, kind, priority, fair_key, why })
    }

    /// The job that a worker that runs these kinds would get now, if it could run what `fits` says.
    pub fn next_job(&self, kinds: &[Kind], fits: &dyn Fn(&Requirements) -> bool) -> Option<JobId> {
        self.schedule.next(kinds, fits)
    }
}

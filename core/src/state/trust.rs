//! Workers on which everything fails, and the switch that holds back every retry.
//!
//! A worker is set aside after [`SET_ASIDE_AFTER`] different jobs failed on it in a row while others had jobs done: a disk
//! that is full or a driver that is gone would otherwise fail the whole queue, and fast. Retries are paused by people.

use std::collections::{BTreeMap, BTreeSet};

use super::{Decision, Job, JobState, Lease, Refusal, State};
use crate::id::{JobId, LeaseId, WorkerId};
use crate::record::{Event, FailureClass, MAX_MESSAGE_CHARS};
use crate::time::Timestamp;

/// How many different jobs fail on a worker in a row until it is set aside.
pub const SET_ASIDE_AFTER: usize = 5;

/// Workers whose failures are remembered: those that failed last.
const REMEMBERED: usize = 4096;

/// A worker that gets no jobs until a person says so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// Why.
    pub reason: String,
    /// Since when.
    pub at: Timestamp,
}

/// Failures of a worker since a job was done there.
#[derive(Clone, Debug)]
struct Streak {
    jobs: BTreeSet<JobId>,
    /// Jobs that were done anywhere when it began.
    done_before: u64,
    /// The number of the last failure, by which the oldest is forgotten.
    last: u64,
}

/// What is known of workers, and whether retries wait.
#[derive(Debug, Default)]
pub(super) struct Trust {
    streaks: BTreeMap<WorkerId, Streak>,
    pub(super) set_aside: BTreeMap<WorkerId, SetAside>,
    pub(super) retries_paused: Option<String>,
    failures: u64,
}

impl Trust {
    /// A job failed on a worker.
    pub(super) fn failed(&mut self, worker: &WorkerId, job: JobId, class: FailureClass, done: u64) {
        if !is_telling(class) || self.set_aside.contains_key(worker) {
            return;
        }
        self.failures += 1;
        let fresh = || Streak { jobs: BTreeSet::new(), done_before: done, last: 0 };
        let streak = self.streaks.entry(worker.clone()).or_insert_with(fresh);
        streak.last = self.failures;
        if streak.jobs.len() < SET_ASIDE_AFTER {
            streak.jobs.insert(job);
        }
        if self.streaks.len() > REMEMBERED
            && let Some(oldest) = self.streaks.iter().min_by_key(|(_, streak)| streak.last).map(|(id, _)| id.clone())
        {
            self.streaks.remove(&oldest);
        }
    }

    /// A job was done on a worker.
    pub(super) fn succeeded(&mut self, worker: &WorkerId) {
        self.streaks.remove(worker);
    }

    pub(super) fn set_aside(&mut self, worker: &WorkerId, reason: &str, at: Timestamp) {
        self.streaks.remove(worker);
        self.set_aside.insert(worker.clone(), SetAside { reason: reason.to_owned(), at });
    }

    /// Why the worker is to be set aside if this job fails there too; None if it is not.
    fn verdict(&self, worker: &WorkerId, job: JobId, class: FailureClass, done: u64) -> Option<String> {
        let streak = self.streaks.get(worker)?;
        if !is_telling(class) || self.set_aside.contains_key(worker) || done <= streak.done_before {
            return None;
        }
        let others = done - streak.done_before;
        let failed = streak.jobs.len() + usize::from(!streak.jobs.contains(&job));
        (failed >= SET_ASIDE_AFTER).then(|| {
            format!("{failed} different jobs failed on it in a row, while {others} were done on other workers")
        })
    }
}

/// Whether such a failure says something of the worker, and not only of the job.
const fn is_telling(class: FailureClass) -> bool {
    match class {
        FailureClass::Error | FailureClass::Timeout | FailureClass::Incomplete => true,
        FailureClass::Permanent | FailureClass::Quarantined => false,
    }
}

impl State {
    /// The workers that get no jobs because everything failed there.
    pub fn set_aside(&self) -> &BTreeMap<WorkerId, SetAside> {
        &self.trust.set_aside
    }

    /// Why no job is tried again, in the words of who paused it; None if retries go on.
    pub fn retries_paused(&self) -> Option<&str> {
        self.trust.retries_paused.as_deref()
    }

    /// The event that follows a failure on a worker on which everything fails.
    pub(super) fn distrust(&self, worker: &WorkerId, job: JobId, class: FailureClass) -> Option<Event> {
        let reason = self.trust.verdict(worker, job, class, self.counts.jobs.done)?;
        Some(Event::WorkerSetAside { worker: worker.clone(), reason })
    }

    /// Decides to give jobs to a worker again that was set aside.
    ///
    /// # Errors
    /// [`Refusal::NotSetAside`].
    pub fn resume_worker(&self, worker: &WorkerId) -> Result<Decision<()>, Refusal> {
        if !self.trust.set_aside.contains_key(worker) {
            return Err(Refusal::NotSetAside(worker.clone()));
        }
        Ok(Decision { events: vec![Event::WorkerResumed { worker: worker.clone() }], answer: () })
    }

    /// Decides to hold back every retry until [`State::resume_retries`]; the answer is whether that changes anything.
    /// What stands ready for another attempt, and what fails or is given back meanwhile, waits like what waits already.
    pub fn pause_retries(&self, reason: &str, now: Timestamp) -> Decision<bool> {
        let reason: String = reason.chars().take(MAX_MESSAGE_CHARS).collect();
        if self.trust.retries_paused.as_ref() == Some(&reason) {
            return Decision::nothing(false);
        }
        let ready = self.jobs().filter(|(_, job)| job.state == JobState::Ready && job.was_tried());
        let mut ready: Vec<JobId> = ready.map(|(id, _)| id).collect();
        ready.sort_unstable();
        let held_back = ready.into_iter().map(|job| Event::JobReadied { job, not_before: Some(now) });
        Decision { events: std::iter::once(Event::RetriesPaused { reason }).chain(held_back).collect(), answer: true }
    }

    /// The events of a lease that is given back. Its job is ready again; while retries are paused it waits, if it is one.
    pub(super) fn released(&self, lease: LeaseId, held: &Lease, reason: String) -> Vec<Event> {
        let mut events = vec![Event::LeaseReleased { job: held.job, lease, reason }];
        if self.retries_paused().is_some() && self.jobs.get(&held.job).is_some_and(Job::was_tried) {
            events.push(Event::JobReadied { job: held.job, not_before: Some(held.granted_at) });
        }
        events
    }

    /// Decides to let retries go on; the answer is whether they were paused.
    pub fn resume_retries(&self) -> Decision<bool> {
        match self.trust.retries_paused {
            Some(_) => Decision { events: vec![Event::RetriesResumed {}], answer: true },
            None => Decision::nothing(false),
        }
    }
}

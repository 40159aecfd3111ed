//! What people do to jobs and queues: cancel, retry, pause, resume.

use super::{Decision, Job, JobState, Refusal, State};
use crate::access::Queues;
use crate::id::{JobId, Kind, QueueName, WorkerId};
use crate::record::{CancelCause, Event, FailureClass, MAX_MESSAGE_CHARS};
use crate::time::Timestamp;

/// Where an open or failed job stands, without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OpenState {
    /// It waits for other jobs.
    Blocked,
    /// It can be leased.
    Ready,
    /// It waits for a time.
    Delayed,
    /// A worker has it.
    Leased,
    /// Every task of it was made.
    Running,
    /// It failed for good.
    Failed,
}

/// Which open or failed jobs are meant. Every condition that is set must hold; none set means all.
#[derive(Clone, Debug, Default)]
pub struct JobFilter {
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In one of these states.
    pub states: Vec<OpenState>,
    /// In this worker's hands.
    pub worker: Option<WorkerId>,
    /// One of these, or a task of one of these.
    pub jobs: Vec<JobId>,
    /// Failed in this way.
    pub class: Option<FailureClass>,
    /// Failed at this time or later.
    pub failed_since: Option<Timestamp>,
    /// Of the queues that the caller may touch.
    pub within: Queues,
}

impl JobState {
    /// Where the job stands, without its data.
    pub const fn open_state(&self) -> OpenState {
        match self {
            Self::Blocked { .. } => OpenState::Blocked,
            Self::Ready => OpenState::Ready,
            Self::Delayed { .. } => OpenState::Delayed,
            Self::Leased { .. } => OpenState::Leased,
            Self::Running => OpenState::Running,
            Self::Failed { .. } => OpenState::Failed,
        }
    }
}

impl State {
    /// The open and failed jobs that a filter means, by age.
    pub fn select(&self, filter: &JobFilter) -> Vec<JobId> {
        let mut found: Vec<JobId> = if filter.jobs.is_empty() {
            self.jobs.iter().filter(|(_, job)| self.matches(filter, job)).map(|(id, _)| *id).collect()
        } else {
            let tasks = |id: &JobId| self.array(*id).into_iter().flat_map(|array| array.held().iter().copied());
            let named = filter.jobs.iter().flat_map(|id| std::iter::once(*id).chain(tasks(id)));
            let named = named.filter_map(|id| self.jobs.get(&id).map(|job| (id, job)));
            named.filter(|(_, job)| self.matches(filter, job)).map(|(id, _)| id).collect()
        };
        found.sort_unstable();
        found.dedup();
        found
    }

    fn matches(&self, filter: &JobFilter, job: &Job) -> bool {
        let JobFilter { queue, kind, states, worker, jobs: _, class, failed_since, within } = filter;
        let (in_queue, of_kind, _) = self.schedule.lane(job.lane);
        let held_by = |worker: &WorkerId| match &job.state {
            JobState::Leased { lease } => self.leases.get(lease).is_some_and(|held| held.is_held_by(worker)),
            JobState::Blocked { .. }
            | JobState::Ready
            | JobState::Delayed { .. }
            | JobState::Running
            | JobState::Failed { .. } => false,
        };
        let failed = match &job.state {
            JobState::Failed { class, at } => Some((*class, *at)),
            JobState::Blocked { .. }
            | JobState::Ready
            | JobState::Delayed { .. }
            | JobState::Leased { .. }
            | JobState::Running => None,
        };
        within.contain(in_queue)
            && queue.as_ref().is_none_or(|queue| queue == in_queue)
            && kind.as_ref().is_none_or(|kind| kind == of_kind)
            && (states.is_empty() || states.contains(&job.state.open_state()))
            && worker.as_ref().is_none_or(held_by)
            && class.is_none_or(|class| failed.is_some_and(|(c, _)| c == class))
            && failed_since.is_none_or(|since| failed.is_some_and(|(_, at)| at >= since))
    }

    /// Decides to cancel a job, and those that depend on it; an array with all of its tasks. Nothing if it is neither open nor failed.
    pub fn cancel(&self, job: JobId, reason: &str) -> Decision<bool> {
        if !self.jobs.contains_key(&job) {
            return Decision::nothing(false);
        }
        let reason: String = reason.chars().take(MAX_MESSAGE_CHARS).collect();
        let mut events = Vec::new();
        self.cancelled(job, &CancelCause::Request, &reason, &mut events);
        self.settle_dependents(job, false, &mut events);
        Decision { events, answer: true }
    }

    /// Decides to put a failed job back, and its array if that has ended; of an array, every task that failed. Nothing if it
    /// has not failed.
    pub fn retry(&self, job: JobId) -> Decision<bool> {
        if !self.has_failed(job) {
            return Decision::nothing(false);
        }
        // The array first: it is open as long as one of its tasks is.
        let array = self.task(job).map(|task| task.array).filter(|array| self.has_failed(*array));
        let tasks = self.array(job).into_iter().flat_map(|array| array.held().iter().copied());
        let tasks = tasks.filter(|task| self.has_failed(*task));
        let jobs = array.into_iter().chain([job]).chain(tasks);
        Decision { events: jobs.map(|job| Event::JobRetried { job }).collect(), answer: true }
    }

    fn has_failed(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| !job.state.is_open())
    }

    /// Decides to pause a queue. Pausing a paused one changes the reason.
    ///
    /// # Errors
    /// [`Refusal::UnknownQueue`].
    pub fn pause(&self, queue: &QueueName, reason: &str) -> Result<Decision<()>, Refusal> {
        let known = self.queues.get(queue).ok_or_else(|| Refusal::UnknownQueue(queue.clone()))?;
        let reason: String = reason.chars().take(MAX_MESSAGE_CHARS).collect();
        if known.paused.as_ref() == Some(&reason) {
            return Ok(Decision::nothing(()));
        }
        Ok(Decision { events: vec![Event::QueuePaused { queue: queue.clone(), reason }], answer: () })
    }

    /// Decides to resume a queue. Nothing if it is not paused.
    ///
    /// # Errors
    /// [`Refusal::UnknownQueue`].
    pub fn resume(&self, queue: &QueueName) -> Result<Decision<()>, Refusal> {
        let known = self.queues.get(queue).ok_or_else(|| Refusal::UnknownQueue(queue.clone()))?;
        if known.paused.is_none() {
            return Ok(Decision::nothing(()));
        }
        Ok(Decision { events: vec![Event::QueueResumed { queue: queue.clone() }], answer: () })
    }
}

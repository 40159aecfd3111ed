//! What people do: submit, import, cancel, retry, pause, limit, drain, wait.

use orch_core::id::{JobId, QueueName, WorkerId};
use orch_core::job::JobSpec;
use orch_core::limit::{LimitSpec, LimitTarget};
use orch_core::liveness::Order;
use orch_core::record::ExpiryCause;
use orch_core::state::{JobFilter, OpenState, Refusal, Submission, SubmitFault, SubmitRefusal, Submitted};
use orch_core::time::{Now, Span, Tick};

use crate::engine::{Command, Engine, Step};

/// Submits contracts, queues and jobs, all or nothing.
pub struct Submit(pub Submission);

impl Command for Submit {
    type Answer = Result<Submitted, SubmitRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        Step::Answer(engine.state.submit(&self.0, now.wall).map(|decision| engine.record(decision, now)))
    }
}

/// Submits a chunk of a bulk import, each job by itself.
pub struct ImportJobs(pub Vec<JobSpec>);

impl Command for ImportJobs {
    type Answer = Vec<Result<(JobId, bool), SubmitFault>>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decision = engine.state.import(&self.0, now.wall);
        Step::Answer(engine.record(decision, now))
    }
}

/// Cancels the open and failed jobs that a filter means.
pub struct CancelJobs {
    /// Which.
    pub filter: JobFilter,
    /// Why.
    pub reason: String,
    /// Only say which.
    pub dry_run: bool,
}

impl Command for CancelJobs {
    type Answer = Vec<JobId>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Vec<JobId>> {
        let mut jobs = engine.state.select(&self.filter);
        if !self.dry_run {
            jobs.retain(|job| {
                // An earlier one of them may have taken this one along.
                let decision = engine.state.cancel(*job, &self.reason);
                engine.record(decision, now)
            });
        }
        Step::Answer(jobs)
    }
}

/// Puts failed jobs back.
pub struct RetryFailed {
    /// Which of them.
    pub filter: JobFilter,
    /// At most so many, oldest first; 0: all.
    pub limit: usize,
    /// Only say which.
    pub dry_run: bool,
}

impl Command for RetryFailed {
    type Answer = Vec<JobId>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Vec<JobId>> {
        self.filter.states = vec![OpenState::Failed];
        let mut jobs = engine.state.select(&self.filter);
        // An array is put back with the first of its tasks.
        jobs.retain(|job| engine.state.array(*job).is_none());
        if self.limit > 0 {
            jobs.truncate(self.limit);
        }
        if !self.dry_run {
            for job in &jobs {
                let decision = engine.state.retry(*job);
                engine.record(decision, now);
            }
        }
        Step::Answer(jobs)
    }
}

/// Pauses a queue.
pub struct PauseQueue {
    /// The queue.
    pub queue: QueueName,
    /// Why.
    pub reason: String,
}

impl Command for PauseQueue {
    type Answer = Result<(), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        Step::Answer(engine.state.pause(&self.queue, &self.reason).map(|decision| engine.record(decision, now)))
    }
}

/// Sets a limit, or sets it anew; whether that changed anything.
pub struct SetLimit(pub LimitSpec);

impl Command for SetLimit {
    type Answer = bool;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<bool> {
        let decision = engine.state.set_limit(&self.0);
        Step::Answer(engine.record(decision, now))
    }
}

/// Lifts a limit.
pub struct UnsetLimit(pub LimitTarget);

impl Command for UnsetLimit {
    type Answer = Result<(), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        Step::Answer(engine.state.unset_limit(&self.0).map(|decision| engine.record(decision, now)))
    }
}

/// Resumes a queue.
pub struct ResumeQueue {
    /// The queue.
    pub queue: QueueName,
}

impl Command for ResumeQueue {
    type Answer = Result<(), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        Step::Answer(engine.state.resume(&self.queue).map(|decision| engine.record(decision, now)))
    }
}

/// Orders workers to drain, or to terminate. Volatile: a worker that registers anew runs again.
pub struct DrainWorkers {
    /// Which; none: every known one.
    pub workers: Vec<WorkerId>,
    /// What is ordered.
    pub order: Order,
}

impl Command for DrainWorkers {
    /// The workers that were told.
    type Answer = Vec<WorkerId>;
    const WRITES: bool = false;

    fn run(&mut self, engine: &mut Engine, _now: Now) -> Step<Vec<WorkerId>> {
        let mut workers = std::mem::take(&mut self.workers);
        if workers.is_empty() {
            workers = engine.liveness.workers().keys().cloned().collect();
        }
        workers.retain(|worker| engine.liveness.order(worker, self.order));
        engine.wake_all();
        Step::Answer(workers)
    }
}

/// Forgets workers, and puts their jobs back.
pub struct CleanupWorkers {
    /// Which; none: every stale one.
    pub workers: Vec<WorkerId>,
}

impl Command for CleanupWorkers {
    /// The workers that were forgotten, and how many leases ended.
    type Answer = (Vec<WorkerId>, u64);
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let mut workers = std::mem::take(&mut self.workers);
        if workers.is_empty() {
            let known = engine.liveness.workers().iter();
            let stale = known.filter(|(_, worker)| engine.liveness.is_stale(worker, now.tick));
            workers = stale.map(|(id, _)| id.clone()).collect();
        }
        let mut ended = 0;
        workers.retain(|worker| {
            ended += engine.end_leases_of(worker, ExpiryCause::WorkerRemoved, now);
            engine.forget_worker(worker)
        });
        Step::Answer((workers, ended))
    }
}

/// Waits until jobs have ended.
pub struct WaitJobs {
    /// Until these have ended ...
    pub jobs: Vec<JobId>,
    /// ... or, with no jobs, until nothing of this queue is open ...
    pub queue: Option<QueueName>,
    /// ... or until so much time is over.
    pub wait: Span,
    /// Set when it first runs.
    pub until: Option<Tick>,
}

impl Command for WaitJobs {
    /// How many are still open.
    type Answer = u64;
    const WRITES: bool = false;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<u64> {
        let open = if self.jobs.is_empty() {
            match &self.queue {
                Some(queue) => engine.state.queues().get(queue).map_or(0, |queue| queue.jobs.open()),
                None => engine.state.counts().jobs.open(),
            }
        } else {
            self.jobs.retain(|job| engine.state.is_open(*job));
            self.jobs.len() as u64
        };
        let until = *self.until.get_or_insert(now.tick.plus(self.wait));
        if open > 0 && until > now.tick { Step::Wait(until) } else { Step::Answer(open) }
    }
}

//! Records become spans.
//!
//! ```text
//! job                    from its submit to its end
//! ├── wait               until a worker got it, each time
//! └── attempt            as long as the lease was held; the worker puts its own `run` below it
//! ```

use std::collections::HashMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use orch_core::id::{JobId, Kind, LeaseId, QueueName, WorkerId};
use orch_core::record::{Event, FailureClass, Next, Origin, Record};
use orch_core::state::{JobState, State};
use orch_core::time::Timestamp;
use orch_telemetry::{Attribute, Sampling, Span, SpanId, TraceId};

/// Jobs whose traces are kept and that may still come to something.
pub struct Fold {
    ledger: String,
    sampling: Sampling,
    jobs: HashMap<JobId, Traced>,
    attempts: HashMap<LeaseId, Attempt>,
    /// Arrays of which tasks are still made, whether their own trace is kept or not: queue, kind and submit.
    arrays: HashMap<JobId, (QueueName, Kind, Timestamp)>,
}

struct Traced {
    queue: QueueName,
    kind: Kind,
    /// When it was submitted, or put back by a person.
    began: Timestamp,
    waits_since: Timestamp,
    /// How often a person put it back.
    again: u64,
    lease: Option<LeaseId>,
}

struct Attempt {
    job: JobId,
    number: u32,
    worker: WorkerId,
    began: Timestamp,
    batches: u64,
    accepted: u64,
    duplicate: u64,
    rejected: u64,
}

/// How an attempt ended.
struct Ended<'a> {
    outcome: &'a str,
    error: Option<String>,
}

impl Fold {
    /// What is open in a state.
    pub fn of(ledger: &str, sampling: Sampling, state: &State) -> Self {
        let (jobs, attempts, arrays) = (HashMap::new(), HashMap::new(), HashMap::new());
        let mut fold = Self { ledger: ledger.to_owned(), sampling, jobs, attempts, arrays };
        for (id, job) in state.jobs() {
            if state.array(id).is_some_and(|array| array.left > 0) {
                let (queue, kind, _) = state.lane(job);
                fold.arrays.insert(id, (queue.clone(), kind.clone(), job.submitted_at));
            }
            if !fold.keeps(id) {
                continue;
            }
            let lease = match job.state {
                JobState::Leased { lease } => Some(lease),
                JobState::Blocked { .. }
                | JobState::Ready
                | JobState::Delayed { .. }
                | JobState::Running
                | JobState::Failed { .. } => None,
            };
            let (queue, kind, _) = state.lane(job);
            let (queue, kind) = (queue.clone(), kind.clone());
            let (began, waits_since) = (job.submitted_at, job.submitted_at);
            fold.jobs.insert(id, Traced { queue, kind, began, waits_since, again: 0, lease });
        }
        for (id, lease) in state.leases().iter().filter(|(_, lease)| fold.jobs.contains_key(&lease.job)) {
            let attempt = Attempt {
                job: lease.job,
                number: lease.attempt,
                worker: lease.worker.clone(),
                began: lease.granted_at,
                batches: lease.delivery.batches.len() as u64,
                accepted: lease.delivery.accepted,
                duplicate: lease.delivery.duplicate,
                rejected: lease.delivery.rejected,
            };
            fold.attempts.insert(*id, attempt);
        }
        fold
    }

    fn keeps(&self, job: JobId) -> bool {
        self.sampling.keeps(TraceId::of_job(&self.ledger, job.get()))
    }

    /// The spans that this record ends.
    pub fn take(&mut self, record: &Record) -> Vec<Span> {
        let at = record.at;
        match &record.event {
            Event::JobSubmitted(submitted) => {
                let job = JobId(record.seq);
                if submitted.spec.array.is_some() {
                    let (queue, kind) = (submitted.spec.queue.clone(), submitted.kind.clone());
                    self.arrays.insert(job, (queue, kind, at));
                }
                if self.keeps(job) {
                    let (queue, kind) = (submitted.spec.queue.clone(), submitted.kind.clone());
                    let traced = Traced { queue, kind, began: at, waits_since: at, again: 0, lease: None };
                    self.jobs.insert(job, traced);
                }
                Vec::new()
            }
            Event::TaskMade { array, .. } => {
                let job = JobId(record.seq);
                // It waited as long as its array.
                if let Some((queue, kind, began)) = self.arrays.get(array).filter(|_| self.keeps(job)).cloned() {
                    let traced = Traced { queue, kind, began, waits_since: began, again: 0, lease: None };
                    self.jobs.insert(job, traced);
                }
                Vec::new()
            }
            Event::ArrayEnded { array, failed, cancelled, .. } => {
                self.arrays.remove(array);
                let (state, error) = match (failed, cancelled) {
                    (0, 0) => ("done", None),
                    (0, _) => ("cancelled", None),
                    (_, _) => ("failed", Some(format!("{failed} of its tasks failed"))),
                };
                self.job(*array, at, state, error, *failed == 0).into_iter().collect()
            }
            Event::LeaseGranted { job, attempt, worker, .. } => {
                let lease = LeaseId(record.seq);
                let Some(traced) = self.jobs.get_mut(job) else { return Vec::new() };
                traced.lease = Some(lease);
                let attempt = Attempt {
                    job: *job,
                    number: *attempt,
                    worker: worker.clone(),
                    began: at,
                    batches: 0,
                    accepted: 0,
                    duplicate: 0,
                    rejected: 0,
                };
                self.attempts.insert(lease, attempt);
                self.wait(*job, lease, at).into_iter().collect()
            }
            Event::BatchJudged(judged) => {
                if let Origin::Lease { lease, .. } = judged.origin
                    && let Some(attempt) = self.attempts.get_mut(&lease)
                {
                    attempt.batches += 1;
                    attempt.accepted += u64::from(judged.accepted);
                    attempt.duplicate += judged.duplicates.len() as u64;
                    attempt.rejected += u64::from(judged.rejected);
                }
                Vec::new()
            }
            Event::JobCompleted { job, lease } => {
                let ended = self.attempt(*lease, at, Ended { outcome: "completed", error: None });
                let job = self.job(*job, at, "done", None, true);
                ended.into_iter().chain(job).collect()
            }
            Event::AttemptFailed { job, lease, class, message, next, .. } => {
                let outcome = outcome(*class);
                let ended = self.attempt(*lease, at, Ended { outcome, error: Some(message.clone()) });
                ended.into_iter().chain(self.next(*job, at, next, message)).collect()
            }
            Event::LeaseExpired { job, lease, next, .. } => {
                let error = "the worker was lost".to_owned();
                let ended = self.attempt(*lease, at, Ended { outcome: "expired", error: Some(error.clone()) });
                ended.into_iter().chain(self.next(*job, at, next, &error)).collect()
            }
            Event::LeaseReleased { job, lease, reason: _ } => {
                let ended = self.attempt(*lease, at, Ended { outcome: "released", error: None });
                self.waits(*job, at);
                ended.into_iter().collect()
            }
            Event::JobCancelled { job, .. } => {
                self.arrays.remove(job);
                let lease = self.jobs.get(job).and_then(|traced| traced.lease);
                let ended =
                    lease.and_then(|lease| self.attempt(lease, at, Ended { outcome: "cancelled", error: None }));
                let job = self.job(*job, at, "cancelled", None, true);
                ended.into_iter().chain(job).collect()
            }
            Event::JobRetried { job } => {
                if let Some(traced) = self.jobs.get_mut(job) {
                    traced.again += 1;
                    (traced.began, traced.waits_since) = (at, at);
                }
                Vec::new()
            }
            Event::JobReadied { .. }
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::CandidateAccepted(_)
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => Vec::new(),
        }
    }

    /// What becomes of a job after an attempt.
    fn next(&mut self, job: JobId, at: Timestamp, next: &Next, error: &str) -> Option<Span> {
        match next {
            Next::Ready | Next::Delayed(_) => {
                self.waits(job, at);
                None
            }
            Next::Failed(_) => self.job(job, at, "failed", Some(error.to_owned()), false),
        }
    }

    fn waits(&mut self, job: JobId, since: Timestamp) {
        if let Some(traced) = self.jobs.get_mut(&job) {
            traced.waits_since = since;
        }
    }

    fn wait(&self, job: JobId, lease: LeaseId, at: Timestamp) -> Option<Span> {
        let traced = self.jobs.get(&job)?;
        let id = SpanId::of_wait(&self.ledger, lease.get());
        let attributes = vec![("orch.job", job.get().into()), ("orch.queue", traced.queue.as_str().into())];
        Some(self.span(job, traced, id, "wait", (traced.waits_since, at), attributes, None))
    }

    fn attempt(&mut self, lease: LeaseId, at: Timestamp, ended: Ended<'_>) -> Option<Span> {
        let Attempt { job, number, worker, began, batches, accepted, duplicate, rejected } =
            self.attempts.remove(&lease)?;
        let Ended { outcome, error } = ended;
        self.jobs.get_mut(&job)?.lease = None;
        let traced = self.jobs.get(&job)?;
        let attributes: Vec<Attribute> = vec![
            ("orch.job", job.get().into()),
            ("orch.lease", lease.get().into()),
            ("orch.attempt", u64::from(number).into()),
            ("orch.queue", traced.queue.as_str().into()),
            ("orch.kind", traced.kind.as_str().into()),
            ("orch.worker", worker.to_string().into()),
            ("orch.outcome", outcome.into()),
            ("orch.batches", batches.into()),
            ("orch.candidates.accepted", accepted.into()),
            ("orch.candidates.duplicate", duplicate.into()),
            ("orch.candidates.rejected", rejected.into()),
        ];
        let id = SpanId::of_attempt(&self.ledger, lease.get());
        Some(self.span(job, traced, id, "attempt", (began, at), attributes, error))
    }

    /// The whole job. `gone`: it cannot be put back.
    fn job(&mut self, job: JobId, at: Timestamp, state: &str, error: Option<String>, gone: bool) -> Option<Span> {
        let traced = self.jobs.get(&job)?;
        let attributes = vec![
            ("orch.job", job.get().into()),
            ("orch.queue", traced.queue.as_str().into()),
            ("orch.kind", traced.kind.as_str().into()),
            ("orch.state", state.into()),
        ];
        let span = Span {
            trace: TraceId::of_job(&self.ledger, job.get()),
            id: self.root(job, traced),
            parent: None,
            name: "job",
            start: wall(traced.began),
            end: wall(at),
            attributes,
            error,
        };
        if gone {
            self.jobs.remove(&job);
        }
        Some(span)
    }

    fn root(&self, job: JobId, traced: &Traced) -> SpanId {
        SpanId::of_job(&self.ledger, job.get(), traced.again)
    }

    #[allow(clippy::too_many_arguments)]
    fn span(
        &self,
        job: JobId,
        traced: &Traced,
        id: SpanId,
        name: &'static str,
        (start, end): (Timestamp, Timestamp),
        attributes: Vec<Attribute>,
        error: Option<String>,
    ) -> Span {
        let trace = TraceId::of_job(&self.ledger, job.get());
        let parent = Some(self.root(job, traced));
        Span { trace, id, parent, name, start: wall(start), end: wall(end), attributes, error }
    }
}

fn outcome(class: FailureClass) -> &'static str {
    match class {
        FailureClass::Error => "error",
        FailureClass::Timeout => "timeout",
        FailureClass::Incomplete => "incomplete",
        FailureClass::Permanent => "permanent",
        FailureClass::Quarantined => "quarantined",
    }
}

fn wall(at: Timestamp) -> SystemTime {
    UNIX_EPOCH + Duration::from_millis(u64::try_from(at.0).unwrap_or(0))
}

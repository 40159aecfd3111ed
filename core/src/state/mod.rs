//! The state: a fold over the ledger, and the decisions that lead to new records.
//!
//! Decisions (`submit`, `timetable`, `limits`, `lease`, `results`, `control`, `legacy`, `access`) look at the state and at a command and return events;
//! they change nothing. [`State::apply`] gives every event its meaning, and is the only code that changes the state,
//! live and on replay. The caller applies a decision's events before it asks for the next decision, so that
//! predicted seqs hold.
//!
//! The state knows no deadlines and no workers beyond the grantee of a lease: those are volatile and live in
//! [`crate::liveness`].

mod access;
mod admit;
mod apply;
mod arrays;
mod control;
mod demand;
mod explain;
mod export;
mod gang;
mod job;
mod lease;
mod legacy;
mod limits;
mod queues;
mod refusal;
mod results;
mod schedule;
mod seqs;
mod submit;
mod timetable;
mod trust;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

pub use access::{REMEMBERED_AUDIT, TokenRefusal};
pub use apply::ApplyError;
pub use arrays::Array;
pub use control::{JobFilter, OpenState};
pub use explain::NextLease;
pub use gang::{Leased, Others, Place};
pub use job::{BatchRange, Ended, GivenBack, Job, JobState, Lease, Outcome};
pub use lease::{Granted, LeaseBounds, LeaseRequest};
pub use legacy::{Import, LegacyStart};
pub use queues::Queues;
pub use refusal::{CompleteAnswer, Refusal, ResultsRefusal, ScheduleRefusal, SubmitFault, SubmitRefusal};
pub use results::{BatchAnswer, FailureReport, Judged, Verdict};
pub use schedule::{Hold, LimitUsage};
pub use submit::{Submission, Submitted};
pub use timetable::Scheduled;
pub use trust::{SET_ASIDE_AFTER, SetAside};

use crate::contract::{AcceptedSet, Contract};
use crate::digest::Digest;
use crate::id::{ContractRef, ImportId, JobId, Kind, LeaseId, QueueName, Seq};
use crate::limit::{KeyValue, LimitSpec};
use crate::policy::{LeasePolicy, RetryPolicy};
use crate::queue::QueueSpec;
use crate::record::Event;
use crate::resource::Requirements;
use crate::retry::RetryRule;
use crate::time::{Span, Timestamp};
use crate::unique::Unique;

/// What a decision comes to: the events to record, and the answer for the caller once they are durable.
#[derive(Clone, Debug)]
pub struct Decision<T> {
    /// The events, in order.
    pub events: Vec<Event>,
    /// The answer.
    pub answer: T,
}

impl<T> Decision<T> {
    /// An answer that needs no record.
    pub fn nothing(answer: T) -> Self {
        Self { events: Vec::new(), answer }
    }
}

/// Everything that the ledger says.
#[derive(Default)]
pub struct State {
    last_seq: Seq,
    epoch: u64,
    queues: Queues,
    contracts: BTreeMap<ContractRef, Registered>,
    jobs: seqs::SeqMap<JobId, Job>,
    arrays: arrays::Arrays,
    schedule: schedule::Schedule,
    delayed: BTreeSet<(Timestamp, JobId)>,
    /// Those that wait for another attempt: they are held back while retries are paused.
    retries: BTreeSet<(Timestamp, JobId)>,
    /// Until when ready jobs wait for a worker, those that do not wait for ever; by time, and by job.
    waits: BTreeSet<(Timestamp, JobId)>,
    waits_until: seqs::SeqMap<JobId, Timestamp>,
    timetable: timetable::Timetable,
    trust: trust::Trust,
    leases: BTreeMap<LeaseId, Lease>,
    ended: job::EndedLeases,
    /// Gangs that were given back before they ran, until they are granted again.
    given_back: BTreeMap<JobId, GivenBack>,
    keys: HashMap<[u8; 16], KeyedJob>,
    accepted: AcceptedSet,
    imports: BTreeMap<ImportId, Import>,
    imports_by_file: HashMap<Digest, ImportId>,
    access: access::Access,
    counts: Counts,
}

/// A queue and what the ledger says of it.
#[derive(Clone, Debug)]
pub struct Queue {
    /// Its definition.
    pub spec: QueueSpec,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Its jobs by state.
    pub jobs: JobCounts,
}

/// A registered version of a contract.
#[derive(Clone)]
pub struct Registered {
    /// The contract; None if this version of the program cannot compile it, so that it judges nothing.
    pub contract: Option<Arc<Contract>>,
    /// The contract as recorded.
    pub spec: Arc<crate::contract::ContractSpec>,
    /// Where it was registered.
    pub seq: Seq,
    /// How many candidates it accepted.
    pub accepted: u64,
}

/// Which job an idempotency key stands for, or stood for last. The digest is of its spec, cut to 64 bits.
#[derive(Clone, Copy, Debug)]
struct KeyedJob {
    job: JobId,
    spec: u64,
    unique: Unique,
    submitted_at: Timestamp,
}

/// Jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JobCounts {
    /// Waiting for other jobs.
    pub blocked: u64,
    /// Leasable now.
    pub ready: u64,
    /// Waiting for a time.
    pub delayed: u64,
    /// In a worker's hands.
    pub leased: u64,
    /// Done.
    pub done: u64,
    /// Failed for good, until a person retries them.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl JobCounts {
    /// Jobs that may still come to something by themselves.
    pub const fn open(&self) -> u64 {
        self.blocked + self.ready + self.delayed + self.leased
    }
}

/// Totals since the ledger began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Jobs by state.
    pub jobs: JobCounts,
    /// Candidates accepted.
    pub accepted: u64,
    /// Candidates that were there before.
    pub duplicate: u64,
    /// Candidates rejected.
    pub rejected: u64,
    /// Leases granted.
    pub leases_granted: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Leases that expired.
    pub crashes: u64,
    /// Leases given back.
    pub released: u64,
    /// Jobs that ended: done, failed or cancelled. It only grows, so that waiting for an end is cheap.
    pub ends: u64,
}

/// The longest timeout that a lease's default may lead to; guards sums of times, not a feature.
pub const MAX_SPAN: Span = Span::seconds(10 * 365 * 24 * 3600);

impl State {
    /// The seq that the next record will have.
    pub fn next_seq(&self) -> Seq {
        self.last_seq.next()
    }

    /// The seq of the last record applied, 0 before the first.
    pub fn last_seq(&self) -> Seq {
        self.last_seq
    }

    /// The boot that is writing, from 1.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Totals.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Every queue, by name.
    pub fn queues(&self) -> &Queues {
        &self.queues
    }

    /// Every registered contract version.
    pub fn contracts(&self) -> &BTreeMap<ContractRef, Registered> {
        &self.contracts
    }

    /// A job that is open or failed; done and cancelled ones have left the memory.
    pub fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.get(&id)
    }

    /// Every job that is open or failed, in no order.
    pub fn jobs(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.jobs.iter().map(|(id, job)| (*id, job))
    }

    /// Whether there is or was a job of this id. Only true of seqs up to the last that belong to a submit; the index
    /// knows which.
    pub fn is_open(&self, id: JobId) -> bool {
        self.jobs.get(&id).is_some_and(|job| job.state.is_open())
    }

    /// Every current lease, oldest first.
    pub fn leases(&self) -> &BTreeMap<LeaseId, Lease> {
        &self.leases
    }

    /// Why a gang was given back, if it was when it was granted last.
    pub fn given_back(&self, job: JobId) -> Option<&GivenBack> {
        self.given_back.get(&job)
    }

    /// How a recent lease ended, if it is remembered: the last few thousand are.
    pub fn ended(&self, lease: LeaseId) -> Option<&Ended> {
        self.ended.get(lease)
    }

    /// The queue, kind and priority of a job.
    pub fn lane(&self, job: &Job) -> (&QueueName, &Kind, i32) {
        self.schedule.lane(job.lane)
    }

    /// The number of a job's queue, as [`Queues::number`] gives it by name.
    pub fn queue_number(&self, job: &Job) -> u32 {
        self.schedule.queue_of(job.lane)
    }

    /// The value of a job's fair key.
    pub fn fair_key(&self, job: &Job) -> Option<&KeyValue> {
        self.schedule.fair_key(job.lane)
    }

    /// What a job requires of its worker.
    pub fn requirements(&self, job: &Job) -> &Requirements {
        self.schedule.requirements(job.lane)
    }

    /// The oldest job that could be leased now, of one queue or of all.
    pub fn oldest_ready(&self, queue: Option<&QueueName>) -> Option<JobId> {
        self.schedule.oldest(queue)
    }

    /// When the next delayed job is due, or the next ready one has waited for too long, or a schedule comes.
    pub fn next_due(&self) -> Option<Timestamp> {
        let retry = if self.retries_paused().is_some() { None } else { self.retries.first() };
        let job = [self.delayed.first(), retry, self.waits.first()].into_iter().flatten().min().map(|(due, _)| *due);
        job.into_iter().chain(self.timetable.next_due()).min()
    }

    /// Sees which rates allow another start by now; whether any does that did not before. Time alone changes what
    /// may be leased, so whoever asks for leases calls this first. It changes nothing that a record says.
    pub fn refill(&mut self, now: Timestamp) -> bool {
        self.schedule.refill(now)
    }

    /// When to look at the rates again.
    pub fn next_refill(&self) -> Option<Timestamp> {
        self.schedule.next_refill()
    }

    /// Every limit that is set.
    pub fn limits(&self) -> impl Iterator<Item = &LimitSpec> {
        self.schedule.limits()
    }

    /// What is in use of everything that is limited or in use.
    pub fn limit_usage(&self, now: Timestamp) -> Vec<LimitUsage> {
        self.schedule.usage(now)
    }

    /// The set of accepted candidates.
    pub fn accepted(&self) -> &AcceptedSet {
        &self.accepted
    }

    /// Legacy imports, by id.
    pub fn imports(&self) -> &BTreeMap<ImportId, Import> {
        &self.imports
    }

    /// The retry rule in force for a job.
    pub fn retry_policy(&self, job: &Job) -> RetryPolicy {
        let policy = match self.queue_of(job) {
            Some(queue) => RetryPolicy::default().patched(&queue.spec.retry),
            None => RetryPolicy::default(),
        };
        match &job.overrides {
            Some(overrides) => policy.patched(&overrides.retry),
            None => policy,
        }
    }

    /// The retry rules in force for a job: its own, or its queue's.
    pub fn retry_rules<'a>(&'a self, job: &'a Job) -> &'a [RetryRule] {
        let own = job.overrides.as_ref().and_then(|overrides| overrides.retry.rules.as_deref());
        own.or_else(|| self.queue_of(job).and_then(|queue| queue.spec.retry.rules.as_deref())).unwrap_or_default()
    }

    /// The lease rule in force for a job.
    pub fn lease_policy(&self, job: &Job) -> LeasePolicy {
        let policy = match self.queue_of(job) {
            Some(queue) => LeasePolicy::default().patched(&queue.spec.lease),
            None => LeasePolicy::default(),
        };
        match &job.overrides {
            Some(overrides) => policy.patched(&overrides.lease),
            None => policy,
        }
    }

    /// How long an attempt of the job may run.
    pub fn timeout(&self, job: &Job) -> Option<Span> {
        let own = job.overrides.as_ref().and_then(|overrides| overrides.timeout);
        own.or_else(|| self.queue_of(job).and_then(|queue| queue.spec.timeout))
    }

    /// How long the job may stand ready without a worker.
    pub fn queue_timeout(&self, job: &Job) -> Option<Span> {
        let own = job.overrides.as_ref().and_then(|overrides| overrides.queue_timeout);
        own.or_else(|| self.queue_of(job).and_then(|queue| queue.spec.queue_timeout))
    }

    /// Until when a ready job waits for a worker; None if it waits for ever, or is not ready.
    pub fn waits_until(&self, job: JobId) -> Option<Timestamp> {
        self.waits_until.get(&job).copied()
    }

    fn queue_of(&self, job: &Job) -> Option<&Queue> {
        self.queues.at(self.schedule.queue_of(job.lane))
    }
}

//! A fold over the records that trusts none of them: what each means, and what it may not follow.
//!
//! It is written from the meaning of the records only, and shares no code with the state of the product, so that both
//! would have to be wrong in the same way to agree on something wrong.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::array::ArraySpec;
use orch_core::digest::Digest;
use orch_core::id::{ContractRef, ImportId, JobId, LeaseId, Seq, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::record::{BatchJudged, CancelCause, CandidateAccepted, Event, GangMember, Next, Origin, Record};
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;
use orch_ledger::Position;

use super::identity::Identities;
use super::{Rule, Violation};

/// A job, as the records tell it.
#[derive(Default)]
pub(super) struct JobFact {
    pub(super) key: Option<String>,
    pub(super) payload: Payload,
    pub(super) lease: Option<LeaseId>,
    pub(super) attempts: u32,
    pub(super) phase: Phase,
    pub(super) cancelled: bool,
    pub(super) retried: bool,
    unique: Unique,
    submitted_at: Timestamp,
    /// Since when it is ready, if it is; of an array, as long as no task of it was made.
    ready_since: Option<Timestamp>,
    /// What it has of an array, if it is one.
    array: Option<ArrayFact>,
    /// How many workers it needs at once.
    workers: u32,
}

/// An array, as the records tell it.
struct ArrayFact {
    spec: ArraySpec,
    /// The tasks that were made: their number and their job.
    made: BTreeMap<i64, JobId>,
}

/// Whether a job is open.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    #[default]
    Open,
    Failed,
    Gone,
}

/// How a lease ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LeaseEnd {
    Released,
    Expired,
    Completed,
    Failed { finally: bool },
    Cancelled,
}

/// A lease, as the records tell it.
pub(super) struct LeaseFact {
    pub(super) job: JobId,
    pub(super) worker: WorkerId,
    /// The other members, if it is a gang's.
    pub(super) members: BTreeSet<WorkerId>,
    pub(super) contract: Option<ContractRef>,
    pub(super) expected: Option<u64>,
    pub(super) end: Option<(Seq, LeaseEnd)>,
    pub(super) batches: Vec<BatchFact>,
    distinct: BTreeSet<Seq>,
}

impl LeaseFact {
    /// Whether it was granted to this worker, alone or with others.
    pub(super) fn is_held_by(&self, worker: &WorkerId) -> bool {
        self.worker == *worker || self.members.contains(worker)
    }
}

/// A judged batch, as the records tell it.
pub(super) struct BatchFact {
    pub(super) judged: Seq,
    pub(super) accepted: u32,
    pub(super) duplicates: Vec<Seq>,
    pub(super) rejected: u32,
}

impl BatchFact {
    pub(super) fn last(&self) -> Seq {
        self.judged.plus(u64::from(self.accepted))
    }
}

/// An accepted candidate, as its record tells it.
pub(super) struct AcceptedFact {
    pub(super) origin: Origin,
    pub(super) candidate: Digest,
}

/// What is still to come of a judged batch.
struct Awaited {
    origin: Origin,
    accepted: u32,
    batch: u64,
}

/// Everything that the records say.
#[derive(Default)]
pub(super) struct Facts {
    pub(super) last: Seq,
    pub(super) jobs: BTreeMap<JobId, JobFact>,
    pub(super) leases: BTreeMap<LeaseId, LeaseFact>,
    pub(super) accepted: BTreeMap<Seq, AcceptedFact>,
    /// The last seq of each batch, and its link.
    pub(super) links: Vec<(Seq, Digest)>,
    /// The job that was submitted last under each key.
    keys: BTreeMap<String, JobId>,
    imports: BTreeMap<ImportId, (Payload, u64)>,
    identities: Identities,
    awaited: Option<Awaited>,
    violations: Vec<Violation>,
}

impl Facts {
    pub(super) fn violated(&mut self, rule: Rule, message: impl Into<String>) {
        self.violations.push(Violation::new(rule, message));
    }

    /// Whether a job may still come to something by itself.
    pub(super) fn is_open(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.phase == Phase::Open)
    }

    /// Whether a job was submitted under this key.
    pub(super) fn has_key(&self, job: JobId, key: &str) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.key.as_deref() == Some(key))
    }

    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    pub(super) fn take(&mut self, record: &Record, position: &Position) {
        let Record { seq, at, event } = record;
        if *seq != self.last.next() {
            self.violated(Rule::Chain, format!("record {seq} follows record {}", self.last));
        }
        self.last = *seq;
        if let Some(chain) = position.chain {
            self.links.push((*seq, chain));
        }
        self.awaited_comes(*seq, event, position);
        match event {
            Event::JobSubmitted(submitted) => {
                let spec = &submitted.spec;
                let (key, payload) = (spec.idempotency_key.clone(), spec.payload.clone());
                self.takes_key(JobId(*seq), spec, *at);
                let waits = !submitted.depends_on.is_empty() || submitted.not_before.is_some();
                let ready_since = (!waits).then_some(*at);
                let (unique, submitted_at) = (spec.unique, *at);
                let array = spec.array.clone().map(|spec| ArrayFact { spec, made: BTreeMap::new() });
                let workers = spec.gang.map_or(1, |gang| gang.workers);
                let fact =
                    JobFact { key, payload, unique, submitted_at, ready_since, array, workers, ..JobFact::default() };
                self.jobs.insert(JobId(*seq), fact);
            }
            Event::TaskMade { array, index } => self.task_made(*seq, *array, *index),
            Event::ArrayEnded { array, done, failed, cancelled } => {
                self.array_ended(*seq, *array, [*done, *failed, *cancelled]);
            }
            Event::JobReadied { job, not_before } => {
                if let Some(job) = self.open_job(*seq, *job) {
                    job.ready_since = not_before.is_none().then_some(*at);
                }
            }
            Event::LeaseGranted { job, attempt, worker, contract, expected, variant: _, session: _, members } => {
                self.granted(LeaseId(*seq), *job, *attempt, worker, contract.as_ref(), *expected);
                self.gang_granted(LeaseId(*seq), *job, worker, members);
            }
            Event::LeaseReleased { job, lease, reason: _ } => {
                self.ended(*seq, *lease, *job, LeaseEnd::Released);
                self.goes_on(*job, Next::Ready, *at);
            }
            Event::LeaseExpired { job, lease, cause: _, next, worker } => {
                self.of_gang(*seq, *lease, worker.as_ref());
                self.ended(*seq, *lease, *job, LeaseEnd::Expired);
                self.goes_on(*job, *next, *at);
            }
            Event::BatchJudged(judged) => self.judged(*seq, judged, position),
            Event::CandidateAccepted(accepted) => self.candidate(*seq, accepted),
            Event::JobCompleted { job, lease } => {
                self.complete(*seq, *lease);
                self.ended(*seq, *lease, *job, LeaseEnd::Completed);
                self.gone(*job);
            }
            Event::AttemptFailed {
                job,
                lease,
                next,
                class: _,
                message: _,
                exit_code: _,
                needs: _,
                avoid_worker: _,
                worker,
            } => {
                self.of_gang(*seq, *lease, worker.as_ref());
                let finally = matches!(next, Next::Failed(_));
                self.ended(*seq, *lease, *job, LeaseEnd::Failed { finally });
                self.goes_on(*job, *next, *at);
            }
            Event::JobCancelled { job, cause, reason: _ } => {
                if let CancelCause::QueueTimeout(span) = cause {
                    self.given_up(*seq, *job, *span, *at);
                }
                if let Some(lease) = self.jobs.get(job).and_then(|job| job.lease) {
                    self.ended(*seq, lease, *job, LeaseEnd::Cancelled);
                }
                match self.jobs.get_mut(job) {
                    Some(known) if known.phase != Phase::Gone => known.cancelled = true,
                    Some(_) | None => {
                        self.violated(Rule::OneLease, format!("record {seq} cancels job {job}, which is no more"))
                    }
                }
                self.gone(*job);
            }
            Event::JobRetried { job } => match self.jobs.get_mut(job).filter(|job| job.phase == Phase::Failed) {
                Some(known) => {
                    known.phase = Phase::Open;
                    known.ready_since = Some(*at);
                    known.retried = true;
                }
                None => self.violated(Rule::OneLease, format!("record {seq} retries job {job}, which has not failed")),
            },
            Event::ContractRegistered(spec) => self.identities.register(spec),
            Event::LegacyImportStarted { payload, .. } => {
                self.imports.insert(ImportId(*seq), (payload.clone(), 0));
            }
            Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
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
            | Event::LedgerRepaired { .. } => {}
        }
    }

    /// A task is made of an open array, once, and finds its number in its payload.
    fn task_made(&mut self, seq: Seq, id: JobId, index: i64) {
        let Some(job) = self.open_job(seq, id) else { return };
        job.ready_since = None;
        let workers = job.workers;
        let mut payload: serde_json::Map<String, serde_json::Value> =
            serde_json::from_str(job.payload.as_str()).unwrap_or_default();
        let known = job.array.as_mut().and_then(|array| {
            let piece = array.spec.tasks.piece(index)?;
            let before = array.made.insert(index, JobId(seq));
            for (name, number) in array.spec.fields.names().iter().zip([piece.index, piece.end]) {
                payload.insert(name.clone(), number.into());
            }
            Some(before)
        });
        match known {
            None => self.violated(Rule::OneLease, format!("record {seq} makes task {index} of {id}, which has none")),
            Some(Some(before)) => {
                let message = format!("record {seq} makes task {index} of array {id}, which is job {before} already");
                self.violated(Rule::OneLease, message);
            }
            Some(None) => {}
        }
        let payload = Payload::from_value(&serde_json::Value::Object(payload));
        self.jobs.insert(JobId(seq), JobFact { payload, workers, ..JobFact::default() });
    }

    /// An array ends when each of its tasks has, and says how many ended how.
    fn array_ended(&mut self, seq: Seq, id: JobId, told: [u64; 3]) {
        let counted = self.jobs.get(&id).and_then(|job| job.array.as_ref()).map(|array| {
            let mut counts = [0; 3];
            for task in array.made.values().filter_map(|task| self.jobs.get(task)) {
                match task.phase {
                    Phase::Open => {}
                    Phase::Failed => counts[1] += 1,
                    Phase::Gone => counts[if task.cancelled { 2 } else { 0 }] += 1,
                }
            }
            (counts, array.spec.tasks.len())
        });
        let all = counted.is_some_and(|(counts, tasks)| counts == told && told.iter().sum::<u64>() == tasks);
        if !all {
            self.violated(Rule::Liveness, format!("record {seq} ends array {id} as {told:?}; counted: {counted:?}"));
        }
        if let Some(job) = self.jobs.get_mut(&id) {
            job.phase = if told[1] > 0 { Phase::Failed } else { Phase::Gone };
        }
    }

    /// The accepted candidates of a batch follow its judgement at once, in the same commit.
    fn awaited_comes(&mut self, seq: Seq, event: &Event, position: &Position) {
        let Some(awaited) = self.awaited.take() else {
            if matches!(event, Event::CandidateAccepted(_)) {
                self.violated(
                    Rule::CurrentLease,
                    format!("record {seq} accepts a candidate outside of a judged batch"),
                );
            }
            return;
        };
        let Awaited { origin, accepted, batch } = awaited;
        let fits = match event {
            Event::CandidateAccepted(candidate) => candidate.origin == origin && position.batch == batch,
            _ => false,
        };
        if !fits {
            self.violated(
                Rule::AcknowledgedIsKept,
                format!("record {seq} stands where {accepted} more accepted candidates should"),
            );
        } else if accepted > 1 {
            self.awaited = Some(Awaited { origin, accepted: accepted - 1, batch });
        }
    }

    fn open_job(&mut self, seq: Seq, id: JobId) -> Option<&mut JobFact> {
        if self.jobs.get(&id).is_none_or(|job| job.phase != Phase::Open) {
            self.violated(Rule::OneLease, format!("record {seq} is about job {id}, which is not open"));
        }
        self.jobs.get_mut(&id)
    }

    fn granted(
        &mut self,
        lease: LeaseId,
        id: JobId,
        attempt: u32,
        worker: &WorkerId,
        contract: Option<&ContractRef>,
        expected: Option<u64>,
    ) {
        let Some(job) = self.open_job(lease.0, id) else { return };
        let (before, attempts) = (job.lease.replace(lease), job.attempts);
        job.attempts = attempt;
        job.ready_since = None;
        if let Some(before) = before {
            self.violated(Rule::OneLease, format!("job {id} is granted as lease {lease} while lease {before} lives"));
        }
        if attempt != attempts + 1 {
            self.violated(Rule::LeasesGrow, format!("attempt {attempt} of job {id} follows attempt {attempts}"));
        }
        let (worker, contract) = (worker.clone(), contract.cloned());
        let (end, batches, distinct) = (None, Vec::new(), BTreeSet::new());
        let members = BTreeSet::new();
        self.leases.insert(lease, LeaseFact { job: id, worker, members, contract, expected, end, batches, distinct });
    }

    /// A gang is granted to as many different workers as it needs, all of them at once.
    fn gang_granted(&mut self, lease: LeaseId, job: JobId, worker: &WorkerId, members: &[GangMember]) {
        let needs = self.jobs.get(&job).map_or(1, |job| job.workers.max(1));
        let others: BTreeSet<WorkerId> = members.iter().map(|member| member.worker.clone()).collect();
        if others.len() != members.len() || others.contains(worker) || others.len() + 1 != needs as usize {
            let message = format!("lease {lease} is {worker}'s and {others:?}'s, but job {job} needs {needs} workers");
            self.violated(Rule::Gang, message);
        }
        if let Some(fact) = self.leases.get_mut(&lease) {
            fact.members = others;
        }
    }

    /// A record that says on which member a gang ended speaks of one that had it.
    fn of_gang(&mut self, seq: Seq, lease: LeaseId, worker: Option<&WorkerId>) {
        let Some((fact, worker)) = self.leases.get(&lease).zip(worker) else { return };
        if fact.members.is_empty() || !fact.is_held_by(worker) {
            self.violated(
                Rule::Gang,
                format!("record {seq} ends lease {lease} on {worker}, which was no member of it"),
            );
        }
    }

    /// The lease, if a record may still speak of it.
    fn current(&mut self, seq: Seq, lease: LeaseId) -> Option<&mut LeaseFact> {
        match self.leases.get(&lease).map(|fact| fact.end) {
            Some(None) => {}
            Some(Some((end, _))) => {
                self.violated(
                    Rule::CurrentLease,
                    format!("record {seq} counts for lease {lease}, which record {end} ended"),
                );
            }
            None => self.violated(
                Rule::CurrentLease,
                format!("record {seq} counts for lease {lease}, which was never granted"),
            ),
        }
        self.leases.get_mut(&lease).filter(|fact| fact.end.is_none())
    }

    fn ended(&mut self, seq: Seq, lease: LeaseId, job: JobId, how: LeaseEnd) {
        let Some(fact) = self.current(seq, lease) else { return };
        fact.end = Some((seq, how));
        let (of, contract) = (fact.job, fact.contract.clone());
        self.identities.ended(Origin::Lease { job: of, lease }, contract.as_ref());
        if let Some(known) = self.jobs.get_mut(&of)
            && known.lease == Some(lease)
        {
            known.lease = None;
        }
        if of != job {
            self.violated(
                Rule::CurrentLease,
                format!("record {seq} ends lease {lease} of job {of} as one of job {job}"),
            );
        }
    }

    fn goes_on(&mut self, job: JobId, next: Next, at: Timestamp) {
        let Some(job) = self.jobs.get_mut(&job) else { return };
        match next {
            Next::Ready => job.ready_since = Some(at),
            Next::Delayed(_) => {}
            Next::Failed(_) => job.phase = Phase::Failed,
        }
    }

    /// A job comes in under a key, which stands for no other one by then.
    fn takes_key(&mut self, id: JobId, spec: &JobSpec, at: Timestamp) {
        let Some(key) = &spec.idempotency_key else { return };
        let Some(before) = self.keys.insert(key.clone(), id) else { return };
        let stands = self.jobs.get(&before).is_some_and(|job| match job.unique {
            Unique::Forever => true,
            Unique::UntilDone => job.phase == Phase::Open,
            Unique::For(span) => at.since(job.submitted_at) < span,
        });
        if stands {
            let message = format!("job {id} has the key {key:?}, which stands for job {before}");
            self.violated(Rule::OneJobPerKey, message);
        }
    }

    /// A job is given up because no worker took it for so long.
    fn given_up(&mut self, seq: Seq, job: JobId, span: Span, at: Timestamp) {
        let since = self.jobs.get(&job).and_then(|job| job.ready_since);
        if since.is_none_or(|since| at.since(since) < span) {
            let message = format!("record {seq} gives up job {job}, ready since {since:?}, for a wait of {span}");
            self.violated(Rule::QueueTime, message);
        }
    }

    fn gone(&mut self, job: JobId) {
        if let Some(job) = self.jobs.get_mut(&job) {
            job.phase = Phase::Gone;
        }
    }

    fn judged(&mut self, seq: Seq, judged: &BatchJudged, position: &Position) {
        let BatchJudged { origin, number, accepted, duplicates, rejected, rejections: _ } = judged;
        for duplicate in duplicates {
            let last = seq.plus(u64::from(*accepted));
            let own = *duplicate > seq && *duplicate <= last;
            if !own && !self.accepted.contains_key(duplicate) {
                self.violated(
                    Rule::Duplicate,
                    format!("record {seq} names record {duplicate} as accepted, which it is not"),
                );
            }
        }
        let before = match origin {
            Origin::Lease { job, lease } => {
                let Some(fact) = self.current(seq, *lease) else { return };
                let before = fact.batches.len() as u64;
                let (accepted, rejected) = (*accepted, *rejected);
                fact.distinct.extend(duplicates);
                fact.distinct.extend((1..=u64::from(accepted)).map(|n| seq.plus(n)));
                fact.batches.push(BatchFact { judged: seq, accepted, duplicates: duplicates.clone(), rejected });
                let of = fact.job;
                if of != *job {
                    self.violated(
                        Rule::CurrentLease,
                        format!("record {seq} counts for job {job} under a lease of job {of}"),
                    );
                }
                before
            }
            Origin::Legacy { import } => {
                let Some((_, batches)) = self.imports.get_mut(import) else {
                    self.violated(
                        Rule::CurrentLease,
                        format!("record {seq} counts for import {import}, which never began"),
                    );
                    return;
                };
                *batches += 1;
                *batches - 1
            }
        };
        if *number != before + 1 {
            self.violated(Rule::CurrentLease, format!("record {seq} judges batch {number} after batch {before}"));
        }
        if *accepted > 0 {
            self.awaited = Some(Awaited { origin: *origin, accepted: *accepted, batch: position.batch });
        }
    }

    fn candidate(&mut self, seq: Seq, accepted: &CandidateAccepted) {
        let payload = match accepted.origin {
            Origin::Lease { job, lease } => {
                let contract = self.leases.get(&lease).and_then(|lease| lease.contract.clone());
                if contract.as_ref() != Some(&accepted.contract) {
                    self.violated(
                        Rule::AcceptedOnce,
                        format!("record {seq} is judged by another contract than its lease's"),
                    );
                }
                self.jobs.get(&job).map(|job| job.payload.clone())
            }
            Origin::Legacy { import } => self.imports.get(&import).map(|(payload, _)| payload.clone()),
        };
        for fault in self.identities.take(seq, accepted, &payload.unwrap_or_default()) {
            self.violated(Rule::AcceptedOnce, fault);
        }
        let candidate = Digest::of(accepted.candidate.get().as_bytes());
        self.accepted.insert(seq, AcceptedFact { origin: accepted.origin, candidate });
    }

    fn complete(&mut self, seq: Seq, lease: LeaseId) {
        let Some(fact) = self.leases.get(&lease) else { return };
        let distinct = fact.distinct.len() as u64;
        if let Some(expected) = fact.expected.filter(|expected| *expected != distinct) {
            self.violated(
                Rule::Complete,
                format!("record {seq} ends a job as done with {distinct} distinct candidates of {expected}"),
            );
        }
    }
}

//! Granting leases, giving them back, and ending those whose worker is lost.

use std::collections::BTreeSet;

use super::gang::Place;
use super::{Decision, FailureReport, Job, JobState, Lease, State};
use crate::access::{Queues, SessionId};
use crate::array::Task;
use crate::id::{ContractRef, JobId, Kind, LeaseId, WorkerId};
use crate::job::Payload;
use crate::policy::LeasePolicy;
use crate::record::{CancelCause, Event, ExpiryCause, FailureClass, GangMember, Next};
use crate::resource::{Needs, Offer, Requirements, Variant};
use crate::retry::Then;
use crate::seeded::{self, Bug};
use crate::time::{Span, Timestamp};

/// What a worker that asks for jobs offers.
#[derive(Clone, Debug)]
pub struct LeaseRequest {
    /// The worker.
    pub worker: WorkerId,
    /// The kinds it runs.
    pub kinds: Vec<Kind>,
    /// How many jobs it takes at most.
    pub max: usize,
    /// What it has left.
    pub offer: Offer,
    /// Others that wait for a job just now: what prefers one of them to this worker is left to it.
    pub rivals: Vec<(WorkerId, Offer)>,
}

impl LeaseRequest {
    /// A worker that has nothing special.
    pub fn new(worker: WorkerId, kinds: Vec<Kind>, max: usize) -> Self {
        Self { worker, kinds, max, offer: Offer::default(), rivals: Vec::new() }
    }

    /// Whether the worker may have what requires so much. What prefers others is left to them if there are as many as it needs:
    /// a gang with fewer takes this one as well.
    pub(super) fn fits(&self, requirements: &Requirements) -> bool {
        let workers = requirements.workers() as usize;
        let better = |(rival, offer): &&(WorkerId, Offer)| {
            requirements.score(offer) > requirements.score(&self.offer) && requirements.fits(rival, offer).is_some()
        };
        requirements.fits(&self.worker, &self.offer).is_some()
            && (requirements.prefer.is_empty() || self.rivals.iter().filter(better).count() < workers)
    }
}

/// For whom a lease is, where callers are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeaseBounds {
    /// The queues whose jobs the caller may have.
    pub queues: Queues,
    /// The registration that the lease is bound to.
    pub session: Option<SessionId>,
}

/// A lease granted, as its worker needs it.
#[derive(Clone, Debug)]
pub struct Granted {
    /// The lease.
    pub lease: LeaseId,
    /// The job.
    pub job: JobId,
    /// The how-manieth lease of the job.
    pub attempt: u32,
    /// The contract that judges its candidates.
    pub contract: Option<ContractRef>,
    /// Time to live without a heartbeat.
    pub ttl: Span,
    /// Interval of heartbeats.
    pub heartbeat: Span,
    /// How long the attempt may run.
    pub timeout: Option<Span>,
    /// What to compute.
    pub payload: Payload,
    /// What the job gets of the worker: the alternative that was chosen.
    pub variant: Variant,
    /// Which task of which array it is, if it is one.
    pub task: Option<Task>,
    /// Which member of a gang its worker is, and who the others are.
    pub place: Option<Place>,
}

/// What follows from a failure.
struct After {
    next: Next,
    needs: Option<Needs>,
    avoid_worker: bool,
}

impl After {
    const fn finally(class: FailureClass) -> Self {
        Self { next: Next::Failed(class), needs: None, avoid_worker: false }
    }
}

impl State {
    /// Decides which job a worker gets next; `max` is for the caller, who applies this and asks again. Nothing is
    /// recorded if there is none that may run. `payload_of` reads a job's payload from the ledger; an array's, of which the
    /// next task is made and leased.
    ///
    /// A job whose payload the contract cannot judge (the queue's contract changed since its submit) is granted and
    /// fails at once: no worker could ever complete it. There is no answer then, but there are events.
    pub fn lease(
        &self,
        request: &LeaseRequest,
        payload_of: &mut dyn FnMut(JobId) -> Payload,
    ) -> Decision<Option<Granted>> {
        self.lease_within(request, &LeaseBounds::default(), payload_of)
    }

    /// The same for a caller that is known: only jobs of its queues, and the lease is bound to its registration.
    pub fn lease_within(
        &self,
        request: &LeaseRequest,
        bounds: &LeaseBounds,
        payload_of: &mut dyn FnMut(JobId) -> Payload,
    ) -> Decision<Option<Granted>> {
        let alone = |required: &Requirements| required.gang.is_none() && request.fits(required);
        match self.choose(request, bounds, &alone) {
            Some(id) => self.grant(id, request, bounds, &[], payload_of),
            None => Decision::nothing(None),
        }
    }

    /// The job that a worker gets next, of those that `fits` lets it have.
    pub(super) fn choose(
        &self,
        request: &LeaseRequest,
        bounds: &LeaseBounds,
        fits: &dyn Fn(&Requirements) -> bool,
    ) -> Option<JobId> {
        if self.trust.set_aside.contains_key(&request.worker) {
            return None;
        }
        match &bounds.queues {
            Queues::All => self.schedule.next(&request.kinds, fits),
            Queues::Only(queues) => self.schedule.next_of(&request.kinds, queues, fits),
        }
    }

    /// Decides that a worker gets a job; with `members`, by rank from 1, if it is a gang.
    pub(super) fn grant(
        &self,
        id: JobId,
        request: &LeaseRequest,
        bounds: &LeaseBounds,
        members: &[GangMember],
        payload_of: &mut dyn FnMut(JobId) -> Payload,
    ) -> Decision<Option<Granted>> {
        let mut decision = Decision::nothing(None);
        let Some(job) = self.jobs.get(&id) else { return decision };
        let mut payload = payload_of(id);
        let mut task = self.arrays.task(id);
        let (mut leased, mut lease) = (id, LeaseId(self.next_seq()));
        if let Some(array) = self.arrays.get(id) {
            // Its next task becomes a job, and is what is leased.
            let Some(piece) = array.next() else { return decision };
            payload = array.spec.payload(&payload, piece);
            task = Some(Task { array: id, index: piece.index });
            (leased, lease) = (JobId(self.next_seq()), LeaseId(self.next_seq().next()));
            decision.events.push(Event::TaskMade { array: id, index: piece.index });
        }
        let contract = self.queue_of(job).and_then(|queue| queue.spec.contract.clone());
        let compiled =
            contract.as_ref().and_then(|c| self.contracts.get(c)).and_then(|registered| registered.contract.as_ref());
        let expected = compiled.map_or(Ok(None), |contract| {
            contract.bind(&payload)?;
            contract.expected_count(&payload)
        });
        let requirements = self.schedule.requirements(job.lane);
        let variant = requirements.fits(&request.worker, &request.offer).unwrap_or_default();
        let attempt = job.attempts + 1;
        decision.events.push(Event::LeaseGranted {
            job: leased,
            attempt,
            worker: request.worker.clone(),
            contract: contract.clone(),
            expected: *expected.as_ref().unwrap_or(&None),
            variant: u32::try_from(variant).unwrap_or_default(),
            session: bounds.session,
            members: members.to_vec(),
        });
        match expected {
            Ok(_) => {
                let LeasePolicy { ttl, heartbeat } = self.lease_policy(job);
                let timeout = self.timeout(job);
                let variant = requirements.variant(variant);
                let job = leased;
                let place = Place::first(&request.worker, members);
                decision.answer = Some(Granted {
                    lease,
                    job,
                    attempt,
                    contract,
                    ttl,
                    heartbeat,
                    timeout,
                    payload,
                    variant,
                    task,
                    place,
                });
            }
            Err(error) => {
                let class = FailureClass::Permanent;
                let next = Next::Failed(class);
                let message = error.to_string();
                decision.events.push(Event::AttemptFailed {
                    job: leased,
                    lease,
                    class,
                    message,
                    next,
                    exit_code: None,
                    needs: None,
                    avoid_worker: false,
                    worker: None,
                });
                self.settle_dependents(leased, false, &mut decision.events);
            }
        }
        decision
    }

    /// Decides to give back those of the leases that are the worker's, of a gang for all of its members. No attempt is
    /// charged.
    pub fn release(&self, worker: &WorkerId, leases: &[LeaseId]) -> Decision<Vec<LeaseId>> {
        let mut decision = Decision::nothing(Vec::new());
        for &lease in leases {
            let Some(held) = self.leases.get(&lease) else { continue };
            if !held.is_held_by(worker) || decision.answer.contains(&lease) {
                continue;
            }
            let reason = if held.is_gang() { format!("worker {worker} gave it back") } else { String::new() };
            decision.events.extend(self.released(lease, held, reason));
            decision.answer.push(lease);
        }
        decision
    }

    /// Decides the end of a lease whose worker is lost. Nothing if it is not current any more.
    pub fn expire(&self, lease: LeaseId, cause: ExpiryCause, now: Timestamp) -> Decision<()> {
        self.expire_of(lease, None, cause, now)
    }

    /// The same, saying which member of a gang was lost.
    pub fn expire_of(
        &self,
        lease: LeaseId,
        lost: Option<&WorkerId>,
        cause: ExpiryCause,
        now: Timestamp,
    ) -> Decision<()> {
        let mut decision = Decision::nothing(());
        let Some(held) = self.leases.get(&lease) else { return decision };
        let Some(job) = self.jobs.get(&held.job) else { return decision };
        let crashes = job.crashes + 1;
        let too_many = crashes >= self.retry_policy(job).crash_limit && !seeded::on(Bug::CrashLimitNotKept);
        let next = if too_many { Next::Failed(FailureClass::Quarantined) } else { self.again(Span(0), now) };
        let worker = lost.filter(|_| held.is_gang()).cloned();
        decision.events.push(Event::LeaseExpired { job: held.job, lease, cause, next, worker });
        if matches!(next, Next::Failed(_)) {
            self.settle_dependents(held.job, false, &mut decision.events);
        }
        decision
    }

    /// Decides the failure of an attempt that ran longer than its job allows.
    pub fn time_out(&self, lease: LeaseId, now: Timestamp) -> Decision<()> {
        let mut decision = Decision::nothing(());
        let Some(held) = self.leases.get(&lease) else { return decision };
        let limit = self.jobs.get(&held.job).and_then(|job| self.timeout(job)).unwrap_or_default();
        let message = format!("worker {} ran it longer than its timeout of {limit}", held.worker);
        let report = FailureReport::new(FailureClass::Timeout, message);
        let (events, _) = self.fail_attempt(lease, held, &held.worker, report, now);
        decision.events = events;
        decision
    }

    /// Decides which delayed jobs are ready by now, at most `max` of them; no retries while they are paused.
    pub fn ready_due(&self, now: Timestamp, max: usize) -> Decision<()> {
        let paused = self.retries_paused().is_some() && !seeded::on(Bug::RetriedWhilePaused);
        let retries = if paused { None } else { Some(&self.retries) };
        let sets = std::iter::once(&self.delayed).chain(retries);
        let due = sets.flat_map(|set| set.iter().take_while(|(until, _)| *until <= now)).take(max);
        let events = due.map(|(_, job)| Event::JobReadied { job: *job, not_before: None }).collect();
        Decision { events, answer: () }
    }

    /// Decides to cancel the jobs that no worker took for as long as they may wait, at most `max` of them.
    pub fn end_waits(&self, now: Timestamp, max: usize) -> Decision<()> {
        let over: Vec<JobId> =
            self.waits.iter().take_while(|(until, _)| *until <= now).take(max).map(|(_, job)| *job).collect();
        let waited = |id: &JobId| {
            let since = self.jobs.get(id).map(|job| job.ready_since);
            self.waits_until.get(id).zip(since).map(|(until, since)| until.since(since)).unwrap_or_default()
        };
        let mut events = Vec::new();
        for job in &over {
            self.cancelled(*job, &CancelCause::QueueTimeout(waited(job)), "", &mut events);
        }
        self.settle_all(&over, false, &mut events);
        Decision { events, answer: () }
    }

    /// The events of an attempt that failed on a worker, and what becomes of its job.
    pub(super) fn fail_attempt(
        &self,
        lease: LeaseId,
        held: &Lease,
        on: &WorkerId,
        report: FailureReport,
        now: Timestamp,
    ) -> (Vec<Event>, Next) {
        let FailureReport { class, message, exit_code } = report;
        let message: String = message.chars().take(crate::record::MAX_MESSAGE_CHARS).collect();
        let after = match self.jobs.get(&held.job) {
            Some(job) => self.after_failure(held.job, job, class, exit_code, &message, now),
            None => After::finally(class),
        };
        let After { next, needs, avoid_worker } = after;
        let job = held.job;
        let worker = (held.worker != *on).then(|| on.clone());
        let failed = Event::AttemptFailed { job, lease, class, message, next, exit_code, needs, avoid_worker, worker };
        let mut events = vec![failed];
        if matches!(next, Next::Failed(_)) {
            self.settle_dependents(held.job, false, &mut events);
        }
        events.extend(self.distrust(on, job, class));
        (events, next)
    }

    fn after_failure(
        &self,
        id: JobId,
        job: &Job,
        class: FailureClass,
        exit_code: Option<i32>,
        message: &str,
        now: Timestamp,
    ) -> After {
        let rule = self.retry_rules(job).iter().find(|rule| rule.is_about(class, exit_code, message));
        let policy = self.retry_policy(job);
        let failures = job.failures + 1;
        let tries = match (class, rule.map(|rule| rule.then)) {
            (_, Some(Then::Fail)) if seeded::on(Bug::FinalFailureRetried) => failures < policy.max_attempts,
            (_, Some(Then::Fail)) | (FailureClass::Quarantined, _) | (FailureClass::Permanent, None) => false,
            (_, Some(Then::Retry)) | (FailureClass::Error | FailureClass::Timeout | FailureClass::Incomplete, None) => {
                failures < rule.and_then(|rule| rule.max_attempts).unwrap_or(policy.max_attempts)
            }
        };
        if !tries {
            return After::finally(class);
        }
        let wait = rule.and_then(|rule| rule.backoff).unwrap_or_else(|| policy.wait(id, failures));
        let required = self.schedule.requirements(job.lane);
        After {
            next: self.again(wait, now),
            needs: rule.and_then(|rule| rule.memory).and_then(|more| more.of(&required.needs)),
            avoid_worker: rule.is_some_and(|rule| rule.avoid_worker),
        }
    }

    /// What becomes of a job that is tried again after a wait: while retries are paused it waits in any case.
    fn again(&self, wait: Span, now: Timestamp) -> Next {
        if wait == Span(0) && self.retries_paused().is_none() { Next::Ready } else { Next::Delayed(now.plus(wait)) }
    }

    /// The events that follow for the jobs that wait for `ended`, which is done or will not be, and for those that
    /// wait for them, and so on.
    pub(super) fn settle_dependents(&self, ended: JobId, done: bool, events: &mut Vec<Event>) {
        self.settle_all(&[ended], done, events);
    }

    /// The same for several jobs that one decision ends.
    pub(super) fn settle_all(&self, ended: &[JobId], done: bool, events: &mut Vec<Event>) {
        let mut ended = ended.to_vec();
        let arrays = self.ends_of_arrays(&ended, done, events);
        ended.extend(arrays.iter().map(|(id, _)| *id));
        // What this very decision does, which `apply` has not seen yet: jobs that it ends, and jobs that it readies.
        let mut gone: BTreeSet<JobId> = ended.iter().copied().collect();
        let mut readied = BTreeSet::new();
        let is_done = |id: &JobId| arrays.iter().find(|(array, _)| array == id).map_or(done, |(_, done)| *done);
        let mut open: Vec<(JobId, bool)> = ended.iter().rev().map(|id| (*id, is_done(id))).collect();
        while let Some((id, done)) = open.pop() {
            let dependents =
                self.jobs.get(&id).and_then(|job| job.overrides.as_ref()).map_or(&[][..], |o| &o.dependents[..]);
            for &dependent in dependents {
                let Some(job) = self.jobs.get(&dependent) else { continue };
                let JobState::Blocked { waiting_on } = &job.state else { continue };
                let goes_on = done || job.overrides.as_ref().is_some_and(|o| o.continue_on_dependency_failure);
                if gone.contains(&dependent) || readied.contains(&dependent) {
                    continue;
                }
                if !goes_on {
                    self.cancelled(dependent, &CancelCause::Dependency(id), "", events);
                    gone.insert(dependent);
                    open.push((dependent, false));
                } else if waiting_on.iter().all(|on| gone.contains(on)) {
                    let not_before = job.overrides.as_ref().and_then(|o| o.not_before);
                    events.push(Event::JobReadied { job: dependent, not_before });
                    readied.insert(dependent);
                }
            }
        }
    }
}

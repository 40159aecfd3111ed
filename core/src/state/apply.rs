//! What every event means. The only code that changes the state, live and on replay.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::job::{Delivery, Overrides};
use super::schedule::{LaneId, Wants};
use super::submit::key_digest;
use super::{
    Array, BatchRange, Ended, GivenBack, Import, Job, JobCounts, JobState, KeyedJob, Lease, Outcome, Queue, Registered,
    State,
};
use crate::array::{Task, running_tasks};
use crate::contract::Contract;
use crate::id::{ImportId, JobId, LeaseId, QueueName, ScheduleName, Seq, WorkerId};
use crate::job::{JobSpec, OnDependencyFailure};
use crate::limit::LimitTarget;
use crate::record::{BatchJudged, CandidateAccepted, Event, JobSubmitted, Next, Origin, Record};
use crate::resource::Requirements;
use crate::seeded::{self, Bug};
use crate::time::Timestamp;

/// An event that cannot have happened in this state: the ledger was not written by this fold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} cannot follow: {what}")]
pub struct ApplyError {
    /// The record.
    pub seq: Seq,
    /// What does not fit.
    pub what: String,
}

/// What does not fit, before the record's seq is known to it.
type Misfit = String;

impl State {
    /// Takes a record into the state.
    ///
    /// # Errors
    /// [`ApplyError`] if the record cannot follow the ones before it. The state is then unusable.
    pub fn apply(&mut self, record: &Record) -> Result<(), ApplyError> {
        let seq = record.seq;
        if seq != self.next_seq() {
            let what = format!("record {} was expected", self.next_seq());
            return Err(ApplyError { seq, what });
        }
        self.last_seq = seq;
        self.apply_event(record).map_err(|what| ApplyError { seq, what })
    }

    fn apply_event(&mut self, record: &Record) -> Result<(), Misfit> {
        let (seq, at) = (record.seq, record.at);
        match &record.event {
            Event::SegmentOpened { .. } | Event::SegmentSealed {} | Event::LedgerRepaired { .. } => Ok(()),
            Event::Booted { epoch, .. } => {
                if *epoch <= self.epoch {
                    return Err(format!("epoch {epoch} is not above {}", self.epoch));
                }
                self.epoch = *epoch;
                Ok(())
            }
            Event::QueueDefined(spec) => {
                let number = self.schedule.define_queue(spec);
                self.queues.define(number, spec);
                Ok(())
            }
            Event::QueuePaused { queue, reason } => {
                self.queue_mut(queue)?.paused = Some(reason.clone());
                self.schedule.set_paused(queue, true);
                Ok(())
            }
            Event::QueueResumed { queue } => {
                self.queue_mut(queue)?.paused = None;
                self.schedule.set_paused(queue, false);
                Ok(())
            }
            Event::ContractRegistered(spec) => {
                let registered = Registered {
                    contract: Contract::compile((**spec).clone()).ok().map(Arc::new),
                    spec: Arc::new((**spec).clone()),
                    seq,
                    accepted: 0,
                };
                self.contracts.insert(spec.reference(), registered);
                Ok(())
            }
            Event::JobSubmitted(submitted) => self.job_submitted(JobId(seq), submitted, record),
            Event::TaskMade { array, index } => {
                let task = Task { array: *array, index: *index };
                self.task_made(JobId(seq), task, record)
            }
            Event::ArrayEnded { array, done, failed, cancelled } => {
                let known = self.arrays.get(*array).ok_or_else(|| format!("array {array} is not open"))?;
                let counts = [known.done, known.failed, known.cancelled];
                if known.left + known.open() > 0 || counts != [*done, *failed, *cancelled] {
                    return Err(format!("array {array} ends, but its tasks have not, or others"));
                }
                if *failed > 0 {
                    self.counts.ends += 1;
                    let class = crate::record::FailureClass::Error;
                    self.enter(*array, JobState::Failed { class, at }, at)?;
                    self.unblock_dependents(*array);
                    return Ok(());
                }
                self.leave(*array, *cancelled == 0)
            }
            Event::JobReadied { job, not_before } => {
                let state = match not_before {
                    Some(until) => JobState::Delayed { until: *until },
                    None => JobState::Ready,
                };
                match self.job_state(*job)? {
                    JobState::Blocked { .. } | JobState::Delayed { .. } => self.enter(*job, state, at),
                    // Retries are paused: it waits again.
                    JobState::Ready if not_before.is_some() => self.enter(*job, state, at),
                    other => Err(format!("job {job} is readied, but it is {}", name(&other))),
                }
            }
            Event::LeaseGranted { job, attempt, worker, contract, expected, variant, session, members } => {
                if self.job_state(*job)? != JobState::Ready {
                    return Err(format!("job {job} is leased, but it is not ready"));
                }
                let lease = LeaseId(seq);
                let held = Lease {
                    job: *job,
                    worker: worker.clone(),
                    attempt: *attempt,
                    granted_at: at,
                    contract: contract.clone(),
                    expected: *expected,
                    variant: *variant,
                    session: *session,
                    members: members.as_slice().into(),
                    delivery: Delivery::default(),
                };
                self.check_gang(&held)?;
                self.leases.insert(lease, held);
                self.given_back.remove(job);
                self.counts.leases_granted += 1;
                let known = self.job_mut(*job)?;
                known.attempts = *attempt;
                let lane = known.lane;
                self.enter(*job, JobState::Leased { lease }, at)?;
                self.schedule.start(lane, seq.0, at);
                Ok(())
            }
            Event::LeaseReleased { job, lease, reason } => {
                let held = self.end_lease(*lease, *job, Outcome::Released, None, seq)?;
                if held.is_gang() {
                    self.given_back.insert(*job, GivenBack { at, reason: reason.clone() });
                }
                self.counts.released += 1;
                self.enter(*job, JobState::Ready, at)
            }
            Event::LeaseExpired { job, lease, cause: _, next, worker: _ } => {
                self.end_lease(*lease, *job, Outcome::Expired, None, seq)?;
                self.counts.crashes += 1;
                self.job_mut(*job)?.crashes += 1;
                self.go_on(*job, *next, record)
            }
            Event::BatchJudged(judged) => self.batch_judged(judged, seq),
            Event::CandidateAccepted(accepted) => self.candidate_accepted(accepted, seq),
            Event::JobCompleted { job, lease } => {
                let held = self.end_lease(*lease, *job, Outcome::Completed, None, seq)?;
                held.workers().for_each(|worker| self.trust.succeeded(worker));
                self.leave(*job, true)
            }
            Event::AttemptFailed { job, lease, class, message, next, exit_code: _, needs, avoid_worker, worker } => {
                let finally = matches!(next, Next::Failed(_));
                let outcome = Outcome::Failed { class: *class, message: message.clone(), finally };
                let held = self.end_lease(*lease, *job, outcome, worker.as_ref(), seq)?;
                let worker = worker.clone().unwrap_or(held.worker);
                self.counts.failures += 1;
                self.trust.failed(&worker, *job, *class, self.counts.jobs.done);
                self.job_mut(*job)?.failures += 1;
                self.go_on(*job, *next, record)?;
                if needs.is_some() || *avoid_worker {
                    self.require(*job, |required| {
                        required.needs = needs.clone().unwrap_or_else(|| required.needs.clone());
                        let avoids = *avoid_worker && !seeded::on(Bug::AvoidedWorkerForgotten);
                        required.avoid.extend(avoids.then_some(worker));
                    })?;
                }
                Ok(())
            }
            Event::JobCancelled { job, cause: _, reason: _ } => {
                if let JobState::Leased { lease } = self.job_state(*job)? {
                    self.end_lease(lease, *job, Outcome::Cancelled, None, seq)?;
                }
                self.leave(*job, false)
            }
            Event::JobRetried { job } => {
                let known = self.job_mut(*job)?;
                known.failures = 0;
                known.crashes = 0;
                self.require(*job, |required| required.avoid.clear())?;
                let is_array = self.arrays.get(*job).is_some();
                self.enter(*job, if is_array { JobState::Running } else { JobState::Ready }, at)
            }
            Event::LimitSet(spec) => {
                self.schedule.change_limit(&spec.limit, Some((**spec).clone()), at);
                Ok(())
            }
            Event::LimitUnset { limit } => {
                self.schedule.change_limit(limit, None, at);
                Ok(())
            }
            Event::TokenCreated(made) => {
                self.access.created(seq, at, made);
                Ok(())
            }
            Event::TokenRevoked { token, by: _ } => {
                if self.access.revoked(*token) {
                    Ok(())
                } else {
                    Err(format!("no token {token} is in force"))
                }
            }
            Event::Audited(entry) => {
                self.access.noted(seq, at, entry);
                Ok(())
            }
            Event::WorkerSetAside { worker, reason } => {
                self.trust.set_aside(worker, reason, at);
                Ok(())
            }
            Event::WorkerResumed { worker } => {
                self.trust.set_aside.remove(worker);
                Ok(())
            }
            Event::RetriesPaused { reason } => {
                self.trust.retries_paused = Some(reason.clone());
                Ok(())
            }
            Event::RetriesResumed {} => {
                self.trust.retries_paused = None;
                Ok(())
            }
            Event::ScheduleSet(spec) => {
                self.timetable.set(spec, at);
                Ok(())
            }
            Event::SchedulePaused { schedule, reason } => {
                known(self.timetable.set_paused(schedule, Some(reason), at), schedule)
            }
            Event::ScheduleResumed { schedule } => known(self.timetable.set_paused(schedule, None, at), schedule),
            Event::ScheduleRemoved { schedule } => known(self.timetable.remove(schedule), schedule),
            Event::ScheduleFired { schedule, due, outcome } => {
                known(self.timetable.fired(schedule, *due, outcome), schedule)
            }
            Event::LegacyImportStarted { file, name, contract, payload: _ } => {
                let import = Import {
                    file: *file,
                    name: name.clone(),
                    contract: contract.clone(),
                    delivery: Delivery::default(),
                    finished: false,
                };
                self.imports.insert(ImportId(seq), import);
                self.imports_by_file.insert(*file, ImportId(seq));
                Ok(())
            }
            Event::LegacyImportFinished { import } => {
                self.imports.get_mut(import).ok_or_else(|| format!("there is no import {import}"))?.finished = true;
                Ok(())
            }
        }
    }

    fn job_submitted(&mut self, id: JobId, submitted: &JobSubmitted, record: &Record) -> Result<(), Misfit> {
        let JobSubmitted { spec, kind, depends_on, not_before } = submitted;
        if !self.queues.contains_key(&spec.queue) {
            return Err(format!("queue {} does not exist", spec.queue));
        }
        if let Some(key) = &spec.idempotency_key {
            self.keys.insert(key_digest(key), KeyedJob::new(id, spec, record.at));
        }
        let waiting_on: BTreeSet<JobId> = depends_on.iter().copied().collect();
        for on in &waiting_on {
            let dependency = self.job_mut(*on)?;
            dependency.overrides.get_or_insert_default().dependents.push(id);
        }
        let state = match not_before {
            _ if !waiting_on.is_empty() => JobState::Blocked { waiting_on: Box::new(waiting_on) },
            Some(until) => JobState::Delayed { until: *until },
            None => JobState::Ready,
        };
        let requirements = spec.requirements(kind);
        let mut keys = spec.keys.clone();
        if let Some(array) = &spec.array {
            self.arrays.insert(id, array);
            if let LimitTarget::Key(name, value) = running_tasks(id) {
                keys.insert(name, value);
            }
        }
        let wants = Wants {
            keys: &keys,
            semaphores: &spec.semaphores,
            requirements: &requirements,
            fair_key: spec.fair_key.as_ref(),
        };
        let lane = self.schedule.open(&spec.queue, kind, spec.priority, wants, record.at);
        let job = Job {
            lane,
            attempts: 0,
            failures: 0,
            crashes: 0,
            submitted_at: record.at,
            ready_since: record.at,
            state: JobState::Failed { class: crate::record::FailureClass::Error, at: record.at },
            overrides: overrides(spec, *not_before),
        };
        self.begin(id, job, state, record.at)
    }

    /// Takes a new job in, in its first state.
    fn begin(&mut self, id: JobId, job: Job, state: JobState, at: Timestamp) -> Result<(), Misfit> {
        let weight = self.weight(id);
        self.count(job.lane, weight, |counts| &mut counts.failed);
        self.jobs.insert(id, job);
        self.enter(id, state, at)
    }

    /// The next task of an array becomes a job, which is ready.
    fn task_made(&mut self, id: JobId, task: Task, record: &Record) -> Result<(), Misfit> {
        let next = self.arrays.get(task.array).and_then(Array::next);
        let array = self.job_mut(task.array)?;
        if array.state != JobState::Ready || next.map(|piece| piece.index) != Some(task.index) {
            return Err(format!("task {} of array {} is made, but it is not its turn", task.index, task.array));
        }
        let job = Job {
            lane: array.lane,
            attempts: 0,
            failures: 0,
            crashes: 0,
            submitted_at: array.submitted_at,
            ready_since: record.at,
            state: JobState::Failed { class: crate::record::FailureClass::Error, at: record.at },
            overrides: array.overrides.as_ref().and_then(|overrides| overrides.of_task()),
        };
        let lane = job.lane;
        self.schedule.share(lane);
        self.schedule.task_made(lane, task.array);
        self.count(lane, -1, |counts| &mut counts.ready);
        let left = self.arrays.made(id, task);
        // Until a new job enters its first state it counts as failed.
        self.arrays.moved(id, &JobState::Ready, &job.state);
        self.begin(id, job, JobState::Ready, record.at)?;
        // A worker took something of it: from now on its tasks wait as long as it takes.
        self.wait_no_longer(task.array);
        if left == 0 { self.enter(task.array, JobState::Running, record.at) } else { Ok(()) }
    }

    /// How many jobs of the counts a job stands for.
    fn weight(&self, id: JobId) -> i64 {
        // An array has at most a thousand million tasks.
        i64::try_from(self.arrays.weight(id)).unwrap_or(i64::MAX)
    }

    fn batch_judged(&mut self, judged: &BatchJudged, seq: Seq) -> Result<(), Misfit> {
        let BatchJudged { origin, number, accepted, duplicates, rejected, rejections: _ } = judged;
        let delivery = match origin {
            Origin::Lease { job: _, lease } => {
                &mut self.leases.get_mut(lease).ok_or_else(|| format!("lease {lease} is not current"))?.delivery
            }
            Origin::Legacy { import } => {
                &mut self.imports.get_mut(import).ok_or_else(|| format!("there is no import {import}"))?.delivery
            }
        };
        if *number != delivery.batches.len() as u64 + 1 {
            return Err(format!("batch {number} follows batch {}", delivery.batches.len()));
        }
        delivery.note(BatchRange { judged: seq, accepted: *accepted }, duplicates, *rejected);
        self.counts.duplicate += duplicates.len() as u64;
        self.counts.rejected += u64::from(*rejected);
        Ok(())
    }

    fn candidate_accepted(&mut self, accepted: &CandidateAccepted, seq: Seq) -> Result<(), Misfit> {
        let CandidateAccepted { origin: _, contract, digest, offsets, candidate: _ } = accepted;
        self.accepted.insert(*digest, offsets, seq);
        self.counts.accepted += 1;
        let registered =
            self.contracts.get_mut(contract).ok_or_else(|| format!("contract {contract} is not registered"))?;
        registered.accepted += 1;
        Ok(())
    }

    /// What becomes of a job after an attempt.
    fn go_on(&mut self, job: JobId, next: Next, record: &Record) -> Result<(), Misfit> {
        match next {
            Next::Ready => self.enter(job, JobState::Ready, record.at),
            Next::Delayed(until) => self.enter(job, JobState::Delayed { until }, record.at),
            Next::Failed(class) => {
                self.counts.ends += 1;
                self.enter(job, JobState::Failed { class, at: record.at }, record.at)?;
                self.unblock_dependents(job);
                Ok(())
            }
        }
    }

    /// Moves a job into another state, in every structure that knows where it is.
    fn enter(&mut self, id: JobId, state: JobState, at: Timestamp) -> Result<(), Misfit> {
        let job = self.job_mut(id)?;
        let before = std::mem::replace(&mut job.state, state.clone());
        let (lane, again) = (job.lane, job.attempts > 0);
        self.arrays.moved(id, &before, &state);
        // To limits that do not let jobs wait, an array is one, with its tasks.
        if before.is_open() != state.is_open() && self.arrays.task(id).is_none() {
            self.schedule.set_unfinished(lane, id, state.is_open());
        }
        match before {
            JobState::Ready => {
                self.schedule.remove(lane, id);
                self.wait_no_longer(id);
            }
            JobState::Delayed { until } => {
                // In one of the two.
                let _ = self.delayed.remove(&(until, id)) || self.retries.remove(&(until, id));
            }
            JobState::Leased { .. } => self.schedule.end(lane),
            JobState::Blocked { .. } | JobState::Running | JobState::Failed { .. } => {}
        }
        match state {
            JobState::Ready => {
                self.schedule.insert(lane, id, self.arrays.get(id).map(|array| array.left));
                self.wait_from(id, at);
            }
            JobState::Delayed { until } if again => drop(self.retries.insert((until, id))),
            JobState::Delayed { until } => drop(self.delayed.insert((until, id))),
            JobState::Blocked { .. } | JobState::Leased { .. } | JobState::Running | JobState::Failed { .. } => {}
        }
        let weight = self.weight(id);
        self.count(lane, -weight, |counts| place(counts, &before));
        self.count(lane, weight, |counts| place(counts, &state));
        Ok(())
    }

    /// A job is ready from now on. What its queue says of the time that it may wait counts as it is now.
    fn wait_from(&mut self, id: JobId, at: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.ready_since = at;
        let Some(timeout) = self.jobs.get(&id).and_then(|job| self.queue_timeout(job)) else { return };
        let until = at.plus(timeout);
        self.waits.insert((until, id));
        self.waits_until.insert(id, until);
    }

    fn wait_no_longer(&mut self, id: JobId) {
        if let Some(until) = self.waits_until.remove(&id) {
            self.waits.remove(&(until, id));
        }
    }

    /// Changes what a job requires of its worker: it goes on in another lane.
    fn require(&mut self, id: JobId, change: impl FnOnce(&mut Requirements)) -> Result<(), Misfit> {
        let job = self.jobs.get_mut(&id).ok_or_else(|| format!("job {id} is not open"))?;
        let before = job.lane;
        let mut requirements = self.schedule.requirements(before).clone();
        change(&mut requirements);
        let after = self.schedule.reopen(before, &requirements);
        job.lane = after;
        if after != before && job.state == JobState::Ready {
            self.schedule.remove(before, id);
            self.schedule.insert(after, id, self.arrays.get(id).map(|array| array.left));
        }
        self.schedule.close(before);
        Ok(())
    }

    /// Takes a job that is done or cancelled out of the memory.
    fn leave(&mut self, id: JobId, done: bool) -> Result<(), Misfit> {
        self.unblock_dependents(id);
        let job = self.jobs.remove(&id).ok_or_else(|| format!("job {id} is not open"))?;
        let weight = self.weight(id);
        self.count(job.lane, -weight, |counts| place(counts, &job.state));
        self.count(job.lane, weight, |counts| if done { &mut counts.done } else { &mut counts.cancelled });
        match job.state {
            JobState::Ready => {
                self.schedule.remove(job.lane, id);
                self.wait_no_longer(id);
            }
            JobState::Delayed { until } => {
                let _ = self.delayed.remove(&(until, id)) || self.retries.remove(&(until, id));
            }
            JobState::Leased { .. } => self.schedule.end(job.lane),
            JobState::Blocked { .. } | JobState::Running | JobState::Failed { .. } => {}
        }
        if job.state.is_open() {
            self.counts.ends += 1;
            if self.arrays.task(id).is_none() {
                self.schedule.set_unfinished(job.lane, id, false);
            }
        }
        self.arrays.left(id, &job.state, done);
        self.given_back.remove(&id);
        self.schedule.close(job.lane);
        Ok(())
    }

    /// Strikes a job that ended off the lists of those that wait for it. Whether they go on is an event of its own.
    fn unblock_dependents(&mut self, ended: JobId) {
        let Some(overrides) = self.jobs.get_mut(&ended).and_then(|job| job.overrides.as_mut()) else { return };
        for dependent in std::mem::take(&mut overrides.dependents) {
            if let Some(Job { state: JobState::Blocked { waiting_on }, .. }) = self.jobs.get_mut(&dependent) {
                waiting_on.remove(&ended);
            }
        }
    }

    /// Ends a lease; whose it was. `told_by` is the member of a gang that said so, if not the first.
    fn end_lease(
        &mut self,
        lease: LeaseId,
        job: JobId,
        outcome: Outcome,
        told_by: Option<&WorkerId>,
        seq: Seq,
    ) -> Result<Lease, Misfit> {
        let mut held = self.leases.remove(&lease).ok_or_else(|| format!("lease {lease} is not current"))?;
        if held.job != job {
            return Err(format!("lease {lease} is of job {}, not of job {job}", held.job));
        }
        let batches = std::mem::take(&mut held.delivery.batches).into_boxed_slice();
        let members = held.members.iter().map(|member| member.worker.clone()).collect();
        let (worker, told_by) = (held.worker.clone(), told_by.cloned());
        self.ended.remember(lease, Ended { job, worker, members, told_by, batches, outcome, seq });
        Ok(held)
    }

    /// Adds to a count of a lane's queue and to the same count of the whole.
    fn count(&mut self, lane: LaneId, by: i64, which: impl Fn(&mut JobCounts) -> &mut u64) {
        let of_queue = self.queues.at_mut(self.schedule.queue_of(lane)).map(|queue| &mut queue.jobs);
        for counts in [Some(&mut self.counts.jobs), of_queue].into_iter().flatten() {
            let count = which(counts);
            *count = count.wrapping_add_signed(by);
        }
    }

    fn queue_mut(&mut self, queue: &QueueName) -> Result<&mut Queue, Misfit> {
        self.queues.get_mut(queue).ok_or_else(|| format!("queue {queue} does not exist"))
    }

    fn job_mut(&mut self, job: JobId) -> Result<&mut Job, Misfit> {
        self.jobs.get_mut(&job).ok_or_else(|| format!("job {job} is not open"))
    }

    fn job_state(&self, job: JobId) -> Result<JobState, Misfit> {
        self.jobs.get(&job).map(|job| job.state.clone()).ok_or_else(|| format!("job {job} is not open"))
    }
}

/// A change of a schedule is of one that there is.
fn known(there_is: bool, schedule: &ScheduleName) -> Result<(), String> {
    there_is.then_some(()).ok_or_else(|| format!("there is no schedule {schedule}"))
}

/// The count that a job in this state belongs to.
fn place<'a>(counts: &'a mut JobCounts, state: &JobState) -> &'a mut u64 {
    match state {
        JobState::Blocked { .. } => &mut counts.blocked,
        JobState::Ready => &mut counts.ready,
        JobState::Delayed { .. } => &mut counts.delayed,
        // An array that has no task left to make counts for nothing: its tasks do.
        JobState::Leased { .. } | JobState::Running => &mut counts.leased,
        JobState::Failed { .. } => &mut counts.failed,
    }
}

fn name(state: &JobState) -> &'static str {
    match state {
        JobState::Blocked { .. } => "blocked",
        JobState::Ready => "ready",
        JobState::Delayed { .. } => "delayed",
        JobState::Leased { .. } => "leased",
        JobState::Running => "running",
        JobState::Failed { .. } => "failed",
    }
}

/// What the job sets differently from its queue; None for most jobs, which then cost nothing.
fn overrides(spec: &JobSpec, not_before: Option<Timestamp>) -> Option<Box<Overrides>> {
    let overrides = Overrides {
        retry: spec.retry.clone(),
        lease: spec.lease.clone(),
        timeout: spec.timeout,
        queue_timeout: spec.queue_timeout,
        // Needed only while the job is blocked: a delayed one has it in its state.
        not_before: not_before.filter(|_| !spec.depends_on.is_empty()),
        continue_on_dependency_failure: spec.on_dependency_failure == OnDependencyFailure::Continue,
        dependents: Vec::new(),
    };
    (overrides != Overrides::default()).then(|| Box::new(overrides))
}

//! Submitting contracts, queues and jobs, all or nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::admit::Admission;
use super::{Decision, KeyedJob, Registered, State, SubmitFault, SubmitRefusal};
use crate::array::running_tasks;
use crate::contract::{Contract, ContractSpec};
use crate::digest::Digest;
use crate::id::{ContractRef, JobId, Kind, QueueName, ScheduleName, Seq};
use crate::job::{JobSpec, Payload};
use crate::limit::{LimitSpec, LimitTarget};
use crate::queue::QueueSpec;
use crate::record::{CancelCause, Event, JobSubmitted};
use crate::time::Timestamp;
use crate::timetable::ScheduleSpec;
use crate::unique::Unique;

/// What one submit brings.
#[derive(Clone, Debug, Default)]
pub struct Submission {
    /// Contracts to register.
    pub contracts: Vec<ContractSpec>,
    /// Queues to define, or to define anew.
    pub queues: Vec<QueueSpec>,
    /// Limits to set, or to set anew. They hold for the jobs of this submit.
    pub limits: Vec<LimitSpec>,
    /// Schedules to set, or to set anew.
    pub schedules: Vec<ScheduleSpec>,
    /// Jobs.
    pub jobs: Vec<JobSpec>,
}

/// What a submit came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Submitted {
    /// Per job, its id, and whether it was there before.
    pub jobs: Vec<(JobId, bool)>,
    /// Contracts registered now.
    pub contracts: Vec<ContractRef>,
    /// Contracts that were registered before with the same text.
    pub contracts_known: Vec<ContractRef>,
    /// Queues defined now or changed.
    pub queues: Vec<QueueName>,
    /// Queues that were defined so before.
    pub queues_known: Vec<QueueName>,
    /// Limits set now or changed.
    pub limits: Vec<LimitTarget>,
    /// Limits that were set so before.
    pub limits_known: Vec<LimitTarget>,
    /// Schedules set now or changed.
    pub schedules: Vec<ScheduleName>,
    /// Schedules that were set so before.
    pub schedules_known: Vec<ScheduleName>,
}

/// The state as it will be once the events so far of this submit are applied.
pub(super) struct Pending<'a> {
    pub(super) state: &'a State,
    contracts: HashMap<ContractRef, Arc<Contract>>,
    queues: HashMap<&'a QueueName, &'a QueueSpec>,
    keys: HashMap<[u8; 16], KeyedJob>,
    admission: Admission<'a>,
    pub(super) events: Vec<Event>,
}

impl State {
    /// Decides a submit: everything in it, or a refusal that names the first fault.
    ///
    /// # Errors
    /// [`SubmitRefusal`].
    pub fn submit(&self, submission: &Submission, now: Timestamp) -> Result<Decision<Submitted>, SubmitRefusal> {
        let mut pending = Pending::new(self);
        let mut answer = Submitted::default();
        for spec in &submission.contracts {
            pending.register(spec, &mut answer)?;
        }
        for spec in &submission.queues {
            pending.define(spec, &mut answer)?;
        }
        for spec in &submission.limits {
            let Decision { events, answer: changes } = self.set_limit(spec);
            pending.events.extend(events);
            pending.admission.limits.insert(spec.limit.clone(), spec);
            if changes { &mut answer.limits } else { &mut answer.limits_known }.push(spec.limit.clone());
        }
        for spec in &submission.schedules {
            let changes = pending.schedule(spec, now)?;
            if changes { &mut answer.schedules } else { &mut answer.schedules_known }.push(spec.name.clone());
        }
        let order = dependency_order(&submission.jobs)?;
        let mut ids: Vec<Option<(JobId, bool)>> = vec![None; submission.jobs.len()];
        for index in order {
            let spec = &submission.jobs[index];
            let depends_on = dependencies(&submission.jobs, spec, &ids);
            let submitted = pending.job(spec, depends_on, now).map_err(|fault| SubmitRefusal::Job { index, fault })?;
            ids[index] = Some(submitted);
        }
        answer.jobs = ids.into_iter().flatten().collect();
        pending.make_room();
        Ok(Decision { events: pending.events, answer })
    }

    /// The same for a caller that may give work but not change what it goes by: definitions that are known as they are
    /// change nothing, and do no harm.
    ///
    /// # Errors
    /// [`SubmitRefusal`], and for definitions that would change something [`SubmitRefusal::MayNotDefine`].
    pub fn submit_jobs_only(
        &self,
        submission: &Submission,
        now: Timestamp,
    ) -> Result<Decision<Submitted>, SubmitRefusal> {
        let decision = self.submit(submission, now)?;
        let Submitted { contracts, queues, limits, schedules, .. } = &decision.answer;
        let changed = [
            ("contracts", contracts.len()),
            ("queues", queues.len()),
            ("limits", limits.len()),
            ("schedules", schedules.len()),
        ];
        match changed.into_iter().find(|(_, count)| *count > 0) {
            Some((what, _)) => Err(SubmitRefusal::MayNotDefine(what)),
            None => Ok(decision),
        }
    }

    /// The job that an idempotency key stands for, or stood for last.
    pub fn job_of_key(&self, key: &str) -> Option<JobId> {
        self.keys.get(&key_digest(key)).map(|known| known.job)
    }

    /// The job that a key stands for at this time.
    fn keyed(&self, key: &[u8; 16], now: Timestamp) -> Option<&KeyedJob> {
        self.keys.get(key).filter(|known| match known.unique {
            Unique::Forever => true,
            Unique::UntilDone => self.is_open(known.job),
            Unique::For(span) => now < known.submitted_at.plus(span),
        })
    }

    /// Decides a chunk of a bulk import: jobs without dependencies, each refused or taken by itself.
    pub fn import(&self, specs: &[JobSpec], now: Timestamp) -> Decision<Vec<Result<(JobId, bool), SubmitFault>>> {
        let mut pending = Pending::new(self);
        let answer = specs
            .iter()
            .map(|spec| match spec.depends_on.first() {
                Some(name) => Err(SubmitFault::UnknownDependency(name.clone())),
                None => pending.job(spec, Vec::new(), now),
            })
            .collect();
        pending.make_room();
        Decision { events: pending.events, answer }
    }
}

impl<'a> Pending<'a> {
    pub(super) fn new(state: &'a State) -> Self {
        Self {
            state,
            contracts: HashMap::new(),
            queues: HashMap::new(),
            keys: HashMap::new(),
            admission: Admission::default(),
            events: Vec::new(),
        }
    }

    fn next_seq(&self) -> Seq {
        self.state.next_seq().plus(self.events.len() as u64)
    }

    fn register(&mut self, spec: &ContractSpec, answer: &mut Submitted) -> Result<(), SubmitRefusal> {
        let reference = spec.reference();
        let known = match self.contracts.get(&reference) {
            Some(contract) => Some(contract.spec()),
            None => self.state.contracts.get(&reference).map(|registered| &*registered.spec),
        };
        if let Some(known) = known {
            if known != spec {
                return Err(SubmitRefusal::ContractChanged(reference));
            }
            answer.contracts_known.push(reference);
            return Ok(());
        }
        let contract = Contract::compile(spec.clone())?;
        self.contracts.insert(reference.clone(), Arc::new(contract));
        self.events.push(Event::ContractRegistered(Box::new(spec.clone())));
        answer.contracts.push(reference);
        Ok(())
    }

    fn define(&mut self, spec: &'a QueueSpec, answer: &mut Submitted) -> Result<(), SubmitRefusal> {
        if let Some(contract) = &spec.contract
            && !self.contracts.contains_key(contract)
            && !self.state.contracts.contains_key(contract)
        {
            let (queue, contract) = (spec.name.clone(), contract.clone());
            return Err(SubmitRefusal::UnknownContract { queue, contract });
        }
        if self.queue(&spec.name) == Some(spec) {
            answer.queues_known.push(spec.name.clone());
            return Ok(());
        }
        self.queues.insert(&spec.name, spec);
        self.events.push(Event::QueueDefined(Box::new(spec.clone())));
        answer.queues.push(spec.name.clone());
        Ok(())
    }

    fn queue(&self, name: &QueueName) -> Option<&QueueSpec> {
        self.queues.get(name).copied().or_else(|| self.state.queues.get(name).map(|queue| &queue.spec))
    }

    fn contract(&self, reference: &ContractRef) -> Option<&Arc<Contract>> {
        let registered = || self.state.contracts.get(reference).and_then(|r: &Registered| r.contract.as_ref());
        self.contracts.get(reference).or_else(registered)
    }

    /// Whether such a job could be submitted, but for its key and for limits.
    pub(super) fn could_submit(&self, spec: &JobSpec) -> Result<(), SubmitFault> {
        self.kind_of(spec)?;
        self.judge_payload(spec)
    }

    fn kind_of(&self, spec: &JobSpec) -> Result<Kind, SubmitFault> {
        let queue = self.queue(&spec.queue).ok_or_else(|| SubmitFault::UnknownQueue(spec.queue.clone()))?;
        let kind = spec.kind.as_ref().or(queue.kind.as_ref());
        kind.cloned().ok_or_else(|| SubmitFault::NoKind(spec.queue.clone()))
    }

    /// Whether the queue's contract could judge what comes of the payload.
    fn judge_payload(&self, spec: &JobSpec) -> Result<(), SubmitFault> {
        let reference = self.queue(&spec.queue).and_then(|queue| queue.contract.as_ref());
        if let Some(contract) = reference.and_then(|reference| self.contract(reference)) {
            for payload in judged_payloads(spec) {
                contract.bind(&payload)?;
                contract.expected_count(&payload)?;
            }
        }
        Ok(())
    }

    pub(super) fn job(
        &mut self,
        spec: &JobSpec,
        depends_on: Vec<JobId>,
        now: Timestamp,
    ) -> Result<(JobId, bool), SubmitFault> {
        let kind = self.kind_of(spec)?;
        let key = spec.idempotency_key.as_deref().map(|key| (key, key_digest(key)));
        if let Some((text, key)) = key
            && let Some(known) = self.keys.get(&key).or_else(|| self.state.keyed(&key, now))
        {
            if known.is_of(spec) {
                return Ok((known.job, true));
            }
            return Err(SubmitFault::KeyConflict { key: text.to_owned(), job: known.job });
        }
        self.judge_payload(spec)?;
        self.admission.admit(&self.state.schedule, &spec.keys)?;
        let id = JobId(self.next_seq());
        if let Some((_, key)) = key {
            self.keys.insert(key, KeyedJob::new(id, spec, now));
        }
        let after_delay = spec.delay.map(|delay| now.plus(delay));
        let not_before = spec.not_before.max(after_delay).filter(|due| *due > now);
        // A dependency that an idempotency key led to may have ended long ago: then there is nothing to wait for.
        let waits_for = |job: &JobId| job.0 >= self.state.next_seq() || self.state.is_open(*job);
        let depends_on = depends_on.into_iter().filter(waits_for).collect();
        let submitted = JobSubmitted { spec: spec.clone(), kind, depends_on, not_before };
        self.events.push(Event::JobSubmitted(Box::new(submitted)));
        if let Some(max) = spec.array.as_ref().and_then(|array| array.max_running) {
            self.events.push(Event::LimitSet(Box::new(LimitSpec::max(running_tasks(id), max))));
        }
        Ok((id, false))
    }
}

impl KeyedJob {
    /// What is kept of a job's key.
    pub(super) fn new(job: JobId, spec: &JobSpec, submitted_at: Timestamp) -> Self {
        let digest = (spec.digest().truncated() >> 64) as u64;
        Self { job, spec: digest, unique: spec.unique, submitted_at }
    }

    fn is_of(&self, spec: &JobSpec) -> bool {
        self.spec == Self::new(self.job, spec, self.submitted_at).spec
    }
}

impl Pending<'_> {
    /// Cancels the jobs whose place at a limit newer ones took.
    pub(super) fn make_room(&mut self) {
        let displaced = std::mem::take(&mut self.admission).displaced;
        let jobs: Vec<JobId> = displaced.keys().copied().collect();
        for (job, limit) in displaced {
            self.state.cancelled(job, &CancelCause::Limit(limit), "", &mut self.events);
        }
        self.state.settle_all(&jobs, false, &mut self.events);
    }
}

/// The payloads by which a contract says whether it can judge a job: of an array, those of its first and last task.
fn judged_payloads(spec: &JobSpec) -> Vec<Payload> {
    let Some(array) = &spec.array else { return vec![spec.payload.clone()] };
    let places = [0, array.tasks.len() - 1];
    places
        .into_iter()
        .filter_map(|place| array.tasks.at(place))
        .map(|piece| array.payload(&spec.payload, piece))
        .collect()
}

/// The first 128 bits of a key's digest: what the state keeps of it.
pub(super) fn key_digest(key: &str) -> [u8; 16] {
    Digest::of(key.as_bytes()).truncated().to_be_bytes()
}

fn dependencies(jobs: &[JobSpec], spec: &JobSpec, ids: &[Option<(JobId, bool)>]) -> Vec<JobId> {
    let place = |name: &String| jobs.iter().position(|job| job.name.as_ref() == Some(name));
    let mut found: Vec<JobId> =
        spec.depends_on.iter().filter_map(|name| place(name).and_then(|i| ids[i]).map(|(id, _)| id)).collect();
    found.sort_unstable();
    found.dedup();
    found
}

/// The places of the jobs in an order in which each comes behind those it depends on; the submit's own order where
/// it can be.
fn dependency_order(jobs: &[JobSpec]) -> Result<Vec<usize>, SubmitRefusal> {
    if jobs.iter().all(|job| job.depends_on.is_empty()) {
        return Ok((0..jobs.len()).collect());
    }
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    let mut twice: HashSet<&str> = HashSet::new();
    for (index, job) in jobs.iter().enumerate() {
        if let Some(name) = &job.name
            && by_name.insert(name, index).is_some()
        {
            twice.insert(name);
        }
    }
    let mut waiting: Vec<usize> = vec![0; jobs.len()];
    let mut dependents: Vec<Vec<usize>> = vec![Vec::new(); jobs.len()];
    for (index, job) in jobs.iter().enumerate() {
        for name in &job.depends_on {
            let refuse = |fault| SubmitRefusal::Job { index, fault };
            if twice.contains(name.as_str()) {
                return Err(refuse(SubmitFault::AmbiguousDependency(name.clone())));
            }
            let Some(&on) = by_name.get(name.as_str()) else {
                return Err(refuse(SubmitFault::UnknownDependency(name.clone())));
            };
            waiting[index] += 1;
            dependents[on].push(index);
        }
    }
    let mut free: std::collections::BTreeSet<usize> = (0..jobs.len()).filter(|i| waiting[*i] == 0).collect();
    let mut order = Vec::with_capacity(jobs.len());
    while let Some(index) = free.pop_first() {
        order.push(index);
        for &dependent in &dependents[index] {
            waiting[dependent] -= 1;
            if waiting[dependent] == 0 {
                free.insert(dependent);
            }
        }
    }
    match (0..jobs.len()).find(|index| waiting[*index] > 0) {
        None => Ok(order),
        Some(index) => {
            let name = jobs[index].name.clone().unwrap_or_else(|| jobs[index].depends_on[0].clone());
            Err(SubmitRefusal::Job { index, fault: SubmitFault::DependencyCircle(name) })
        }
    }
}

//! The rule, told slowly: every question is answered by a look at every job.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::id::{JobId, Kind, LeaseId, QueueName, WorkerId};
use orch_core::job::JobSpec;
use orch_core::limit::{AtLimit, DEFAULT_WEIGHT, KeyValue, LimitSpec, LimitTarget, Rate};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Next, Record};
use orch_core::resource::{Amount, Item, Need, Offer, Pool, Quantity, Variant};
use orch_core::time::Timestamp;

pub struct ModelJob {
    pub spec: JobSpec,
    pub kind: Kind,
    ready: bool,
    lease: Option<LeaseId>,
    unfinished: bool,
    attempts: u32,
    pub avoid: BTreeSet<WorkerId>,
    /// Whether it has left the state; a failed job has not.
    gone: bool,
    /// How many tasks it has left to make, if it is an array.
    left: Option<u64>,
    /// Whether it is a task of an array, which is unfinished in its place.
    is_task: bool,
}

#[derive(Default)]
pub struct Model {
    queues: BTreeMap<QueueName, (QueueSpec, bool)>,
    limits: BTreeMap<LimitTarget, LimitSpec>,
    jobs: BTreeMap<JobId, ModelJob>,
    /// Where each queue stands in each kind: pass, and seq of the last grant.
    flows: BTreeMap<(QueueName, Kind), (u64, u64)>,
    /// A kind's time, and the seq of its last grant.
    kinds: BTreeMap<Kind, (u64, u64)>,
    /// Where each fair key's value stands in its queue, kind and priority.
    shares: BTreeMap<(QueueName, Kind, i32, Option<KeyValue>), ModelShare>,
    /// The time of each queue, kind and priority.
    levels: BTreeMap<(QueueName, Kind, i32), u64>,
    /// Queues and kinds in the order in which a job first named them: the last tie-break.
    met: Vec<(QueueName, Kind)>,
    met_kinds: Vec<Kind>,
    buckets: BTreeMap<LimitTarget, ModelBucket>,
    pub set_aside: BTreeSet<WorkerId>,
    pub paused: bool,
    /// Whose each lease was.
    workers: BTreeMap<LeaseId, WorkerId>,
}

/// In the order of what counts: how far, the seq of the last grant, and of the record with which it began.
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
struct ModelShare {
    pass: u64,
    turn: u64,
    began: u64,
}

#[derive(Clone)]
struct ModelBucket {
    rate: Rate,
    /// In tokens times milliseconds of `per`.
    parts: u128,
    at: Timestamp,
    /// Every start since the rate was set.
    starts: Vec<Timestamp>,
}

impl ModelBucket {
    fn full(rate: Rate, at: Timestamp) -> Self {
        Self { rate, parts: Self::capacity(rate), at, starts: Vec::new() }
    }

    fn capacity(rate: Rate) -> u128 {
        u128::from(rate.burst) * u128::from(rate.per.0)
    }

    fn parts_at(&self, now: Timestamp) -> u128 {
        (self.parts + u128::from(now.since(self.at).0) * u128::from(self.rate.tokens)).min(Self::capacity(self.rate))
    }

    fn start(&mut self, at: Timestamp) {
        let parts = self.parts_at(at);
        let per = u128::from(self.rate.per.0);
        assert!(parts >= per, "a bucket is overdrawn");
        (self.parts, self.at) = (parts - per, at);
        self.starts.push(at);
        // Said in another way: in no stretch of time are there more starts than the burst and what flowed in.
        for (i, from) in self.starts.iter().enumerate() {
            let flowed = u128::from(at.since(*from).0) * u128::from(self.rate.tokens);
            let starts = (self.starts.len() - i) as u128;
            assert!(starts * per <= Self::capacity(self.rate) + flowed, "too many starts");
        }
    }
}

#[derive(Default)]
struct InUse {
    targets: BTreeMap<LimitTarget, u64>,
    queues: BTreeMap<QueueName, u64>,
}

const STRIDE: u64 = 720_720_000;

impl Model {
    pub fn take(&mut self, record: &Record) {
        if let Event::AttemptFailed { job, needs, avoid_worker, worker, .. } = &record.event {
            let job = self.jobs.get_mut(job).unwrap();
            job.spec.resources = needs.clone().unwrap_or_else(|| job.spec.resources.clone());
            if *avoid_worker {
                // A gang's record names the member that failed, if it is not the first.
                job.avoid.insert(worker.clone().unwrap_or_else(|| self.workers[&job.lease.unwrap()].clone()));
            }
        }
        if let Event::LeaseGranted { worker, .. } = &record.event {
            self.workers.insert(LeaseId(record.seq), worker.clone());
        }
        match &record.event {
            Event::QueueDefined(spec) => {
                let paused = self.queues.get(&spec.name).is_some_and(|(_, paused)| *paused);
                self.queues.insert(spec.name.clone(), ((**spec).clone(), paused));
            }
            Event::QueuePaused { queue, .. } => self.queues.get_mut(queue).unwrap().1 = true,
            Event::QueueResumed { queue } => self.queues.get_mut(queue).unwrap().1 = false,
            Event::LimitSet(spec) => {
                self.limits.insert(spec.limit.clone(), (**spec).clone());
                self.change_buckets(record.at);
            }
            Event::LimitUnset { limit } => {
                self.limits.remove(limit);
                self.change_buckets(record.at);
            }
            Event::JobSubmitted(submitted) => {
                let flow = (submitted.spec.queue.clone(), submitted.kind.clone());
                if !self.met_kinds.contains(&flow.1) {
                    self.met_kinds.push(flow.1.clone());
                }
                if !self.met.contains(&flow) {
                    self.met.push(flow);
                }
                let mut spec = submitted.spec.clone();
                let left = spec.array.take().map(|array| array.tasks.len());
                if left.is_some() {
                    spec.keys.insert("array".parse().unwrap(), record.seq.to_string().parse().unwrap());
                }
                let job = ModelJob {
                    spec,
                    kind: submitted.kind.clone(),
                    ready: submitted.not_before.is_none(),
                    lease: None,
                    unfinished: true,
                    attempts: 0,
                    avoid: BTreeSet::new(),
                    gone: false,
                    left,
                    is_task: false,
                };
                let share = share_of(&job);
                self.shares.entry(share).or_insert(ModelShare { began: record.seq.0, ..ModelShare::default() });
                self.jobs.insert(JobId(record.seq), job);
                self.fill_new(record.at);
            }
            Event::TaskMade { array, .. } => {
                let array = self.jobs.get_mut(array).unwrap();
                let left = array.left.as_mut().unwrap();
                assert!(array.ready && *left > 0, "a task is made of an array that is not ready");
                *left -= 1;
                array.ready = *left > 0;
                let task = ModelJob {
                    spec: array.spec.clone(),
                    kind: array.kind.clone(),
                    ready: true,
                    lease: None,
                    unfinished: false,
                    attempts: 0,
                    avoid: BTreeSet::new(),
                    gone: false,
                    left: None,
                    is_task: true,
                };
                self.jobs.insert(JobId(record.seq), task);
            }
            Event::ArrayEnded { array, failed, .. } => {
                let array = self.jobs.get_mut(array).unwrap();
                assert!(!array.ready && array.left == Some(0));
                (array.unfinished, array.gone) = (false, *failed == 0);
            }
            Event::JobReadied { job, not_before } => {
                let job = self.jobs.get_mut(job).unwrap();
                job.ready = not_before.is_none();
                assert!(!self.paused || !job.ready || job.attempts == 0, "a retry while retries are paused");
            }
            Event::LeaseGranted { job, .. } => self.granted(*job, record),
            Event::LeaseReleased { job, .. } => self.ended(*job, true, true),
            Event::LeaseExpired { job, next, .. } | Event::AttemptFailed { job, next, .. } => match next {
                Next::Ready if self.paused => panic!("a retry while retries are paused"),
                Next::Ready => self.ended(*job, true, true),
                Next::Delayed(_) => self.ended(*job, false, true),
                Next::Failed(_) => self.ended(*job, false, false),
            },
            Event::JobCompleted { job, .. } | Event::JobCancelled { job, .. } => {
                self.ended(*job, false, false);
                self.jobs.get_mut(job).unwrap().gone = true;
            }
            Event::WorkerSetAside { worker, .. } => drop(self.set_aside.insert(worker.clone())),
            Event::WorkerResumed { worker } => drop(self.set_aside.remove(worker)),
            Event::RetriesPaused { .. } => self.paused = true,
            Event::RetriesResumed {} => self.paused = false,
            other => panic!("{} is not driven here", other.name()),
        }
        self.forget_shares();
    }

    /// A share without jobs is forgotten once it is not ahead of the time; where nobody has a job, all begin anew.
    fn forget_shares(&mut self) {
        let held: BTreeSet<_> = self.jobs.values().filter(|job| !job.gone).map(share_of).collect();
        let levels = &mut self.levels;
        levels
            .retain(|(queue, kind, priority), _| held.iter().any(|(q, k, p, _)| (q, k, p) == (queue, kind, priority)));
        self.shares.retain(|share, place| {
            let (queue, kind, priority, _) = share;
            let time = levels.get(&(queue.clone(), kind.clone(), *priority)).copied();
            held.contains(share) || time.is_some_and(|time| place.pass > time)
        });
    }

    fn granted(&mut self, id: JobId, record: &Record) {
        let job = self.jobs.get_mut(&id).unwrap();
        (job.ready, job.lease) = (false, Some(LeaseId(record.seq)));
        job.attempts += 1;
        let (queue, kind) = (job.spec.queue.clone(), job.kind.clone());
        let weight = self.queues[&queue].0.weight.unwrap_or(DEFAULT_WEIGHT);
        let time = self.kinds.entry(kind.clone()).or_default();
        let flow = self.flows.entry((queue, kind)).or_default();
        let start = flow.0.max(time.0);
        *flow = (start + STRIDE / u64::from(weight), record.seq.0);
        *time = (start, record.seq.0);
        let share = share_of(&self.jobs[&id]);
        let (queue, kind, priority, value) = share.clone();
        let weights = &self.queues[&queue].0.fair_weights;
        let weight = value.and_then(|value| weights.get(&value)).copied().unwrap_or(DEFAULT_WEIGHT);
        let time = self.levels.entry((queue, kind, priority)).or_default();
        let place = self.shares.get_mut(&share).unwrap();
        *time = place.pass.max(*time);
        (place.pass, place.turn) = (*time + STRIDE / u64::from(weight), record.seq.0);
        for (target, _) in self.wants(id) {
            if let Some(rate) = self.in_force(&target).and_then(|limit| limit.rate) {
                let bucket = self.buckets.entry(target).or_insert_with(|| ModelBucket::full(rate, record.at));
                bucket.start(record.at);
            }
        }
    }

    fn ended(&mut self, id: JobId, ready: bool, unfinished: bool) {
        let job = self.jobs.get_mut(&id).unwrap();
        job.lease = None;
        (job.ready, job.unfinished) = (ready, unfinished && !job.is_task);
    }

    fn change_buckets(&mut self, at: Timestamp) {
        let held = |model: &Self, target: &LimitTarget| {
            *target == LimitTarget::Running
                || model
                    .jobs
                    .iter()
                    .any(|(id, _)| model.is_held(*id) && model.wants(*id).iter().any(|(t, _)| t == target))
        };
        let before = std::mem::take(&mut self.buckets);
        for (target, bucket) in before {
            let Some(rate) = self.in_force(&target).and_then(|limit| limit.rate) else { continue };
            let full = bucket.parts_at(at) == ModelBucket::capacity(bucket.rate);
            if bucket.rate == rate {
                // A full bucket that nobody holds may be forgotten: it comes back full.
                self.buckets.insert(target, bucket);
            } else if !full || held(self, &target) {
                let parts = bucket.parts_at(at) * u128::from(rate.per.0) / u128::from(bucket.rate.per.0);
                let parts = parts.min(ModelBucket::capacity(rate));
                self.buckets.insert(target, ModelBucket { rate, parts, at, starts: Vec::new() });
            }
        }
        self.fill_new(at);
    }

    /// Gives a full bucket to what is held under a rate and has none.
    fn fill_new(&mut self, at: Timestamp) {
        let targets: Vec<LimitTarget> = self
            .jobs
            .keys()
            .filter(|id| self.is_held(**id))
            .flat_map(|id| self.wants(*id))
            .map(|(target, _)| target)
            .chain([LimitTarget::Running])
            .collect();
        for target in targets {
            if let Some(rate) = self.in_force(&target).and_then(|limit| limit.rate) {
                self.buckets.entry(target).or_insert_with(|| ModelBucket::full(rate, at));
            }
        }
    }

    /// Whether the state keeps the job.
    fn is_held(&self, id: JobId) -> bool {
        !self.jobs[&id].gone
    }

    fn wants(&self, id: JobId) -> Vec<(LimitTarget, u32)> {
        let spec = &self.jobs[&id].spec;
        let keys = spec.keys.iter().map(|(name, value)| (LimitTarget::Key(name.clone(), value.clone()), 1));
        let semaphores = spec.semaphores.iter().map(|(name, n)| (LimitTarget::Semaphore(name.clone()), *n));
        keys.chain(semaphores).chain([(LimitTarget::Running, 1)]).collect()
    }

    fn in_force(&self, target: &LimitTarget) -> Option<&LimitSpec> {
        self.limits.get(target).or_else(|| match target {
            LimitTarget::Key(name, _) => self.limits.get(&LimitTarget::Each(name.clone())),
            _ => None,
        })
    }

    pub fn max_of(&self, target: &LimitTarget) -> Option<(u32, AtLimit)> {
        self.in_force(target).and_then(|limit| limit.max.map(|max| (max, limit.at_limit)))
    }

    /// What is in use, from a look at every job.
    fn in_use(&self) -> InUse {
        let mut in_use = InUse::default();
        for (id, job) in self.jobs.iter().filter(|(_, job)| job.lease.is_some()) {
            *in_use.queues.entry(job.spec.queue.clone()).or_default() += 1;
            for (target, units) in self.wants(*id) {
                *in_use.targets.entry(target).or_default() += u64::from(units);
            }
        }
        in_use
    }

    pub fn unfinished(&self, target: &LimitTarget) -> Vec<JobId> {
        let unfinished = self.jobs.iter().filter(|(_, job)| job.unfinished).map(|(id, _)| *id);
        unfinished.filter(|id| self.wants(*id).iter().any(|(t, _)| t == target)).collect()
    }

    /// Whether a submit of such jobs, alike in their keys, is refused.
    pub fn refuses(&self, specs: &[JobSpec]) -> bool {
        let keys = specs.first().into_iter().flat_map(|spec| &spec.keys);
        keys.map(|(name, value)| LimitTarget::Key(name.clone(), value.clone())).any(|target| {
            match self.max_of(&target) {
                Some((max, AtLimit::Reject)) => self.unfinished(&target).len() + specs.len() > max as usize,
                Some((max, AtLimit::CancelOldest)) => specs.len() > max as usize,
                Some((_, AtLimit::Wait)) | None => false,
            }
        })
    }

    /// How many jobs are ready, with each task that was not made.
    pub fn ready(&self) -> u64 {
        self.jobs.values().filter(|job| job.ready).map(|job| job.left.unwrap_or(1)).sum()
    }

    /// Which of the ready jobs may run.
    pub fn may_run(&self, now: Timestamp) -> Vec<JobId> {
        let in_use = self.in_use();
        let ready = self.jobs.iter().filter(|(_, job)| job.ready).map(|(id, _)| *id);
        ready.filter(|id| self.fits(*id, &in_use, now)).collect()
    }

    fn fits(&self, id: JobId, in_use: &InUse, now: Timestamp) -> bool {
        let job = &self.jobs[&id];
        let (queue, paused) = &self.queues[&job.spec.queue];
        let running = in_use.queues.get(&job.spec.queue).copied().unwrap_or(0);
        let room = |(target, units): (LimitTarget, u32)| {
            let used = in_use.targets.get(&target).copied().unwrap_or(0);
            let fits = self.max_of(&target).is_none_or(|(max, _)| used + u64::from(units) <= u64::from(max));
            let token = self.buckets.get(&target).is_none_or(|b| b.parts_at(now) >= u128::from(b.rate.per.0));
            fits && token
        };
        !paused && queue.max_running.is_none_or(|max| running < u64::from(max)) && self.wants(id).into_iter().all(room)
    }

    /// The fair keys with a job that may run, of those of the highest priority that may.
    pub fn shares_that_may_run(&self, now: Timestamp) -> BTreeSet<String> {
        let may_run: Vec<&ModelJob> = self.may_run(now).into_iter().map(|id| &self.jobs[&id]).collect();
        let highest = may_run.iter().map(|job| job.spec.priority).max();
        let at_turn = may_run.into_iter().filter(|job| Some(job.spec.priority) == highest);
        at_turn.filter_map(|job| Some(job.spec.fair_key.as_ref()?.to_string())).collect()
    }

    pub fn fair_key(&self, id: JobId) -> Option<String> {
        self.jobs[&id].spec.fair_key.as_ref().map(ToString::to_string)
    }

    /// The queues with a job that may run.
    pub fn queues_that_may_run(&self, now: Timestamp) -> BTreeSet<QueueName> {
        self.may_run(now).into_iter().map(|id| self.jobs[&id].spec.queue.clone()).collect()
    }

    pub fn job(&self, id: JobId) -> &ModelJob {
        &self.jobs[&id]
    }

    /// The job that the worker gets, and what of its needs it is given.
    pub fn next(&self, kinds: &[Kind], worker: &WorkerId, offer: &Offer, now: Timestamp) -> Option<(JobId, Variant)> {
        if self.set_aside.contains(worker) {
            return None;
        }
        let suits = |job: &ModelJob| kinds.contains(&job.kind) && first_fit(job, worker, offer).is_some();
        let fit: Vec<JobId> = self.may_run(now).into_iter().filter(|id| suits(self.job(*id))).collect();
        let best = self.best(&fit)?;
        Some((best, first_fit(self.job(best), worker, offer)?))
    }

    /// The first of these jobs, by the order of the rule.
    pub fn best(&self, of: &[JobId]) -> Option<JobId> {
        let turn = |kind: &Kind| {
            let met = self.met_kinds.iter().position(|k| k == kind);
            (self.kinds.get(kind).map_or(0, |(_, turn)| *turn), met)
        };
        let kind = of.iter().map(|id| &self.job(*id).kind).min_by_key(|kind| turn(kind))?;
        let time = self.kinds.get(kind).map_or(0, |(time, _)| *time);
        let place = |job: &ModelJob| {
            let flow = (job.spec.queue.clone(), job.kind.clone());
            let (pass, turn) = self.flows.get(&flow).copied().unwrap_or_default();
            (pass.max(time), turn, self.met.iter().position(|met| *met == flow))
        };
        let of_kind = of.iter().map(|id| (*id, self.job(*id))).filter(|(_, job)| job.kind == *kind);
        let share = |job: &ModelJob| self.shares[&share_of(job)];
        let best = of_kind.min_by_key(|(id, job)| (place(job), -i64::from(job.spec.priority), share(job), *id))?;
        Some(best.0)
    }

    /// Called after a grant: nothing that the job has is over its limit.
    pub fn check_limits_of(&self, id: JobId) {
        let in_use = self.in_use();
        for (target, _) in self.wants(id) {
            if let Some((max, _)) = self.max_of(&target) {
                assert!(in_use.targets[&target] <= u64::from(max), "{target} is over its limit");
            }
        }
    }
}

fn share_of(job: &ModelJob) -> (QueueName, Kind, i32, Option<KeyValue>) {
    (job.spec.queue.clone(), job.kind.clone(), job.spec.priority, job.spec.fair_key.clone())
}

/// The first alternative that the worker has room for; nothing at all for a job that needs nothing.
pub fn first_fit(job: &ModelJob, worker: &WorkerId, offer: &Offer) -> Option<Variant> {
    if job.avoid.contains(worker) {
        return None;
    }
    if job.spec.labels.iter().any(|(label, value)| offer.labels.get(label) != Some(value)) {
        return None;
    }
    let alternatives = &job.spec.resources.0;
    if alternatives.is_empty() {
        return Some(Variant::default());
    }
    let fits = |variant: &&Variant| {
        let lives = match (variant.min_time, offer.remaining) {
            (Some(wanted), Some(left)) => wanted <= left,
            _ => true,
        };
        lives && variant.needs.iter().all(|(name, need)| offer.pools.0.get(name).is_some_and(|pool| has(pool, need)))
    };
    alternatives.iter().find(fits).cloned()
}

/// Whether a pool has room for a need: every way of choosing items is tried.
pub fn has(pool: &Pool, need: &Need) -> bool {
    match (pool, need.quantity) {
        (Pool::Sum { .. }, _) if need.min_memory_mib > 0 => false,
        (Pool::Sum { free, .. }, Quantity::Some(amount)) => *free >= amount,
        (Pool::Sum { size, free }, Quantity::All) => free == size,
        (Pool::Items(items), Quantity::All) => {
            items.iter().all(|item| item.free == Amount::ONE && item.memory_mib >= need.min_memory_mib)
        }
        (Pool::Items(items), Quantity::Some(amount)) => {
            let suits = |item: &Item, part: Amount| item.free >= part && item.memory_mib >= need.min_memory_mib;
            (0..1_u32 << items.len()).any(|set| {
                let chosen = |place: usize| set & (1 << place) != 0;
                let whole = (0..items.len()).filter(|place| chosen(*place));
                let right = u64::from(set.count_ones()) == amount.wholes();
                let part = amount.fraction();
                let rest = part == Amount(0) || (0..items.len()).any(|n| !chosen(n) && suits(&items[n], part));
                right && rest && whole.into_iter().all(|place| suits(&items[place], Amount::ONE))
            })
        }
    }
}

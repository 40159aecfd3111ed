//! Which job is next: priority, weights between queues, limits.
//!
//! Ready jobs stand in **lanes**: those of a lane agree in queue, kind, priority, in what they require of a worker and in
//! everything that a limit could be about, so that a limit or a worker that is too small holds back a lane as a whole and
//! no job stands in the way of another. `fair` chooses between queues, `shares` within one, `classes` knows what fits the worker that asks,
//! `limits` which lanes are held back, `bucket` is what is left of a rate, `groups` how what is next is kept. Jobs without keys
//! cost what they cost without limits: a lane is shared by all of them.
//!
//! The rule, which `core/tests/schedule.rs` holds against a slow model of it: of the kinds that a worker offers and of
//! which a job may run, the one whose last grant is longest ago; of its queues the one that is furthest behind its fair
//! share; of that queue's jobs that may run those of the highest priority; of their fair keys the one that is furthest behind
//! its share; of that one's jobs the oldest.
//!
//! Everything here follows from the records, except that an empty bucket is only seen to be refilled when somebody
//! looks at the clock ([`Schedule::refill`]).

mod bucket;
mod classes;
mod demand;
mod fair;
mod groups;
mod limits;
mod shares;
mod slots;
mod usage;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use classes::{ANY_WORKER, Asking, ClassId, Classes};
use fair::{Flow, FlowId, KindFlows, Passes};
use limits::{GateId, Limits};
use shares::{ShareId, Shares};
use slots::Slots;

pub use usage::{Hold, LimitUsage};

use crate::id::{JobId, KeyName, Kind, QueueName, SemaphoreName};
use crate::limit::{DEFAULT_WEIGHT, KeyValue, LimitSpec, LimitTarget};
use crate::queue::QueueSpec;
use crate::resource::Requirements;
use crate::time::Timestamp;

/// A lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(u32);

/// Jobs that are alike to every rule of the choice.
#[derive(Debug)]
struct Lane {
    flow: FlowId,
    share: ShareId,
    class: ClassId,
    gates: Box<[GateId]>,
    ready: BTreeSet<JobId>,
    /// Which of them are arrays, and how many tasks each has left to make.
    arrays: BTreeMap<JobId, u64>,
    /// How many jobs the state holds that belong here.
    jobs: u64,
    /// Where its head stands in its flow, if no narrow gate holds it back.
    listed: Option<(Passes, JobId)>,
}

impl Lane {
    /// How many jobs are ready, with each task that an array has left.
    fn ready_jobs(&self) -> u64 {
        (self.ready.len() - self.arrays.len()) as u64 + self.arrays.values().sum::<u64>()
    }
}

#[derive(Debug)]
struct QueueEntry {
    name: QueueName,
    weight: u32,
    /// Weights of values of the fair key.
    fair_weights: BTreeMap<KeyValue, u32>,
    max_running: Option<u32>,
    running: u64,
    paused: bool,
    flows: Vec<FlowId>,
    lanes: BTreeSet<LaneId>,
}

impl QueueEntry {
    /// Whether none of its jobs may start.
    fn stopped(&self) -> bool {
        self.paused || self.full()
    }

    fn full(&self) -> bool {
        self.max_running.is_some_and(|max| self.running >= u64::from(max))
    }

    /// How many more of its jobs may start.
    fn room(&self) -> u64 {
        if self.paused {
            return 0;
        }
        self.max_running.map_or(u64::MAX, |max| u64::from(max).saturating_sub(self.running))
    }
}

/// A job that is next, and among how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    pub(super) job: JobId,
    /// Kinds with a job that may run.
    pub(super) kinds: usize,
    /// Queues with one, of the job's kind.
    pub(super) queues: usize,
    /// Whether other fair keys have one, of the job's queue, kind and priority.
    pub(super) rivals: bool,
}

/// What makes jobs alike.
type LaneName = (ShareId, ClassId, Box<[GateId]>);

/// Every ready job, in order.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    lanes: Slots<Lane>,
    by_name: HashMap<LaneName, LaneId>,
    flows: Vec<Flow>,
    by_queue_and_kind: HashMap<(u32, u32), FlowId>,
    queues: Vec<QueueEntry>,
    queue_ids: HashMap<QueueName, u32>,
    kinds: Vec<KindFlows>,
    kind_ids: HashMap<Kind, u32>,
    shares: Shares,
    classes: Classes,
    limits: Limits,
}

/// What a job wants of what is limited, and of its worker.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wants<'a> {
    pub(super) keys: &'a BTreeMap<KeyName, KeyValue>,
    pub(super) semaphores: &'a BTreeMap<SemaphoreName, u32>,
    pub(super) requirements: &'a Requirements,
    pub(super) fair_key: Option<&'a KeyValue>,
}

impl Wants<'_> {
    fn is_unlimited(self) -> bool {
        self.keys.is_empty() && self.semaphores.is_empty()
    }

    fn targets(self) -> impl Iterator<Item = (LimitTarget, u32)> {
        let keys = self.keys.iter().map(|(name, value)| (LimitTarget::Key(name.clone(), value.clone()), 1));
        keys.chain(self.semaphores.iter().map(|(name, units)| (LimitTarget::Semaphore(name.clone()), *units)))
    }
}

impl Schedule {
    /// Takes a queue's definition; the queue's number, from 0 in the order of definitions.
    pub(super) fn define_queue(&mut self, spec: &QueueSpec) -> u32 {
        let id = self.queue_id(&spec.name);
        self.change_queue(id, |queue| {
            queue.weight = spec.weight.unwrap_or(DEFAULT_WEIGHT);
            queue.max_running = spec.max_running;
            queue.fair_weights.clone_from(&spec.fair_weights);
        });
        id
    }

    /// Takes a queue's jobs out of the choice, or puts them back.
    pub(super) fn set_paused(&mut self, queue: &QueueName, paused: bool) {
        let id = self.queue_id(queue);
        self.change_queue(id, |queue| queue.paused = paused);
    }

    /// The lane of such a job, made if there is none. The job counts as one of it until it is closed.
    pub(super) fn open(
        &mut self,
        queue: &QueueName,
        kind: &Kind,
        priority: i32,
        wants: Wants<'_>,
        at: Timestamp,
    ) -> LaneId {
        let flow = self.flow_id(queue, kind);
        let gates: Box<[GateId]> = if wants.is_unlimited() {
            Box::default()
        } else {
            wants.targets().map(|(target, amount)| self.limits.open_gate(target, amount, at)).collect()
        };
        let share = self.shares.enter(flow, priority, wants.fair_key);
        let name = (share, self.classes.find(wants.requirements), gates);
        self.lane_named(name)
    }

    /// The lane of jobs like those of another, but with other requirements. The job counts as one of it; the caller
    /// closes the other.
    pub(super) fn reopen(&mut self, id: LaneId, requirements: &Requirements) -> LaneId {
        let Lane { share, ref gates, .. } = *self.lanes.at(id.0);
        let name = (share, self.classes.find(requirements), gates.clone());
        self.shares.enter_again(share);
        self.lane_named(name)
    }

    fn lane_named(&mut self, name: LaneName) -> LaneId {
        if let Some(id) = self.by_name.get(&name) {
            self.lanes.at_mut(id.0).jobs += 1;
            return *id;
        }
        let (share, class, gates) = name.clone();
        let flow = self.shares.at(share).flow;
        let (ready, arrays) = (BTreeSet::new(), BTreeMap::new());
        let lane = Lane { flow, share, class, gates: gates.clone(), ready, arrays, jobs: 1, listed: None };
        let id = LaneId(self.lanes.insert(lane));
        self.classes.join(class);
        self.shares.join(share);
        for gate in &gates {
            self.limits.join(*gate, id);
        }
        self.queues[self.flows[flow as usize].queue as usize].lanes.insert(id);
        self.by_name.insert(name, id);
        id
    }

    /// A job of the lane has left the state. It is neither ready nor running.
    pub(super) fn close(&mut self, id: LaneId) {
        let lane = self.lanes.at_mut(id.0);
        lane.jobs -= 1;
        let (share, none_left) = (lane.share, lane.jobs == 0);
        let special = !lane.gates.is_empty() || lane.class != ANY_WORKER || self.shares.at(share).value.is_some();
        self.shares.leave(share);
        // Lanes of jobs that want nothing special are few, and are wanted again soon.
        if !(none_left && special) {
            return;
        }
        let Some(lane) = self.lanes.remove(id.0) else { return };
        self.queues[self.flows[lane.flow as usize].queue as usize].lanes.remove(&id);
        for gate in &lane.gates {
            self.limits.part(*gate, id);
        }
        self.classes.part(lane.class);
        self.by_name.remove(&(lane.share, lane.class, lane.gates));
        self.shares.part(share);
    }

    /// The number of the queue of a lane's jobs.
    pub(super) fn queue_of(&self, id: LaneId) -> u32 {
        self.flows[self.lanes.at(id.0).flow as usize].queue
    }

    /// Queue, kind and priority of a lane's jobs.
    pub(super) fn lane(&self, id: LaneId) -> (&QueueName, &Kind, i32) {
        let lane = self.lanes.at(id.0);
        let flow = &self.flows[lane.flow as usize];
        let priority = self.shares.at(lane.share).priority;
        (&self.queues[flow.queue as usize].name, &self.kinds[flow.kind as usize].name, priority)
    }

    /// The value of the fair key of a lane's jobs.
    pub(super) fn fair_key(&self, id: LaneId) -> Option<&KeyValue> {
        self.shares.at(self.lanes.at(id.0).share).value.as_ref()
    }

    /// What a lane's jobs require of a worker.
    pub(super) fn requirements(&self, id: LaneId) -> &Requirements {
        self.classes.at(self.lanes.at(id.0).class)
    }

    /// One more job belongs to the lane, until it is closed.
    pub(super) fn share(&mut self, id: LaneId) {
        let lane = self.lanes.at_mut(id.0);
        lane.jobs += 1;
        self.shares.enter_again(lane.share);
    }

    /// A job is ready; if it is an array, so many tasks of it.
    pub(super) fn insert(&mut self, id: LaneId, job: JobId, tasks: Option<u64>) {
        let lane = self.lanes.at_mut(id.0);
        if lane.ready.insert(job) {
            lane.arrays.extend(tasks.map(|tasks| (job, tasks)));
            let kind = self.flows[lane.flow as usize].kind;
            self.kinds[kind as usize].ready += tasks.unwrap_or(1);
            self.classes.more(kind, lane.class, tasks.unwrap_or(1));
        }
        self.list(id);
    }

    /// A job is not ready any more.
    pub(super) fn remove(&mut self, id: LaneId, job: JobId) {
        let lane = self.lanes.at_mut(id.0);
        if lane.ready.remove(&job) {
            let tasks = lane.arrays.remove(&job).unwrap_or(1);
            let kind = self.flows[lane.flow as usize].kind;
            self.kinds[kind as usize].ready -= tasks;
            self.classes.less(kind, lane.class, tasks);
        }
        self.list(id);
    }

    /// An array that is ready has one task less to make.
    pub(super) fn task_made(&mut self, id: LaneId, array: JobId) {
        let lane = self.lanes.at_mut(id.0);
        let Some(tasks) = lane.arrays.get_mut(&array) else { return };
        *tasks -= 1;
        let kind = self.flows[lane.flow as usize].kind;
        self.kinds[kind as usize].ready -= 1;
        self.classes.less(kind, lane.class, 1);
    }

    /// A job of the lane was granted, by the record `seq`.
    pub(super) fn start(&mut self, id: LaneId, seq: u64, at: Timestamp) {
        let Lane { flow: flow_id, share, gates, .. } = self.lanes.at(id.0);
        let (flow_id, share) = (*flow_id, *share);
        let changed = self.limits.take(gates, at);
        self.list_behind(&changed);
        let Flow { queue, kind, .. } = self.flows[flow_id as usize];
        self.change_queue(queue, |queue| queue.running += 1);
        let stopped = self.queues[queue as usize].stopped();
        let (flow, kind) = (&mut self.flows[flow_id as usize], &mut self.kinds[kind as usize]);
        kind.serve(flow_id, flow, !stopped, self.queues[queue as usize].weight, seq);
        let weights = &self.queues[queue as usize].fair_weights;
        let weight = self.shares.at(share).value.as_ref().and_then(|value| weights.get(value)).copied();
        flow.serve_share(&mut self.shares, share, weight.unwrap_or(DEFAULT_WEIGHT), seq);
    }

    /// A granted job of the lane runs no more.
    pub(super) fn end(&mut self, id: LaneId) {
        let Lane { flow, gates, .. } = self.lanes.at(id.0);
        let queue = self.flows[*flow as usize].queue;
        let changed = self.limits.give_back(gates);
        self.list_behind(&changed);
        self.change_queue(queue, |queue| queue.running = queue.running.saturating_sub(1));
    }

    /// Notes that a job of the lane has not ended yet, or that it has.
    pub(super) fn set_unfinished(&mut self, id: LaneId, job: JobId, unfinished: bool) {
        let gates = &self.lanes.at(id.0).gates;
        if !gates.is_empty() {
            self.limits.set_unfinished(gates, job, unfinished);
        }
    }

    /// Sets, changes or (None) lifts a limit.
    pub(super) fn change_limit(&mut self, target: &LimitTarget, limit: Option<LimitSpec>, at: Timestamp) {
        let changed = self.limits.change(target, limit, at);
        self.list_behind(&changed);
    }

    /// Sees which buckets have a token by now. It changes nothing that a record says.
    pub(super) fn refill(&mut self, now: Timestamp) -> bool {
        let changed = self.limits.refill(now);
        self.list_behind(&changed);
        !changed.is_empty()
    }

    /// When a bucket has to be looked at again.
    pub(super) fn next_refill(&self) -> Option<Timestamp> {
        self.limits.next_refill()
    }

    /// The job that a worker that runs these kinds gets next; `fits` says whether it could run what requires so much.
    pub(super) fn next(&self, kinds: &[Kind], fits: &dyn Fn(&Requirements) -> bool) -> Option<JobId> {
        if self.limits.all_closed() {
            return None;
        }
        let open = Asking::new(self.limits.closed_bits, &self.classes, fits);
        let offered = kinds.iter().filter_map(|kind| self.kind_ids.get(kind));
        let next = |id: &u32| {
            let kind = &self.kinds[*id as usize];
            kind.next(&open).map(|flow| (kind.turn, *id, flow))
        };
        let (_, _, flow) = offered.filter_map(next).min()?;
        self.flows[flow as usize].best(&self.shares, &open)
    }

    /// The same choice, with how many others there were.
    pub(super) fn choice(&self, kinds: &[Kind], fits: &dyn Fn(&Requirements) -> bool) -> Option<Choice> {
        if self.limits.all_closed() {
            return None;
        }
        let open = Asking::new(self.limits.closed_bits, &self.classes, fits);
        let offered = kinds.iter().filter_map(|kind| self.kind_ids.get(kind));
        let next = |id: &u32| {
            let kind = &self.kinds[*id as usize];
            kind.next(&open).map(|flow| (kind.turn, *id, flow))
        };
        let may: Vec<(u64, u32, FlowId)> = offered.filter_map(next).collect();
        let (_, kind, flow) = may.iter().min().copied()?;
        let flow = &self.flows[flow as usize];
        let of_kind = self.flows.iter().filter(|other| other.kind == kind);
        let goes = |other: &&Flow| !self.queues[other.queue as usize].stopped();
        let queues = of_kind.filter(goes).filter(|other| other.best(&self.shares, &open).is_some()).count();
        let job = flow.best(&self.shares, &open)?;
        Some(Choice { job, kinds: may.len(), queues, rivals: flow.has_rivals(&open) })
    }

    /// The weight of a queue, and that of a fair key in it.
    pub(super) fn weights(&self, id: LaneId) -> (u32, u32) {
        let lane = self.lanes.at(id.0);
        let queue = &self.queues[self.flows[lane.flow as usize].queue as usize];
        let of_value = self.fair_key(id).and_then(|value| queue.fair_weights.get(value));
        (queue.weight, of_value.copied().unwrap_or(DEFAULT_WEIGHT))
    }

    /// The same, of these queues only: for a caller that is held to some. It looks at each of them.
    pub(super) fn next_of(
        &self,
        kinds: &[Kind],
        queues: &BTreeSet<QueueName>,
        fits: &dyn Fn(&Requirements) -> bool,
    ) -> Option<JobId> {
        if self.limits.all_closed() {
            return None;
        }
        let open = Asking::new(self.limits.closed_bits, &self.classes, fits);
        let running: Vec<u32> = queues.iter().filter_map(|queue| self.queue_ids.get(queue).copied()).collect();
        let offered = kinds.iter().filter_map(|kind| self.kind_ids.get(kind));
        let next = |id: &u32| {
            let kind = &self.kinds[*id as usize];
            let flows = running.iter().filter(|queue| !self.queues[**queue as usize].stopped());
            let flows = flows.filter_map(|queue| self.by_queue_and_kind.get(&(*queue, *id)));
            let ready = flows.filter(|flow| self.flows[**flow as usize].best(&self.shares, &open).is_some());
            let first = ready.map(|flow| (kind.place(&self.flows[*flow as usize]), *flow)).min()?;
            Some((kind.turn, *id, first.1))
        };
        let (_, _, flow) = offered.filter_map(next).min()?;
        self.flows[flow as usize].best(&self.shares, &open)
    }

    /// Ready jobs by kind.
    pub(super) fn ready_by_kind(&self) -> impl Iterator<Item = (&Kind, u64)> {
        self.kinds.iter().map(|kind| (&kind.name, kind.ready))
    }

    /// Ready jobs that require something of their worker, by kind and requirements.
    pub(super) fn ready_by_need(&self) -> impl Iterator<Item = (&Kind, &Requirements, u64)> {
        self.classes.ready().map(|(kind, requirements, jobs)| (&self.kinds[kind as usize].name, requirements, jobs))
    }

    /// The oldest ready job, of one queue or of all, whether or not it may run.
    pub(super) fn oldest(&self, queue: Option<&QueueName>) -> Option<JobId> {
        match queue {
            Some(queue) => {
                let lanes = &self.queues[*self.queue_ids.get(queue)? as usize].lanes;
                lanes.iter().filter_map(|id| self.lanes.at(id.0).ready.first().copied()).min()
            }
            None => self.lanes.iter().filter_map(|(_, lane)| lane.ready.first().copied()).min(),
        }
    }

    fn queue_id(&mut self, name: &QueueName) -> u32 {
        if let Some(id) = self.queue_ids.get(name) {
            return *id;
        }
        let id = place(self.queues.len());
        self.queues.push(QueueEntry {
            name: name.clone(),
            weight: DEFAULT_WEIGHT,
            fair_weights: BTreeMap::new(),
            max_running: None,
            running: 0,
            paused: false,
            flows: Vec::new(),
            lanes: BTreeSet::new(),
        });
        self.queue_ids.insert(name.clone(), id);
        id
    }

    fn flow_id(&mut self, queue: &QueueName, kind: &Kind) -> FlowId {
        let queue = self.queue_id(queue);
        let kind = match self.kind_ids.get(kind) {
            Some(id) => *id,
            None => {
                let id = place(self.kinds.len());
                self.kinds.push(KindFlows::new(kind.clone()));
                self.kind_ids.insert(kind.clone(), id);
                id
            }
        };
        if let Some(id) = self.by_queue_and_kind.get(&(queue, kind)) {
            return *id;
        }
        let id = place(self.flows.len());
        self.flows.push(Flow::new(queue, kind));
        self.by_queue_and_kind.insert((queue, kind), id);
        self.queues[queue as usize].flows.push(id);
        id
    }

    /// Changes a queue, and takes its flows out of the choice or puts them back if that stops or frees it.
    fn change_queue(&mut self, id: u32, change: impl FnOnce(&mut QueueEntry)) {
        let queue = &mut self.queues[id as usize];
        let before = queue.stopped();
        change(queue);
        let stopped = queue.stopped();
        if stopped == before {
            return;
        }
        for flow_id in &queue.flows {
            let flow = &self.flows[*flow_id as usize];
            let kind = &mut self.kinds[flow.kind as usize];
            for passes in flow.passes() {
                if stopped {
                    kind.part(passes, *flow_id, flow);
                } else {
                    kind.join(passes, *flow_id, flow);
                }
            }
        }
    }

    fn list_behind(&mut self, gates: &[GateId]) {
        for gate in gates {
            // The list is taken out for the while, so that its lanes can be changed.
            let lanes: Vec<LaneId> = self.limits.gate(*gate).lanes.iter().copied().collect();
            for lane in lanes {
                self.list(lane);
            }
        }
    }

    /// Puts a lane's head where it belongs: in its flow, behind the wide gates that it passes, or nowhere if there is
    /// none or a narrow gate is closed.
    fn list(&mut self, id: LaneId) {
        let lane = self.lanes.at_mut(id.0);
        let mut bits = 0;
        let mut held = false;
        for gate in &lane.gates {
            let gate = self.limits.gate(*gate);
            match gate.wide {
                Some(bit) => bits |= bit,
                None => held |= gate.closed,
            }
        }
        let passes = Passes { class: lane.class, gates: bits };
        let wanted = if held { None } else { lane.ready.first().map(|job| (passes, *job)) };
        if lane.listed == wanted {
            return;
        }
        let before = std::mem::replace(&mut lane.listed, wanted);
        let (flow_id, share_id) = (lane.flow, lane.share);
        let share = self.shares.at_mut(share_id);
        let place = share.place(share_id);
        let flow = &mut self.flows[flow_id as usize];
        let stopped = self.queues[flow.queue as usize].stopped();
        let kind = &mut self.kinds[flow.kind as usize];
        // The new head first: where it replaces the old one the flow does not part and join again.
        if let Some((passes, job)) = wanted
            && share.add(passes, (job, id))
            && flow.add(passes, place)
            && !stopped
        {
            kind.join(passes, flow_id, flow);
        }
        if let Some((passes, job)) = before
            && share.remove(passes, (job, id))
            && flow.remove(passes, place)
            && !stopped
        {
            kind.part(passes, flow_id, flow);
        }
    }
}

fn place(len: usize) -> u32 {
    // Queues and kinds are named by people: four thousand million of them would be out of memory long before.
    u32::try_from(len).unwrap_or(u32::MAX)
}

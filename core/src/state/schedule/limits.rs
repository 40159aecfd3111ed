//! What is in use, and which gates are closed because of it.
//!
//! A *counter* belongs to one value of a key, or to one semaphore; it lives as long as a job has it. A *gate* is a
//! counter and an amount: all lanes that want so much of it pass the same gate, and the gate is closed while there is
//! not so much room, or no token in the bucket.
//!
//! Gates come in two sorts, so that closing and opening one costs little. A **wide** gate has a limit that names it
//! (`resolver=crossref`, `gpu_slots`): there are few, and thousands of lanes may wait at one, so that it is one bit that
//! the choice looks at. A **narrow** gate has a limit for each value of its key (`host=*`): there are thousands, each
//! with a few lanes, which are taken out of the choice one by one.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::LaneId;
use super::bucket::Bucket;
use super::slots::Slots;
use crate::id::JobId;
use crate::limit::{AtLimit, LimitSpec, LimitTarget};
use crate::time::Timestamp;

pub(super) type CounterId = u32;
pub(super) type GateId = u32;

/// What is in use of one value of a key, of one semaphore, or of all.
#[derive(Debug)]
pub(super) struct Counter {
    pub(super) target: LimitTarget,
    pub(super) in_use: u64,
    /// Jobs with this key that have not ended, oldest first. Not kept for semaphores and for all jobs together.
    pub(super) unfinished: BTreeSet<JobId>,
    pub(super) max: Option<u32>,
    pub(super) at_limit: AtLimit,
    pub(super) bucket: Option<Bucket>,
    /// Whether the bucket had no token when it was last looked at.
    empty: bool,
    /// When the bucket has a token again, or is full and may be forgotten.
    timer: Option<Timestamp>,
    /// The gates of this counter by amount.
    gates: BTreeMap<u32, GateId>,
    /// The largest amount of a gate that there ever was.
    largest: u32,
}

/// So much of a counter.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) counter: CounterId,
    pub(super) amount: u32,
    pub(super) lanes: BTreeSet<LaneId>,
    /// The bit of a wide gate.
    pub(super) wide: Option<u64>,
    pub(super) closed: bool,
}

/// Every limit, counter and gate.
#[derive(Debug)]
pub(super) struct Limits {
    set: BTreeMap<LimitTarget, LimitSpec>,
    counters: Slots<Counter>,
    by_target: HashMap<LimitTarget, CounterId>,
    gates: Slots<Gate>,
    running: CounterId,
    /// The bits that no wide gate has.
    free_bits: u64,
    /// The bits of the wide gates that are closed.
    pub(super) closed_bits: u64,
    timers: BTreeSet<(Timestamp, CounterId)>,
}

impl Default for Limits {
    fn default() -> Self {
        let mut limits = Self {
            set: BTreeMap::new(),
            counters: Slots::default(),
            by_target: HashMap::new(),
            gates: Slots::default(),
            running: 0,
            free_bits: u64::MAX,
            closed_bits: 0,
            timers: BTreeSet::new(),
        };
        limits.running = limits.counter(LimitTarget::Running, Timestamp(0));
        limits
    }
}

impl Limits {
    pub(super) fn set(&self) -> &BTreeMap<LimitTarget, LimitSpec> {
        &self.set
    }

    pub(super) fn gate(&self, id: GateId) -> &Gate {
        self.gates.at(id)
    }

    pub(super) fn counter_at(&self, id: CounterId) -> &Counter {
        self.counters.at(id)
    }

    pub(super) fn counter_of(&self, target: &LimitTarget) -> Option<&Counter> {
        self.by_target.get(target).map(|id| self.counters.at(*id))
    }

    pub(super) fn counters(&self) -> impl Iterator<Item = &Counter> {
        self.counters.iter().map(|(_, counter)| counter)
    }

    pub(super) fn running(&self) -> &Counter {
        self.counters.at(self.running)
    }

    /// Whether nothing may start at all.
    pub(super) fn all_closed(&self) -> bool {
        self.running().refuses(1)
    }

    /// The limit in force for a target: its own, or the one for each value of its key.
    pub(super) fn in_force(&self, target: &LimitTarget) -> Option<&LimitSpec> {
        let own = self.set.get(target);
        match target {
            LimitTarget::Key(name, _) => own.or_else(|| self.set.get(&LimitTarget::Each(name.clone()))),
            LimitTarget::Running | LimitTarget::Each(_) | LimitTarget::Semaphore(_) => own,
        }
    }

    fn counter(&mut self, target: LimitTarget, at: Timestamp) -> CounterId {
        if let Some(id) = self.by_target.get(&target) {
            return *id;
        }
        let limit = self.in_force(&target);
        let counter = Counter {
            in_use: 0,
            unfinished: BTreeSet::new(),
            max: limit.and_then(|limit| limit.max),
            at_limit: limit.map(|limit| limit.at_limit).unwrap_or_default(),
            bucket: limit.and_then(|limit| limit.rate).map(|rate| Bucket::new(rate, at)),
            empty: false,
            timer: None,
            gates: BTreeMap::new(),
            largest: 0,
            target: target.clone(),
        };
        let id = self.counters.insert(counter);
        self.by_target.insert(target, id);
        id
    }

    /// The gate that asks for so much of a target, made if there is none.
    pub(super) fn open_gate(&mut self, target: LimitTarget, amount: u32, at: Timestamp) -> GateId {
        let counter = self.counter(target, at);
        if let Some(id) = self.counters.at(counter).gates.get(&amount) {
            return *id;
        }
        let closed = self.counters.at(counter).refuses(amount);
        let id = self.gates.insert(Gate { counter, amount, lanes: BTreeSet::new(), wide: None, closed });
        let counter = self.counters.at_mut(counter);
        counter.gates.insert(amount, id);
        counter.largest = counter.largest.max(amount);
        self.classify(id);
        id
    }

    pub(super) fn join(&mut self, gate: GateId, lane: LaneId) {
        self.gates.at_mut(gate).lanes.insert(lane);
    }

    /// Takes a lane that is gone off a gate; what nobody needs any more is forgotten.
    pub(super) fn part(&mut self, gate: GateId, lane: LaneId) {
        let left = self.gates.at_mut(gate);
        left.lanes.remove(&lane);
        if !left.lanes.is_empty() {
            return;
        }
        let (counter, amount) = (left.counter, left.amount);
        self.give_back_bit(gate);
        self.gates.remove(gate);
        self.counters.at_mut(counter).gates.remove(&amount);
        self.set_timer(counter);
        self.forget_if_idle(counter);
    }

    fn forget_if_idle(&mut self, id: CounterId) {
        let counter = self.counters.at(id);
        // A bucket that is not full is remembered, or a job that comes later would find it full.
        if id == self.running || !counter.gates.is_empty() || counter.timer.is_some() {
            return;
        }
        self.by_target.remove(&counter.target.clone());
        self.counters.remove(id);
    }

    /// Makes a gate wide if a limit names it and there is a bit left, narrow otherwise.
    fn classify(&mut self, id: GateId) {
        let gate = self.gates.at(id);
        let named = self.set.contains_key(&self.counters.at(gate.counter).target);
        match (named, gate.wide) {
            (true, None) if self.free_bits != 0 => {
                let bit = 1 << self.free_bits.trailing_zeros();
                self.free_bits &= !bit;
                self.gates.at_mut(id).wide = Some(bit);
                self.note_closed(id);
            }
            (false, Some(_)) => self.give_back_bit(id),
            (true, None | Some(_)) | (false, None) => {}
        }
    }

    fn give_back_bit(&mut self, id: GateId) {
        if let Some(bit) = self.gates.at_mut(id).wide.take() {
            self.free_bits |= bit;
            self.closed_bits &= !bit;
        }
    }

    fn note_closed(&mut self, id: GateId) {
        let gate = self.gates.at(id);
        if let Some(bit) = gate.wide {
            self.closed_bits = if gate.closed { self.closed_bits | bit } else { self.closed_bits & !bit };
        }
    }

    /// A job of a lane with these gates starts. The gates that closed.
    pub(super) fn take(&mut self, gates: &[GateId], at: Timestamp) -> Vec<GateId> {
        let mut changed = Vec::new();
        self.use_more(self.running, 1, at, &mut changed);
        for gate in gates {
            let Gate { counter, amount, .. } = *self.gates.at(*gate);
            self.use_more(counter, amount, at, &mut changed);
        }
        changed
    }

    fn use_more(&mut self, id: CounterId, amount: u32, at: Timestamp, changed: &mut Vec<GateId>) {
        let counter = self.counters.at_mut(id);
        counter.in_use += u64::from(amount);
        if let Some(bucket) = &mut counter.bucket {
            bucket.take(at);
            counter.empty = !bucket.has_token(at);
            self.set_timer(id);
        }
        self.use_changed(id, amount, changed);
    }

    /// Closes and opens gates after a use, which was of `amount`. Where there was and is room for every gate, or no limit, all
    /// of them are open, and need not be looked at.
    fn use_changed(&mut self, id: CounterId, amount: u32, changed: &mut Vec<GateId>) {
        let counter = self.counters.at(id);
        if counter.bucket.is_some() || counter.over(counter.largest.saturating_add(amount)) {
            self.recheck(id, changed);
        }
    }

    /// A job of a lane with these gates runs no more. The gates that opened.
    pub(super) fn give_back(&mut self, gates: &[GateId]) -> Vec<GateId> {
        let mut changed = Vec::new();
        let mut less = |limits: &mut Self, id: CounterId, amount: u32| {
            let counter = limits.counters.at_mut(id);
            counter.in_use = counter.in_use.saturating_sub(u64::from(amount));
            limits.use_changed(id, amount, &mut changed);
        };
        less(self, self.running, 1);
        for gate in gates {
            let Gate { counter, amount, .. } = *self.gates.at(*gate);
            less(self, counter, amount);
        }
        changed
    }

    /// Sets, changes or (None) lifts a limit. The gates that changed: closed, opened, or of the other sort now.
    pub(super) fn change(&mut self, target: &LimitTarget, limit: Option<LimitSpec>, at: Timestamp) -> Vec<GateId> {
        // What is idle by now is forgotten first, as it would be on any other look at the clock: what follows depends on
        // records only.
        let mut changed = self.refill(at);
        match limit {
            Some(limit) => drop(self.set.insert(target.clone(), limit)),
            None => drop(self.set.remove(target)),
        }
        let about: Vec<CounterId> = match target {
            LimitTarget::Each(name) => {
                let has_name = |counter: &Counter| match &counter.target {
                    LimitTarget::Key(key, _) => key == name,
                    LimitTarget::Running | LimitTarget::Each(_) | LimitTarget::Semaphore(_) => false,
                };
                self.counters.iter().filter(|(_, counter)| has_name(counter)).map(|(id, _)| id).collect()
            }
            LimitTarget::Running | LimitTarget::Key(..) | LimitTarget::Semaphore(_) => {
                self.by_target.get(target).copied().into_iter().collect()
            }
        };
        for id in about {
            let limit = self.in_force(&self.counters.at(id).target).cloned();
            let counter = self.counters.at_mut(id);
            counter.max = limit.as_ref().and_then(|limit| limit.max);
            counter.at_limit = limit.as_ref().map(|limit| limit.at_limit).unwrap_or_default();
            match (limit.and_then(|limit| limit.rate), &mut counter.bucket) {
                (Some(rate), Some(bucket)) => bucket.change(rate, at),
                (Some(rate), none @ None) => *none = Some(Bucket::new(rate, at)),
                (None, bucket) => *bucket = None,
            }
            counter.empty = counter.bucket.as_ref().is_some_and(|bucket| !bucket.has_token(at));
            let gates: Vec<GateId> = counter.gates.values().copied().collect();
            for gate in gates {
                self.classify(gate);
                changed.push(gate);
            }
            self.set_timer(id);
            self.recheck(id, &mut changed);
            self.forget_if_idle(id);
        }
        changed.sort_unstable();
        changed.dedup();
        changed
    }

    /// Looks at the buckets that have a token by now. The gates that opened.
    pub(super) fn refill(&mut self, now: Timestamp) -> Vec<GateId> {
        let mut changed = Vec::new();
        while let Some((due, id)) = self.timers.first().copied() {
            if due > now {
                break;
            }
            let counter = self.counters.at_mut(id);
            counter.empty = false;
            // Full, or with a token that somebody will take: either way the clock is not needed any more, unless it has
            // to be remembered until it is full.
            let full = counter.bucket.as_ref().map(Bucket::full_at);
            counter.timer = None;
            self.timers.remove(&(due, id));
            if self.counters.at(id).gates.is_empty()
                && let Some(full) = full.filter(|full| *full > now)
            {
                self.counters.at_mut(id).timer = Some(full);
                self.timers.insert((full, id));
            }
            self.recheck(id, &mut changed);
            self.forget_if_idle(id);
        }
        changed
    }

    /// When a bucket that is empty has a token again.
    pub(super) fn next_refill(&self) -> Option<Timestamp> {
        self.timers.first().map(|(due, _)| *due)
    }

    /// Sets the time at which a counter's bucket is looked at.
    fn set_timer(&mut self, id: CounterId) {
        let counter = self.counters.at_mut(id);
        let timer = match &counter.bucket {
            Some(bucket) if counter.empty => Some(bucket.token_at()),
            Some(bucket) if counter.gates.is_empty() && id != self.running => Some(bucket.full_at()),
            Some(_) | None => None,
        };
        if counter.timer == timer {
            return;
        }
        if let Some(before) = std::mem::replace(&mut counter.timer, timer) {
            self.timers.remove(&(before, id));
        }
        self.timers.extend(timer.map(|timer| (timer, id)));
    }

    /// Closes and opens the gates of a counter as its room says.
    fn recheck(&mut self, id: CounterId, changed: &mut Vec<GateId>) {
        let counter = self.counters.at(id);
        for (amount, gate) in &counter.gates {
            let closed = counter.refuses(*amount);
            let known = self.gates.at_mut(*gate);
            if known.closed == closed {
                continue;
            }
            known.closed = closed;
            if let Some(bit) = known.wide {
                self.closed_bits = if closed { self.closed_bits | bit } else { self.closed_bits & !bit };
            } else {
                changed.push(*gate);
            }
        }
    }

    /// Notes that a job has not ended yet, or that it has.
    pub(super) fn set_unfinished(&mut self, gates: &[GateId], job: JobId, unfinished: bool) {
        for gate in gates {
            let counter = self.counters.at_mut(self.gates.at(*gate).counter);
            match (&counter.target, unfinished) {
                (LimitTarget::Key(..), true) => drop(counter.unfinished.insert(job)),
                (LimitTarget::Key(..), false) => drop(counter.unfinished.remove(&job)),
                (LimitTarget::Running | LimitTarget::Each(_) | LimitTarget::Semaphore(_), _) => {}
            }
        }
    }
}

impl Counter {
    /// Whether so much more cannot be had now.
    fn refuses(&self, amount: u32) -> bool {
        self.over(amount) || self.empty
    }

    /// Whether so much more would be over the limit.
    pub(super) fn over(&self, amount: u32) -> bool {
        self.max.is_some_and(|max| self.in_use + u64::from(amount) > u64::from(max))
    }

    /// When its bucket has a token again, while it has none.
    pub(super) fn empty_until(&self) -> Option<Timestamp> {
        if self.empty { self.bucket.as_ref().map(Bucket::token_at) } else { None }
    }
}

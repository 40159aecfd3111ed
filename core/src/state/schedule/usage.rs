//! What the schedule can say of itself: limits in use, and what holds a job back.

use std::collections::{BTreeMap, BTreeSet};

use super::limits::Counter;
use super::{LaneId, Schedule};
use crate::id::JobId;
use crate::limit::{AtLimit, LimitSpec, LimitTarget, Rate};
use crate::time::Timestamp;

/// A limit, or something that is in use without one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimitUsage {
    /// What it is about: never every value of a key, but each by itself.
    pub target: LimitTarget,
    /// Jobs that run with it; for a semaphore, units that are taken.
    pub in_use: u64,
    /// How many may.
    pub max: Option<u32>,
    /// How often jobs may start.
    pub rate: Option<Rate>,
    /// Whole tokens in the bucket, where there is a rate.
    pub tokens: Option<u64>,
    /// What happens at `max`.
    pub at_limit: AtLimit,
}

/// One thing that keeps a ready job from being leased.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hold {
    /// Its queue is paused.
    Paused,
    /// As many jobs of its queue run as may.
    QueueFull {
        /// How many run.
        running: u64,
        /// How many may.
        max: u32,
    },
    /// There is not so much room.
    AtMax {
        /// What is limited.
        target: LimitTarget,
        /// How much the job wants of it.
        wants: u32,
        /// How much is in use.
        in_use: u64,
        /// How much there is.
        max: u32,
    },
    /// The bucket has no token.
    Empty {
        /// What is limited.
        target: LimitTarget,
        /// When there is a token again.
        until: Timestamp,
    },
}

impl Schedule {
    /// Every limit that is set.
    pub(in crate::state) fn limits(&self) -> impl Iterator<Item = &LimitSpec> {
        self.limits.set().values()
    }

    /// The limit that is set for exactly this.
    pub(in crate::state) fn limit(&self, target: &LimitTarget) -> Option<&LimitSpec> {
        self.limits.set().get(target)
    }

    /// The jobs with this key that have not ended, oldest first.
    pub(in crate::state) fn unfinished(&self, target: &LimitTarget) -> Option<&BTreeSet<JobId>> {
        self.limits.counter_of(target).map(|counter| &counter.unfinished)
    }

    /// What is in use of everything that is limited or in use, in the order of targets.
    pub(in crate::state) fn usage(&self, now: Timestamp) -> Vec<LimitUsage> {
        let counted = |counter: &&Counter| counter.in_use > 0 || counter.max.is_some() || counter.bucket.is_some();
        let mut usage: Vec<LimitUsage> =
            self.limits.counters().filter(counted).map(|counter| self.usage_of(counter, now)).collect();
        // Limits that name something which no job has now.
        for spec in self.limits.set().values() {
            let named = match spec.limit {
                LimitTarget::Each(_) => false,
                LimitTarget::Running | LimitTarget::Key(..) | LimitTarget::Semaphore(_) => true,
            };
            if named && self.limits.counter_of(&spec.limit).is_none() {
                let LimitSpec { limit, max, rate, at_limit } = spec.clone();
                let tokens = rate.map(|rate| u64::from(rate.burst));
                usage.push(LimitUsage { target: limit, in_use: 0, max, rate, tokens, at_limit });
            }
        }
        usage.sort_unstable_by(|a, b| a.target.cmp(&b.target));
        usage
    }

    /// How much is in use of everything that is.
    pub(in crate::state) fn in_use(&self) -> BTreeMap<String, u64> {
        let used = self.limits.counters().filter(|counter| counter.in_use > 0);
        used.map(|counter| (counter.target.to_string(), counter.in_use)).collect()
    }

    fn usage_of(&self, counter: &Counter, now: Timestamp) -> LimitUsage {
        LimitUsage {
            target: counter.target.clone(),
            in_use: counter.in_use,
            max: counter.max,
            rate: self.limits.in_force(&counter.target).and_then(|limit| limit.rate),
            tokens: counter.bucket.as_ref().map(|bucket| bucket.tokens(now)),
            at_limit: counter.at_limit,
        }
    }

    /// What keeps the ready jobs of a lane from being leased.
    pub(in crate::state) fn holds(&self, id: LaneId) -> Vec<Hold> {
        let lane = self.lanes.at(id.0);
        let queue = &self.queues[self.flows[lane.flow as usize].queue as usize];
        let mut holds = Vec::new();
        if queue.paused {
            holds.push(Hold::Paused);
        }
        if let Some(max) = queue.max_running.filter(|_| queue.full()) {
            holds.push(Hold::QueueFull { running: queue.running, max });
        }
        let mut look = |counter: &Counter, wants: u32| {
            if let Some(max) = counter.max.filter(|_| counter.over(wants)) {
                holds.push(Hold::AtMax { target: counter.target.clone(), wants, in_use: counter.in_use, max });
            }
            if let Some(until) = counter.empty_until() {
                holds.push(Hold::Empty { target: counter.target.clone(), until });
            }
        };
        look(self.limits.running(), 1);
        for gate in &lane.gates {
            let gate = self.limits.gate(*gate);
            look(self.limits.counter_at(gate.counter), gate.amount);
        }
        holds
    }

    /// How many ready jobs of the same queue and kind go before this one, if it is ready: those of a higher priority, and
    /// older ones of its own share; an array is as many as it has tasks left. Of the other shares it is not said: which is
    /// next changes with each grant.
    pub(in crate::state) fn ahead_of(&self, id: LaneId, job: JobId) -> u64 {
        let lane = self.lanes.at(id.0);
        let queue = &self.queues[self.flows[lane.flow as usize].queue as usize];
        let others = queue.lanes.iter().map(|other| self.lanes.at(other.0)).filter(|other| other.flow == lane.flow);
        // Each array is there once already. One that makes its last task just now has none left, and is gone in a moment.
        fn more<'a>(arrays: impl Iterator<Item = &'a u64>) -> u64 {
            arrays.map(|tasks| tasks.saturating_sub(1)).sum()
        }
        let priority = |lane: &super::Lane| self.shares.at(lane.share).priority;
        let before = |other: &super::Lane| match priority(other).cmp(&priority(lane)) {
            std::cmp::Ordering::Greater => other.ready.len() as u64 + more(other.arrays.values()),
            std::cmp::Ordering::Equal if other.share == lane.share => {
                let arrays = other.arrays.range(..job).map(|(_, tasks)| tasks);
                other.ready.range(..job).count() as u64 + more(arrays)
            }
            std::cmp::Ordering::Equal => 0,
            std::cmp::Ordering::Less => 0,
        };
        others.map(before).sum()
    }
}

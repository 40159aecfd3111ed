//! Ready jobs that could start now, all of them together.

use std::cmp::Reverse;
use std::collections::HashMap;

use super::limits::{Counter, CounterId};
use super::{Lane, Schedule};
use crate::demand::{Demand, WorkerPool};
use crate::resource::Amount;
use crate::time::Timestamp;

/// What is left of something that is limited.
#[derive(Clone, Copy)]
struct Room {
    units: u64,
    starts: u64,
}

impl Room {
    fn of(counter: &Counter, now: Timestamp) -> Self {
        let units = counter.max.map_or(u64::MAX, |max| u64::from(max).saturating_sub(counter.in_use));
        let starts = counter.bucket.as_ref().map_or(u64::MAX, |bucket| bucket.tokens(now).max(1));
        Self { units, starts }
    }

    /// For how many jobs that want so much each.
    fn jobs(self, amount: u32) -> u64 {
        self.starts.min(if amount == 0 { u64::MAX } else { self.units / u64::from(amount) })
    }

    fn take(&mut self, jobs: u64, amount: u32) {
        self.units = self.units.saturating_sub(jobs.saturating_mul(u64::from(amount)));
        self.starts = self.starts.saturating_sub(jobs);
    }
}

impl Schedule {
    /// What of a pool's work could start now.
    pub(in crate::state) fn demand(&self, pool: &WorkerPool, now: Timestamp) -> Demand {
        let mut all = Room::of(self.limits.running(), now);
        let mut queues: HashMap<u32, u64> = HashMap::new();
        let mut counters: HashMap<CounterId, Room> = HashMap::new();
        let mut demand = Demand::default();
        for (lane, share) in self.lanes_for(pool) {
            let number = self.flows[lane.flow as usize].queue;
            let queue = queues.entry(number).or_insert_with(|| self.queues[number as usize].room());
            let mut jobs = lane.ready_jobs().min(*queue).min(all.jobs(1));
            for gate in lane.gates.iter().map(|gate| self.limits.gate(*gate)) {
                let counter = || Room::of(self.limits.counter_at(gate.counter), now);
                jobs = jobs.min(counters.entry(gate.counter).or_insert_with(counter).jobs(gate.amount));
            }
            all.take(jobs, 1);
            *queue -= jobs;
            for gate in lane.gates.iter().map(|gate| self.limits.gate(*gate)) {
                if let Some(room) = counters.get_mut(&gate.counter) {
                    room.take(jobs, gate.amount);
                }
            }
            demand.add_ready(jobs, share);
        }
        demand
    }

    /// The lanes with ready jobs for a pool, and which part of a worker each job takes: highest priority first, then by
    /// the oldest job.
    fn lanes_for(&self, pool: &WorkerPool) -> Vec<(&Lane, Amount)> {
        let mut shares = HashMap::new();
        let mut lanes: Vec<(&Lane, Amount)> = Vec::new();
        for (_, lane) in self.lanes.iter().filter(|(_, lane)| !lane.ready.is_empty()) {
            let flow = &self.flows[lane.flow as usize];
            if !pool.serves(&self.queues[flow.queue as usize].name, &self.kinds[flow.kind as usize].name) {
                continue;
            }
            let share = shares.entry(lane.class).or_insert_with(|| pool.share(self.classes.at(lane.class)));
            lanes.extend(share.map(|share| (lane, share)));
        }
        lanes.sort_by_key(|(lane, _)| (Reverse(self.shares.at(lane.share).priority), lane.ready.first().copied()));
        lanes
    }
}

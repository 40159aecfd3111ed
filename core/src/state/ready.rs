//! Which job is next: ready jobs in lanes of equal queue, kind and priority.
//!
//! Per kind, the heads of its lanes stand in one ordered set, so that the next job of a kind costs a logarithm, not a
//! scan over queues. Order: priority, then age.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap, HashSet};

use crate::id::{JobId, Kind, QueueName};

/// Index of a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LaneId(u32);

/// Jobs of one queue, kind and priority.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) queue: QueueName,
    pub(super) kind: Kind,
    pub(super) priority: i32,
    ready: BTreeSet<JobId>,
}

type Head = (Reverse<i32>, JobId, LaneId);

/// Every lane.
#[derive(Default)]
pub(super) struct Lanes {
    lanes: Vec<Lane>,
    by_name: HashMap<(QueueName, Kind, i32), LaneId>,
    /// The first ready job of each lane whose queue is not paused.
    heads: HashMap<Kind, BTreeSet<Head>>,
    paused: HashSet<QueueName>,
}

impl Lanes {
    pub(super) fn lane(&self, id: LaneId) -> &Lane {
        &self.lanes[id.0 as usize]
    }

    /// The lane of this queue, kind and priority, made if there is none.
    pub(super) fn open(&mut self, queue: &QueueName, kind: &Kind, priority: i32) -> LaneId {
        let name = (queue.clone(), kind.clone(), priority);
        if let Some(id) = self.by_name.get(&name) {
            return *id;
        }
        // A lane per job would need 2^32 distinct priorities; the vector would be out of memory long before.
        let id = LaneId(u32::try_from(self.lanes.len()).unwrap_or(u32::MAX));
        self.lanes.push(Lane { queue: queue.clone(), kind: kind.clone(), priority, ready: BTreeSet::new() });
        self.by_name.insert(name, id);
        id
    }

    pub(super) fn insert(&mut self, id: LaneId, job: JobId) {
        self.change(id, |ready| {
            ready.insert(job);
        });
    }

    pub(super) fn remove(&mut self, id: LaneId, job: JobId) {
        self.change(id, |ready| {
            ready.remove(&job);
        });
    }

    /// Changes a lane's jobs and keeps its head in order.
    fn change(&mut self, id: LaneId, change: impl FnOnce(&mut BTreeSet<JobId>)) {
        let lane = &mut self.lanes[id.0 as usize];
        let before = lane.ready.first().copied();
        change(&mut lane.ready);
        let after = lane.ready.first().copied();
        if before == after || self.paused.contains(&lane.queue) {
            return;
        }
        let heads = match self.heads.get_mut(&lane.kind) {
            Some(heads) => heads,
            None => self.heads.entry(lane.kind.clone()).or_default(),
        };
        if let Some(job) = before {
            heads.remove(&(Reverse(lane.priority), job, id));
        }
        if let Some(job) = after {
            heads.insert((Reverse(lane.priority), job, id));
        }
    }

    /// Takes a queue's jobs out of the choice, or puts them back.
    pub(super) fn set_paused(&mut self, queue: &QueueName, paused: bool) {
        if !(if paused { self.paused.insert(queue.clone()) } else { self.paused.remove(queue) }) {
            return;
        }
        for (index, lane) in self.lanes.iter().enumerate() {
            let Some(job) = lane.ready.first().copied() else { continue };
            if lane.queue != *queue {
                continue;
            }
            let head = (Reverse(lane.priority), job, LaneId(u32::try_from(index).unwrap_or(u32::MAX)));
            let heads = self.heads.entry(lane.kind.clone()).or_default();
            if paused {
                heads.remove(&head);
            } else {
                heads.insert(head);
            }
        }
    }

    /// The next `max` jobs of these kinds, best first.
    pub(super) fn next(&self, kinds: &[Kind], max: usize) -> Vec<JobId> {
        // The heads of the offered kinds, best first. Taking a job uncovers the next of its lane.
        let mut open: BTreeSet<Head> = BTreeSet::new();
        for kind in kinds {
            // No more than `max` lanes can be needed.
            open.extend(self.heads.get(kind).into_iter().flatten().take(max));
        }
        let mut taken = Vec::new();
        while taken.len() < max {
            let Some((priority, job, id)) = open.pop_first() else { break };
            taken.push(job);
            let behind = (std::ops::Bound::Excluded(job), std::ops::Bound::Unbounded);
            if let Some(next) = self.lane(id).ready.range(behind).next() {
                open.insert((priority, *next, id));
            }
        }
        taken
    }

    pub(super) fn has_ready(&self, kind: &Kind) -> bool {
        self.heads.get(kind).is_some_and(|heads| !heads.is_empty())
    }

    /// The oldest ready job, of one queue or of all, paused or not.
    pub(super) fn oldest(&self, queue: Option<&QueueName>) -> Option<JobId> {
        let lanes = self.lanes.iter().filter(|lane| queue.is_none_or(|queue| lane.queue == *queue));
        lanes.filter_map(|lane| lane.ready.first().copied()).min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn priority_then_age_across_lanes_and_kinds() {
        let (q, p) = (QueueName::new("q").unwrap(), QueueName::new("p").unwrap());
        let (a, b) = (Kind::new("a").unwrap(), Kind::new("b").unwrap());
        let mut lanes = Lanes::default();
        for (queue, kind, priority, job) in
            [(&q, &a, 0, 1), (&q, &a, 5, 4), (&p, &a, 0, 2), (&p, &b, 5, 3), (&q, &a, 0, 5)]
        {
            let lane = lanes.open(queue, kind, priority);
            lanes.insert(lane, JobId::new(job));
        }
        let next =
            |lanes: &Lanes, kinds: &[Kind]| -> Vec<u64> { lanes.next(kinds, 9).into_iter().map(JobId::get).collect() };
        let both = [a.clone(), b];
        assert_eq!(next(&lanes, &both), [3, 4, 1, 2, 5]);
        assert_eq!(next(&lanes, &[a]), [4, 1, 2, 5]);
        lanes.set_paused(&q, true);
        assert_eq!(next(&lanes, &both), [3, 2]);
        lanes.set_paused(&q, false);
        assert_eq!(next(&lanes, &both), [3, 4, 1, 2, 5]);
        assert_eq!(lanes.next(&both, 2).len(), 2);
    }
}

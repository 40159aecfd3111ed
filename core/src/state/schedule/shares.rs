//! Which jobs of a queue are next among those of the same priority: fair shares by the value of their `fair_key`.
//!
//! A *share* is the jobs of one flow and priority that have one value; those that have none are a share too. As between
//! queues (`fair`), each grant moves its share's **pass** on by a stride that is the smaller, the larger the value's weight,
//! and the share that is least far goes first. A flow's jobs of one priority are a *level*, whose **time** is where the share
//! that was served last stood; a share starts no earlier than there, so that nobody saves up turns.
//!
//! So while a share of weight `w` has a job that may run, and no job of a higher priority does, another share of weight `v` is
//! served at most `v / w + 2` times before it.
//!
//! A share whose jobs have all left is forgotten once the time has reached it. Until then it *rests*: somebody who brings one
//! job at a time would be first every time otherwise.

use std::cmp::Reverse;
use std::collections::{BTreeSet, HashMap};

use super::LaneId;
use super::fair::{FlowId, Open, Passes, STRIDE};
use super::groups::{Greatest, Groups};
use super::slots::Slots;
use crate::id::{JobId, Seq};
use crate::limit::KeyValue;

pub(super) type ShareId = u32;

/// Where a share stands among those of its flow, the smallest first: priority, pass, the seq of its last grant, and the order
/// in which they came.
pub(super) type Place = (Reverse<i32>, u64, u64, u64, ShareId);

impl Greatest for Place {
    const GREATEST: Self = (Reverse(i32::MIN), u64::MAX, u64::MAX, u64::MAX, ShareId::MAX);
}

/// The first job of a lane.
type Head = (JobId, LaneId);

impl Greatest for Head {
    const GREATEST: Self = (JobId(Seq(u64::MAX)), LaneId(u32::MAX));
}

#[derive(Debug)]
pub(super) struct Share {
    pub(super) flow: FlowId,
    pub(super) priority: i32,
    pub(super) value: Option<KeyValue>,
    /// Its level, while it has a job or rests.
    level: LevelId,
    pass: u64,
    turn: u64,
    born: u64,
    jobs: u64,
    lanes: u64,
    /// The heads of its lanes that no narrow gate holds back, by what they pass.
    heads: Groups<Head>,
}

impl Share {
    /// Adds a lane's head. Whether it is the share's first that passes this.
    pub(super) fn add(&mut self, passes: Passes, head: Head) -> bool {
        self.heads.add(passes, head)
    }

    /// Takes a lane's head away. Whether it was the share's last that passes this.
    pub(super) fn remove(&mut self, passes: Passes, head: Head) -> bool {
        self.heads.remove(passes, head)
    }

    /// The oldest job that may go to the worker that asks.
    pub(super) fn best(&self, open: &impl Open) -> Option<JobId> {
        let open = self.heads.firsts().filter(|(passes, _)| open.lets(*passes));
        open.map(|(_, (job, _))| job).min()
    }

    pub(super) fn passes(&self) -> impl Iterator<Item = Passes> {
        self.heads.firsts().map(|(passes, _)| passes)
    }

    /// Where it stands, as `id`.
    pub(super) fn place(&self, id: ShareId) -> Place {
        (Reverse(self.priority), self.pass, self.turn, self.born, id)
    }
}

type LevelId = u32;

/// The jobs of one flow and priority.
#[derive(Debug, Default)]
struct Level {
    time: u64,
    jobs: u64,
    /// Shares without a job that the time has not reached, by their pass.
    resting: BTreeSet<(u64, ShareId)>,
}

/// Every share of which there is a job, or that rests.
#[derive(Debug, Default)]
pub(super) struct Shares {
    shares: Slots<Share>,
    ids: HashMap<(FlowId, i32, Option<KeyValue>), ShareId>,
    levels: Slots<Level>,
    level_ids: HashMap<(FlowId, i32), LevelId>,
    born: u64,
}

impl Shares {
    pub(super) fn at(&self, id: ShareId) -> &Share {
        self.shares.at(id)
    }

    pub(super) fn at_mut(&mut self, id: ShareId) -> &mut Share {
        self.shares.at_mut(id)
    }

    /// The share of such a job, which counts as one of it until it leaves.
    pub(super) fn enter(&mut self, flow: FlowId, priority: i32, value: Option<&KeyValue>) -> ShareId {
        let name = (flow, priority, value.cloned());
        let id = match self.ids.get(&name) {
            Some(id) => *id,
            None => {
                let value = value.cloned();
                let heads = Groups::default();
                let (level, pass, turn, born, jobs, lanes) = Default::default();
                let share = Share { flow, priority, value, level, pass, turn, born, jobs, lanes, heads };
                let id = self.shares.insert(share);
                self.ids.insert(name, id);
                id
            }
        };
        self.enter_again(id);
        id
    }

    /// One more job counts as one of the share.
    pub(super) fn enter_again(&mut self, id: ShareId) {
        let share = self.shares.at_mut(id);
        if share.jobs == 0 {
            let new = || self.levels.insert(Level::default());
            share.level = *self.level_ids.entry((share.flow, share.priority)).or_insert_with(new);
        }
        let level = self.levels.at_mut(share.level);
        level.jobs += 1;
        share.jobs += 1;
        if share.jobs == 1 && !level.resting.remove(&(share.pass, id)) {
            self.born += 1;
            share.born = self.born;
        }
    }

    /// A job of the share has left the state.
    pub(super) fn leave(&mut self, id: ShareId) {
        let share = self.shares.at_mut(id);
        share.jobs -= 1;
        let (empty, pass, level_name) = (share.jobs == 0, share.pass, (share.flow, share.priority));
        let level_id = share.level;
        let level = self.levels.at_mut(level_id);
        level.jobs -= 1;
        if empty && pass > level.time {
            level.resting.insert((pass, id));
        } else if empty {
            self.forget(id);
        }
        // With nobody there, everybody starts anew.
        if self.levels.at(level_id).jobs == 0
            && let Some(Level { resting, .. }) = self.levels.remove(level_id)
        {
            self.level_ids.remove(&level_name);
            resting.into_iter().for_each(|(_, id)| self.forget(id));
        }
    }

    /// A lane of the share was made.
    pub(super) fn join(&mut self, id: ShareId) {
        self.shares.at_mut(id).lanes += 1;
    }

    /// A lane of the share is no more.
    pub(super) fn part(&mut self, id: ShareId) {
        let share = self.shares.at_mut(id);
        share.lanes -= 1;
        let rests = share.pass > 0;
        if share.lanes == 0 && share.jobs == 0 && !rests {
            self.forget(id);
        }
    }

    /// A share without jobs is as if it had never been.
    fn forget(&mut self, id: ShareId) {
        let share = self.shares.at_mut(id);
        (share.pass, share.turn) = (0, 0);
        if share.lanes == 0
            && let Some(Share { flow, priority, value, .. }) = self.shares.remove(id)
        {
            self.ids.remove(&(flow, priority, value));
        }
    }

    /// Moves a share on by a grant.
    pub(super) fn serve(&mut self, id: ShareId, weight: u32, seq: u64) {
        let share = self.shares.at_mut(id);
        let level = self.levels.at_mut(share.level);
        let start = share.pass.max(level.time);
        share.pass = start.saturating_add(STRIDE / u64::from(weight.max(1)));
        share.turn = seq;
        level.time = start;
        let mut reached = Vec::new();
        while let Some(first) = level.resting.pop_first() {
            if first.0 > start {
                level.resting.insert(first);
                break;
            }
            reached.push(first.1);
        }
        reached.into_iter().for_each(|id| self.forget(id));
    }
}

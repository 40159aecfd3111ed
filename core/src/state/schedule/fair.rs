//! Which queue is next: fair shares by weight, for each kind of job by itself.
//!
//! A *flow* is the jobs of one queue and one kind. Each grant moves its flow's **pass** on by a stride that is the
//! smaller, the larger the queue's weight, and the flow that is least far goes first (stride scheduling). A kind's
//! **time** is where the flow that was served last stood; a flow that comes back after a pause starts there and not
//! where it was, so that nobody saves up turns. Flows at the same place go in the order in which they were served last.
//!
//! So while a flow has a job that may run, another flow of weight `v` is served at most `v / w + 2` times before it,
//! where `w` is its own weight: nobody starves.

use std::collections::{BTreeMap, BTreeSet};

use super::classes::ClassId;
use super::groups::Groups;
use super::shares::{Place, ShareId, Shares};
use crate::id::{JobId, Kind};

/// One grant's length at weight 1. It is a multiple of 1 to 16, of every round number up to the highest weight, and
/// small enough for 2^34 grants.
pub(super) const STRIDE: u64 = 720_720_000;

pub(super) type FlowId = u32;

/// What a lane's jobs have to pass: the requirements of their class, and wide gates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Passes {
    pub(super) class: ClassId,
    pub(super) gates: u64,
}

/// What is open to the worker that asks.
pub(super) trait Open {
    /// Whether a job that has to pass this may go to the worker now.
    fn lets(&self, passes: Passes) -> bool;
}

/// The jobs of one queue and one kind.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) queue: u32,
    pub(super) kind: u32,
    pass: u64,
    /// The seq of its last grant.
    turn: u64,
    /// Its shares with a job that no narrow gate holds back, by what that job passes, the next one first.
    shares: Groups<Place>,
}

impl Flow {
    pub(super) fn new(queue: u32, kind: u32) -> Self {
        Self { queue, kind, pass: 0, turn: 0, shares: Groups::default() }
    }

    /// Adds a share. Whether it is the first that passes this.
    pub(super) fn add(&mut self, passes: Passes, share: Place) -> bool {
        self.shares.add(passes, share)
    }

    /// Takes a share away. Whether it was the last that passes this.
    pub(super) fn remove(&mut self, passes: Passes, share: Place) -> bool {
        self.shares.remove(passes, share)
    }

    /// The best job that may go to the worker that asks.
    pub(super) fn best(&self, shares: &Shares, open: &impl Open) -> Option<JobId> {
        let may = self.shares.firsts().filter(|(passes, _)| open.lets(*passes));
        let (_, _, _, _, share) = may.map(|(_, share)| share).min()?;
        shares.at(share).best(open)
    }

    /// Whether a job of another share, of the priority of the best one, may go to the worker that asks too.
    pub(super) fn has_rivals(&self, open: &impl Open) -> bool {
        let may = || self.shares.firsts().filter(|(passes, _)| open.lets(*passes));
        let Some((priority, .., best)) = may().map(|(_, share)| share).min() else { return false };
        let two = |(passes, first)| self.shares.of(passes, first).take(2);
        may().flat_map(two).any(|(other, .., share)| other == priority && share != best)
    }

    /// A share was served: what is known of its place is made anew.
    pub(super) fn serve_share(&mut self, shares: &mut Shares, id: ShareId, weight: u32, seq: u64) {
        let before = shares.at(id).place(id);
        shares.serve(id, weight, seq);
        let share = shares.at(id);
        for passes in share.passes() {
            self.shares.replace(passes, before, share.place(id));
        }
    }

    pub(super) fn passes(&self) -> impl Iterator<Item = Passes> {
        self.shares.firsts().map(|(passes, _)| passes)
    }
}

/// The flows of one kind that have jobs which pass the same.
#[derive(Debug, Default)]
struct Group {
    /// Those that the kind's time has reached, by their last turn.
    due: BTreeSet<(u64, FlowId)>,
    /// Those that are ahead of it.
    ahead: BTreeSet<(u64, u64, FlowId)>,
}

/// A kind of job and the flows that have some.
#[derive(Debug)]
pub(super) struct KindFlows {
    pub(super) name: Kind,
    /// How many of its jobs are ready.
    pub(super) ready: u64,
    time: u64,
    /// The seq of the last grant of this kind.
    pub(super) turn: u64,
    groups: BTreeMap<Passes, Group>,
}

impl KindFlows {
    pub(super) fn new(name: Kind) -> Self {
        Self { name, ready: 0, time: 0, turn: 0, groups: BTreeMap::new() }
    }

    pub(super) fn join(&mut self, passes: Passes, id: FlowId, flow: &Flow) {
        self.groups.entry(passes).or_default().insert(self.time, id, flow);
    }

    pub(super) fn part(&mut self, passes: Passes, id: FlowId, flow: &Flow) {
        let Some(group) = self.groups.get_mut(&passes) else { return };
        group.remove(self.time, id, (flow.pass, flow.turn));
        if group.due.is_empty() && group.ahead.is_empty() {
            self.groups.remove(&passes);
        }
    }

    /// The flow that is next, among those with a job that may go to the worker that asks.
    pub(super) fn next(&self, open: &impl Open) -> Option<FlowId> {
        let open = self.groups.iter().filter(|(passes, _)| open.lets(**passes));
        let best = |group: &Group| match group.due.first() {
            Some((turn, flow)) => Some((self.time, *turn, *flow)),
            None => group.ahead.first().copied(),
        };
        open.filter_map(|(_, group)| best(group)).min().map(|(_, _, flow)| flow)
    }

    /// Where a flow stands among the others: the smallest is next.
    pub(super) fn place(&self, flow: &Flow) -> (u64, u64) {
        (flow.pass.max(self.time), flow.turn)
    }

    /// Moves a flow on by a grant, in its groups if it is in them.
    pub(super) fn serve(&mut self, id: FlowId, flow: &mut Flow, is_in: bool, weight: u32, seq: u64) {
        let before = (flow.pass, flow.turn);
        let start = flow.pass.max(self.time);
        flow.pass = start.saturating_add(STRIDE / u64::from(weight.max(1)));
        flow.turn = seq;
        self.turn = seq;
        if start > self.time {
            self.time = start;
            for group in self.groups.values_mut() {
                group.catch_up(start);
            }
        }
        for passes in flow.passes().filter(|_| is_in) {
            if let Some(group) = self.groups.get_mut(&passes) {
                group.remove(self.time, id, before);
                group.insert(self.time, id, flow);
            }
        }
    }
}

impl Group {
    fn insert(&mut self, time: u64, id: FlowId, flow: &Flow) {
        if flow.pass <= time {
            self.due.insert((flow.turn, id));
        } else {
            self.ahead.insert((flow.pass, flow.turn, id));
        }
    }

    /// Takes away a flow that has this pass and turn.
    fn remove(&mut self, time: u64, id: FlowId, (pass, turn): (u64, u64)) {
        if pass <= time {
            self.due.remove(&(turn, id));
        } else {
            self.ahead.remove(&(pass, turn, id));
        }
    }

    fn catch_up(&mut self, time: u64) {
        while let Some((pass, turn, flow)) = self.ahead.first().copied() {
            if pass > time {
                break;
            }
            self.ahead.pop_first();
            self.due.insert((turn, flow));
        }
    }
}

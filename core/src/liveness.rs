//! Who is alive, and until when each lease lives: volatile, pure, in ticks.
//!
//! Nothing here is recorded. After a restart every open lease gets one full time to live, and workers register again.
//! A stall of the engine (a paused VM, a slow disk) is taken out of the clock, so that it ends no lease.

use std::collections::{BTreeMap, BTreeSet};

use crate::calls::{CallNumber, CallOrder, Calls};
use crate::id::{Kind, LeaseId, WorkerId};
use crate::resource::{Offer, Pools};
use crate::time::{Now, Span, Tick, Timestamp};

/// A worker that is silent for longer counts as lost.
pub const STALE_AFTER: Span = Span::seconds(120);

/// What a worker says of itself.
#[derive(Clone, Debug, Default)]
pub struct Registration<H> {
    /// The kinds it runs.
    pub kinds: Vec<Kind>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// Its version.
    pub version: String,
    /// Labels of its host, free text.
    pub labels: BTreeMap<String, String>,
    /// Everything that it has.
    pub pools: Pools,
    /// How long it will live, from its registration on. None: without a limit.
    pub lives_for: Option<Span>,
    /// Its hardware, in whatever form the edge shows it.
    pub hardware: H,
    /// Which of its calls it registers with, if it numbers them.
    pub call: Option<CallNumber>,
}

/// What the orchestrator wants of a worker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// Go on.
    #[default]
    Run,
    /// Take no more jobs, finish what runs, exit.
    Drain,
    /// Release everything and exit.
    Terminate,
}

/// A known worker.
#[derive(Clone, Debug)]
pub struct Worker<H> {
    /// What it said of itself.
    pub registration: Registration<H>,
    /// When it registered.
    pub registered_at: Timestamp,
    /// When it was last heard of, wall time, for people.
    pub seen_at: Timestamp,
    /// What is wanted of it.
    pub order: Order,
    /// Which of its calls is the newest.
    pub calls: Calls,
    /// When it registered, by the clock that nobody sets.
    since: Tick,
    seen: Tick,
    /// Whether [`Liveness::newly_stale`] named it and it was not heard of since.
    named_stale: bool,
}

/// Progress of a lease, as its worker reports it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// 0 to 1; negative if unknown.
    pub fraction: f64,
    /// In words.
    pub note: String,
    /// How far a member of a gang is.
    pub step: MemberStep,
}

/// How far a member of a gang is: all of them start together, and the job ends when all have finished.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MemberStep {
    /// It has not said that it is there; or the job is no gang.
    #[default]
    Coming,
    /// It has its slot, and starts, or has started, when all are there.
    There,
    /// Its runner has done its part.
    Finished,
}

#[derive(Clone, Debug)]
struct Watch {
    worker: WorkerId,
    /// Since when it is watched.
    since: Tick,
    ttl: Span,
    deadline: Tick,
    /// When the attempt has run too long, if there is a limit.
    timeout: Option<Tick>,
    progress: Progress,
    /// What else there is to know of a gang; None: one worker has it.
    members: Option<Box<Members>>,
}

/// The members of a gang.
#[derive(Clone, Debug)]
struct Members {
    /// All of them, each with its own time to live: the lease's is that of the first to be overdue.
    deadlines: BTreeMap<WorkerId, Tick>,
    /// Those that have not said yet that they are there.
    missing: BTreeSet<WorkerId>,
    /// Those that have not said yet that they have finished, the first member not among them.
    at_work: BTreeSet<WorkerId>,
    /// Until when they have to; None if they were there once.
    start_by: Option<Tick>,
}

impl Members {
    fn deadline(&self) -> Tick {
        let start_by = self.start_by.filter(|_| !self.missing.is_empty());
        self.deadlines.values().copied().chain(start_by).min().unwrap_or_default()
    }
}

/// What ends a lease from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// No heartbeat for its whole time to live.
    Ttl(LeaseId),
    /// The attempt ran too long.
    Timeout(LeaseId),
}

/// Workers and deadlines. `H` is the hardware description, opaque here.
#[derive(Clone, Debug)]
pub struct Liveness<H> {
    stale_after: Span,
    /// Time that the engine stood still, taken out of every tick.
    stalled: Span,
    workers: BTreeMap<WorkerId, Worker<H>>,
    /// No worker becomes stale before this: there are thousands, and the engine asks with every batch.
    none_stale_until: Tick,
    watches: BTreeMap<LeaseId, Watch>,
    due: BTreeSet<(Tick, LeaseId)>,
    /// The watched leases of each worker that has any.
    held: BTreeMap<WorkerId, BTreeSet<LeaseId>>,
}

impl<H> Liveness<H> {
    /// No workers yet.
    pub fn new(stale_after: Span) -> Self {
        Self {
            stale_after,
            stalled: Span(0),
            workers: BTreeMap::new(),
            none_stale_until: Tick(u64::MAX),
            watches: BTreeMap::new(),
            due: BTreeSet::new(),
            held: BTreeMap::new(),
        }
    }

    /// Takes a stall of the engine out of the clock.
    pub fn stalled(&mut self, span: Span) {
        self.stalled = Span(self.stalled.0.saturating_add(span.0));
    }

    /// The clock of deadlines: ticks less stalls.
    fn clock(&self, tick: Tick) -> Tick {
        Tick(tick.0.saturating_sub(self.stalled.0))
    }

    /// Makes a worker known, or takes its new description; what was ordered of it stays only if it is still running.
    pub fn register(&mut self, id: WorkerId, registration: Registration<H>, now: Now) {
        let seen = self.clock(now.tick);
        let (registered_at, seen_at, order) = (now.wall, now.wall, Order::Run);
        let before = self.workers.get(&id).map(|before| before.calls).unwrap_or_default();
        let calls = before.registered(registration.call);
        let since = now.tick;
        let worker = Worker { registration, registered_at, seen_at, order, calls, since, seen, named_stale: false };
        self.workers.insert(id, worker);
        self.none_stale_until = self.none_stale_until.min(seen.plus(self.stale_after));
    }

    /// Notes that a worker was heard of. None if it is unknown and should register.
    pub fn seen(&mut self, id: &WorkerId, now: Now) -> Option<Order> {
        let seen = self.clock(now.tick);
        let worker = self.workers.get_mut(id)?;
        worker.seen = seen;
        worker.seen_at = now.wall;
        worker.named_stale = false;
        self.none_stale_until = self.none_stale_until.min(seen.plus(self.stale_after));
        Some(worker.order)
    }

    /// Takes in a call of a worker that asks for jobs.
    pub fn heard(&mut self, id: &WorkerId, call: Option<CallNumber>) -> CallOrder {
        self.workers.get_mut(id).map_or(CallOrder::OtherProcess, |worker| worker.calls.heard(call))
    }

    /// The call was answered: should it come again, it is an old one.
    pub fn answered(&mut self, id: &WorkerId, call: Option<CallNumber>) {
        if let Some(worker) = self.workers.get_mut(id) {
            worker.calls.answered(call);
        }
    }

    /// Orders something of a worker. False if it is unknown.
    pub fn order(&mut self, id: &WorkerId, order: Order) -> bool {
        self.workers.get_mut(id).map(|worker| worker.order = order).is_some()
    }

    /// Forgets a worker. Its leases are the caller's to end.
    pub fn forget(&mut self, id: &WorkerId) -> bool {
        self.workers.remove(id).is_some()
    }

    /// Every known worker, by id.
    pub fn workers(&self) -> &BTreeMap<WorkerId, Worker<H>> {
        &self.workers
    }

    /// Whether a worker has been silent for too long.
    pub fn is_stale(&self, worker: &Worker<H>, tick: Tick) -> bool {
        self.clock(tick).since(worker.seen) > self.stale_after
    }

    /// The workers that have been silent for too long and were not named here since they were last heard of.
    pub fn newly_stale(&mut self, tick: Tick) -> Vec<WorkerId> {
        let clock = self.clock(tick);
        if clock <= self.none_stale_until {
            return Vec::new();
        }
        let mut stale = Vec::new();
        self.none_stale_until = Tick(u64::MAX);
        for (id, worker) in self.workers.iter_mut().filter(|(_, worker)| !worker.named_stale) {
            if clock.since(worker.seen) > self.stale_after {
                worker.named_stale = true;
                stale.push(id.clone());
            } else {
                self.none_stale_until = self.none_stale_until.min(worker.seen.plus(self.stale_after));
            }
        }
        stale
    }

    /// Watches a lease from now on: granted, or found open at a start.
    pub fn watch(&mut self, lease: LeaseId, worker: WorkerId, ttl: Span, timeout: Option<Span>, tick: Tick) {
        let clock = self.clock(tick);
        let timeout = timeout.map(|span| clock.plus(span));
        let deadline = clock.plus(ttl);
        self.unwatch(lease);
        self.due.insert((first(deadline, timeout), lease));
        self.held.entry(worker.clone()).or_default().insert(lease);
        self.watches.insert(
            lease,
            Watch { worker, since: clock, ttl, deadline, timeout, progress: Progress::default(), members: None },
        );
    }

    /// The same for the other members of a gang, whose first member's lease is watched already. If it is `fresh`, all of them
    /// have to be there within its time to live; one that was found at a start may have run for long.
    pub fn watch_members<'a>(&mut self, lease: LeaseId, others: impl Iterator<Item = &'a WorkerId>, fresh: bool) {
        let Some(watch) = self.watches.get_mut(&lease) else { return };
        let at_work: BTreeSet<WorkerId> = others.cloned().collect();
        let members: BTreeSet<WorkerId> = at_work.iter().cloned().chain([watch.worker.clone()]).collect();
        for member in &members {
            self.held.entry(member.clone()).or_default().insert(lease);
        }
        let deadlines = members.iter().map(|member| (member.clone(), watch.deadline)).collect();
        let start_by = fresh.then_some(watch.deadline);
        watch.members = Some(Box::new(Members { deadlines, missing: members, at_work, start_by }));
    }

    /// Stops watching a lease that has ended.
    pub fn unwatch(&mut self, lease: LeaseId) {
        let Some(watch) = self.watches.remove(&lease) else { return };
        self.due.remove(&(first(watch.deadline, watch.timeout), lease));
        let members = watch.members.iter().flat_map(|members| members.deadlines.keys());
        for worker in members.chain([&watch.worker]) {
            if let Some(held) = self.held.get_mut(worker) {
                held.remove(&lease);
                if held.is_empty() {
                    self.held.remove(worker);
                }
            }
        }
    }

    /// Gives a lease another full time to live. False if it is not this worker's.
    pub fn extend(&mut self, lease: LeaseId, worker: &WorkerId, progress: Progress, tick: Tick) -> bool {
        let clock = self.clock(tick);
        let Some(watch) = self.watches.get_mut(&lease) else { return false };
        let is_first = watch.worker == *worker;
        let deadline = clock.plus(watch.ttl);
        let deadline = match &mut watch.members {
            None if is_first => deadline,
            None => return false,
            Some(members) => {
                let Some(own) = members.deadlines.get_mut(worker) else { return false };
                *own = deadline;
                match progress.step {
                    MemberStep::Coming => {}
                    MemberStep::There => drop(members.missing.remove(worker)),
                    MemberStep::Finished => {
                        members.missing.remove(worker);
                        members.at_work.remove(worker);
                    }
                }
                members.deadline()
            }
        };
        self.due.remove(&(first(watch.deadline, watch.timeout), lease));
        watch.deadline = deadline;
        if is_first {
            watch.progress = progress;
        }
        self.due.insert((first(watch.deadline, watch.timeout), lease));
        true
    }

    /// Whether a lease is one worker's, or every member of the gang is there.
    pub fn is_complete(&self, lease: LeaseId) -> bool {
        self.members(lease).is_none_or(|members| members.missing.is_empty())
    }

    /// Whether a lease is a gang's of which every member but the first has finished.
    pub fn is_finished(&self, lease: LeaseId) -> bool {
        self.members(lease).is_some_and(|members| members.at_work.is_empty())
    }

    fn members(&self, lease: LeaseId) -> Option<&Members> {
        self.watches.get(&lease).and_then(|watch| watch.members.as_deref())
    }

    /// The members of a gang that were to be there by now and are not: its first start is over before it began.
    pub fn no_shows(&self, lease: LeaseId, tick: Tick) -> Vec<WorkerId> {
        let clock = self.clock(tick);
        let late = self.members(lease).filter(|members| members.start_by.is_some_and(|by| by < clock));
        late.map(|members| members.missing.iter().cloned().collect()).unwrap_or_default()
    }

    /// The member of a gang whose time to live is over.
    pub fn late(&self, lease: LeaseId, tick: Tick) -> Option<&WorkerId> {
        let clock = self.clock(tick);
        let members = self.members(lease)?;
        members.deadlines.iter().find(|(_, deadline)| **deadline < clock).map(|(worker, _)| worker)
    }

    /// The leases whose time is over, most overdue first. They stay until they are unwatched.
    pub fn overdue(&self, tick: Tick) -> Vec<Due> {
        let clock = self.clock(tick);
        let over = self.due.iter().take_while(|(due, _)| *due < clock);
        let which = |lease: LeaseId| match self.watches.get(&lease).and_then(|watch| watch.timeout) {
            Some(timeout) if timeout < clock => Due::Timeout(lease),
            Some(_) | None => Due::Ttl(lease),
        };
        over.map(|(_, lease)| which(*lease)).collect()
    }

    /// How long until the next lease is overdue.
    pub fn next_due_in(&self, tick: Tick) -> Option<Span> {
        self.due.first().map(|(due, _)| Span(due.since(self.clock(tick)).0 + 1))
    }

    /// Progress and remaining time of a lease.
    pub fn progress(&self, lease: LeaseId, tick: Tick) -> Option<(&Progress, Span)> {
        let watch = self.watches.get(&lease)?;
        Some((&watch.progress, watch.deadline.since(self.clock(tick))))
    }

    /// How long a lease has been watched: since its grant, or the start that found it open.
    pub fn watched_for(&self, lease: LeaseId, tick: Tick) -> Option<Span> {
        self.watches.get(&lease).map(|watch| self.clock(tick).since(watch.since))
    }

    /// The leases that a worker holds, as far as they are watched, oldest first.
    pub fn held_by(&self, worker: &WorkerId) -> impl Iterator<Item = LeaseId> {
        self.held.get(worker).into_iter().flatten().copied()
    }

    /// What a worker has in all, with the time that it has left.
    pub fn offer(&self, worker: &Worker<H>, now: Now) -> Offer {
        let lived = now.tick.since(worker.since);
        let remaining = worker.registration.lives_for.map(|span| Span(span.0.saturating_sub(lived.0)));
        let Registration { pools, labels, .. } = &worker.registration;
        Offer { pools: pools.whole(), labels: labels.clone(), remaining }
    }

    /// The leases that are watched, oldest first.
    pub fn watched(&self) -> impl Iterator<Item = LeaseId> {
        self.watches.keys().copied()
    }
}

fn first(deadline: Tick, timeout: Option<Tick>) -> Tick {
    timeout.map_or(deadline, |timeout| timeout.min(deadline))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(tick: u64) -> Now {
        Now { wall: Timestamp(0), tick: Tick(tick) }
    }

    fn setup() -> (Liveness<()>, WorkerId, LeaseId) {
        let mut liveness = Liveness::new(STALE_AFTER);
        let worker = WorkerId::new("w").unwrap();
        liveness.register(worker.clone(), Registration::default(), at(0));
        let lease = LeaseId::new(1);
        liveness.watch(lease, worker.clone(), Span(1000), None, Tick(0));
        (liveness, worker, lease)
    }

    #[test]
    fn a_lease_lives_its_ttl_from_the_last_heartbeat() {
        let (mut liveness, worker, lease) = setup();
        assert!(liveness.overdue(Tick(1000)).is_empty());
        assert!(liveness.extend(lease, &worker, Progress::default(), Tick(900)));
        assert!(liveness.overdue(Tick(1900)).is_empty());
        assert_eq!(liveness.overdue(Tick(1901)), [Due::Ttl(lease)]);
        assert!(!liveness.extend(lease, &WorkerId::new("x").unwrap(), Progress::default(), Tick(900)));
        liveness.unwatch(lease);
        assert!(liveness.overdue(Tick(9999)).is_empty());
        assert_eq!(liveness.next_due_in(Tick(0)), None);
    }

    #[test]
    fn a_stall_ends_no_lease_and_makes_no_worker_stale() {
        let (mut liveness, worker, lease) = setup();
        liveness.stalled(Span(500_000));
        assert!(liveness.overdue(Tick(501_000)).is_empty());
        assert!(!liveness.is_stale(&liveness.workers()[&worker], Tick(620_000)));
        assert!(liveness.is_stale(&liveness.workers()[&worker], Tick(620_001)));
        assert_eq!(liveness.overdue(Tick(501_001)), [Due::Ttl(lease)]);
    }

    #[test]
    fn a_silent_worker_is_named_once_until_it_is_heard_of() {
        let (mut liveness, worker, lease) = setup();
        let other = WorkerId::new("x").unwrap();
        let stale_at = |tick: u64| Tick(STALE_AFTER.0 + tick);
        assert!(liveness.newly_stale(stale_at(0)).is_empty());
        liveness.register(other.clone(), Registration::default(), at(500));
        assert_eq!(liveness.newly_stale(stale_at(1)), std::slice::from_ref(&worker));
        assert!(liveness.newly_stale(stale_at(500)).is_empty());
        assert_eq!(liveness.newly_stale(stale_at(501)), [other]);
        liveness.seen(&worker, at(stale_at(600).0));
        assert!(liveness.newly_stale(Tick(2 * STALE_AFTER.0 + 600)).is_empty());
        assert_eq!(liveness.newly_stale(Tick(2 * STALE_AFTER.0 + 601)), std::slice::from_ref(&worker));
        assert_eq!(liveness.held_by(&worker).collect::<Vec<_>>(), [lease]);
        liveness.unwatch(lease);
        assert_eq!(liveness.held_by(&worker).count(), 0);
    }

    #[test]
    fn a_gang_lives_as_long_as_each_of_its_members() {
        let (mut liveness, first, _) = setup();
        let (lease, second) = (LeaseId::new(2), WorkerId::new("x").unwrap());
        let there = || Progress { step: MemberStep::There, ..Progress::default() };
        let watch = |liveness: &mut Liveness<()>, fresh: bool| {
            liveness.watch(lease, first.clone(), Span(1000), None, Tick(0));
            liveness.watch_members(lease, [&second].into_iter(), fresh);
        };
        watch(&mut liveness, true);
        assert_eq!(liveness.held_by(&second).collect::<Vec<_>>(), [lease]);
        assert!(liveness.extend(lease, &first, there(), Tick(500)) && !liveness.is_complete(lease));
        assert!(liveness.extend(lease, &second, Progress::default(), Tick(900)));
        assert!(!liveness.extend(lease, &WorkerId::new("y").unwrap(), there(), Tick(900)));
        // Heartbeats of one that does not start are no start.
        assert!(liveness.overdue(Tick(1001)).contains(&Due::Ttl(lease)));
        assert_eq!(
            (liveness.no_shows(lease, Tick(1001)), liveness.late(lease, Tick(1001))),
            (vec![second.clone()], None)
        );
        assert!(liveness.extend(lease, &second, there(), Tick(1001)) && liveness.is_complete(lease));
        assert!(liveness.no_shows(lease, Tick(1002)).is_empty());
        let finished = || Progress { step: MemberStep::Finished, ..Progress::default() };
        assert!(liveness.extend(lease, &first, finished(), Tick(500)) && !liveness.is_finished(lease));
        // From now on the first to be silent for too long ends it.
        assert!(liveness.extend(lease, &second, finished(), Tick(1400)) && liveness.is_finished(lease));
        assert!(!liveness.overdue(Tick(1500)).contains(&Due::Ttl(lease)));
        assert!(liveness.overdue(Tick(1501)).contains(&Due::Ttl(lease)));
        assert_eq!(liveness.late(lease, Tick(1501)), Some(&first));
        liveness.unwatch(lease);
        assert_eq!(liveness.held_by(&second).count(), 0);
        // One that was found at a start has no start to miss.
        watch(&mut liveness, false);
        assert!(!liveness.is_complete(lease) && liveness.no_shows(lease, Tick(5000)).is_empty());
    }

    #[test]
    fn a_timeout_is_not_extended_by_heartbeats() {
        let (mut liveness, worker, _) = setup();
        let lease = LeaseId::new(2);
        liveness.watch(lease, worker.clone(), Span(1000), Some(Span(1500)), Tick(0));
        assert!(liveness.extend(lease, &worker, Progress::default(), Tick(1400)));
        assert!(liveness.overdue(Tick(1501)).contains(&Due::Timeout(lease)));
    }

    #[test]
    fn no_clock_that_is_set_uses_up_a_workers_life() {
        let (mut liveness, worker, _) = setup();
        let registration = Registration { lives_for: Some(Span(5_000)), ..Registration::default() };
        liveness.register(worker.clone(), registration, at(1_000));
        let ten_years_on = Now { wall: Timestamp(315_576_000_000), tick: Tick(3_000) };
        assert_eq!(liveness.offer(&liveness.workers()[&worker], ten_years_on).remaining, Some(Span(3_000)));
    }
}

//! A simulated worker: it follows the protocol, has the faults of a process, and never trusts the network.
//!
//! It registers with what it holds, asks for jobs, sends heartbeats, numbers its batches, sends again what was not
//! answered, and ends each lease. It looks around every now and then ([`SimWorker::look`]) and says what it wants to
//! send.

use std::collections::BTreeMap;

use orch_core::id::{LeaseId, WorkerId};
use orch_core::liveness::{MemberStep, Order, Progress};
use orch_core::receipt::Receipt;
use orch_core::record::FailureClass;
use orch_core::resource::{Allocation, Pools};
use orch_core::state::{FailureReport, Granted, ResultsRefusal};
use orch_core::time::Span;
use orch_orchestrator::engine::commands::worker::{LeaseAnswer, LeaseStanding};

use super::call::{Answer, Call, CallKind};
use super::dice::Dice;
use super::jobs::candidates;
use super::machines;
use super::rules;
use super::time_limit::TimeLimit;
use super::variety::Variety;
use crate::checker::{Acknowledged, Machine, Rule, Violation};

/// How often a heartbeat is sent.
pub(crate) const HEARTBEAT: u64 = 2_000;

/// How long an answer is waited for.
const PATIENCE: u64 = 2_500;

/// What a worker holds of a lease.
struct Work {
    batches: Vec<Batch>,
    end: PlannedEnd,
    end_at: u64,
    end_next: u64,
    /// The worker was told that the lease is lost and sends what it has all the same.
    lost: bool,
    /// What it set apart for it.
    allocation: Allocation,
}

struct Batch {
    candidates: Vec<String>,
    ready_at: u64,
    next: u64,
    answered: bool,
}

#[derive(Clone)]
enum PlannedEnd {
    Complete,
    Fail(FailureReport),
    Release,
}

/// A worker's process, and what of it outlives the process.
pub(crate) struct SimWorker {
    pub(crate) name: WorkerId,
    /// Counts the processes.
    pub(crate) life: u64,
    pub(crate) up: bool,
    pub(crate) frozen_until: u64,
    pub(crate) cut_off_until: u64,
    started: u64,
    /// How long this process works.
    pub(crate) limit: TimeLimit,
    registered: bool,
    renamed: bool,
    leaving: bool,
    receipt: Option<Receipt>,
    work: BTreeMap<LeaseId, Work>,
    /// Calls that are waited for.
    asked: BTreeMap<u64, (CallKind, u64)>,
    next_heartbeat: u64,
    slots: usize,
    pub(crate) machine: Machine,
    /// Everything that it has, with nothing taken.
    whole: Pools,
    /// What it said that is left when it asked for jobs last.
    offered: Pools,
    /// What it said then of how long it lives yet, and the first time since it was answered last.
    said: (Option<Span>, Option<Span>),
}

impl SimWorker {
    pub(crate) fn new(name: &str, slots: usize, machine: Machine, limit: TimeLimit) -> Result<Self, String> {
        let whole = machines::pools(&machine)?;
        Ok(Self {
            name: WorkerId::new(name).map_err(|error| error.to_string())?,
            life: 0,
            up: true,
            frozen_until: 0,
            cut_off_until: 0,
            started: 0,
            limit,
            registered: false,
            renamed: false,
            leaving: false,
            receipt: None,
            work: BTreeMap::new(),
            asked: BTreeMap::new(),
            next_heartbeat: 0,
            slots,
            machine,
            offered: whole.clone(),
            said: (None, None),
            whole,
        })
    }

    /// The process ends. What it `keeps` is on its disk.
    pub(crate) fn die(&mut self, keeps: bool) {
        self.life += 1;
        self.up = false;
        self.registered = false;
        self.leaving = false;
        self.asked.clear();
        self.said = (None, None);
        if !keeps {
            self.work.clear();
            self.receipt = None;
        }
    }

    /// A process starts, perhaps under another name.
    pub(crate) fn start(&mut self, now: u64, renamed: bool, limit: TimeLimit) {
        self.up = true;
        self.started = now;
        self.limit = limit;
        self.next_heartbeat = now;
        for work in self.work.values_mut() {
            work.send_again(now);
        }
        self.renamed = renamed;
        if renamed && let Ok(name) = WorkerId::new(&format!("{}-again", self.name)) {
            self.name = name;
        }
    }

    /// It will say goodbye.
    pub(crate) fn leave(&mut self) {
        self.leaving = true;
    }

    /// Notes that a call of this number is on its way.
    pub(crate) fn asks(&mut self, id: u64, kind: CallKind, now: u64) {
        match kind {
            CallKind::Register | CallKind::Lease | CallKind::Heartbeat | CallKind::Deregister => {
                self.asked.insert(id, (kind, now + PATIENCE));
            }
            CallKind::Results
            | CallKind::Complete
            | CallKind::Fail
            | CallKind::Release
            | CallKind::Submit
            | CallKind::Cancel
            | CallKind::Retry
            | CallKind::Pause
            | CallKind::Resume
            | CallKind::Retries
            | CallKind::Schedule
            | CallKind::Trust => {}
        }
    }

    /// What it wants to send now.
    pub(crate) fn look(&mut self, now: u64, dice: &mut Dice) -> Vec<Call> {
        let mut calls = Vec::new();
        let before = self.asked.len();
        self.asked.retain(|_, (_, until)| *until > now);
        if self.asked.len() < before {
            // No answer: the connection is made anew.
            self.broke(now);
        }
        let asks = |kind: CallKind| self.asked.values().any(|(asked, _)| *asked == kind);
        let worker = self.name.clone();
        let is_over = self.limit.is_over(now);
        let is_idle = self.work.values().all(|work| work.lost);
        self.leaving |= is_over && (is_idle || self.limit.grace_is_over(now));
        if self.leaving {
            if !asks(CallKind::Deregister) {
                calls.push(Call::Deregister { worker });
            }
            return calls;
        }
        let held = || self.work.iter().filter(|(_, work)| !work.lost).map(|(lease, _)| *lease);
        if !self.registered {
            if !asks(CallKind::Register) {
                let uptime = Span(now.saturating_sub(self.started));
                let (leases, last_receipt) = (held().collect(), self.receipt);
                let (pools, labels) = (self.whole.clone(), self.machine.labels.clone());
                let lives_for = self.limit.remaining(now);
                calls.push(Call::Register { worker, leases, last_receipt, uptime, pools, labels, lives_for });
            }
            return calls;
        }
        if now >= self.next_heartbeat && !asks(CallKind::Heartbeat) {
            self.next_heartbeat = now + HEARTBEAT;
            // Those that are no gang's do not look at it.
            let there = Progress { step: MemberStep::There, ..Progress::default() };
            let leases = held().map(|lease| (lease, there.clone())).collect();
            calls.push(Call::Heartbeat { worker: worker.clone(), leases, last_receipt: self.receipt });
        }
        let free = self.slots.saturating_sub(held().count());
        if free > 0 && !is_over && !asks(CallKind::Lease) {
            let wait = Span(dice.between(0, 2_000));
            let mut left = self.whole.clone();
            let working = self.work.values().filter(|work| !work.lost);
            working.for_each(|work| left.set_apart(&work.allocation));
            self.offered = left.clone();
            let remaining = self.limit.remaining(now);
            self.said = (remaining, self.said.1.or(remaining));
            calls.push(Call::Lease { worker: worker.clone(), max: free, wait, pools: left, remaining });
        }
        for (lease, work) in &mut self.work {
            work.look(*lease, &worker, now, dice, &mut calls);
        }
        calls
    }

    fn broke(&mut self, now: u64) {
        self.registered = false;
        self.asked.clear();
        for work in self.work.values_mut() {
            work.send_again(now);
        }
    }

    /// Takes an answer.
    pub(crate) fn take(
        &mut self,
        id: u64,
        answer: Answer,
        now: u64,
        calm: bool,
        dice: &mut Dice,
        variety: &mut Variety,
    ) -> Vec<Violation> {
        let waited = self.asked.remove(&id).is_some();
        let mut wrong = Vec::new();
        match answer {
            Answer::Registered(Ok(registered)) => {
                self.registered |= waited;
                for lease in registered.lost {
                    self.lost(lease, dice);
                }
            }
            Answer::Registered(Err(refusal)) => {
                wrong.push(Violation::new(Rule::AcknowledgedIsKept, refusal.to_string()))
            }
            Answer::Leased(LeaseAnswer::Unregistered) | Answer::Beat(None) => self.registered = false,
            Answer::Leased(LeaseAnswer::Granted { leases, order }) => {
                if order != Order::Run {
                    wrong.push(Violation::new(Rule::Liveness, format!("{} was ordered to {order:?}", self.name)));
                }
                if waited {
                    self.said.1 = None;
                }
                // An answer that nobody waits for any more is lost, and its leases with it.
                for (granted, _) in leases.into_iter().filter(|_| waited) {
                    wrong.extend(self.begin(&granted, now, calm, dice, variety));
                }
            }
            Answer::Beat(Some((standings, _))) => {
                for (lease, standing) in standings {
                    match standing {
                        LeaseStanding::Extended | LeaseStanding::Wait | LeaseStanding::Finish => {}
                        LeaseStanding::Lost => self.lost(lease, dice),
                        LeaseStanding::Cancel => drop(self.work.remove(&lease)),
                    }
                }
            }
            Answer::Judged { lease, number, verdicts: Ok(_), receipt } => {
                self.keep(receipt);
                let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
                if let Some(batch) = self.work.get_mut(&lease).and_then(|work| work.batches.get_mut(index)) {
                    batch.answered = true;
                }
            }
            Answer::Judged { lease, verdicts: Err(refusal), .. } | Answer::Ended { lease, end: Err(refusal), .. } => {
                wrong.extend(self.refused(lease, &refusal, now));
            }
            Answer::Ended { lease, end: Ok(_), receipt } => {
                self.keep(receipt);
                self.work.remove(&lease);
            }
            Answer::Released(leases) => {
                for lease in leases {
                    self.work.remove(&lease);
                }
            }
            Answer::Left => {
                if self.leaving {
                    self.die(false);
                    self.up = true;
                    self.started = now;
                    self.limit = TimeLimit::draw(now, calm, variety);
                }
            }
            Answer::Broken => self.broke(now),
            Answer::NotTaken(_) => {}
            Answer::Submitted(_) | Answer::Cancelled | Answer::Retried | Answer::Controlled(_) => {}
        }
        wrong
    }

    /// Begins a job: sets apart what it gets of what was left when the worker asked, as a real one does.
    fn begin(
        &mut self,
        granted: &Granted,
        now: u64,
        calm: bool,
        dice: &mut Dice,
        variety: &mut Variety,
    ) -> Option<Violation> {
        if self.work.contains_key(&granted.lease) {
            return None;
        }
        let mut work = Work::plan(granted, now, calm, dice);
        if variety.rules
            && !calm
            && let Some(report) = rules::failure(&mut variety.dice)
        {
            work.end = PlannedEnd::Fail(report);
            work.end_at = work.end_at.min(now + variety.dice.between(50, 4_000));
            work.batches.retain(|batch| batch.ready_at <= work.end_at);
            work.end_next = work.end_at;
        }
        let allocation = self.offered.take(&granted.variant);
        let fits = allocation.is_some();
        work.allocation = allocation.unwrap_or_default();
        self.work.insert(granted.lease, work);
        (!fits).then(|| {
            let message = format!("{} has no room for {} of lease {}", self.name, granted.variant, granted.lease);
            Violation::new(Rule::Room, message)
        })
    }

    /// What it had said of its time when it asked for the leases of an answer. A member of a gang may be told by a later call than
    /// the one that it was chosen for: then by the first that was not answered.
    pub(crate) fn asked_for(&self, id: u64, answer: &Answer) -> Vec<Acknowledged> {
        let Answer::Leased(LeaseAnswer::Granted { leases, .. }) = answer else { return Vec::new() };
        let (last, first) = self.said;
        let waited = leases.iter().filter(|_| self.asked.contains_key(&id));
        let said = waited.filter_map(|(granted, _)| {
            let remaining = if granted.place.is_some() { first } else { last };
            let (worker, lease) = (self.name.clone(), granted.lease);
            remaining.map(|remaining| Acknowledged::Asked { worker, lease, remaining })
        });
        said.collect()
    }

    /// What it holds at this moment.
    pub(crate) fn holds(&self) -> Acknowledged {
        let leases = self.work.iter().filter(|(_, work)| !work.lost).map(|(lease, _)| *lease).collect();
        Acknowledged::Holds { worker: self.name.clone(), leases, has: self.machine.clone() }
    }

    fn keep(&mut self, receipt: Receipt) {
        if self.receipt.is_none_or(|kept| kept.seq < receipt.seq) {
            self.receipt = Some(receipt);
        }
    }

    /// Half of the workers stop at once, the others still deliver; so does one that goes by another name by now.
    fn lost(&mut self, lease: LeaseId, dice: &mut Dice) {
        if !self.renamed && dice.chance(500) {
            self.work.remove(&lease);
        } else if let Some(work) = self.work.get_mut(&lease) {
            work.lost = true;
        }
    }

    fn refused(&mut self, lease: LeaseId, refusal: &ResultsRefusal, now: u64) -> Option<Violation> {
        match refusal {
            ResultsRefusal::LeaseLost(_) | ResultsRefusal::NotGrantee { .. } => {
                self.work.remove(&lease);
                None
            }
            ResultsRefusal::BatchGap { expected, .. } => {
                let work = self.work.get_mut(&lease)?;
                let index = usize::try_from(expected.saturating_sub(1)).unwrap_or(usize::MAX);
                // It may speak of an earlier time: what is answered by now stays answered.
                for batch in work.batches.iter_mut().skip(index) {
                    batch.next = now + 50;
                }
                work.end_next = now + 100;
                None
            }
            ResultsRefusal::BatchChanged { .. } | ResultsRefusal::OtherContract { .. } => {
                self.work.remove(&lease);
                Some(Violation::new(Rule::AcknowledgedIsKept, refusal.to_string()))
            }
        }
    }
}

impl Work {
    /// Decides what a lease will come to. The candidates are a function of the job; the rest is chance.
    fn plan(granted: &Granted, now: u64, calm: bool, dice: &mut Dice) -> Self {
        // Of a gang only the first member delivers, and completes the job: the others work until they hear that they may not.
        let is_other = granted.place.as_ref().is_some_and(|place| place.rank > 0);
        let all = if is_other { Vec::new() } else { candidates(granted, dice) };
        let pace = if calm { 60 } else { dice.between(20, 2_500) };
        let mut batches: Vec<Batch> = Vec::new();
        let mut rest = &all[..];
        let mut ready_at = now;
        while !rest.is_empty() {
            let (some, others) = rest.split_at(1 + dice.below(rest.len()));
            ready_at += dice.between(1, pace);
            batches.push(Batch { candidates: some.to_vec(), ready_at, next: ready_at, answered: false });
            rest = others;
        }
        let end = match dice.below(20) {
            _ if calm => PlannedEnd::Complete,
            0 => PlannedEnd::Fail(FailureReport::new(FailureClass::Error, "it went wrong")),
            1 => PlannedEnd::Release,
            2 => {
                // Too little: the contract says that it is not complete.
                batches.pop();
                PlannedEnd::Complete
            }
            _ => PlannedEnd::Complete,
        };
        let end_at = match end {
            PlannedEnd::Complete if is_other => u64::MAX,
            PlannedEnd::Complete | PlannedEnd::Fail(_) | PlannedEnd::Release => ready_at + dice.between(1, pace),
        };
        Self { batches, end, end_at, end_next: end_at, lost: false, allocation: Allocation::default() }
    }

    fn send_again(&mut self, now: u64) {
        for batch in &mut self.batches {
            batch.next = now;
        }
        self.end_next = now;
    }

    fn look(&mut self, lease: LeaseId, worker: &WorkerId, now: u64, dice: &mut Dice, calls: &mut Vec<Call>) {
        let worker = || worker.clone();
        let mut all = true;
        for (number, batch) in (1..).zip(&mut self.batches) {
            all &= batch.ready_at <= now;
            if !batch.answered && batch.ready_at <= now && batch.next <= now {
                batch.next = now + dice.between(400, 1_500);
                let candidates = batch.candidates.clone();
                calls.push(Call::Results { worker: worker(), lease, number, candidates });
            }
        }
        if !all || self.end_at > now || self.end_next > now {
            return;
        }
        self.end_next = now + dice.between(400, 1_500);
        calls.push(match self.end.clone() {
            PlannedEnd::Complete => Call::Complete { worker: worker(), lease, batches: self.batches.len() as u64 },
            PlannedEnd::Fail(report) => Call::Fail { worker: worker(), lease, report },
            PlannedEnd::Release => Call::Release { worker: worker(), leases: vec![lease] },
        });
        if matches!(self.end, PlannedEnd::Release) {
            // Whether it is heard or not: the time to live sees to the rest.
            self.lost = true;
        }
    }
}

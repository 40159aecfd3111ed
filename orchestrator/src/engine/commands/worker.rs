//! Registration, leases and heartbeats.

use std::sync::Arc;

use orch_core::calls::{CallNumber, CallOrder};
use orch_core::contract::Contract;
use orch_core::id::{Kind, LeaseId, WorkerId};
use orch_core::liveness::{Order, Progress};
use orch_core::receipt::Receipt;
use orch_core::record::ExpiryCause;
use orch_core::resource::{Offer, Requirements};
use orch_core::state::{Granted, LeaseBounds, LeaseRequest, Outcome};
use orch_core::time::{Now, Span, Tick};

use crate::engine::gangs::Parked;
use crate::engine::sessions::NameTaken;
use crate::engine::{Command, Engine, Step, WorkerRegistration};

/// Makes a worker known, and ends the leases that it does not know. One that was granted to the process that registers
/// never reached it, because the answer was lost: it is given back without a charge. An older one was lost with the
/// process before, in a crash.
pub struct RegisterWorker {
    /// The worker.
    pub worker: WorkerId,
    /// What it says of itself.
    pub registration: WorkerRegistration,
    /// The leases that it still works on.
    pub leases: Vec<LeaseId>,
    /// The newest receipt that it holds.
    pub last_receipt: Option<Receipt>,
    /// Since the worker's process started.
    pub uptime: Span,
}

/// What a worker learns when it registers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Registered {
    /// Of the leases that it named, those that are not its any more.
    pub lost: Vec<LeaseId>,
    /// The writer's epoch.
    pub epoch: u64,
}

/// Why a worker cannot register.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterRefusal {
    /// The worker holds a receipt that this ledger did not give.
    #[error(
        "worker {worker} holds a receipt for record {seq}, which this ledger does not have: an older copy of the data \
         directory is in use, or another ledger"
    )]
    RolledBack {
        /// The worker.
        worker: WorkerId,
        /// The record of its receipt.
        seq: u64,
    },
    /// The name is another's.
    #[error(transparent)]
    NameTaken(#[from] NameTaken),
}

impl Command for RegisterWorker {
    type Answer = Result<Registered, RegisterRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        if let Some(receipt) = &self.last_receipt
            && !engine.gave(receipt)
        {
            let (worker, seq) = (self.worker.clone(), receipt.seq.0);
            return Step::Answer(Err(RegisterRefusal::RolledBack { worker, seq }));
        }
        let known = engine.liveness.workers().get(&self.worker);
        // It comes late, or twice: it cannot name what was granted since then.
        let replaced = known.is_some_and(|known| known.calls.order(self.registration.call) == CallOrder::Replaced);
        if !replaced {
            engine.forget_asking(&self.worker);
            engine.liveness.register(self.worker.clone(), self.registration.clone(), now);
            self.end_unnamed(engine, now);
        }
        let is_theirs = |lease: &LeaseId| engine.state.leases().get(lease).is_some_and(|h| h.is_held_by(&self.worker));
        let lost: Vec<LeaseId> = self.leases.iter().copied().filter(|lease| !is_theirs(lease)).collect();
        for lease in self.leases.iter().filter(|lease| !lost.contains(lease)) {
            engine.liveness.extend(*lease, &self.worker, Progress::default(), now.tick);
        }
        Step::Answer(Ok(Registered { lost, epoch: engine.state.epoch() }))
    }
}

impl RegisterWorker {
    /// Ends the leases that the worker does not know.
    fn end_unnamed(&self, engine: &mut Engine, now: Now) {
        let held: Vec<LeaseId> = engine.liveness.held_by(&self.worker).collect();
        for lease in held {
            if self.leases.contains(&lease) {
                continue;
            }
            let age = engine.state.leases().get(&lease).map(|held| now.wall.since(held.granted_at));
            if age.is_some_and(|age| age < self.uptime) {
                engine.take_back(&self.worker, &[lease], now);
            } else {
                engine.end_lease(lease, Some(&self.worker), ExpiryCause::WorkerLostIt, now);
            }
        }
    }
}

/// Asks for jobs; waits for some until `until`.
pub struct LeaseJobs {
    /// What the worker offers. No kinds: those that it registered with.
    pub request: LeaseRequest,
    /// Which of the worker's calls it is, if it numbers them.
    pub call: Option<CallNumber>,
    /// How long to wait if there is nothing to do.
    pub wait: Span,
    /// Set when it first runs.
    pub until: Option<Tick>,
    /// When it ran last: what is left of the worker's life is less by then.
    pub ran_at: Option<Tick>,
    /// Tells whether this call still waits.
    pub parked: Parked,
}

impl LeaseJobs {
    /// Asks for this, and waits for so long if there is nothing to do.
    pub fn new(request: LeaseRequest, wait: Span) -> Self {
        Self { request, call: None, wait, until: None, ran_at: None, parked: Parked::default() }
    }
}

/// What a worker that asked for jobs gets.
#[derive(Clone)]
pub enum LeaseAnswer {
    /// Leases; none if there is nothing to do.
    Granted {
        /// The leases.
        leases: Vec<(Granted, LeaseContext)>,
        /// What is wanted of the worker besides.
        order: Order,
    },
    /// The worker is unknown and should register first.
    Unregistered,
}

/// What else belongs to a lease: names for the runner, and the contract that will judge.
#[derive(Clone)]
pub struct LeaseContext {
    /// The job's queue.
    pub queue: orch_core::id::QueueName,
    /// The job's kind.
    pub kind: Kind,
    /// The job's name, empty if it has none.
    pub name: String,
    /// The contract, ready to judge.
    pub contract: Option<Arc<Contract>>,
    /// Where each member of a gang is reached, by rank.
    pub hosts: Vec<String>,
}

impl Command for LeaseJobs {
    type Answer = LeaseAnswer;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<LeaseAnswer> {
        self.run_within(&LeaseBounds::default(), engine, now)
    }
}

impl LeaseJobs {
    /// The same for a caller that is known.
    pub(super) fn run_within(&mut self, bounds: &LeaseBounds, engine: &mut Engine, now: Now) -> Step<LeaseAnswer> {
        let worker = &self.request.worker;
        match engine.liveness.heard(worker, self.call) {
            CallOrder::Newest => {}
            // Nobody waits for it any more, and what it offers may be taken.
            CallOrder::Replaced => {
                return Step::Answer(LeaseAnswer::Granted { leases: Vec::new(), order: Order::Run });
            }
            CallOrder::OtherProcess => return Step::Answer(LeaseAnswer::Unregistered),
        }
        let Some(order) = engine.liveness.seen(worker, now) else { return Step::Answer(LeaseAnswer::Unregistered) };
        if self.request.kinds.is_empty()
            && let Some(known) = engine.liveness.workers().get(worker)
        {
            self.request.kinds.clone_from(&known.registration.kinds);
        }
        if let Some(known) = engine.liveness.workers().get(worker) {
            self.request.offer.labels.clone_from(&known.registration.labels);
        }
        let waited = self.ran_at.replace(now.tick).map_or(Span(0), |before| now.tick.since(before));
        let remaining = &mut self.request.offer.remaining;
        *remaining = remaining.map(|left| Span(left.0.saturating_sub(waited.0)));
        engine.asking.remove(worker);
        engine.gathering.let_go(worker);
        let granted = match order {
            // What it was granted as a member of a gang, while it waited, comes first.
            Order::Run => match engine.tell(worker) {
                told if told.is_empty() => engine.grant(&mut self.request, bounds, now),
                told => told,
            },
            Order::Drain | Order::Terminate => Vec::new(),
        };
        let until = *self.until.get_or_insert(now.tick.plus(self.wait));
        let called_back = engine.called_back.remove(&self.request.worker);
        if granted.is_empty() && order == Order::Run && until > now.tick && !called_back {
            engine.waits(&self.request, bounds, &self.parked);
            return Step::Wait(until);
        }
        engine.liveness.answered(&self.request.worker, self.call);
        Step::Answer(LeaseAnswer::Granted { leases: granted, order })
    }
}

/// Has the worker's call that waits for jobs answered, so that it can ask again: it has more room than it said. If none
/// waits, its next one is.
pub struct AskAgain {
    /// The worker.
    pub worker: WorkerId,
}

impl Command for AskAgain {
    type Answer = ();
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<()> {
        if engine.liveness.seen(&self.worker, now).is_some() {
            engine.called_back.insert(self.worker.clone());
            engine.wake_all();
        }
        Step::Answer(())
    }
}

impl Engine {
    /// Grants as many jobs as the worker asks for, has room for, and may have. What each takes of its resources is gone
    /// for the next.
    fn grant(&mut self, request: &mut LeaseRequest, bounds: &LeaseBounds, now: Now) -> Vec<(Granted, LeaseContext)> {
        request.rivals = self.rivals(request, bounds);
        let mut left = request.clone();
        let granted = self.grant_of(&mut left, bounds, now);
        if granted.is_empty() && !request.rivals.is_empty() {
            left.rivals.clear();
            let fits = |required: &Requirements| required.fits(&left.worker, &left.offer).is_some();
            self.left_to_another |= self.state.next_job(&left.kinds, &fits).is_some();
        }
        request.rivals.clear();
        granted
    }

    /// Others that wait for jobs of the same kinds, if there is a job that would rather go to some worker than to another.
    fn rivals(&self, request: &LeaseRequest, bounds: &LeaseBounds) -> Vec<(WorkerId, Offer)> {
        let prefers = |(_, required, _): (&Kind, &Requirements, u64)| !required.prefer.is_empty();
        if self.everybody_was_asked || !self.state.ready_by_need().any(prefers) {
            return Vec::new();
        }
        let other = |(rival, theirs): &(&LeaseRequest, &LeaseBounds)| {
            rival.worker != request.worker
                && theirs.queues.cover(&bounds.queues)
                && rival.kinds.iter().any(|kind| request.kinds.contains(kind))
                && !self.state.set_aside().contains_key(&rival.worker)
        };
        let others = self.waiting().filter(other);
        others.map(|(rival, _)| (rival.worker.clone(), rival.offer.clone())).collect()
    }

    /// Whether this ledger gave the receipt: it has the record, and, as far back as links are remembered, under this
    /// link.
    pub(crate) fn gave(&self, receipt: &Receipt) -> bool {
        receipt.seq <= self.state.last_seq()
            && self.receipt(receipt.seq).is_none_or(|known| known.chain == receipt.chain)
    }
}

/// Reconciles every lease that a worker holds. Records nothing, but for grants that never reached the worker.
pub struct Heartbeat {
    /// The worker.
    pub worker: WorkerId,
    /// Every lease that it holds.
    pub leases: Vec<(LeaseId, Progress)>,
    /// The newest receipt that it holds.
    pub last_receipt: Option<Receipt>,
}

/// How a lease stands, for its worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseStanding {
    /// Still its, for another time to live.
    Extended,
    /// Not its any more.
    Lost,
    /// Its job was cancelled.
    Cancel,
    /// A gang's: still its; not all members are there.
    Wait,
    /// A gang's: still its; every other member has finished.
    Finish,
}

/// The answer to a heartbeat; None: the worker is unknown and should register.
pub type HeartbeatAnswer = Option<(Vec<(LeaseId, LeaseStanding)>, Order)>;

/// A grant that a worker still does not know after so long never reached it.
const GRANT_IN_FLIGHT: Span = Span::seconds(20);

impl Command for Heartbeat {
    type Answer = HeartbeatAnswer;
    const WRITES: bool = false;
    const URGENT: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<HeartbeatAnswer> {
        // A worker that holds a receipt of another ledger is sent to register, where it hears why it may not.
        if self.last_receipt.is_some_and(|receipt| !engine.gave(&receipt)) {
            return Step::Answer(None);
        }
        let Some(order) = engine.liveness.seen(&self.worker, now) else { return Step::Answer(None) };
        let mut standings = Vec::with_capacity(self.leases.len());
        for (lease, progress) in &self.leases {
            let ended = engine.state.ended(*lease);
            let standing = match ended.map(|ended| &ended.outcome) {
                Some(Outcome::Cancelled) => LeaseStanding::Cancel,
                // Another member of its gang ended it.
                Some(Outcome::Completed | Outcome::Failed { .. })
                    if ended.is_some_and(|ended| !ended.was_ended_by(&self.worker)) =>
                {
                    LeaseStanding::Lost
                }
                // The worker has not heard yet that its job has ended: its resend will tell it.
                Some(Outcome::Completed | Outcome::Failed { .. }) => LeaseStanding::Extended,
                Some(Outcome::Released | Outcome::Expired) => LeaseStanding::Lost,
                None if engine.liveness.extend(*lease, &self.worker, progress.clone(), now.tick) => {
                    match (engine.liveness.is_complete(*lease), engine.liveness.is_finished(*lease)) {
                        (false, _) => LeaseStanding::Wait,
                        (true, true) => LeaseStanding::Finish,
                        (true, false) => LeaseStanding::Extended,
                    }
                }
                None => LeaseStanding::Lost,
            };
            standings.push((*lease, standing));
        }
        engine.take_back_unknown(&self.worker, &self.leases, now);
        Step::Answer(Some((standings, order)))
    }
}

impl Engine {
    /// Takes back grants that never reached their worker, without a charge: its answer was lost on the way.
    fn take_back_unknown(&mut self, worker: &WorkerId, listed: &[(LeaseId, Progress)], now: Now) {
        if self.read_only().is_some() {
            return;
        }
        // Not by the wall clock, which may jump while a grant is on its way.
        let watched_for = |lease: &LeaseId| self.liveness.watched_for(*lease, now.tick);
        let old = |lease: &LeaseId| watched_for(lease).is_some_and(|span| span > GRANT_IN_FLIGHT);
        let unknown: Vec<LeaseId> = self
            .liveness
            .held_by(worker)
            .filter(|lease| !listed.iter().any(|(known, _)| known == lease) && old(lease))
            .collect();
        if !unknown.is_empty() {
            self.take_back(worker, &unknown, now);
        }
    }
}

/// Gives leases back undone.
pub struct ReleaseLeases {
    /// The worker.
    pub worker: WorkerId,
    /// The leases.
    pub leases: Vec<LeaseId>,
}

impl Command for ReleaseLeases {
    /// The leases that were the worker's.
    type Answer = Vec<LeaseId>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Vec<LeaseId>> {
        engine.liveness.seen(&self.worker, now);
        let decision = engine.state.release(&self.worker, &self.leases);
        Step::Answer(engine.record(decision, now))
    }
}

/// A worker leaves. Leases that it still holds are released.
pub struct DeregisterWorker {
    /// The worker.
    pub worker: WorkerId,
}

impl Command for DeregisterWorker {
    type Answer = ();
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<()> {
        let leases: Vec<LeaseId> = engine.liveness.held_by(&self.worker).collect();
        let decision = engine.state.release(&self.worker, &leases);
        engine.record(decision, now);
        engine.forget_worker(&self.worker);
        engine.forget_asking(&self.worker);
        engine.called_back.remove(&self.worker);
        Step::Answer(())
    }
}

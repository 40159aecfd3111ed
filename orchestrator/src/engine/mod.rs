//! The engine: one thread that owns the state, the deadlines and the ledger.
//!
//! Callers hand in [`Command`]s through a [`Handle`]. The thread drains what has come, decides and applies all of it,
//! makes it durable with one write and one sync, and only then answers: [`batch`] is that order of steps, as a plain
//! function that tests call without a thread. The index follows the files by itself and never delays an answer.

mod batch;
mod command;
pub mod commands;
pub mod gangs;
mod handle;
mod home;
mod measures;
mod queue;
mod receipts;
pub mod rollback;
#[cfg(feature = "seeded-bugs")]
mod seeded;
pub mod sessions;
#[cfg(test)]
mod tests;
mod thread;
pub mod waits;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::Arc;

use commands::worker::LeaseContext;
use orch_core::array::Task;
use orch_core::gang::Gathering;
use orch_core::id::{JobId, LeaseId, Seq, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::liveness::{Liveness, Registration};
use orch_core::receipt::Receipt;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, Granted, JobState, State};
use orch_core::time::{Now, Span, Tick};
use orch_ledger::disk::Dir;
use orch_ledger::disk::real::RealDir;
use orch_ledger::{Ledger, OpenError, OpenOptions, RecoveryReport};
use orch_proto::v1::Hardware;
use tokio::sync::watch;

use crate::access::{Keys, Tokens};

pub use batch::Fatal;
pub use command::{Command, Pending, Step};
pub use handle::{Begun, CallError, Handle, Replied, envelope};
pub use measures::{Brought, Measures};
pub use thread::{Clock, EngineThread, spawn};

/// What a worker says of itself, with the hardware as the wire describes it: the engine only keeps it for listings.
pub type WorkerRegistration = Registration<Hardware>;

/// A long replay is told of every so many records: some seconds of it.
const REPLAY_NOTE: u64 = 1_000_000;

/// State, deadlines and ledger, and the commands that wait for something to happen.
pub struct Engine {
    state: State,
    liveness: Liveness<Hardware>,
    ledger: Ledger,
    receipts: receipts::Receipts,
    waiting: VecDeque<Box<dyn Pending>>,
    /// Every waiting command is to be run again, though nothing was recorded.
    wake: bool,
    /// Why nothing can be written, while nothing can be.
    read_only: Option<String>,
    /// Who waits for a job, and what it has: what prefers one of them is left to it, and gangs are made of them.
    asking: BTreeMap<WorkerId, gangs::Asking>,
    /// Who is kept free for a gang.
    gathering: Gathering,
    /// Grants of gangs that their members have not been told of.
    untold: BTreeMap<WorkerId, Vec<(Granted, LeaseContext)>>,
    /// A gang was granted: its members that wait are to be told.
    gang_granted: bool,
    /// Whose waiting call is to be answered, so that it can ask again with more room.
    called_back: BTreeSet<WorkerId>,
    /// A job was left to one who waits.
    left_to_another: bool,
    /// Nothing is left to anybody any more: those who wait have been asked.
    everybody_was_asked: bool,
    /// A write found no space that had been reserved: when the next one is tried.
    write_again: Option<Tick>,
    rollback: rollback::Rollback,
    sessions: sessions::Sessions,
    /// Where the ledger lives; none in memory.
    home: Option<home::Home>,
    measures: Measures,
    /// The tokens in force, for the edge.
    tokens: watch::Sender<Arc<Tokens>>,
    /// Something about tokens was recorded and is not durable yet.
    tokens_changed: bool,
    /// The keys of the data directory; none in memory.
    keys: Option<Arc<Keys>>,
}

/// An engine, and what was found when its ledger was opened.
pub struct OpenedEngine {
    /// The engine, recovered.
    pub engine: Engine,
    /// What recovery did.
    pub recovered: RecoveryReport,
}

impl Engine {
    /// Opens the data directory: takes its lock, recovers and replays the ledger, and records the boot.
    ///
    /// # Errors
    /// [`OpenError`]: the directory is in use, or the ledger is refused.
    pub fn open(dir: &Path, options: OpenOptions, stale_after: Span, now: Now) -> Result<OpenedEngine, OpenError> {
        Self::open_in(Arc::new(RealDir::new(dir)), options, stale_after, now)
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// As [`Engine::open`].
    pub fn open_in(
        dir: Arc<dyn Dir>,
        options: OpenOptions,
        stale_after: Span,
        now: Now,
    ) -> Result<OpenedEngine, OpenError> {
        let mut state = State::default();
        let mut receipts = receipts::Receipts::default();
        let opened = Ledger::open_in(dir, options, &mut |record, position| {
            state.apply(record).map_err(|error| error.to_string())?;
            if let Some(chain) = position.chain {
                receipts.note(record.seq, chain);
            }
            if record.seq.0.is_multiple_of(REPLAY_NOTE) {
                tracing::info!(records = record.seq.0, open_jobs = state.counts().jobs.open(), "replaying the ledger");
            }
            Ok(())
        })?;
        #[cfg(feature = "seeded-bugs")]
        seeded::judge_again(&opened.ledger, &mut state);
        let tokens = watch::Sender::new(Arc::new(Tokens::of(&state)));
        let mut engine = Self {
            state,
            liveness: Liveness::new(stale_after),
            ledger: opened.ledger,
            receipts,
            waiting: VecDeque::new(),
            wake: false,
            read_only: None,
            write_again: None,
            rollback: rollback::Rollback::default(),
            asking: BTreeMap::new(),
            gathering: Gathering::default(),
            untold: BTreeMap::new(),
            gang_granted: false,
            called_back: BTreeSet::new(),
            left_to_another: false,
            everybody_was_asked: false,
            sessions: sessions::Sessions::default(),
            home: None,
            measures: Measures::default(),
            tokens,
            tokens_changed: false,
            keys: None,
        };
        // Every lease that was open when the last boot ended gets one full time to live.
        let open: Vec<LeaseId> = engine.state.leases().keys().copied().collect();
        for lease in open {
            engine.watch(lease, false, now);
        }
        Ok(OpenedEngine { engine, recovered: opened.recovered })
    }

    /// Ends the process once this directory, whose lock is held, is no longer to be found under its path.
    ///
    /// # Errors
    /// If the lock is not there even now.
    pub fn keep_home(&mut self, dir: &Path) -> std::io::Result<()> {
        self.home = Some(home::Home::of(dir)?);
        Ok(())
    }

    /// Gives receipts that this data directory knows again, and takes no others for its own.
    pub fn keep_keys(&mut self, keys: Arc<Keys>) {
        self.keys = Some(keys);
    }

    /// The keys of the data directory.
    pub fn keys(&self) -> Option<Arc<Keys>> {
        self.keys.clone()
    }

    /// The tokens in force, and their changes: each is there before its call is answered.
    pub fn tokens(&self) -> watch::Receiver<Arc<Tokens>> {
        self.tokens.subscribe()
    }

    /// What the ledger says.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Workers and deadlines.
    pub fn liveness(&self) -> &Liveness<Hardware> {
        &self.liveness
    }

    /// Who is kept free for a gang.
    pub fn gathering(&self) -> &Gathering {
        &self.gathering
    }

    /// The ledger's files.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Why nothing can be written, while nothing can be.
    pub fn read_only(&self) -> Option<&str> {
        self.rollback.reason().or(self.read_only.as_deref())
    }

    /// What was measured since the start.
    pub fn measures(&self) -> &Measures {
        &self.measures
    }

    /// The receipt for a durable record, as far back as receipts are remembered.
    pub fn receipt(&self, seq: Seq) -> Option<Receipt> {
        self.receipts.find(seq)
    }

    /// The receipt with the code by which this data directory knows it again.
    fn sealed(&self, receipt: Receipt) -> Receipt {
        let mac = self.keys.as_ref().map(|keys| keys.seal(&receipt)).unwrap_or_default();
        Receipt { mac, ..receipt }
    }

    /// Whether a copy of this data directory gave the receipt, as far as its code tells. Without keys nothing tells.
    fn proves(&self, receipt: &Receipt) -> bool {
        self.keys.as_ref().is_none_or(|keys| keys.sealed(receipt))
    }

    /// The payload of a job, from the ledger.
    ///
    /// # Panics
    /// If the record cannot be read: it was when it was replayed or written, so the disk is failing under us, and an
    /// orchestrator that cannot read its ledger must end.
    pub fn payload(&self, job: JobId) -> Payload {
        spec(&self.ledger, job).payload
    }

    /// Takes the events of a decision: each is staged for the next commit and applied.
    ///
    /// # Panics
    /// If the state refuses an event that it decided itself, or an event cannot be written: a bug, and no answer may
    /// leave after it.
    #[allow(clippy::expect_used)]
    pub(crate) fn record<T>(&mut self, decision: Decision<T>, now: Now) -> T {
        for event in decision.events {
            let seq = self.ledger.stage(now.wall, &event).expect("bounds at the edge keep every event within a line");
            let record = Record { seq, at: now.wall, event };
            // The event of a cancellation does not name the lease that it ends, if any; the state does, until then.
            if let Event::JobCancelled { job, .. } = &record.event
                && let Some(JobState::Leased { lease }) = self.state.job(*job).map(|job| &job.state)
            {
                self.liveness.unwatch(*lease);
            }
            self.measures.note(&record, &self.state);
            self.state.apply(&record).expect("the state applies what it decided");
            self.follow(&record, now);
        }
        decision.answer
    }

    /// Takes the time since the last look at the clock, which is to be told before each batch. If it is longer than
    /// any batch, the engine stood still, and every deadline moves by as much.
    pub fn looked_up_after(&mut self, gap: Span) {
        if gap > STALL {
            tracing::warn!(%gap, "the engine stood still; every deadline moves by as much");
            self.liveness.stalled(gap);
        }
    }

    /// Makes HEAD name the last batch, for readers of the files who go by it.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end.
    pub fn level_head(&mut self) -> Result<(), Fatal> {
        Ok(self.ledger.level_head()?)
    }

    /// Whether a lease was granted longer ago than it lives: what nobody may ask when a result arrives.
    fn is_over_by_clock(&self, lease: LeaseId, now: Now) -> bool {
        let held = self.state.leases().get(&lease);
        held.and_then(|held| self.state.job(held.job).map(|job| (held, self.state.lease_policy(job))))
            .is_some_and(|(held, policy)| now.wall.since(held.granted_at) > policy.ttl)
    }

    /// Has every waiting command run again with this batch.
    pub(crate) fn wake_all(&mut self) {
        self.wake = true;
    }

    /// Keeps the deadlines in step with the leases.
    fn follow(&mut self, record: &Record, now: Now) {
        match &record.event {
            Event::LeaseGranted { .. } => self.watch(LeaseId(record.seq), true, now),
            Event::LeaseReleased { lease, .. }
            | Event::LeaseExpired { lease, .. }
            | Event::JobCompleted { lease, .. }
            | Event::AttemptFailed { lease, .. } => self.liveness.unwatch(*lease),
            Event::JobCancelled { .. }
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::JobSubmitted(_)
            | Event::TaskMade { .. }
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::BatchJudged(_)
            | Event::CandidateAccepted(_)
            | Event::JobRetried { .. }
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => {}
            Event::TokenCreated(_) | Event::TokenRevoked { .. } => self.tokens_changed = true,
        }
    }

    /// Watches a lease from now on: `fresh` from its grant, or found open.
    fn watch(&mut self, lease: LeaseId, fresh: bool, now: Now) {
        let Some(held) = self.state.leases().get(&lease) else { return };
        let Some(job) = self.state.job(held.job) else { return };
        let (policy, timeout) = (self.state.lease_policy(job), self.state.timeout(job));
        // The worker ends an attempt that runs too long; this is for one that does not, so it gets some grace.
        let timeout = timeout.map(|span| Span(span.0 + TIMEOUT_GRACE.0));
        self.liveness.watch(lease, held.worker.clone(), policy.ttl, timeout, now.tick);
        if held.is_gang() {
            self.liveness.watch_members(lease, held.workers().skip(1), fresh);
        }
    }
}

/// A job as it was submitted, from the ledger; a task as its array makes it. It panics as [`Engine::payload`] does.
#[allow(clippy::panic)]
fn spec(ledger: &Ledger, job: JobId) -> JobSpec {
    match ledger.read(job.0) {
        Ok(Record { event: Event::JobSubmitted(submitted), .. }) => submitted.spec,
        Ok(Record { event: Event::TaskMade { array, index }, .. }) => {
            let task = spec(ledger, array).task(Task { array, index });
            task.unwrap_or_else(|| panic!("record {job} is no task of array {array}"))
        }
        Ok(record) => panic!("record {job} is no job but {:?}", record.event),
        Err(error) => panic!("record {job} of the ledger cannot be read: {error}"),
    }
}

/// Between two looks at the clock nothing should take this long; what takes longer stood still (a paused machine, a
/// slow disk) and is taken out of every deadline.
const STALL: Span = Span(5000);

/// How much longer than its timeout an attempt may run before the orchestrator ends its lease.
const TIMEOUT_GRACE: Span = Span::seconds(15);

//! Whatever callers send: what the engine accepts it can replay, so that no record stops a start.
//!
//! An input is a sequence of messages, each a byte that says which, its length as a varint, and its bytes. They go the
//! way that the gRPC edge sends them: decoded, checked, screened, run as a command. At the end the ledger is replayed
//! into a new state, which must be the one that was live; and an engine starts on it.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::access::{Audited, MAX_AUDIT_TEXT, NewToken, Verdict};
use orch_core::contract::{Rejection, Rule, Screen};
use orch_core::digest::Digest;
use orch_core::id::{ImportId, JobId, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::JobSpec;
use orch_core::liveness::Order;
use orch_core::record::Record;
use orch_core::state::{FailureReport, JobFilter, State, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::{Ledger, OpenOptions, Position};
use orch_orchestrator::engine::commands::access::{Actor, As, Audit, CreateToken, RevokeToken};
use orch_orchestrator::engine::commands::admin::{
    CancelJobs, CleanupWorkers, DrainWorkers, ImportJobs, PauseQueue, ResumeQueue, RetryFailed, Submit,
};
use orch_orchestrator::engine::commands::legacy::{FinishImport, JudgeImport, StartImport};
use orch_orchestrator::engine::commands::results::{CompleteJob, DescribeLease, FailJob, JudgeBatch, LeaseTerms};
use orch_orchestrator::engine::commands::worker::{
    DeregisterWorker, Heartbeat, LeaseJobs, RegisterWorker, ReleaseLeases,
};
use orch_orchestrator::engine::{Command, Engine, envelope};
use orch_orchestrator::grpc::worker::{MAX_BATCH_BYTES, MAX_BATCH_CANDIDATES};
use orch_proto::convert::{
    AskForJobs, HeartbeatReport, LegacyFile, LegacyPart, Register, Release, ResultsAction, ResultsMessage, WantedToken,
};
use orch_proto::v1;
use prost::Message;

/// The most messages of one input.
const MAX_MESSAGES: usize = 256;

/// How many kinds of messages there are.
pub(crate) const KINDS: u8 = 20;

/// Ids from here on stand for what is there when the message comes: the last byte picks one.
pub(crate) const ANY: u64 = 1 << 60;

const EPOCH: Timestamp = Timestamp(1_795_248_000_000);

/// By what candidates are judged.
type Judge = Arc<Result<Screen, Rejection>>;

struct World {
    dir: MemoryDir,
    engine: Option<Engine>,
    now: Now,
    screens: BTreeMap<LeaseId, Judge>,
    import: Option<(ImportId, Judge)>,
}

/// Runs the messages, then starts again.
pub fn commands(data: &[u8]) {
    reached(data);
}

/// The same, and the state that was reached, as JSON.
pub fn reached(data: &[u8]) -> serde_json::Value {
    let mut world = World::new();
    let mut rest = data;
    for _ in 0..MAX_MESSAGES {
        let Some((kind, message, more)) = next(rest) else { break };
        rest = more;
        let _ = world.take(kind, message);
    }
    world.check()
}

/// One message off the front: its kind and its bytes, as many as there are of what was announced.
pub(crate) fn next(data: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (kind, mut rest) = data.split_first()?;
    let len = prost::decode_length_delimiter(&mut rest).ok()?.min(rest.len());
    Some((*kind, &rest[..len], &rest[len..]))
}

fn options(now: Timestamp) -> OpenOptions {
    OpenOptions {
        new_ledger_id: Some("0190b5a4-3c00-7000-8000-000000000001".into()),
        segment_bytes: 64 << 10,
        claim_bytes: 0,
        zero_bytes: 0,
        ..OpenOptions::new(now, "0.1.0", "host-1", 42)
    }
}

impl World {
    fn new() -> Self {
        let now = Now { wall: EPOCH, tick: Tick(0) };
        let dir = MemoryDir::new();
        let mut world = Self { dir, engine: None, now, screens: BTreeMap::new(), import: None };
        world.start();
        world
    }

    fn start(&mut self) {
        let dir = Arc::new(self.dir.clone());
        let opened = Engine::open_in(dir, options(self.now.wall), Span::seconds(30), self.now);
        self.engine = Some(opened.unwrap_or_else(|error| panic!("the ledger does not open again: {error}")).engine);
    }

    fn engine(&self) -> &Engine {
        self.engine.as_ref().expect("the engine runs but while it is started")
    }

    /// Runs one command, as a batch of its own.
    fn run<C: Command>(&mut self, command: C) -> Option<C::Answer> {
        let (pending, mut begun) = envelope(command);
        let engine = self.engine.as_mut()?;
        engine.run_batch(vec![pending], self.now).unwrap_or_else(|error| panic!("{error}"));
        begun.try_answer()?.ok().map(|replied| replied.answer)
    }

    /// Takes a message, as the edge does. None: it was refused, or there was nothing to answer.
    fn take(&mut self, kind: u8, bytes: &[u8]) -> Option<()> {
        match kind % KINDS {
            0 => self.submit(v1::SubmitRequest::decode(bytes).ok()?),
            1 => {
                let v1::ImportJobsRequest { chunk: _, jobs } = v1::ImportJobsRequest::decode(bytes).ok()?;
                let specs: Vec<JobSpec> = jobs.into_iter().filter_map(|job| job.try_into().ok()).collect();
                self.run(ImportJobs(specs)).map(|_| ())
            }
            2 => {
                let message = v1::RegisterWorkerRequest::decode(bytes).ok()?;
                let Register { worker, registration, leases, uptime, .. } = message.try_into().ok()?;
                let leases = leases.into_iter().map(|lease| self.lease(lease)).collect();
                self.run(RegisterWorker { worker, registration, leases, last_receipt: None, uptime }).map(|_| ())
            }
            3 => {
                let AskForJobs { request, call, wait, ask_again: _ } =
                    v1::LeaseJobRequest::decode(bytes).ok()?.try_into().ok()?;
                self.run(LeaseJobs { call, ..LeaseJobs::new(request, wait) }).map(|_| ())
            }
            4 => {
                let HeartbeatReport { worker, leases, last_receipt } =
                    v1::HeartbeatRequest::decode(bytes).ok()?.try_into().ok()?;
                let leases = leases.into_iter().map(|(lease, progress)| (self.lease(lease), progress)).collect();
                self.run(Heartbeat { worker, leases, last_receipt }).map(|_| ())
            }
            5 => self.results(v1::SubmitResultsRequest::decode(bytes).ok()?.try_into().ok()?),
            6 => {
                let Release { worker, leases } = v1::ReleaseLeasesRequest::decode(bytes).ok()?.try_into().ok()?;
                let leases = leases.into_iter().map(|lease| self.lease(lease)).collect();
                self.run(ReleaseLeases { worker, leases }).map(|_| ())
            }
            7 => {
                let v1::DeregisterWorkerRequest { worker } = v1::DeregisterWorkerRequest::decode(bytes).ok()?;
                self.run(DeregisterWorker { worker: WorkerId::new(&worker).ok()? })
            }
            8 => {
                let v1::CancelJobsRequest { filter, reason, dry_run } = v1::CancelJobsRequest::decode(bytes).ok()?;
                let jobs = filter.unwrap_or_default().jobs.into_iter().map(|job| self.job(job)).collect();
                let filter = JobFilter { jobs, ..JobFilter::default() };
                self.run(CancelJobs { filter, reason, dry_run }).map(|_| ())
            }
            9 => {
                let v1::RetryFailedRequest { limit, dry_run, .. } = v1::RetryFailedRequest::decode(bytes).ok()?;
                let limit = usize::try_from(limit).unwrap_or(usize::MAX);
                self.run(RetryFailed { filter: JobFilter::default(), limit, dry_run }).map(|_| ())
            }
            10 => {
                let v1::PauseQueueRequest { queue, reason } = v1::PauseQueueRequest::decode(bytes).ok()?;
                self.run(PauseQueue { queue: QueueName::new(&queue).ok()?, reason }).map(|_| ())
            }
            11 => {
                let v1::ResumeQueueRequest { queue } = v1::ResumeQueueRequest::decode(bytes).ok()?;
                self.run(ResumeQueue { queue: QueueName::new(&queue).ok()? }).map(|_| ())
            }
            12 => self.legacy(v1::ImportLegacyRequest::decode(bytes).ok()?.try_into().ok()?),
            13 => self.run(DrainWorkers { workers: Vec::new(), order: Order::Terminate }).map(|_| ()),
            14 => self.run(CleanupWorkers { workers: Vec::new() }).map(|_| ()),
            15 => self.pass(bytes),
            17 => self.create_token(v1::CreateTokenRequest::decode(bytes).ok()?),
            18 => {
                let v1::RevokeTokenRequest { name } = v1::RevokeTokenRequest::decode(bytes).ok()?;
                let command = RevokeToken { name: name.parse().ok()?, by: name, safe: bytes.len().is_multiple_of(2) };
                self.run(As { actor: Some(actor("revokes")), command })?.ok().map(|_| ())
            }
            19 => self.audit(v1::AuditEntry::decode(bytes).ok()?),
            _ => {
                self.engine = None;
                self.start();
                Some(())
            }
        }
    }

    fn create_token(&mut self, message: v1::CreateTokenRequest) -> Option<()> {
        let safe = message.expires_in_ms.is_multiple_of(2);
        let WantedToken { name, role, queues, lasts } = message.try_into().ok()?;
        let digest = Digest::of(name.as_str().as_bytes());
        let by = name.to_string();
        let token = NewToken { name, role, queues, expires: None, digest };
        self.run(As { actor: Some(actor(&by)), command: CreateToken { token, lasts, by, safe } })?.ok().map(|_| ())
    }

    fn audit(&mut self, message: v1::AuditEntry) -> Option<()> {
        let v1::AuditEntry { actor, from, call, reason, target, first_record, count, .. } = message;
        let cut = |text: String| text.chars().take(MAX_AUDIT_TEXT).collect();
        let records = (first_record > 0).then_some((Seq(first_record), Seq(first_record)));
        let (actor, from, call, reason, target) = (cut(actor), cut(from), cut(call), cut(reason), cut(target));
        self.run(Audit(vec![Audited { actor, from, call, verdict: Verdict::Denied, reason, target, records, count }]))
    }

    fn submit(&mut self, message: v1::SubmitRequest) -> Option<()> {
        let submission: Submission = message.try_into().ok()?;
        self.run(Submit(submission)).map(|_| ())
    }

    /// Time passes: the first bytes say how much, on both clocks.
    fn pass(&mut self, bytes: &[u8]) -> Option<()> {
        let mut at = [0; 8];
        let n = bytes.len().min(8);
        at[..n].copy_from_slice(&bytes[..n]);
        let by = u64::from_le_bytes(at) % (400 * 24 * 3_600_000);
        let wall = Timestamp(self.now.wall.0.saturating_add_unsigned(by).min(250_000_000_000_000));
        self.now = Now { wall, tick: Tick(self.now.tick.0.saturating_add(by)) };
        self.engine.as_mut()?.run_batch(Vec::new(), self.now).unwrap_or_else(|error| panic!("{error}"));
        Some(())
    }

    fn results(&mut self, message: ResultsMessage) -> Option<()> {
        let ResultsMessage { worker, lease, action } = message;
        let lease = self.lease(lease);
        let holder = self.engine().state().leases().get(&lease).map(|held| held.worker.clone());
        let worker = worker.or(holder)?;
        match action {
            ResultsAction::Batch { number, candidates } => {
                let bytes: usize = candidates.iter().map(|candidate| candidate.len()).sum();
                if candidates.len() > MAX_BATCH_CANDIDATES as usize || bytes > MAX_BATCH_BYTES as usize {
                    return None;
                }
                let screen = self.screen(lease)?;
                let judged = candidates.iter().map(|candidate| judge(&screen, candidate)).collect();
                // A number that is much too high stands for the next one.
                let known = self.engine().state().leases().get(&lease).map_or(0, |held| held.delivery.batches.len());
                let number = if number >= ANY { known as u64 + 1 } else { number };
                self.run(JudgeBatch { worker, lease, number, candidates: judged }).map(|_| ())
            }
            ResultsAction::Complete { batches } => self.run(CompleteJob { worker, lease, batches }).map(|_| ()),
            ResultsAction::Fail { class, message, exit_code } => {
                let report = FailureReport { class, message, exit_code };
                self.run(FailJob { worker, lease, report }).map(|_| ())
            }
        }
    }

    fn screen(&mut self, lease: LeaseId) -> Option<Judge> {
        if let Some(screen) = self.screens.get(&lease) {
            return Some(screen.clone());
        }
        let LeaseTerms { contract, payload, .. } = self.run(DescribeLease { lease })??;
        let screen = Arc::new(match contract {
            None => Err(unjudged("the job's queue has no contract")),
            Some(contract) => contract.bind(&payload).map_err(|error| unjudged(&error.to_string())),
        });
        self.screens.insert(lease, screen.clone());
        Some(screen)
    }

    fn legacy(&mut self, part: LegacyPart) -> Option<()> {
        match part {
            LegacyPart::Start(LegacyFile { sha256, name, contract, payload }) => {
                let command = StartImport { file: sha256, name, contract, payload: payload.clone() };
                let (start, contract) = self.run(command)?.ok()?;
                let screen = Arc::new(match contract {
                    None => Err(unjudged("the contract cannot be compiled")),
                    Some(contract) => contract.bind(&payload).map_err(|error| unjudged(&error.to_string())),
                });
                self.import = Some((start.import, screen));
                Some(())
            }
            LegacyPart::Batch { number, lines } => {
                let (import, screen) = self.import.clone()?;
                let lines = lines.iter().map(|line| judge(&screen, line)).collect();
                self.run(JudgeImport { import, number, lines }).map(|_| ())
            }
            LegacyPart::Finish { batches } => {
                let import = self.import.as_ref()?.0;
                self.run(FinishImport { import, batches }).map(|_| ())
            }
        }
    }

    fn lease(&self, id: LeaseId) -> LeaseId {
        let leases = self.engine().state().leases();
        match usize::try_from(id.get() & 0xff) {
            Ok(n) if id.get() >= ANY && !leases.is_empty() => {
                leases.keys().nth(n % leases.len()).copied().unwrap_or(id)
            }
            Ok(_) | Err(_) => id,
        }
    }

    fn job(&self, id: u64) -> JobId {
        let jobs = self.engine().state().held_jobs();
        match usize::try_from(id & 0xff) {
            Ok(n) if id >= ANY && !jobs.is_empty() => jobs[n % jobs.len()],
            Ok(_) | Err(_) => JobId::new(id),
        }
    }

    /// What was live is what is replayed, and an engine starts on it.
    fn check(mut self) -> serde_json::Value {
        let engine = self.engine.take().expect("the engine runs but while it is started");
        let (live, last) = (engine.state().export(), engine.state().last_seq());
        drop(engine);
        let mut state = State::default();
        let mut replayed = None;
        let mut replay = |record: &Record, _: &Position| {
            state.apply(record).map_err(|error| error.to_string())?;
            if record.seq == last {
                replayed = Some(state.export());
            }
            Ok(())
        };
        let copy = Arc::new(self.dir.copy());
        let opened = Ledger::open_in(copy, options(self.now.wall), &mut replay);
        drop(opened.unwrap_or_else(|error| panic!("the ledger does not open again: {error}")));
        assert_eq!(replayed.as_ref(), Some(&live), "replay equals live");
        self.start();
        live
    }
}

fn judge(screen: &Result<Screen, Rejection>, candidate: &[u8]) -> orch_core::state::Judged {
    match screen {
        Ok(screen) => screen.judge(candidate),
        Err(rejection) => Err(rejection.clone()),
    }
}

fn actor(target: &str) -> Actor {
    Actor { actor: "fuzz".into(), from: String::new(), call: "fuzz".into(), target: target.into() }
}

fn unjudged(message: &str) -> Rejection {
    Rejection { rule: Rule::NoContract, message: message.to_owned() }
}

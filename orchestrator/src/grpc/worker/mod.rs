//! The service for workers: registration, leases, heartbeats, results, logs.

mod results;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use orch_core::id::{LeaseId, WorkerId};
use orch_core::policy::LeasePolicy;
use orch_core::state::{Granted, LeaseBounds};
use orch_core::time::Span;
use orch_proto::convert::{self, AskForJobs, Faults, HeartbeatReport, LogPiece, Register, Release};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::worker_service_server::WorkerService;
use orch_telemetry::{Sampling, SpanId, TraceContext, TraceId};
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::access::{Caller, Keys, Mode, new_session};
use crate::engine::commands::bound::{Bound, LeaseJobsWithin, MayAct, RegisterBound};
use crate::engine::commands::worker::{
    AskAgain, DeregisterWorker, Heartbeat, LeaseAnswer, LeaseContext, LeaseJobs, LeaseStanding, RegisterRefusal,
    RegisterWorker, ReleaseLeases,
};
use crate::engine::rollback::{Present, Presented};
use crate::engine::sessions::{NotBound, Who};
use crate::engine::{CallError, Handle};
use crate::grpc::admin::forged;
use crate::logs::JobLogs;
use terms::{Terms, TermsCache};

/// The most bytes of one batch of candidates: small enough that many workers' batches fit between two syncs.
pub const MAX_BATCH_BYTES: u32 = 1 << 20;

/// The most candidates of one batch: the record that judges it must fit into a line.
pub const MAX_BATCH_CANDIDATES: u32 = 4096;

/// What a stream may have sent and not yet answered, in bytes.
pub const MAX_UNACKED_BYTES: u32 = 8 << 20;

/// The service for workers.
pub struct Workers {
    handle: Handle,
    logs: JobLogs,
    terms: Arc<TermsCache>,
    ledger: String,
    stale_after: Span,
    keys: Arc<Keys>,
    /// Which jobs are traced; None: nobody traces.
    sampling: Option<Sampling>,
}

/// Who calls, and what its sessions are proved with.
#[derive(Clone)]
pub(super) struct Binding {
    pub(super) caller: Caller,
    pub(super) keys: Arc<Keys>,
}

impl Binding {
    /// Who acts under this worker's name; None: nobody asks.
    pub(super) fn who(&self, worker: &WorkerId) -> Option<Who> {
        (self.caller.mode() == Mode::Strict).then(|| known(&self.keys, &self.caller, worker))
    }
}

/// The caller as somebody who acts under this worker's name, with what it proves.
fn known(keys: &Keys, caller: &Caller, worker: &WorkerId) -> Who {
    let proved = caller.session().and_then(|session| keys.proved(worker, session));
    Who { worker: worker.clone(), holder: caller.name(), proved }
}

/// When a name that is another's may be free.
const NAME_AGAIN: Duration = Duration::from_secs(5);

impl Workers {
    /// The service on an engine.
    pub fn new(handle: Handle, logs: JobLogs, ledger: String, stale_after: Span, keys: Arc<Keys>) -> Self {
        Self { handle, logs, terms: Arc::default(), ledger, stale_after, keys, sampling: None }
    }

    /// The same, whose leases say where they stand in the traces of their jobs.
    #[must_use]
    pub fn traced(self, sampling: Option<Sampling>) -> Self {
        Self { sampling, ..self }
    }

    /// Where a lease stands in its job's trace, for whoever works on it.
    fn traceparent(&self, granted: &Granted) -> String {
        let Some(sampling) = self.sampling else { return String::new() };
        let trace = TraceId::of_job(&self.ledger, granted.job.get());
        let span = SpanId::of_attempt(&self.ledger, granted.lease.get());
        TraceContext { trace, span, sampled: sampling.keeps(trace) }.to_string()
    }

    /// The caller as somebody who acts under this worker's name.
    fn who(&self, caller: &Caller, worker: &WorkerId) -> Who {
        known(&self.keys, caller, worker)
    }

    /// The same where it must prove it; None: nobody asks.
    fn bound(&self, caller: &Caller, worker: &WorkerId) -> Option<Who> {
        (caller.mode() == Mode::Strict).then(|| self.who(caller, worker))
    }

    /// A grant as its worker hears of it; what its results will need is kept at hand.
    fn remember(&self, worker: &WorkerId, granted: Granted, context: LeaseContext) -> v1::Lease {
        let LeaseContext { queue, kind, name, contract, hosts } = context;
        let workers = granted.place.as_ref().map_or_else(|| vec![worker.clone()], |place| place.members.clone());
        let terms = Terms::new(workers, granted.job, granted.attempt, contract, &granted.payload);
        self.terms.insert(granted.lease, Arc::new(terms));
        let traceparent = self.traceparent(&granted);
        convert::lease(granted, &queue, &kind, name, traceparent, hosts)
    }
}

/// A caller that may not act under a worker's name: one that proves nothing is refused, and told of; one whose session is
/// over should register, and then it goes on.
pub(super) fn denied(caller: &Caller, not_bound: &NotBound) -> Status {
    match not_bound {
        NotBound::Unproven(worker) => {
            caller.denied(&Reason::PermissionDenied, format!("worker {worker}"));
            WireError::new(Reason::PermissionDenied, not_bound.to_string()).at("worker").into()
        }
        NotBound::Unknown(_) | NotBound::Superseded(_) => {
            WireError::new(Reason::UnknownWorker, not_bound.to_string()).at("worker").into()
        }
    }
}

/// The same, where an answer says that the caller should register.
fn not_bound_or<A>(caller: &Caller, not_bound: NotBound, register: A) -> Result<A, Status> {
    match not_bound {
        NotBound::Unproven(_) => Err(denied(caller, &not_bound)),
        NotBound::Unknown(_) | NotBound::Superseded(_) => Ok(register),
    }
}

/// A refusal of the engine, as callers see it.
pub(crate) fn refused(error: CallError) -> Status {
    let retry = |reason, wait| WireError::new(reason, error.to_string()).retry_after(wait);
    match &error {
        CallError::Overloaded => retry(Reason::Busy, Duration::from_millis(200)).into(),
        CallError::ReadOnly(_) => retry(Reason::ReadOnly, Duration::from_secs(1)).into(),
        CallError::Stopped => retry(Reason::Unavailable, Duration::from_secs(1)).into(),
    }
}

#[tonic::async_trait]
impl WorkerService for Workers {
    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let Register { worker, registration, mut leases, mut last_receipt, ledger, uptime } =
            request.into_inner().try_into()?;
        tracing::info!(%worker, slots = registration.slots, leases = leases.len(), "a worker registers");
        let mut forgotten = Vec::new();
        let mut forget_receipt = false;
        if ledger.as_ref().is_some_and(|ledger| *ledger != self.ledger) {
            // Its leases and its receipt mean other records than ours; it will see from the answer that they do.
            (forgotten, last_receipt) = (std::mem::take(&mut leases), None);
        } else if ledger.is_some()
            && let Some(receipt) = last_receipt
        {
            let present = Present { holder: format!("worker {worker}"), receipt };
            match self.handle.call(present).await.map_err(refused)?.answer {
                Presented::Known => {}
                Presented::Lost => {
                    // Nor can its leases be trusted: their numbers may have been given again.
                    (forgotten, last_receipt) = (std::mem::take(&mut leases), None);
                    forget_receipt = true;
                }
                Presented::RolledBack(missing) => {
                    return Err(WireError::new(Reason::WrongState, missing.to_string()).at("last_receipt").into());
                }
                Presented::Forged(seq) => return Err(forged(&caller, seq)),
            }
        }
        let who = self.who(&caller, &worker);
        let fresh = new_session().map_err(|error| WireError::new(Reason::Internal, error.to_string()))?;
        let command = RegisterWorker { worker: worker.clone(), registration, leases, last_receipt, uptime };
        let command = RegisterBound { command, who, fresh, strict: caller.mode() == Mode::Strict };
        let replied = self.handle.call(command).await.map_err(refused)?;
        let (registered, session) = replied.answer.map_err(|refusal| match refusal {
            RegisterRefusal::RolledBack { .. } => WireError::new(Reason::WrongState, refusal.to_string()),
            RegisterRefusal::NameTaken(taken) => {
                caller.denied(&Reason::NameTaken, format!("worker {worker}"));
                WireError::new(Reason::NameTaken, taken.to_string()).at("worker").retry_after(NAME_AGAIN)
            }
        })?;
        caller.did(format!("worker {worker}, session {session}"));
        // A worker may miss three heartbeats before it counts as lost.
        let heartbeat_ms = LeasePolicy::default().heartbeat.0.min(self.stale_after.0 / 4).max(1);
        Ok(Response::new(v1::RegisterWorkerResponse {
            ledger: self.ledger.clone(),
            epoch: registered.epoch,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            lost: registered.lost.into_iter().chain(forgotten).map(LeaseId::get).collect(),
            heartbeat_ms,
            stale_after_ms: self.stale_after.0,
            max_batch_bytes: MAX_BATCH_BYTES,
            max_batch_candidates: MAX_BATCH_CANDIDATES,
            max_unacked_bytes: MAX_UNACKED_BYTES,
            forget_receipt,
            session: self.keys.session(&worker, session).expose().to_owned(),
        }))
    }

    async fn lease_job(&self, request: Request<v1::LeaseJobRequest>) -> Result<Response<v1::LeaseJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let AskForJobs { request, call, wait, ask_again } = request.into_inner().try_into()?;
        let worker = request.worker.clone();
        let who = self.bound(&caller, &worker);
        if ask_again {
            let command = Bound { who, command: AskAgain { worker } };
            let answer = self.handle.call(command).await.map_err(refused)?.answer;
            answer.or_else(|not_bound| not_bound_or(&caller, not_bound, ()))?;
            return Ok(Response::new(v1::LeaseJobResponse::default()));
        }
        let bounds = LeaseBounds { queues: caller.queues(), session: who.as_ref().and_then(|who| who.proved) };
        let command = LeaseJobsWithin { command: LeaseJobs { call, ..LeaseJobs::new(request, wait) }, bounds };
        let replied = self.handle.call_and_wait(Bound { who, command }).await.map_err(refused)?;
        match replied.answer.or_else(|not_bound| not_bound_or(&caller, not_bound, LeaseAnswer::Unregistered))? {
            LeaseAnswer::Unregistered => Ok(Response::new(v1::LeaseJobResponse {
                order: v1::WorkerOrder::Register.into(),
                ..v1::LeaseJobResponse::default()
            })),
            LeaseAnswer::Granted { leases, order } => Ok(Response::new(v1::LeaseJobResponse {
                receipt: (!leases.is_empty()).then(|| replied.receipt.into()),
                leases: leases.into_iter().map(|(granted, context)| self.remember(&worker, granted, context)).collect(),
                order: v1::WorkerOrder::from(order).into(),
            })),
        }
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let HeartbeatReport { worker, leases, last_receipt } = request.into_inner().try_into()?;
        let who = self.bound(&caller, &worker);
        let command = Bound { who, command: Heartbeat { worker, leases, last_receipt } };
        let answer = self.handle.call(command).await.map_err(refused)?.answer;
        let answer = answer.or_else(|not_bound| not_bound_or(&caller, not_bound, None))?;
        let (standings, order) = match answer {
            Some((standings, order)) => (standings, v1::WorkerOrder::from(order)),
            None => (Vec::new(), v1::WorkerOrder::Register),
        };
        let standing = |(lease, standing): (LeaseId, LeaseStanding)| {
            let order = match standing {
                LeaseStanding::Extended => v1::LeaseOrder::Extended,
                LeaseStanding::Lost => v1::LeaseOrder::Lost,
                LeaseStanding::Cancel => v1::LeaseOrder::Cancel,
                LeaseStanding::Wait => v1::LeaseOrder::Wait,
                LeaseStanding::Finish => v1::LeaseOrder::Finish,
            };
            v1::LeaseStanding { lease: lease.get(), order: order.into() }
        };
        let leases = standings.into_iter().map(standing).collect();
        Ok(Response::new(v1::HeartbeatResponse { leases, order: order.into() }))
    }

    type SubmitResultsStream = ReceiverStream<Result<v1::SubmitResultsResponse, Status>>;

    async fn submit_results(
        &self,
        request: Request<Streaming<v1::SubmitResultsRequest>>,
    ) -> Result<Response<Self::SubmitResultsStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        let binding = Binding { caller, keys: Arc::clone(&self.keys) };
        let answers = results::serve(request.into_inner(), self.handle.clone(), Arc::clone(&self.terms), binding);
        Ok(Response::new(answers))
    }

    async fn release_leases(
        &self,
        request: Request<v1::ReleaseLeasesRequest>,
    ) -> Result<Response<v1::ReleaseLeasesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let Release { worker, leases } = request.into_inner().try_into()?;
        let who = self.bound(&caller, &worker);
        let command = Bound { who, command: ReleaseLeases { worker, leases } };
        let answer = self.handle.call(command).await.map_err(refused)?.answer;
        let released = answer.map_err(|not_bound| denied(&caller, &not_bound))?;
        let released = released.into_iter().map(LeaseId::get).collect();
        Ok(Response::new(v1::ReleaseLeasesResponse { released }))
    }

    async fn push_logs(
        &self,
        request: Request<Streaming<v1::PushLogsRequest>>,
    ) -> Result<Response<v1::PushLogsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let mut pieces = request.into_inner();
        let mut sender: Option<WorkerId> = None;
        let (mut kept_bytes, mut dropped_bytes) = (0, 0);
        while let Some(piece) = pieces.message().await? {
            let LogPiece { worker, lease, text } = piece.try_into()?;
            if let Some(named) = worker.filter(|named| sender.as_ref() != Some(named)) {
                let command = Bound { who: self.bound(&caller, &named), command: MayAct };
                let answer = self.handle.call_in_turn(command).await.map_err(refused)?.answer;
                answer.map_err(|not_bound| denied(&caller, &not_bound))?;
                sender = Some(named);
            }
            let length = text.len() as u64;
            let terms = self.terms.get(&self.handle, lease).await.map_err(refused)?;
            let kept = match terms {
                Some(terms) if sender.as_ref().is_some_and(|sender| terms.workers.contains(sender)) => {
                    // A log that cannot be written is lost; the job is not.
                    self.logs.append(terms.job, terms.attempt, text).await.map_or(0, |appended| appended.kept)
                }
                Some(_) | None => 0,
            };
            kept_bytes += kept;
            dropped_bytes += length.saturating_sub(kept);
        }
        Ok(Response::new(v1::PushLogsResponse { kept_bytes, dropped_bytes }))
    }

    async fn deregister_worker(
        &self,
        request: Request<v1::DeregisterWorkerRequest>,
    ) -> Result<Response<v1::DeregisterWorkerResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let v1::DeregisterWorkerRequest { worker } = request.into_inner();
        let mut faults = Faults::new();
        let Some(worker) = faults.take("worker", WorkerId::new(&worker)) else { return Err(faults.into()) };
        let who = self.bound(&caller, &worker);
        let command = Bound { who, command: DeregisterWorker { worker } };
        let answer = self.handle.call(command).await.map_err(refused)?.answer;
        answer.map_err(|not_bound| denied(&caller, &not_bound))?;
        Ok(Response::new(v1::DeregisterWorkerResponse {}))
    }
}

//! The service for workers: registration, leases, heartbeats, results, logs.

mod results;
mod terms;

use std::sync::Arc;
use std::time::Duration;

use orch_core::id::{LeaseId, WorkerId};
use orch_core::policy::LeasePolicy;
use orch_core::state::Granted;
use orch_core::time::Span;
use orch_proto::convert::{self, AskForJobs, Faults, HeartbeatReport, LogPiece, Register, Release};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::worker_service_server::WorkerService;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::commands::worker::{
    AskAgain, DeregisterWorker, Heartbeat, LeaseAnswer, LeaseContext, LeaseJobs, LeaseStanding, RegisterWorker,
    ReleaseLeases,
};
use crate::engine::rollback::{Present, Presented};
use crate::engine::{CallError, Handle};
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
}

impl Workers {
    /// The service on an engine.
    pub fn new(handle: Handle, logs: JobLogs, ledger: String, stale_after: Span) -> Self {
        Self { handle, logs, terms: Arc::default(), ledger, stale_after }
    }

    /// A grant as its worker hears of it; what its results will need is kept at hand.
    fn remember(&self, worker: &WorkerId, granted: Granted, context: LeaseContext) -> v1::Lease {
        let LeaseContext { queue, kind, name, contract } = context;
        let terms = Terms::new(worker.clone(), granted.job, granted.attempt, contract, &granted.payload);
        self.terms.insert(granted.lease, Arc::new(terms));
        convert::lease(granted, &queue, &kind, name)
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
        let Register { worker, registration, mut leases, mut last_receipt, ledger, uptime } =
            request.into_inner().try_into()?;
        tracing::info!(%worker, slots = registration.slots, leases = leases.len(), "a worker registers");
        let mut forgotten = Vec::new();
        let mut forget_receipt = false;
        if ledger.as_ref().is_some_and(|ledger| *ledger != self.ledger) {
            // Its leases and its receipt mean other records than ours; it will see from the answer that they do.
            (forgotten, last_receipt) = (std::mem::take(&mut leases), None);
        } else if ledger.is_some() {
            let present = Present { holder: format!("worker {worker}"), receipt: last_receipt, leases: leases.clone() };
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
            }
        }
        let command = RegisterWorker { worker, registration, leases, last_receipt, uptime };
        let replied = self.handle.call(command).await.map_err(refused)?;
        let registered = replied.answer.map_err(|refusal| WireError::new(Reason::WrongState, refusal.to_string()))?;
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
        }))
    }

    async fn lease_job(&self, request: Request<v1::LeaseJobRequest>) -> Result<Response<v1::LeaseJobResponse>, Status> {
        let AskForJobs { request, wait, ask_again } = request.into_inner().try_into()?;
        let worker = request.worker.clone();
        if ask_again {
            self.handle.call(AskAgain { worker }).await.map_err(refused)?;
            return Ok(Response::new(v1::LeaseJobResponse::default()));
        }
        let command = LeaseJobs { request, wait, until: None };
        let replied = self.handle.call_and_wait(command).await.map_err(refused)?;
        match replied.answer {
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
        let HeartbeatReport { worker, leases, last_receipt } = request.into_inner().try_into()?;
        let answer = self.handle.call(Heartbeat { worker, leases, last_receipt }).await.map_err(refused)?.answer;
        let (standings, order) = match answer {
            Some((standings, order)) => (standings, v1::WorkerOrder::from(order)),
            None => (Vec::new(), v1::WorkerOrder::Register),
        };
        let standing = |(lease, standing): (LeaseId, LeaseStanding)| {
            let order = match standing {
                LeaseStanding::Extended => v1::LeaseOrder::Extended,
                LeaseStanding::Lost => v1::LeaseOrder::Lost,
                LeaseStanding::Cancel => v1::LeaseOrder::Cancel,
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
        let answers = results::serve(request.into_inner(), self.handle.clone(), Arc::clone(&self.terms));
        Ok(Response::new(answers))
    }

    async fn release_leases(
        &self,
        request: Request<v1::ReleaseLeasesRequest>,
    ) -> Result<Response<v1::ReleaseLeasesResponse>, Status> {
        let Release { worker, leases } = request.into_inner().try_into()?;
        let released = self.handle.call(ReleaseLeases { worker, leases }).await.map_err(refused)?.answer;
        let released = released.into_iter().map(LeaseId::get).collect();
        Ok(Response::new(v1::ReleaseLeasesResponse { released }))
    }

    async fn push_logs(
        &self,
        request: Request<Streaming<v1::PushLogsRequest>>,
    ) -> Result<Response<v1::PushLogsResponse>, Status> {
        let mut pieces = request.into_inner();
        let mut sender: Option<WorkerId> = None;
        let (mut kept_bytes, mut dropped_bytes) = (0, 0);
        while let Some(piece) = pieces.message().await? {
            let LogPiece { worker, lease, text } = piece.try_into()?;
            sender = worker.or(sender);
            let length = text.len() as u64;
            let terms = self.terms.get(&self.handle, lease).await.map_err(refused)?;
            let kept = match terms {
                Some(terms) if Some(&terms.worker) == sender.as_ref() => {
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
        let v1::DeregisterWorkerRequest { worker } = request.into_inner();
        let mut faults = Faults::new();
        let Some(worker) = faults.take("worker", WorkerId::new(&worker)) else { return Err(faults.into()) };
        self.handle.call(DeregisterWorker { worker }).await.map_err(refused)?;
        Ok(Response::new(v1::DeregisterWorkerResponse {}))
    }
}

//! The service for people and programs: submit, look, steer, read the ledger.
//!
//! Each file has the calls of one kind. What decides goes through the engine; what only shows jobs comes from the
//! index, which is waited for, but not for long.

mod access;
mod control;
mod explain;
mod export;
mod filter;
mod import;
mod jobs;
mod ledger;
mod legacy;
mod limits;
mod log;
mod schedules;
mod status;
mod submit;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use orch_core::id::Seq;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::admin_service_server::AdminService;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status, Streaming};

pub(crate) use submit::forged;

use super::worker::refused;
use crate::access::Caller;
use crate::config::OrchestratorConfig;
use crate::engine::Handle;
use crate::index::{Index, IndexError, IndexStatus};
use crate::logs::JobLogs;

/// What this process is, for those who ask.
#[derive(Clone, Debug)]
pub struct About {
    /// The ledger's id.
    pub ledger: String,
    /// The number of this boot.
    pub epoch: u64,
    /// The data directory.
    pub data: PathBuf,
    /// The settings in force.
    pub config: OrchestratorConfig,
    /// The host.
    pub host: String,
    /// When the process began to serve.
    pub started: Instant,
}

/// The service for people and programs. Cheap to clone.
#[derive(Clone)]
pub struct Admin {
    handle: Handle,
    index: Index,
    logs: JobLogs,
    about: About,
    /// Ends streams that would otherwise go on for ever.
    stopping: CancellationToken,
}

/// How long a look-up waits for the index to catch up. Then it answers with what is there; `Stats` says how far the
/// index is.
const CATCH_UP: Duration = Duration::from_secs(5);

/// Answers of a stream that wait for the caller.
const ANSWERS_AHEAD: usize = 16;

type Answers<T> = ReceiverStream<Result<T, Status>>;

impl Admin {
    /// The service on an engine and its index.
    pub fn new(handle: Handle, index: Index, logs: JobLogs, about: About, stopping: CancellationToken) -> Self {
        Self { handle, index, logs, about, stopping }
    }

    /// Waits until the index has everything that is durable now, within [`CATCH_UP`].
    async fn caught_up(&self) -> Result<(Seq, IndexStatus), Status> {
        let last = self.handle.query(|engine, _| engine.state().last_seq()).await.map_err(refused)?;
        Ok((last, self.index.wait_for(last, CATCH_UP).await))
    }
}

fn unindexed(error: IndexError) -> Status {
    WireError::new(Reason::Unavailable, error.to_string()).retry_after(Duration::from_secs(1)).into()
}

/// The index has not come so far: nothing can be concluded from what it lacks.
fn behind(last: Seq, status: &IndexStatus) -> Status {
    let IndexStatus { applied, kind: _, problem } = status;
    let why = if problem.is_empty() { String::new() } else { format!(" ({problem})") };
    let message = format!("the index is at record {applied} of {last}{why}: try again");
    WireError::new(Reason::Unavailable, message).retry_after(Duration::from_secs(2)).into()
}

fn not_found(message: impl Into<String>, field: &str) -> Status {
    WireError::new(Reason::NotFound, message).at(field).into()
}

fn invalid(message: impl Into<String>, field: &str) -> Status {
    WireError::new(Reason::InvalidArgument, message).at(field).into()
}

/// An error with its sources, as an internal fault.
fn internal(error: &dyn std::error::Error) -> Status {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.push_str(": ");
        text.push_str(&error.to_string());
        source = error.source();
    }
    tracing::error!(error = text, "a call failed");
    WireError::new(Reason::Internal, text).into()
}

#[tonic::async_trait]
impl AdminService for Admin {
    async fn submit(&self, request: Request<v1::SubmitRequest>) -> Result<Response<v1::SubmitResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.submit_all(&caller, request.into_inner()).await.map(Response::new)
    }

    type ImportJobsStream = Answers<v1::ImportJobsResponse>;

    async fn import_jobs(
        &self,
        request: Request<Streaming<v1::ImportJobsRequest>>,
    ) -> Result<Response<Self::ImportJobsStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(import::serve(self.handle.clone(), caller, request.into_inner())))
    }

    async fn get_job(&self, request: Request<v1::GetJobRequest>) -> Result<Response<v1::GetJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.show_job(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_jobs(&self, request: Request<v1::ListJobsRequest>) -> Result<Response<v1::ListJobsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.page_of_jobs(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn wait_jobs(&self, request: Request<v1::WaitJobsRequest>) -> Result<Response<v1::WaitJobsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.wait_for_jobs(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn cancel_jobs(
        &self,
        request: Request<v1::CancelJobsRequest>,
    ) -> Result<Response<v1::CancelJobsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.cancel(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn retry_failed(
        &self,
        request: Request<v1::RetryFailedRequest>,
    ) -> Result<Response<v1::RetryFailedResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.retry(&caller, request.into_inner()).await.map(Response::new)
    }

    type ReadJobLogStream = Answers<v1::ReadJobLogResponse>;

    async fn read_job_log(
        &self,
        request: Request<v1::ReadJobLogRequest>,
    ) -> Result<Response<Self::ReadJobLogStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.job_log(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_queues(
        &self,
        request: Request<v1::ListQueuesRequest>,
    ) -> Result<Response<v1::ListQueuesResponse>, Status> {
        self.queues(&Caller::of(request.extensions())?).await.map(Response::new)
    }

    async fn pause_queue(
        &self,
        request: Request<v1::PauseQueueRequest>,
    ) -> Result<Response<v1::PauseQueueResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.pause(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn resume_queue(
        &self,
        request: Request<v1::ResumeQueueRequest>,
    ) -> Result<Response<v1::ResumeQueueResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.resume(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_limits(
        &self,
        request: Request<v1::ListLimitsRequest>,
    ) -> Result<Response<v1::ListLimitsResponse>, Status> {
        self.limits(&Caller::of(request.extensions())?).await.map(Response::new)
    }

    async fn set_limit(&self, request: Request<v1::SetLimitRequest>) -> Result<Response<v1::SetLimitResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.change_limit(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn unset_limit(
        &self,
        request: Request<v1::UnsetLimitRequest>,
    ) -> Result<Response<v1::UnsetLimitResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.lift_limit(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_schedules(
        &self,
        request: Request<v1::ListSchedulesRequest>,
    ) -> Result<Response<v1::ListSchedulesResponse>, Status> {
        self.schedules(&Caller::of(request.extensions())?).await.map(Response::new)
    }

    async fn pause_schedule(
        &self,
        request: Request<v1::PauseScheduleRequest>,
    ) -> Result<Response<v1::PauseScheduleResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let v1::PauseScheduleRequest { schedule, reason } = request.into_inner();
        let (changed, receipt) = self.switch_schedule(&caller, &schedule, Some(reason)).await?;
        Ok(Response::new(v1::PauseScheduleResponse { changed, receipt: Some(receipt) }))
    }

    async fn resume_schedule(
        &self,
        request: Request<v1::ResumeScheduleRequest>,
    ) -> Result<Response<v1::ResumeScheduleResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let v1::ResumeScheduleRequest { schedule } = request.into_inner();
        let (changed, receipt) = self.switch_schedule(&caller, &schedule, None).await?;
        Ok(Response::new(v1::ResumeScheduleResponse { changed, receipt: Some(receipt) }))
    }

    async fn remove_schedule(
        &self,
        request: Request<v1::RemoveScheduleRequest>,
    ) -> Result<Response<v1::RemoveScheduleResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.drop_schedule(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn explain_job(
        &self,
        request: Request<v1::ExplainJobRequest>,
    ) -> Result<Response<v1::ExplainJobResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.why_job(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn explain_worker(
        &self,
        request: Request<v1::ExplainWorkerRequest>,
    ) -> Result<Response<v1::ExplainWorkerResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.why_worker(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_workers(
        &self,
        request: Request<v1::ListWorkersRequest>,
    ) -> Result<Response<v1::ListWorkersResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.workers(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn drain_workers(
        &self,
        request: Request<v1::DrainWorkersRequest>,
    ) -> Result<Response<v1::DrainWorkersResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.drain(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn resume_worker(
        &self,
        request: Request<v1::ResumeWorkerRequest>,
    ) -> Result<Response<v1::ResumeWorkerResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.resume_set_aside(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn pause_retries(
        &self,
        request: Request<v1::PauseRetriesRequest>,
    ) -> Result<Response<v1::PauseRetriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let v1::PauseRetriesRequest { reason } = request.into_inner();
        let (changed, receipt) = self.switch_retries(&caller, Some(reason)).await?;
        Ok(Response::new(v1::PauseRetriesResponse { changed, receipt: Some(receipt) }))
    }

    async fn resume_retries(
        &self,
        request: Request<v1::ResumeRetriesRequest>,
    ) -> Result<Response<v1::ResumeRetriesResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let v1::ResumeRetriesRequest {} = request.into_inner();
        let (changed, receipt) = self.switch_retries(&caller, None).await?;
        Ok(Response::new(v1::ResumeRetriesResponse { changed, receipt: Some(receipt) }))
    }

    async fn cleanup_workers(
        &self,
        request: Request<v1::CleanupWorkersRequest>,
    ) -> Result<Response<v1::CleanupWorkersResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.cleanup(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_contracts(
        &self,
        request: Request<v1::ListContractsRequest>,
    ) -> Result<Response<v1::ListContractsResponse>, Status> {
        self.contracts(request.into_inner()).await.map(Response::new)
    }

    async fn stats(&self, request: Request<v1::StatsRequest>) -> Result<Response<v1::StatsResponse>, Status> {
        self.totals(&Caller::of(request.extensions())?).await.map(Response::new)
    }

    async fn server_info(&self, _: Request<v1::ServerInfoRequest>) -> Result<Response<v1::ServerInfoResponse>, Status> {
        self.info().await.map(Response::new)
    }

    type ReadLedgerStream = Answers<v1::ReadLedgerResponse>;

    async fn read_ledger(
        &self,
        request: Request<v1::ReadLedgerRequest>,
    ) -> Result<Response<Self::ReadLedgerStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.ledger_lines(&caller, request.into_inner()).await.map(Response::new)
    }

    type ExportStateStream = Answers<v1::ExportStateResponse>;

    async fn export_state(
        &self,
        request: Request<v1::ExportStateRequest>,
    ) -> Result<Response<Self::ExportStateStream>, Status> {
        self.export(&Caller::of(request.extensions())?).await.map(Response::new)
    }

    type ImportLegacyStream = Answers<v1::ImportLegacyResponse>;

    async fn import_legacy(
        &self,
        request: Request<Streaming<v1::ImportLegacyRequest>>,
    ) -> Result<Response<Self::ImportLegacyStream>, Status> {
        let caller = Caller::of(request.extensions())?;
        Ok(Response::new(legacy::serve(self.handle.clone(), caller, request.into_inner())))
    }

    async fn who_am_i(&self, request: Request<v1::WhoAmIRequest>) -> Result<Response<v1::WhoAmIResponse>, Status> {
        Ok(Response::new(Self::who(&Caller::of(request.extensions())?)))
    }

    async fn create_token(
        &self,
        request: Request<v1::CreateTokenRequest>,
    ) -> Result<Response<v1::CreateTokenResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.make_token(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_tokens(&self, _: Request<v1::ListTokensRequest>) -> Result<Response<v1::ListTokensResponse>, Status> {
        self.tokens().await.map(Response::new)
    }

    async fn revoke_token(
        &self,
        request: Request<v1::RevokeTokenRequest>,
    ) -> Result<Response<v1::RevokeTokenResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.revoke(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn list_audit(
        &self,
        request: Request<v1::ListAuditRequest>,
    ) -> Result<Response<v1::ListAuditResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        self.audit(&caller, request.into_inner()).await.map(Response::new)
    }

    async fn read_directory_secret(
        &self,
        request: Request<v1::ReadDirectorySecretRequest>,
    ) -> Result<Response<v1::ReadDirectorySecretResponse>, Status> {
        self.directory_secret(&Caller::of(request.extensions())?).await.map(Response::new)
    }
}

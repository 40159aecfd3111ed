//! Cancel, retry, pause, resume, drain, clean up.

use orch_core::id::{JobId, QueueName, WorkerId};
use orch_core::liveness::Order;
use orch_core::state::JobFilter;
use orch_proto::convert::{Faults, JobConditions};
use orch_proto::error::WireError;
use orch_proto::v1;
use tonic::Status;

use super::{Admin, refused};
use crate::access::Caller;
use crate::engine::commands::access::As;
use crate::engine::commands::admin::{CancelJobs, CleanupWorkers, DrainWorkers, PauseQueue, ResumeQueue, RetryFailed};
use crate::engine::commands::trust::{ResumeWorker, SwitchRetries};

/// So many jobs are cancelled or retried in one batch: with the longest reason, they stay below the ledger's bound, and
/// a million of them do not hold up everybody else.
const AT_ONCE: usize = 1000;

impl Admin {
    pub(super) async fn cancel(
        &self,
        caller: &Caller,
        request: v1::CancelJobsRequest,
    ) -> Result<v1::CancelJobsResponse, Status> {
        let v1::CancelJobsRequest { filter, reason, dry_run } = request;
        let conditions: JobConditions = filter.unwrap_or_default().try_into()?;
        let Some(filter) = self.open_filter(conditions, caller.queues()).await? else {
            return Ok(v1::CancelJobsResponse::default());
        };
        let which = CancelJobs { filter: filter.clone(), reason: reason.clone(), dry_run: true };
        let replied = self.handle.call(which).await.map_err(refused)?;
        let (meant, mut receipt) = (replied.answer, replied.receipt);
        let mut cancelled: Vec<JobId> = if dry_run { meant.clone() } else { Vec::new() };
        for some in meant.chunks(AT_ONCE).filter(|_| !dry_run) {
            let filter = JobFilter { jobs: some.to_vec(), ..filter.clone() };
            let command = CancelJobs { filter, reason: reason.clone(), dry_run: false };
            let actor = caller.actor(jobs_in_words(some));
            let replied = self.handle.call_in_turn(As { actor, command }).await.map_err(refused)?;
            cancelled.extend(replied.answer);
            receipt = replied.receipt;
        }
        let cancelled = cancelled.into_iter().map(JobId::get).collect();
        Ok(v1::CancelJobsResponse { cancelled, receipt: Some(receipt.into()) })
    }

    pub(super) async fn retry(
        &self,
        caller: &Caller,
        request: v1::RetryFailedRequest,
    ) -> Result<v1::RetryFailedResponse, Status> {
        let v1::RetryFailedRequest { filter, limit, dry_run } = request;
        let conditions: JobConditions = filter.unwrap_or_default().try_into()?;
        let Some(filter) = self.open_filter(conditions, caller.queues()).await? else {
            return Ok(v1::RetryFailedResponse::default());
        };
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let which = RetryFailed { filter: filter.clone(), limit, dry_run: true };
        let replied = self.handle.call(which).await.map_err(refused)?;
        let (meant, mut receipt) = (replied.answer, replied.receipt);
        let mut retried: Vec<JobId> = if dry_run { meant.clone() } else { Vec::new() };
        for some in meant.chunks(AT_ONCE).filter(|_| !dry_run) {
            let filter = JobFilter { jobs: some.to_vec(), ..filter.clone() };
            let command = RetryFailed { filter, limit: 0, dry_run: false };
            let actor = caller.actor(jobs_in_words(some));
            let replied = self.handle.call_in_turn(As { actor, command }).await.map_err(refused)?;
            retried.extend(replied.answer);
            receipt = replied.receipt;
        }
        let retried = retried.into_iter().map(JobId::get).collect();
        Ok(v1::RetryFailedResponse { retried, receipt: Some(receipt.into()) })
    }

    pub(super) async fn pause(
        &self,
        caller: &Caller,
        request: v1::PauseQueueRequest,
    ) -> Result<v1::PauseQueueResponse, Status> {
        let v1::PauseQueueRequest { queue, reason } = request;
        let queue = queue_name(&queue)?;
        let actor = caller.actor(format!("queue {queue}"));
        let command = As { actor, command: PauseQueue { queue, reason } };
        let replied = self.handle.call(command).await.map_err(refused)?;
        replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok(v1::PauseQueueResponse { receipt: Some(replied.receipt.into()) })
    }

    pub(super) async fn resume(
        &self,
        caller: &Caller,
        request: v1::ResumeQueueRequest,
    ) -> Result<v1::ResumeQueueResponse, Status> {
        let v1::ResumeQueueRequest { queue } = request;
        let queue = queue_name(&queue)?;
        let actor = caller.actor(format!("queue {queue}"));
        let replied = self.handle.call(As { actor, command: ResumeQueue { queue } }).await.map_err(refused)?;
        replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok(v1::ResumeQueueResponse { receipt: Some(replied.receipt.into()) })
    }

    pub(super) async fn resume_set_aside(
        &self,
        caller: &Caller,
        request: v1::ResumeWorkerRequest,
    ) -> Result<v1::ResumeWorkerResponse, Status> {
        let v1::ResumeWorkerRequest { worker } = request;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker)).ok_or(faults)?;
        let actor = caller.actor(format!("worker {worker}"));
        let replied = self.handle.call(As { actor, command: ResumeWorker { worker } }).await.map_err(refused)?;
        replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok(v1::ResumeWorkerResponse { receipt: Some(replied.receipt.into()) })
    }

    /// Whether the switch was turned, and the receipt for it.
    pub(super) async fn switch_retries(
        &self,
        caller: &Caller,
        pause: Option<String>,
    ) -> Result<(bool, v1::Receipt), Status> {
        let actor = caller.actor("every retry".to_owned());
        let replied = self.handle.call(As { actor, command: SwitchRetries { pause } }).await.map_err(refused)?;
        Ok((replied.answer, replied.receipt.into()))
    }

    pub(super) async fn drain(
        &self,
        caller: &Caller,
        request: v1::DrainWorkersRequest,
    ) -> Result<v1::DrainWorkersResponse, Status> {
        let v1::DrainWorkersRequest { workers, all, terminate } = request;
        let workers = if all { Vec::new() } else { worker_ids(&workers)? };
        if workers.is_empty() && !all {
            return Ok(v1::DrainWorkersResponse::default());
        }
        let order = if terminate { Order::Terminate } else { Order::Drain };
        let told = self.handle.call(DrainWorkers { workers, order }).await.map_err(refused)?.answer;
        caller.did(format!("{} workers{}", told.len(), first_of(&told)));
        Ok(v1::DrainWorkersResponse { draining: told.iter().map(ToString::to_string).collect() })
    }

    pub(crate) async fn cleanup(
        &self,
        caller: &Caller,
        request: v1::CleanupWorkersRequest,
    ) -> Result<v1::CleanupWorkersResponse, Status> {
        let v1::CleanupWorkersRequest { workers } = request;
        let workers = worker_ids(&workers)?;
        let which = if workers.is_empty() { "every stale worker".to_owned() } else { first_of(&workers) };
        let command = As { actor: caller.actor(which), command: CleanupWorkers { workers } };
        let (removed, leases_ended) = self.handle.call(command).await.map_err(refused)?.answer;
        let removed = removed.iter().map(ToString::to_string).collect();
        Ok(v1::CleanupWorkersResponse { removed, leases_ended })
    }
}

/// How many jobs, and which come first: what the audit says of them.
fn jobs_in_words(jobs: &[JobId]) -> String {
    format!("{} jobs{}", jobs.len(), first_of(jobs))
}

fn first_of<T: std::fmt::Display>(items: &[T]) -> String {
    let first: Vec<String> = items.iter().take(8).map(ToString::to_string).collect();
    let more = if items.len() > first.len() { ", ..." } else { "" };
    if first.is_empty() { String::new() } else { format!(": {}{more}", first.join(", ")) }
}

fn queue_name(text: &str) -> Result<QueueName, Faults> {
    let mut faults = Faults::new();
    faults.take("queue", QueueName::new(text)).ok_or(faults)
}

fn worker_ids(texts: &[String]) -> Result<Vec<WorkerId>, Faults> {
    let mut faults = Faults::new();
    let each = texts.iter().enumerate();
    let ids = each.filter_map(|(i, text)| faults.take(&format!("workers[{i}]"), WorkerId::new(text))).collect();
    faults.or(ids)
}

//! Jobs in bulk: chunks are handed to the engine as they come, and answered in their order.

use orch_core::id::JobId;
use orch_core::job::JobSpec;
use orch_core::state::SubmitFault;
use orch_proto::convert::{Faults, submit_fault};
use orch_proto::error::Reason;
use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Status, Streaming};

use super::submit::{MAX_JOBS, differences};
use super::{ANSWERS_AHEAD, Answers, invalid, refused};
use crate::access::Caller;
use crate::engine::commands::access::As;
use crate::engine::commands::admin::ImportJobs;
use crate::engine::{Begun, Handle};

/// Chunks of one stream that await their sync.
const MAX_AHEAD: usize = 8;

/// A chunk that the engine has.
struct Chunk {
    number: u64,
    /// Per job that the engine has, its place in the chunk and its spec.
    taken: Vec<(u32, JobSpec)>,
    faults: Vec<v1::ImportFault>,
    begun: Begun<Vec<Result<(JobId, bool), SubmitFault>>>,
}

/// Serves one stream.
pub(super) fn serve(
    handle: Handle,
    caller: Caller,
    messages: Streaming<v1::ImportJobsRequest>,
) -> Answers<v1::ImportJobsResponse> {
    let (sender, answers) = mpsc::channel(ANSWERS_AHEAD);
    let (ahead, chunks) = mpsc::channel(MAX_AHEAD);
    let writer = tokio::spawn(write(handle.clone(), chunks, sender.clone()));
    tokio::spawn(async move {
        if let Err(status) = read(&handle, &caller, messages, ahead).await {
            // The answers to the chunks before the fault go first.
            let _ = writer.await;
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(answers)
}

async fn read(
    handle: &Handle,
    caller: &Caller,
    mut messages: Streaming<v1::ImportJobsRequest>,
    ahead: mpsc::Sender<Chunk>,
) -> Result<(), Status> {
    while let Some(v1::ImportJobsRequest { chunk: number, jobs }) = messages.message().await? {
        if jobs.len() > MAX_JOBS {
            return Err(invalid(
                format!("{} jobs in chunk {number}, at most {MAX_JOBS} are allowed", jobs.len()),
                "jobs",
            ));
        }
        let (mut taken, mut faults) = (Vec::with_capacity(jobs.len()), Vec::new());
        for (index, job) in (0u32..).zip(jobs) {
            match JobSpec::try_from(job) {
                Ok(spec) => match caller.check_queue(&spec.queue, "queue") {
                    Ok(()) => taken.push((index, spec)),
                    Err(status) => faults.push(forbidden(index, &status)),
                },
                Err(bad) => faults.push(malformed(index, &bad)),
            }
        }
        let specs = taken.iter().map(|(_, spec)| spec.clone()).collect();
        let actor = caller.actor(format!("{} jobs in chunk {number}", taken.len()));
        let begun = handle.begin(As { actor, command: ImportJobs(specs) }).await.map_err(refused)?;
        if ahead.send(Chunk { number, taken, faults, begun }).await.is_err() {
            return Ok(());
        }
    }
    Ok(())
}

async fn write(
    handle: Handle,
    mut chunks: mpsc::Receiver<Chunk>,
    sender: mpsc::Sender<Result<v1::ImportJobsResponse, Status>>,
) {
    while let Some(Chunk { number, taken, mut faults, begun }) = chunks.recv().await {
        let replied = match begun.answer().await {
            Ok(replied) => replied,
            Err(error) => {
                let _ = sender.send(Err(refused(error))).await;
                return;
            }
        };
        let mut response = v1::ImportJobsResponse {
            chunk: number,
            receipt: Some(replied.receipt.into()),
            ..v1::ImportJobsResponse::default()
        };
        for ((index, spec), outcome) in taken.into_iter().zip(replied.answer) {
            match outcome {
                Ok((_, true)) => response.existed += 1,
                Ok((job, false)) => {
                    response.submitted += 1;
                    if response.first_job == 0 {
                        response.first_job = job.get();
                    }
                }
                Err(fault) => faults.push(refused_job(&handle, index, &fault, &spec).await),
            }
        }
        faults.sort_unstable_by_key(|fault| fault.index);
        response.faults = faults;
        if sender.send(Ok(response)).await.is_err() {
            return;
        }
    }
}

fn forbidden(index: u32, status: &Status) -> v1::ImportFault {
    let reason = Reason::PermissionDenied.as_str().to_owned();
    v1::ImportFault { index, reason, message: status.message().to_owned() }
}

fn malformed(index: u32, faults: &Faults) -> v1::ImportFault {
    let reason = Reason::InvalidArgument.as_str().to_owned();
    v1::ImportFault { index, reason, message: faults.to_string() }
}

async fn refused_job(handle: &Handle, index: u32, fault: &SubmitFault, spec: &JobSpec) -> v1::ImportFault {
    let (reason, field) = submit_fault(fault);
    let message = format!("{field}: {fault}{}", differences(handle, fault, spec).await);
    v1::ImportFault { index, reason: reason.as_str().to_owned(), message }
}

//! The results stream: candidates are screened here, in parallel with the engine, and answered in the order in which
//! they came.
//!
//! A reader screens each batch and hands it to the engine; a writer awaits the engine's answers in order. What lies
//! between them is bounded, and when it is full the reader stops, which holds the worker back by flow control.

use std::sync::Arc;

use orch_core::id::WorkerId;
use orch_core::state::{BatchAnswer, CompleteAnswer, FailureReport, ResultsRefusal};
use orch_proto::convert::{self, ResultsAction, ResultsMessage};
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::submit_results_response::Answer;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::codegen::Bytes;
use tonic::{Status, Streaming};

use super::terms::TermsCache;
use super::{Binding, MAX_BATCH_BYTES, MAX_BATCH_CANDIDATES, MAX_UNACKED_BYTES, denied, refused};
use crate::access::Caller;
use crate::engine::commands::bound::Bound;
use crate::engine::commands::results::{CompleteJob, FailJob, JudgeBatch};
use crate::engine::sessions::{NotBound, Who};
use crate::engine::{Begun, CallError, Handle};

/// Messages of one stream that await their sync: far more small ones, of short jobs, than one sync takes along.
const MAX_AHEAD: usize = 512;

type Sender = mpsc::Sender<Result<v1::SubmitResultsResponse, Status>>;

/// What a candidate takes in memory besides its bytes, about: empty ones are not free.
const CANDIDATE_BYTES: usize = 128;

/// A message that the engine has, or that was refused before it.
struct Awaited {
    lease: u64,
    number: u64,
    answer: AwaitedAnswer,
    /// Its part of the stream's window, given back when it is answered.
    _room: Option<OwnedSemaphorePermit>,
}

enum AwaitedAnswer {
    Verdicts(Begun<Result<Result<BatchAnswer, ResultsRefusal>, NotBound>>),
    End(Begun<Result<Result<CompleteAnswer, ResultsRefusal>, NotBound>>),
    Refused(v1::ResultsRefused),
}

/// Serves one stream.
pub(super) fn serve(
    messages: Streaming<v1::SubmitResultsRequest>,
    handle: Handle,
    terms: Arc<TermsCache>,
    binding: Binding,
) -> ReceiverStream<Result<v1::SubmitResultsResponse, Status>> {
    let (sender, answers) = mpsc::channel(16);
    let (ahead, awaited) = mpsc::channel(MAX_AHEAD);
    let writer = tokio::spawn(write(awaited, sender.clone(), binding.caller.clone()));
    tokio::spawn(async move {
        let window = Arc::new(Semaphore::new(MAX_UNACKED_BYTES as usize));
        let reader = Reader { messages, handle, terms, binding, window, worker: None };
        if let Err(status) = reader.run(ahead).await {
            // The answers to what came before the fault go first.
            let _ = writer.await;
            let _ = sender.send(Err(status)).await;
        }
    });
    ReceiverStream::new(answers)
}

/// Takes messages as they come.
struct Reader {
    messages: Streaming<v1::SubmitResultsRequest>,
    handle: Handle,
    terms: Arc<TermsCache>,
    binding: Binding,
    /// Bytes that may be on their way: when it is used up, the reader stops, and flow control stops the worker.
    window: Arc<Semaphore>,
    /// Who sends, and, where somebody asks, what proves it.
    worker: Option<(WorkerId, Option<Who>)>,
}

impl Reader {
    async fn run(mut self, ahead: mpsc::Sender<Awaited>) -> Result<(), Status> {
        while let Some(message) = self.messages.message().await? {
            let message: ResultsMessage = message.try_into()?;
            let lease = message.lease.get();
            let (number, _room) = match &message.action {
                ResultsAction::Batch { number, candidates } => (*number, self.room(candidates).await),
                ResultsAction::Complete { .. } | ResultsAction::Fail { .. } => (0, None),
            };
            let answer = self.take(message).await?;
            // The writer is gone: so is the worker.
            if ahead.send(Awaited { lease, number, answer, _room }).await.is_err() {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Waits for room in the window. A batch beyond every bound gets all of it; it is refused at once.
    async fn room(&self, candidates: &[Bytes]) -> Option<OwnedSemaphorePermit> {
        let bytes: usize = candidates.iter().map(|candidate| candidate.len() + CANDIDATE_BYTES).sum();
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX).min(MAX_UNACKED_BYTES);
        // Never closed, so never an error.
        Arc::clone(&self.window).acquire_many_owned(bytes).await.ok()
    }

    async fn take(&mut self, message: ResultsMessage) -> Result<AwaitedAnswer, Status> {
        let ResultsMessage { worker, lease, action } = message;
        if let Some(worker) = worker {
            let who = self.binding.who(&worker);
            self.worker = Some((worker, who));
        }
        let Some((worker, who)) = self.worker.clone() else {
            let missing =
                WireError::new(Reason::InvalidArgument, "worker is missing in the first message of the stream");
            return Err(missing.at("worker").into());
        };
        match action {
            ResultsAction::Batch { number, candidates } => {
                let bytes: usize = candidates.iter().map(|candidate| candidate.len()).sum();
                if candidates.len() > MAX_BATCH_CANDIDATES as usize || bytes > MAX_BATCH_BYTES as usize {
                    return Ok(AwaitedAnswer::Refused(too_large(number, candidates.len(), bytes)));
                }
                let Some(terms) = self.terms.get(&self.handle, lease).await.map_err(refused)? else {
                    return Ok(AwaitedAnswer::Refused(convert::refused(&ResultsRefusal::LeaseLost(lease), number)));
                };
                let candidates = candidates.iter().map(|candidate| terms.judge(candidate)).collect();
                let command = Bound { who, command: JudgeBatch { worker, lease, number, candidates } };
                let begun = self.handle.begin(command).await;
                Ok(AwaitedAnswer::Verdicts(begun.map_err(refused)?))
            }
            ResultsAction::Complete { batches } => {
                let command = Bound { who, command: CompleteJob { worker, lease, batches } };
                let begun = self.handle.begin(command).await;
                Ok(AwaitedAnswer::End(begun.map_err(refused)?))
            }
            ResultsAction::Fail { class, message, exit_code } => {
                let report = FailureReport { class, message, exit_code };
                let command = Bound { who, command: FailJob { worker, lease, report } };
                let begun = self.handle.begin(command).await;
                Ok(AwaitedAnswer::End(begun.map_err(refused)?))
            }
        }
    }
}

fn too_large(number: u64, candidates: usize, bytes: usize) -> v1::ResultsRefused {
    let message = format!(
        "batch {number} has {candidates} candidates of {bytes} bytes in all, at most {MAX_BATCH_CANDIDATES} of \
         {MAX_BATCH_BYTES} bytes are allowed"
    );
    v1::ResultsRefused { reason: Reason::BatchTooLarge.as_str().to_owned(), message, number, ..Default::default() }
}

/// Sends the engine's answers in the order of the messages.
async fn write(mut awaited: mpsc::Receiver<Awaited>, sender: Sender, caller: Caller) {
    while let Some(Awaited { lease, number, answer, _room }) = awaited.recv().await {
        let answer = match answer {
            AwaitedAnswer::Refused(refusal) => Ok(Answer::Refused(refusal)),
            AwaitedAnswer::Verdicts(begun) => match begun.answer().await {
                Ok(replied) => match replied.answer {
                    Ok(Ok(verdicts)) => Ok(Answer::Verdicts(convert::verdicts(verdicts, replied.receipt))),
                    Ok(Err(refusal)) => Ok(Answer::Refused(convert::refused(&refusal, number))),
                    Err(not_bound) => Err(denied(&caller, &not_bound)),
                },
                Err(error) => unwritten(error, number),
            },
            AwaitedAnswer::End(begun) => match begun.answer().await {
                Ok(replied) => match replied.answer {
                    Ok(Ok(end)) => Ok(Answer::Ended(convert::ended(end, replied.receipt))),
                    Ok(Err(refusal)) => Ok(Answer::Refused(convert::refused(&refusal, number))),
                    Err(not_bound) => Err(denied(&caller, &not_bound)),
                },
                Err(error) => unwritten(error, number),
            },
        };
        let ended = answer.is_err();
        let response = answer.map(|answer| v1::SubmitResultsResponse { lease, answer: Some(answer) });
        if sender.send(response).await.is_err() || ended {
            return;
        }
    }
}

/// A message that the engine did not take: the worker keeps it and sends it again, unless the orchestrator stops.
fn unwritten(error: CallError, number: u64) -> Result<Answer, Status> {
    match error {
        CallError::Stopped => Err(refused(error)),
        CallError::Overloaded | CallError::ReadOnly(_) => Ok(Answer::Refused(v1::ResultsRefused {
            reason: Reason::ReadOnly.as_str().to_owned(),
            message: error.to_string(),
            expected_batch: 0,
            retry_after_ms: 1000,
            number,
        })),
    }
}

//! The submit stream: one for the whole worker, all leases on it, opened again whenever it breaks.

use std::sync::Arc;

use orch_core::id::LeaseId;
use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::{debug, info, warn};

use super::message::{Answer, Effect, Failure, FailureKind, Message, Refusal, Tally};
use crate::leases::StopReason;
use crate::pace::Pace;
use crate::report::count;
use crate::run::Worker;
use crate::session::Connected;

/// Messages between the outbox and the socket. Few: what lies here was already counted as sent.
const AHEAD: usize = 8;

/// How long results wait that were refused because the worker has to register first.
const AFTER_REGISTRATION: std::time::Duration = std::time::Duration::from_millis(200);

/// Delivers for as long as the worker lives.
pub(crate) async fn run(worker: Arc<Worker>) {
    let mut pace = Pace::of_calls();
    loop {
        let connected = worker.session.connected().await;
        let mut answered = false;
        let broke = one_stream(&worker, &connected, &mut answered).await;
        worker.delivery.disconnected();
        if let Err(status) = broke {
            worker.session.broke(&connected, "the submit stream", &status);
        }
        if answered {
            pace.reset();
        }
        tokio::time::sleep(pace.next_wait()).await;
    }
}

/// Runs one stream until it breaks or the session is renewed.
async fn one_stream(worker: &Worker, connected: &Connected, answered: &mut bool) -> Result<(), tonic::Status> {
    let (outbound, messages) = mpsc::channel(AHEAD);
    let mut client = connected.client();
    let receive = async {
        let mut answers = client.submit_results(ReceiverStream::new(messages)).await?.into_inner();
        while let Some(answer) = answers.message().await? {
            *answered = true;
            take_answer(worker, connected, answer);
        }
        Err(tonic::Status::unavailable("the orchestrator ended the stream"))
    };
    tokio::select! {
        broke = receive => broke,
        () = send_all(worker, outbound) => Err(tonic::Status::unavailable("the stream takes no more messages")),
        () = worker.session.renewed(connected) => Ok(()),
    }
}

/// Moves messages from the outbox to the stream until the stream is gone.
async fn send_all(worker: &Worker, outbound: mpsc::Sender<v1::SubmitResultsRequest>) {
    let mut filled = worker.delivery.filled.subscribe();
    let mut name = worker.config.name.to_string();
    loop {
        while let Some((lease, message)) = worker.delivery.next_message() {
            // The first message of a stream names the worker, the others need not.
            let request = to_wire(std::mem::take(&mut name), lease, message);
            if outbound.send(request).await.is_err() {
                return;
            }
        }
        let wake = worker.delivery.next_wake();
        tokio::select! {
            _ = filled.changed() => {}
            () = sleep_or_never(wake) => {}
        }
    }
}

async fn sleep_or_never(wait: Option<std::time::Duration>) {
    match wait {
        Some(wait) => tokio::time::sleep(wait).await,
        None => std::future::pending().await,
    }
}

/// Acts on one answer.
fn take_answer(worker: &Worker, connected: &Connected, response: v1::SubmitResultsResponse) {
    let v1::SubmitResultsResponse { lease, answer } = response;
    let lease = LeaseId::new(lease);
    let Some(answer) = answer else {
        warn!(%lease, "an answer of the orchestrator says nothing: is it of a newer version?");
        return;
    };
    let (mut answer, receipt, state) = from_wire(answer);
    if let Answer::Refused(refusal) = &mut answer
        && refusal.reason == "UNKNOWN_WORKER"
    {
        // Nothing is wrong with the results; the orchestrator was restarted and has to hear of this worker first.
        refusal.retry_after = refusal.retry_after.max(AFTER_REGISTRATION);
        worker.session.renew(connected);
    }
    worker.session.keep_receipt(receipt);
    match worker.delivery.answer(lease, answer) {
        Effect::Nothing => {}
        Effect::Judged(tally) => {
            count(&worker.counters.accepted, tally.accepted);
            count(&worker.counters.duplicates, tally.duplicates);
            count(&worker.counters.rejected, tally.rejected);
        }
        Effect::Ended => {
            let done = state == v1::JobState::Done;
            count(if done { &worker.counters.done } else { &worker.counters.failed }, 1);
            debug!(%lease, state = state.as_str_name(), "the job's end is acknowledged");
            worker.leases.remove(lease);
        }
        Effect::Lost(message) => {
            warn!(%lease, "{message}");
            count(&worker.counters.lost, 1);
            // A job that still runs ends its lease itself, once it stopped.
            if !worker.leases.stop_running(lease, StopReason::Lost) {
                worker.leases.remove(lease);
            }
        }
        Effect::Replaced(message) => {
            warn!(%lease, "the job fails: {message}");
            worker.leases.stop_running(lease, StopReason::Refused);
        }
    }
}

fn to_wire(worker: String, lease: LeaseId, message: Message) -> v1::SubmitResultsRequest {
    use v1::submit_results_request::Action;
    let action = match message {
        Message::Batch { number, candidates } => Action::Batch(v1::Batch { number, candidates }),
        Message::Complete { batches } => Action::Complete(v1::Complete { batches }),
        Message::Fail(Failure { kind, message, exit_code }) => {
            let class = match kind {
                FailureKind::Error => v1::FailureClass::Error,
                FailureKind::Timeout => v1::FailureClass::Timeout,
                FailureKind::Permanent => v1::FailureClass::Permanent,
            };
            Action::Fail(v1::Fail { class: class.into(), message, exit_code })
        }
    };
    v1::SubmitResultsRequest { worker, lease: lease.get(), action: Some(action) }
}

/// The answer, the receipt that came with it, and the state of the job if it ended.
fn from_wire(answer: v1::submit_results_response::Answer) -> (Answer, Option<v1::Receipt>, v1::JobState) {
    use v1::submit_results_response::Answer as Wire;
    match answer {
        Wire::Verdicts(v1::BatchVerdicts { number, verdicts, receipt }) => {
            (Answer::Verdicts { number, tally: tally(&verdicts) }, receipt, v1::JobState::Unspecified)
        }
        Wire::Ended(v1::JobEnded { state, failure_class: _, message, receipt }) => {
            let state = v1::JobState::try_from(state).unwrap_or(v1::JobState::Unspecified);
            if state != v1::JobState::Done {
                info!(state = state.as_str_name(), "the job is not done: {message}");
            }
            (Answer::Ended, receipt, state)
        }
        Wire::Refused(v1::ResultsRefused { reason, message, expected_batch, retry_after_ms, number }) => {
            let retry_after = std::time::Duration::from_millis(retry_after_ms);
            let refusal = Refusal { number, reason, message, expected: expected_batch, retry_after };
            (Answer::Refused(refusal), None, v1::JobState::Unspecified)
        }
    }
}

fn tally(verdicts: &[v1::Verdict]) -> Tally {
    use v1::verdict::Verdict;
    let mut tally = Tally::default();
    for v1::Verdict { verdict } in verdicts {
        match verdict {
            Some(Verdict::Accepted(_)) => tally.accepted += 1,
            Some(Verdict::Duplicate(_)) => tally.duplicates += 1,
            Some(Verdict::Rejected(v1::Rejection { rule, message })) => {
                // One line says what is wrong; ten thousand of the same would hide it.
                if tally.rejected == 0 {
                    info!(rule, "a candidate was rejected: {message}");
                }
                tally.rejected += 1;
            }
            None => {}
        }
    }
    tally
}

//! What workers are told: the core's answers to messages of the worker service.

use orch_core::contract::Rejection;
use orch_core::id::{Kind, QueueName};
use orch_core::liveness::Order;
use orch_core::resource::Variant;
use orch_core::state::{BatchAnswer, CompleteAnswer, Granted, Place, ResultsRefusal, Verdict};
use orch_core::time::Span;

use super::Receipt;
use crate::error::Reason;
use crate::v1;

/// A grant as its worker sees it. `name` is empty for a job without one, `traceparent` where nobody traces, and `hosts` for a
/// job of one worker.
pub fn lease(
    granted: Granted,
    queue: &QueueName,
    kind: &Kind,
    name: String,
    traceparent: String,
    hosts: Vec<String>,
) -> v1::Lease {
    let Granted { lease, job, attempt, contract, ttl, heartbeat, timeout, payload, variant, task, place } = granted;
    v1::Lease {
        lease: lease.get(),
        job: job.get(),
        attempt,
        queue: queue.to_string(),
        kind: kind.to_string(),
        payload_json: payload.as_str().to_owned(),
        contract: contract.map(|contract| contract.to_string()).unwrap_or_default(),
        ttl_ms: ttl.0,
        heartbeat_ms: heartbeat.0,
        // 0 says "none" on the wire.
        timeout_ms: timeout.map_or(0, |Span(ms)| ms.max(1)),
        name,
        traceparent,
        resources: (variant != Variant::default()).then(|| (&variant).into()),
        task: task.map(Into::into),
        gang: place.map(|place| gang_place(place, hosts)),
    }
}

fn gang_place(place: Place, hosts: Vec<String>) -> v1::GangPlace {
    let Place { rank, members } = place;
    v1::GangPlace { rank, members: members.iter().map(ToString::to_string).collect(), hosts }
}

impl From<Order> for v1::WorkerOrder {
    fn from(order: Order) -> Self {
        match order {
            Order::Run => Self::Run,
            Order::Drain => Self::Drain,
            Order::Terminate => Self::Terminate,
        }
    }
}

impl From<Verdict> for v1::Verdict {
    fn from(verdict: Verdict) -> Self {
        use v1::verdict::Verdict as Wire;
        let verdict = match verdict {
            Verdict::Accepted(seq) => Wire::Accepted(seq.0),
            Verdict::Duplicate(seq) => Wire::Duplicate(seq.0),
            Verdict::Rejected(Rejection { rule, message }) => {
                Wire::Rejected(v1::Rejection { rule: rule.name().to_owned(), message })
            }
        };
        Self { verdict: Some(verdict) }
    }
}

/// The verdicts on a batch, and the receipt for them.
pub fn verdicts(answer: BatchAnswer, receipt: Receipt) -> v1::BatchVerdicts {
    let BatchAnswer { number, verdicts, last: _ } = answer;
    v1::BatchVerdicts {
        number,
        verdicts: verdicts.into_iter().map(Into::into).collect(),
        receipt: Some(receipt.into()),
    }
}

/// How a job stands after its worker said complete or fail. A job that is tried again has the state UNSPECIFIED: it
/// is no longer this worker's affair.
pub fn ended(answer: CompleteAnswer, receipt: Receipt) -> v1::JobEnded {
    let receipt = Some(receipt.into());
    match answer {
        CompleteAnswer::Done => v1::JobEnded {
            state: v1::JobState::Done.into(),
            failure_class: v1::FailureClass::Unspecified.into(),
            message: String::new(),
            receipt,
        },
        CompleteAnswer::Failed { class, message, finally } => {
            let state = if finally { v1::JobState::Failed } else { v1::JobState::Unspecified };
            v1::JobEnded { state: state.into(), failure_class: v1::FailureClass::from(class).into(), message, receipt }
        }
    }
}

/// A refusal of one message of the results stream; `number` is the batch's, 0 for complete and fail.
pub fn refused(refusal: &ResultsRefusal, number: u64) -> v1::ResultsRefused {
    let (reason, expected_batch) = match refusal {
        ResultsRefusal::LeaseLost(_) => (Reason::LeaseLost, 0),
        ResultsRefusal::NotGrantee { .. } => (Reason::NotGrantee, 0),
        ResultsRefusal::BatchGap { expected, .. } => (Reason::BatchGap, *expected),
        ResultsRefusal::BatchChanged { .. } => (Reason::Conflict, 0),
        ResultsRefusal::OtherContract { .. } => (Reason::WrongState, 0),
    };
    v1::ResultsRefused {
        reason: reason.as_str().to_owned(),
        message: refusal.to_string(),
        expected_batch,
        retry_after_ms: 0,
        number,
    }
}

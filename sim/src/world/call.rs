//! Calls to the orchestrator and their answers, as they travel.

use std::collections::BTreeMap;
use std::fmt;

use orch_core::id::{JobId, LeaseId, QueueName, ScheduleName, WorkerId};
use orch_core::liveness::Progress;
use orch_core::receipt::Receipt;
use orch_core::resource::Pools;
use orch_core::state::{
    BatchAnswer, CompleteAnswer, FailureReport, Refusal, ResultsRefusal, Submission, SubmitRefusal, Submitted,
};
use orch_core::time::Span;
use orch_orchestrator::engine::CallError;
use orch_orchestrator::engine::commands::worker::{HeartbeatAnswer, LeaseAnswer, RegisterRefusal, Registered};

/// Who calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Party {
    /// The worker of this number.
    Worker(usize),
    /// The people.
    People,
}

/// What people do to a schedule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    Pause,
    Resume,
    Remove,
}

/// A call, without its caller.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Register {
        worker: WorkerId,
        leases: Vec<LeaseId>,
        last_receipt: Option<Receipt>,
        uptime: Span,
        pools: Pools,
        labels: BTreeMap<String, String>,
        lives_for: Option<Span>,
    },
    Lease {
        worker: WorkerId,
        max: usize,
        wait: Span,
        pools: Pools,
        remaining: Option<Span>,
    },
    Heartbeat {
        worker: WorkerId,
        leases: Vec<(LeaseId, Progress)>,
        last_receipt: Option<Receipt>,
    },
    Results {
        worker: WorkerId,
        lease: LeaseId,
        number: u64,
        candidates: Vec<String>,
    },
    Complete {
        worker: WorkerId,
        lease: LeaseId,
        batches: u64,
    },
    Fail {
        worker: WorkerId,
        lease: LeaseId,
        report: FailureReport,
    },
    Release {
        worker: WorkerId,
        leases: Vec<LeaseId>,
    },
    Deregister {
        worker: WorkerId,
    },
    Submit(Submission),
    Cancel {
        jobs: Vec<JobId>,
    },
    Retry,
    Pause {
        queue: QueueName,
    },
    Resume {
        queue: QueueName,
    },
    Retries {
        pause: bool,
    },
    Schedule {
        schedule: ScheduleName,
        change: Change,
    },
    Trust {
        worker: WorkerId,
    },
}

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum CallKind {
    Register,
    Lease,
    Heartbeat,
    Results,
    Complete,
    Fail,
    Release,
    Deregister,
    Submit,
    Cancel,
    Retry,
    Pause,
    Resume,
    Retries,
    Schedule,
    Trust,
}

impl CallKind {
    /// Every kind.
    pub const ALL: [Self; 16] = [
        Self::Register,
        Self::Lease,
        Self::Heartbeat,
        Self::Results,
        Self::Complete,
        Self::Fail,
        Self::Release,
        Self::Deregister,
        Self::Submit,
        Self::Cancel,
        Self::Retry,
        Self::Pause,
        Self::Resume,
        Self::Retries,
        Self::Schedule,
        Self::Trust,
    ];
}

impl Call {
    pub(crate) const fn kind(&self) -> CallKind {
        match self {
            Self::Register { .. } => CallKind::Register,
            Self::Lease { .. } => CallKind::Lease,
            Self::Heartbeat { .. } => CallKind::Heartbeat,
            Self::Results { .. } => CallKind::Results,
            Self::Complete { .. } => CallKind::Complete,
            Self::Fail { .. } => CallKind::Fail,
            Self::Release { .. } => CallKind::Release,
            Self::Deregister { .. } => CallKind::Deregister,
            Self::Submit(_) => CallKind::Submit,
            Self::Cancel { .. } => CallKind::Cancel,
            Self::Retry => CallKind::Retry,
            Self::Pause { .. } => CallKind::Pause,
            Self::Resume { .. } => CallKind::Resume,
            Self::Retries { .. } => CallKind::Retries,
            Self::Schedule { .. } => CallKind::Schedule,
            Self::Trust { .. } => CallKind::Trust,
        }
    }
}

impl fmt::Display for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Register { worker, leases, last_receipt, .. } => {
                write!(f, "register {worker} with {leases:?} up to {:?}", last_receipt.map(|receipt| receipt.seq.0))
            }
            Self::Lease { worker, max, pools, remaining, wait: _ } => {
                let left = |(name, pool): (_, &orch_core::resource::Pool)| format!("{name} {}", pool.free());
                let left: Vec<String> = pools.0.iter().map(left).collect();
                write!(f, "lease {max} for {worker} with {}", left.join(", "))?;
                remaining.map_or(Ok(()), |remaining| write!(f, ", which lives for {remaining} more"))
            }
            Self::Heartbeat { worker, leases, .. } => {
                let leases: Vec<u64> = leases.iter().map(|(lease, _)| lease.get()).collect();
                write!(f, "heartbeat {worker} {leases:?}")
            }
            Self::Results { worker, lease, number, candidates } => {
                write!(f, "results of {worker} lease {lease} batch {number} of {}", candidates.len())
            }
            Self::Complete { worker, lease, batches } => {
                write!(f, "complete of {worker} lease {lease} after {batches}")
            }
            Self::Fail { worker, lease, report } => {
                write!(f, "fail of {worker} lease {lease} {:?} {:?} {}", report.class, report.exit_code, report.message)
            }
            Self::Release { worker, leases } => write!(f, "release of {worker} {leases:?}"),
            Self::Deregister { worker } => write!(f, "deregister {worker}"),
            Self::Submit(submission) => {
                write!(f, "submit {} jobs, {} schedules", submission.jobs.len(), submission.schedules.len())
            }
            Self::Cancel { jobs } => write!(f, "cancel {jobs:?}"),
            Self::Retry => write!(f, "retry"),
            Self::Pause { queue } => write!(f, "pause {queue}"),
            Self::Resume { queue } => write!(f, "resume {queue}"),
            Self::Retries { pause } => write!(f, "pause retries: {pause}"),
            Self::Schedule { schedule, change } => write!(f, "{change:?} schedule {schedule}"),
            Self::Trust { worker } => write!(f, "trust {worker} again"),
        }
    }
}

/// A step of a call at which something goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The request is lost.
    RequestLost,
    /// The orchestrator dies before the batch that holds the call is durable.
    CrashBeforeCommit,
    /// The orchestrator dies when the batch is durable, before it answers.
    CrashAfterCommit,
    /// The answer is lost.
    ResponseLost,
    /// The request arrives twice.
    Duplicate,
}

impl Step {
    /// Every step.
    pub const ALL: [Self; 5] =
        [Self::RequestLost, Self::CrashBeforeCommit, Self::CrashAfterCommit, Self::ResponseLost, Self::Duplicate];
}

/// A call on its way.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) from: Party,
    /// Which life of the caller it was: an answer to an earlier one reaches nobody.
    pub(crate) life: u64,
    pub(crate) call: Call,
    pub(crate) step: Option<Step>,
}

/// An answer.
#[derive(Clone)]
pub(crate) enum Answer {
    Registered(Result<Registered, RegisterRefusal>),
    Leased(LeaseAnswer),
    Beat(HeartbeatAnswer),
    Judged {
        lease: LeaseId,
        number: u64,
        verdicts: Result<BatchAnswer, ResultsRefusal>,
        receipt: Receipt,
    },
    Ended {
        lease: LeaseId,
        end: Result<CompleteAnswer, ResultsRefusal>,
        receipt: Receipt,
    },
    Released(Vec<LeaseId>),
    Left,
    Submitted(Result<Submitted, SubmitRefusal>),
    Cancelled,
    Retried,
    Controlled(Result<(), Refusal>),
    /// The engine did not take the call.
    NotTaken(CallError),
    /// The connection broke.
    Broken,
}

/// An answer on its way.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) id: u64,
    pub(crate) to: Party,
    pub(crate) life: u64,
    pub(crate) answer: Answer,
}

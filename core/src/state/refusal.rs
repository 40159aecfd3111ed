//! Why a command was refused: data, one enum per operation, each variant a thing the caller could do differently.

use crate::contract::{BindError, ContractError};
use crate::id::{ContractRef, JobId, LeaseId, QueueName, ScheduleName, WorkerId};
use crate::limit::LimitTarget;
use crate::record::FailureClass;
use crate::timetable::MAX_SCHEDULES;

/// Why a submit was refused. Nothing of it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitRefusal {
    /// A job of it cannot be.
    #[error("job {index}: {fault}")]
    Job {
        /// The job's place in the submit, from 0.
        index: usize,
        /// Why.
        fault: SubmitFault,
    },
    /// A contract has faults.
    #[error(transparent)]
    Contract(#[from] ContractError),
    /// The version is registered with another text; a registered version never changes.
    #[error("contract {0} is registered with another text: give the new text a new version")]
    ContractChanged(ContractRef),
    /// A queue refers to a contract that nobody registered.
    #[error("queue {queue} names contract {contract}, which is not registered: submit the contract first")]
    UnknownContract {
        /// The queue.
        queue: QueueName,
        /// The contract.
        contract: ContractRef,
    },
    /// A schedule of it cannot be.
    #[error(transparent)]
    Schedule(#[from] ScheduleRefusal),
    /// The caller may submit jobs, but not change what they go by. The word is `contracts`, `queues` or `limits`.
    #[error("{0} would be defined or changed, which needs the role operator: the caller may only submit jobs")]
    MayNotDefine(&'static str),
}

/// Why a schedule cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleRefusal {
    /// Its job could not be submitted.
    #[error("the job of schedule {schedule}: {fault}")]
    Job {
        /// The schedule.
        schedule: ScheduleName,
        /// Why.
        fault: SubmitFault,
    },
    /// It never comes.
    #[error("schedule {schedule}: {cron:?} names no time within four years")]
    Never {
        /// The schedule.
        schedule: ScheduleName,
        /// Its expression.
        cron: String,
    },
    /// There are too many.
    #[error("there are {MAX_SCHEDULES} schedules, and no more can be")]
    TooMany,
}

/// Why a job cannot be submitted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SubmitFault {
    /// There is no such queue.
    #[error("queue {0} does not exist: define it first, with `orchctl submit`")]
    UnknownQueue(QueueName),
    /// Neither the job nor its queue names a kind.
    #[error("no kind: neither the job nor queue {0} names one")]
    NoKind(QueueName),
    /// It depends on a job that the submit does not hold.
    #[error("depends_on names {0:?}, which is no job of this submit")]
    UnknownDependency(String),
    /// Two jobs of the submit have this name, and one depends on it.
    #[error("depends_on names {0:?}, which two jobs of this submit are called")]
    AmbiguousDependency(String),
    /// It waits for itself, directly or through others.
    #[error("depends_on goes in a circle through {0:?}")]
    DependencyCircle(String),
    /// The key stands for a job with another spec.
    #[error("idempotency key {key:?} stands for job {job}, which was submitted with another spec")]
    KeyConflict {
        /// The key.
        key: String,
        /// The job.
        job: JobId,
    },
    /// A limit that does not let jobs wait has no room for it.
    #[error("limit {limit} is at {max} of {max} unfinished jobs, and does not let more wait")]
    LimitReached {
        /// The limit.
        limit: LimitTarget,
        /// How many unfinished jobs it admits.
        max: u32,
    },
    /// The queue's contract cannot judge it.
    #[error(transparent)]
    Payload(#[from] BindError),
}

/// Why results, a completion or a failure were refused. Nothing was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ResultsRefusal {
    /// The lease is not current, and how it ended is not remembered.
    #[error("lease {0} is not current: its job was given to another worker, or has ended")]
    LeaseLost(LeaseId),
    /// The lease belongs to another worker.
    #[error("lease {lease} was not granted to worker {worker}")]
    NotGrantee {
        /// The lease.
        lease: LeaseId,
        /// The caller.
        worker: WorkerId,
    },
    /// A batch is missing before this one.
    #[error("batch {got} of lease {lease} came, batch {expected} was expected: send again from there")]
    BatchGap {
        /// The lease.
        lease: LeaseId,
        /// The number that came.
        got: u64,
        /// The number to go on with.
        expected: u64,
    },
    /// The number was judged before, with other candidates in it.
    #[error("batch {number} of lease {lease} was judged before, with other candidates in it")]
    BatchChanged {
        /// The lease.
        lease: LeaseId,
        /// The batch.
        number: u64,
    },
    /// The candidates were judged by another contract than the lease's.
    #[error("lease {lease} is judged by {expected}, not by {got}")]
    OtherContract {
        /// The lease.
        lease: LeaseId,
        /// The lease's contract.
        expected: String,
        /// The candidates'.
        got: ContractRef,
    },
}

/// How a job stands after its worker said complete or fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CompleteAnswer {
    /// The job is done.
    Done,
    /// The attempt failed; the job is retried, or not.
    Failed {
        /// How.
        class: FailureClass,
        /// In words.
        message: String,
        /// Whether the job failed for good.
        finally: bool,
    },
}

/// Why a control command was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// There is no such queue.
    #[error("queue {0} does not exist")]
    UnknownQueue(QueueName),
    /// There is no such contract.
    #[error("contract {0} is not registered")]
    UnknownContract(ContractRef),
    /// The contract cannot judge here.
    #[error("contract {0} cannot be compiled by this version")]
    BrokenContract(ContractRef),
    /// Nothing limits this.
    #[error("there is no limit {0}")]
    UnknownLimit(LimitTarget),
    /// There is no such schedule.
    #[error("there is no schedule {0}")]
    UnknownSchedule(ScheduleName),
    /// The worker gets jobs as it is.
    #[error("worker {0} was not set aside")]
    NotSetAside(WorkerId),
    /// A field of the payload is missing.
    #[error(transparent)]
    Payload(#[from] BindError),
}

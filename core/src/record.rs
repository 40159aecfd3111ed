//! Every event of the ledger: facts, in the past tense, that carry their outcome.
//!
//! An event says what became of a job (`next`), not how to compute it, so that replay needs no clock, no policy
//! and no contract. Names and fields are the ledger's format: a change here is a change of format, and the golden
//! ledgers under `tests/` must go on replaying.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::access::{Audited, SessionId, TokenCreated, TokenId};
use crate::contract::ContractSpec;
use crate::digest::Digest;
use crate::id::{ContractRef, ImportId, JobId, Kind, LeaseId, QueueName, ScheduleName, Seq, WorkerId};
use crate::job::{JobSpec, Payload};
use crate::limit::{LimitSpec, LimitTarget};
use crate::queue::QueueSpec;
use crate::resource::Needs;
use crate::time::{Span, Timestamp};
use crate::timetable::{Firing, ScheduleSpec};

/// The version of the ledger's format that a new ledger has.
pub const FORMAT: u32 = 1;

/// The latest version of the format that this code reads and writes; it knows all from 1 on. A ledger has the lowest
/// version that has all of its events, so that older versions of Orch go on reading it as long as they can.
pub const NEWEST_FORMAT: u32 = 2;

/// Whether this code reads and writes that version of the format.
pub const fn knows_format(format: u32) -> bool {
    format >= 1 && format <= NEWEST_FORMAT
}

/// A line of the ledger: an event, its place and the wall time at which it was decided.
#[derive(Clone, Debug)]
pub struct Record {
    /// Its place.
    pub seq: Seq,
    /// When it was decided.
    pub at: Timestamp,
    /// What happened.
    pub event: Event,
}

/// What happened. In JSON: an object with one key, the event's name in snake case.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Event {
    /// The first line of a segment. Written by the ledger itself.
    SegmentOpened {
        /// The ledger that the segment belongs to.
        ledger: String,
        /// The format of its lines.
        format: u32,
        /// The chain link of the last batch before it; 64 zeros before the first.
        previous: Digest,
    },
    /// The last line of a segment that is complete. Written by the ledger itself.
    SegmentSealed {},
    /// An orchestrator took the ledger into use.
    Booted {
        /// One more than at the boot before: the writer's own fencing token.
        epoch: u64,
        /// The orchestrator's version.
        version: String,
        /// The host it runs on.
        host: String,
        /// Its process id.
        pid: u32,
    },
    /// A queue was defined, or defined anew.
    QueueDefined(Box<QueueSpec>),
    /// A queue's jobs are no longer leased.
    QueuePaused {
        /// The queue.
        queue: QueueName,
        /// Why, in the words of who did it.
        reason: String,
    },
    /// A queue's jobs are leased again.
    QueueResumed {
        /// The queue.
        queue: QueueName,
    },
    /// A version of a contract came into being; it never changes.
    ContractRegistered(Box<ContractSpec>),
    /// A job was submitted. Its id is this record's seq.
    JobSubmitted(Box<JobSubmitted>),
    /// A task of an array became a job, to be leased at once. Its id is this record's seq.
    TaskMade {
        /// The array.
        array: JobId,
        /// The task's number.
        index: i64,
    },
    /// Every task of an array has ended: each is done, failed for good or cancelled. The array is done if all are, failed if
    /// one failed, and cancelled otherwise.
    ArrayEnded {
        /// The array.
        array: JobId,
        /// Tasks that are done.
        done: u64,
        /// Tasks that failed for good.
        #[serde(default, skip_serializing_if = "none")]
        failed: u64,
        /// Tasks that were cancelled.
        #[serde(default, skip_serializing_if = "none")]
        cancelled: u64,
    },
    /// A job waits for other jobs, or for a time, no longer.
    JobReadied {
        /// The job.
        job: JobId,
        /// Set if it now waits for this time.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        not_before: Option<Timestamp>,
    },
    /// A worker got a job. The lease's id is this record's seq.
    LeaseGranted {
        /// The job.
        job: JobId,
        /// The how-manieth lease of the job this is, from 1.
        attempt: u32,
        /// The grantee.
        worker: WorkerId,
        /// The contract that judges the candidates of this lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        contract: Option<ContractRef>,
        /// How many distinct candidates make the job complete, if the contract says.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        expected: Option<u64>,
        /// Which of the job's alternatives of resources it gets, from 0.
        #[serde(default, skip_serializing_if = "is_zero")]
        variant: u32,
        /// The registration of the grantee, where callers are known: nobody else may act under the lease.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        session: Option<SessionId>,
        /// The other members of a gang, by rank from 1; the grantee has rank 0.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        members: Vec<GangMember>,
    },
    /// A worker gave a job back undone; no attempt is charged.
    LeaseReleased {
        /// The job.
        job: JobId,
        /// Its lease.
        lease: LeaseId,
        /// Why, of a gang: which of its members gave it back, or did not show up.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A lease ended because its worker was lost.
    LeaseExpired {
        /// The job.
        job: JobId,
        /// Its lease.
        lease: LeaseId,
        /// How the worker was lost.
        cause: ExpiryCause,
        /// What became of the job.
        next: Next,
        /// Which member of a gang was lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// A batch of candidates was judged. The next `accepted` records are its accepted candidates, in order.
    BatchJudged(Box<BatchJudged>),
    /// A candidate passed every gate.
    CandidateAccepted(Box<CandidateAccepted>),
    /// A job is done.
    JobCompleted {
        /// The job.
        job: JobId,
        /// The lease under which it was done.
        lease: LeaseId,
    },
    /// An attempt failed: the worker said so, the time was over, or the job was incomplete.
    AttemptFailed {
        /// The job.
        job: JobId,
        /// Its lease.
        lease: LeaseId,
        /// What kind of failure.
        class: FailureClass,
        /// The failure in words, at most [`MAX_MESSAGE_CHARS`] characters.
        message: String,
        /// What became of the job.
        next: Next,
        /// How the runner ended, if it did by itself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        exit_code: Option<i32>,
        /// What the job needs from now on, if a retry rule gives it more.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        needs: Option<Needs>,
        /// The worker does not get the job again.
        #[serde(default, skip_serializing_if = "is_false")]
        avoid_worker: bool,
        /// The member of a gang on which it failed, if not the grantee.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        worker: Option<WorkerId>,
    },
    /// A job will not be done.
    JobCancelled {
        /// The job.
        job: JobId,
        /// Why.
        cause: CancelCause,
        /// In words.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        reason: String,
    },
    /// A failed job was put back by a person; its counts start anew.
    JobRetried {
        /// The job.
        job: JobId,
    },
    /// A file of older results began to come in. The import's id is this record's seq.
    LegacyImportStarted {
        /// SHA-256 of the whole file: the same file is imported once.
        file: Digest,
        /// Its name.
        name: String,
        /// The contract that judges its lines.
        contract: ContractRef,
        /// What stands in for a job's payload where the contract refers to one.
        payload: Payload,
    },
    /// Every line of the file was judged.
    LegacyImportFinished {
        /// The import.
        import: ImportId,
    },
    /// A limit was set, or set anew.
    LimitSet(Box<LimitSpec>),
    /// A limit was lifted.
    LimitUnset {
        /// What it was about.
        limit: LimitTarget,
    },
    /// A token was made. Its id is this record's seq.
    TokenCreated(Box<TokenCreated>),
    /// A token lets nobody in any more.
    TokenRevoked {
        /// The token.
        token: TokenId,
        /// Who revoked it.
        by: String,
    },
    /// Somebody did something, or was refused.
    Audited(Box<Audited>),
    /// Everything failed on a worker while others had jobs done: it gets none until a person says so.
    WorkerSetAside {
        /// The worker.
        worker: WorkerId,
        /// Why.
        reason: String,
    },
    /// A worker that was set aside gets jobs again.
    WorkerResumed {
        /// The worker.
        worker: WorkerId,
    },
    /// No job is tried again from now on.
    RetriesPaused {
        /// Why, in the words of who did it.
        reason: String,
    },
    /// Jobs are tried again.
    RetriesResumed {},
    /// A schedule was set, or set anew.
    ScheduleSet(Box<ScheduleSpec>),
    /// A schedule submits no jobs; what comes meanwhile is left out.
    SchedulePaused {
        /// The schedule.
        schedule: ScheduleName,
        /// Why, in the words of who did it.
        reason: String,
    },
    /// A schedule submits jobs again.
    ScheduleResumed {
        /// The schedule.
        schedule: ScheduleName,
    },
    /// A schedule is no more. Its jobs stay.
    ScheduleRemoved {
        /// The schedule.
        schedule: ScheduleName,
    },
    /// A time of a schedule came. Times before it come no more.
    ScheduleFired {
        /// The schedule.
        schedule: ScheduleName,
        /// The instant that was due.
        due: Timestamp,
        /// What came of it.
        outcome: Firing,
    },
    /// The ledger was damaged, and a person had it cut behind its last good batch. Records that stood from here on are
    /// gone, and their seqs are given out anew. Since format 2.
    LedgerRepaired {
        /// The first seq that was lost: the one behind the last record that was kept.
        lost_from: Seq,
        /// The last record that HEAD had seen durable. None: HEAD could not be read, or had seen none of the lost.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        lost_to: Option<Seq>,
        /// What was wrong: the first fault, with its place.
        reason: String,
        /// Who had it repaired.
        by: String,
    },
}

impl Event {
    /// The first version of the format that has this event.
    pub const fn format(&self) -> u32 {
        match self {
            Self::SegmentOpened { .. }
            | Self::SegmentSealed {}
            | Self::Booted { .. }
            | Self::QueueDefined(_)
            | Self::QueuePaused { .. }
            | Self::QueueResumed { .. }
            | Self::ContractRegistered(_)
            | Self::JobSubmitted(_)
            | Self::JobReadied { .. }
            | Self::LeaseGranted { .. }
            | Self::LeaseReleased { .. }
            | Self::LeaseExpired { .. }
            | Self::BatchJudged(_)
            | Self::CandidateAccepted(_)
            | Self::JobCompleted { .. }
            | Self::AttemptFailed { .. }
            | Self::JobCancelled { .. }
            | Self::JobRetried { .. }
            | Self::LegacyImportStarted { .. }
            | Self::LegacyImportFinished { .. }
            // They came later, but only a ledger of which somebody set limits has them.
            | Self::LimitSet(_)
            | Self::LimitUnset { .. }
            // And only one whose callers are known has these.
            | Self::TokenCreated(_)
            | Self::TokenRevoked { .. }
            | Self::Audited(_)
            | Self::WorkerSetAside { .. }
            | Self::WorkerResumed { .. }
            | Self::RetriesPaused { .. }
            | Self::RetriesResumed {}
            // And only one with arrays these.
            | Self::TaskMade { .. }
            | Self::ArrayEnded { .. }
            // Or schedules.
            | Self::ScheduleSet(_)
            | Self::SchedulePaused { .. }
            | Self::ScheduleResumed { .. }
            | Self::ScheduleRemoved { .. }
            | Self::ScheduleFired { .. } => 1,
            Self::LedgerRepaired { .. } => 2,
        }
    }

    /// The event's name, as it stands in the ledger.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::SegmentOpened { .. } => "segment_opened",
            Self::SegmentSealed {} => "segment_sealed",
            Self::Booted { .. } => "booted",
            Self::QueueDefined(_) => "queue_defined",
            Self::QueuePaused { .. } => "queue_paused",
            Self::QueueResumed { .. } => "queue_resumed",
            Self::ContractRegistered(_) => "contract_registered",
            Self::JobSubmitted(_) => "job_submitted",
            Self::TaskMade { .. } => "task_made",
            Self::ArrayEnded { .. } => "array_ended",
            Self::JobReadied { .. } => "job_readied",
            Self::LeaseGranted { .. } => "lease_granted",
            Self::LeaseReleased { .. } => "lease_released",
            Self::LeaseExpired { .. } => "lease_expired",
            Self::BatchJudged(_) => "batch_judged",
            Self::CandidateAccepted(_) => "candidate_accepted",
            Self::JobCompleted { .. } => "job_completed",
            Self::AttemptFailed { .. } => "attempt_failed",
            Self::JobCancelled { .. } => "job_cancelled",
            Self::JobRetried { .. } => "job_retried",
            Self::LegacyImportStarted { .. } => "legacy_import_started",
            Self::LegacyImportFinished { .. } => "legacy_import_finished",
            Self::LimitSet(_) => "limit_set",
            Self::LimitUnset { .. } => "limit_unset",
            Self::TokenCreated(_) => "token_created",
            Self::TokenRevoked { .. } => "token_revoked",
            Self::Audited(_) => "audited",
            Self::WorkerSetAside { .. } => "worker_set_aside",
            Self::WorkerResumed { .. } => "worker_resumed",
            Self::RetriesPaused { .. } => "retries_paused",
            Self::RetriesResumed {} => "retries_resumed",
            Self::ScheduleSet(_) => "schedule_set",
            Self::SchedulePaused { .. } => "schedule_paused",
            Self::ScheduleResumed { .. } => "schedule_resumed",
            Self::ScheduleRemoved { .. } => "schedule_removed",
            Self::ScheduleFired { .. } => "schedule_fired",
            Self::LedgerRepaired { .. } => "ledger_repaired",
        }
    }
}

/// A worker that got a gang's job together with others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GangMember {
    /// The worker.
    pub worker: WorkerId,
    /// Which of the job's alternatives of resources it sets apart, from 0.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub variant: u32,
    /// Its registration, where callers are known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub session: Option<SessionId>,
}

/// The most characters of a message in a record.
pub const MAX_MESSAGE_CHARS: usize = 2000;

/// The most rejections of one batch that a record lists; the rest are counted.
pub const MAX_LISTED_REJECTIONS: usize = 16;

/// A job, as submitted and as resolved.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSubmitted {
    /// What was submitted, word for word.
    pub spec: JobSpec,
    /// The kind in force.
    pub kind: Kind,
    /// The jobs it waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<JobId>,
    /// When it may start at the earliest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
}

/// Where candidates come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Origin {
    /// A worker, under a lease of a job.
    Lease {
        /// The job.
        job: JobId,
        /// The lease.
        lease: LeaseId,
    },
    /// A file of older results.
    Legacy {
        /// The import.
        import: ImportId,
    },
}

/// The verdicts on one batch, as far as they are not in the records of the accepted candidates.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchJudged {
    /// Who sent it.
    pub origin: Origin,
    /// Its number under that origin, from 1 without gaps.
    pub number: u64,
    /// How many candidates were accepted: they are the records that follow.
    pub accepted: u32,
    /// For each duplicate, the seq of the candidate that was there first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub duplicates: Vec<Seq>,
    /// How many candidates were rejected.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub rejected: u32,
    /// The first [`MAX_LISTED_REJECTIONS`] of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rejections: Vec<ListedRejection>,
}

/// A rejected candidate, for people who look for the reason.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListedRejection {
    /// Its place in the batch, from 0.
    pub index: u32,
    /// The rule that it broke.
    pub rule: crate::contract::Rule,
    /// How, with the values.
    pub message: String,
}

/// An accepted candidate.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CandidateAccepted {
    /// Who found it.
    pub origin: Origin,
    /// The contract that it passed.
    pub contract: ContractRef,
    /// SHA-256 of its identity.
    pub digest: Digest,
    /// Per numeric identity field, where in its bucket the value lies, in 2^-32 of the quantum.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub offsets: Vec<u32>,
    /// The candidate, in canonical JSON.
    pub candidate: Box<RawValue>,
}

/// How a worker was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExpiryCause {
    /// The lease was not extended for its whole time to live.
    Ttl,
    /// The worker was not heard of at all for the stale time.
    WorkerStale,
    /// The worker no longer knows the lease, or has registered anew.
    WorkerLostIt,
    /// A person removed the worker.
    WorkerRemoved,
}

/// What becomes of a job after an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    /// It can be leased at once.
    Ready,
    /// It waits until then.
    Delayed(Timestamp),
    /// It stays failed until a person retries it.
    Failed(FailureClass),
}

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// The job's runner reported an error.
    Error,
    /// The runner ran longer than the job's timeout.
    Timeout,
    /// The worker said the job was complete; the contract's completeness rule says it is not.
    Incomplete,
    /// No retry would help: the payload is wrong, the worker refuses the kind.
    Permanent,
    /// Worker after worker was lost with it.
    Quarantined,
}

/// Why a job was cancelled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CancelCause {
    /// A person asked for it.
    Request,
    /// A job that it depends on failed or was cancelled.
    Dependency(JobId),
    /// A limit was reached at which newer jobs take the place of older ones.
    Limit(LimitTarget),
    /// No worker took it for so long.
    QueueTimeout(Span),
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_false(flag: &bool) -> bool {
    !*flag
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

// serde's skip_serializing_if passes a reference.
#[allow(clippy::trivially_copy_pass_by_ref)]
fn none(count: &u64) -> bool {
    *count == 0
}

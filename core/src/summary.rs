//! What listings show of a job: a fold over the records that speak of it.
//!
//! The index keeps these, also of jobs that have left the state's memory. Events carry their outcome, so this fold
//! and [`crate::state::State::apply`] cannot disagree on where a job stands; a property test compares them.

use serde::{Deserialize, Serialize};

use crate::array::Task;
use crate::id::{JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use crate::record::{CancelCause, Event, ExpiryCause, FailureClass, Next, Origin, Record};
use crate::state::OpenState;
use crate::time::Timestamp;

/// A job's state, as a listing names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobPhase {
    /// It waits for other jobs.
    Blocked,
    /// It can be leased.
    Ready,
    /// It waits for a time.
    Delayed,
    /// A worker has it.
    Leased,
    /// An array of which every task was leased: some have not ended.
    Running,
    /// It is done.
    Done,
    /// It failed for good, until a person retries it.
    Failed,
    /// It was cancelled.
    Cancelled,
}

impl From<OpenState> for JobPhase {
    fn from(state: OpenState) -> Self {
        match state {
            OpenState::Blocked => Self::Blocked,
            OpenState::Ready => Self::Ready,
            OpenState::Delayed => Self::Delayed,
            OpenState::Leased => Self::Leased,
            OpenState::Running => Self::Running,
            OpenState::Failed => Self::Failed,
        }
    }
}

/// How the tasks of an array stand.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskCounts {
    /// Not leased yet.
    pub left: u64,
    /// Leased, and not ended since.
    pub open: u64,
    /// Done.
    pub done: u64,
    /// Failed for good.
    pub failed: u64,
    /// Cancelled.
    pub cancelled: u64,
}

impl TaskCounts {
    /// How many there are.
    pub const fn tasks(&self) -> u64 {
        self.left + self.open + self.done + self.failed + self.cancelled
    }

    /// The count of a task that was made and is in this phase.
    const fn of(&mut self, phase: JobPhase) -> &mut u64 {
        match phase {
            JobPhase::Blocked | JobPhase::Ready | JobPhase::Delayed | JobPhase::Leased | JobPhase::Running => {
                &mut self.open
            }
            JobPhase::Done => &mut self.done,
            JobPhase::Failed => &mut self.failed,
            JobPhase::Cancelled => &mut self.cancelled,
        }
    }
}

/// What listings show of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobSummary {
    /// Its queue.
    pub queue: QueueName,
    /// Its kind.
    pub kind: Kind,
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its priority.
    pub priority: i32,
    /// Where it stands.
    pub phase: JobPhase,
    /// When it is due, while it is delayed.
    pub not_before: Option<Timestamp>,
    /// Leases granted.
    pub attempts: u32,
    /// Failures of the job itself since it was submitted or last retried by a person.
    pub failures: u32,
    /// Workers lost since then.
    pub crashes: u32,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When its state changed last.
    pub changed_at: Timestamp,
    /// Who holds it, or held it last; of a gang, the first member.
    pub worker: Option<WorkerId>,
    /// The other members of its gang, or of its last.
    pub members: Vec<WorkerId>,
    /// Its current or last lease.
    pub lease: Option<LeaseId>,
    /// Candidates accepted from it.
    pub accepted: u64,
    /// Candidates of it that were there before.
    pub duplicates: u64,
    /// Candidates of it that were rejected.
    pub rejected: u64,
    /// How it failed last.
    pub class: Option<FailureClass>,
    /// The last failure, or why it was cancelled.
    pub message: String,
    /// The last record that speaks of it.
    pub last_seq: Seq,
    /// How its tasks stand, if it is an array. Its attempts and candidates are those of its tasks together.
    pub tasks: Option<TaskCounts>,
    /// Which task of which array it is, if it is one.
    pub task: Option<Task>,
}

/// The job that a record speaks of. Accepted candidates name theirs too. What is said of a task concerns its array, too:
/// see [`JobSummary::follow`].
pub fn job_of(record: &Record) -> Option<JobId> {
    let of_origin = |origin: &Origin| match origin {
        Origin::Lease { job, .. } => Some(*job),
        Origin::Legacy { .. } => None,
    };
    match &record.event {
        Event::JobSubmitted(_) | Event::TaskMade { .. } => Some(JobId(record.seq)),
        Event::ArrayEnded { array, .. } => Some(*array),
        Event::JobReadied { job, .. }
        | Event::LeaseGranted { job, .. }
        | Event::LeaseReleased { job, .. }
        | Event::LeaseExpired { job, .. }
        | Event::JobCompleted { job, .. }
        | Event::AttemptFailed { job, .. }
        | Event::JobCancelled { job, .. }
        | Event::JobRetried { job } => Some(*job),
        Event::BatchJudged(judged) => of_origin(&judged.origin),
        Event::CandidateAccepted(accepted) => of_origin(&accepted.origin),
        Event::SegmentOpened { .. }
        | Event::SegmentSealed {}
        | Event::Booted { .. }
        | Event::QueueDefined(_)
        | Event::QueuePaused { .. }
        | Event::QueueResumed { .. }
        | Event::ContractRegistered(_)
        | Event::LegacyImportStarted { .. }
        | Event::LegacyImportFinished { .. }
        | Event::LimitSet(_)
        | Event::LimitUnset { .. }
        | Event::TokenCreated(_)
        | Event::TokenRevoked { .. }
        | Event::Audited(_)
        | Event::WorkerSetAside { .. }
        | Event::WorkerResumed { .. }
        | Event::RetriesPaused { .. }
        | Event::RetriesResumed {}
        | Event::ScheduleSet(_)
        | Event::SchedulePaused { .. }
        | Event::ScheduleResumed { .. }
        | Event::ScheduleRemoved { .. }
        | Event::ScheduleFired { .. }
        | Event::LedgerRepaired { .. } => None,
    }
}

impl JobSummary {
    /// The summary that a submit begins; None for any other record, also for those of tasks, which need their array's.
    pub fn begin(record: &Record) -> Option<Self> {
        let Event::JobSubmitted(submitted) = &record.event else { return None };
        let (phase, not_before) = match submitted.not_before {
            _ if !submitted.depends_on.is_empty() => (JobPhase::Blocked, None),
            Some(due) => (JobPhase::Delayed, Some(due)),
            None => (JobPhase::Ready, None),
        };
        Some(Self {
            queue: submitted.spec.queue.clone(),
            kind: submitted.kind.clone(),
            name: submitted.spec.name.clone(),
            priority: submitted.spec.priority,
            phase,
            not_before,
            attempts: 0,
            failures: 0,
            crashes: 0,
            submitted_at: record.at,
            changed_at: record.at,
            worker: None,
            members: Vec::new(),
            lease: None,
            accepted: 0,
            duplicates: 0,
            rejected: 0,
            class: None,
            message: String::new(),
            last_seq: record.seq,
            tasks: submitted
                .spec
                .array
                .as_ref()
                .map(|array| TaskCounts { left: array.tasks.len(), ..TaskCounts::default() }),
            task: None,
        })
    }

    /// The summary of a task that was made, given its array's; None for any other record.
    pub fn begin_task(array: &Self, record: &Record) -> Option<Self> {
        let Event::TaskMade { array: id, index } = &record.event else { return None };
        Some(Self {
            phase: JobPhase::Ready,
            not_before: None,
            attempts: 0,
            failures: 0,
            crashes: 0,
            changed_at: record.at,
            worker: None,
            members: Vec::new(),
            lease: None,
            accepted: 0,
            duplicates: 0,
            rejected: 0,
            class: None,
            message: String::new(),
            last_seq: record.seq,
            tasks: None,
            task: Some(Task { array: *id, index: *index }),
            ..array.clone()
        })
    }

    /// Takes into account what became of one of its tasks; `before` is None if it was made just now.
    pub fn follow(&mut self, before: Option<&Self>, after: &Self) {
        let Some(tasks) = &mut self.tasks else { return };
        let from = match before {
            Some(before) => tasks.of(before.phase),
            None => &mut tasks.left,
        };
        *from = from.saturating_sub(1);
        *tasks.of(after.phase) += 1;
        if before.is_none() && tasks.left == 0 {
            self.phase = JobPhase::Running;
        }
        if before.map(|before| before.phase) != Some(after.phase) {
            self.changed_at = after.changed_at;
        }
        let more = |now: u64, of: fn(&Self) -> u64| now + of(after).saturating_sub(before.map_or(0, of));
        self.attempts += after.attempts.saturating_sub(before.map_or(0, |before| before.attempts));
        self.accepted = more(self.accepted, |summary| summary.accepted);
        self.duplicates = more(self.duplicates, |summary| summary.duplicates);
        self.rejected = more(self.rejected, |summary| summary.rejected);
    }

    /// Takes a later record that speaks of this job into account.
    pub fn take(&mut self, record: &Record) {
        self.last_seq = record.seq;
        match &record.event {
            Event::JobReadied { not_before, .. } => match not_before {
                Some(due) => self.enter(JobPhase::Delayed, Some(*due), record),
                None => self.enter(JobPhase::Ready, None, record),
            },
            Event::LeaseGranted { attempt, worker, members, .. } => {
                self.attempts = *attempt;
                self.worker = Some(worker.clone());
                self.members = members.iter().map(|member| member.worker.clone()).collect();
                self.lease = Some(LeaseId(record.seq));
                self.enter(JobPhase::Leased, None, record);
            }
            Event::LeaseReleased { .. } => self.enter(JobPhase::Ready, None, record),
            Event::LeaseExpired { cause, next, .. } => {
                self.crashes += 1;
                self.message = match cause {
                    ExpiryCause::Ttl => "its lease was not extended in time".into(),
                    ExpiryCause::WorkerStale => "its worker was not heard of any more".into(),
                    ExpiryCause::WorkerLostIt => "its worker no longer knew the lease".into(),
                    ExpiryCause::WorkerRemoved => "its worker was removed".into(),
                };
                self.go_on(*next, record);
            }
            Event::BatchJudged(judged) => {
                self.accepted += u64::from(judged.accepted);
                self.duplicates += judged.duplicates.len() as u64;
                self.rejected += u64::from(judged.rejected);
            }
            Event::JobCompleted { .. } => self.enter(JobPhase::Done, None, record),
            Event::AttemptFailed { class, message, next, .. } => {
                self.failures += 1;
                self.class = Some(*class);
                self.message.clone_from(message);
                self.go_on(*next, record);
            }
            Event::JobCancelled { cause, reason, .. } => {
                self.message = match cause {
                    CancelCause::Request => reason.clone(),
                    CancelCause::Dependency(job) => format!("job {job}, which it depends on, failed or was cancelled"),
                    CancelCause::Limit(limit) => format!("limit {limit} was reached: newer jobs took its place"),
                    CancelCause::QueueTimeout(span) => format!("no worker took it for {span}, its queue_timeout"),
                };
                if let Some(tasks) = &mut self.tasks {
                    tasks.cancelled += std::mem::take(&mut tasks.left);
                }
                self.enter(JobPhase::Cancelled, None, record);
            }
            Event::JobRetried { .. } => {
                self.failures = 0;
                self.crashes = 0;
                let phase = if self.tasks.is_some() { JobPhase::Running } else { JobPhase::Ready };
                self.enter(phase, None, record);
            }
            Event::ArrayEnded { failed, cancelled, .. } => {
                let phase = match (failed, cancelled) {
                    (0, 0) => JobPhase::Done,
                    (0, _) => JobPhase::Cancelled,
                    (_, _) => JobPhase::Failed,
                };
                self.message = match phase {
                    JobPhase::Failed => format!("{failed} of its tasks failed"),
                    JobPhase::Cancelled => format!("{cancelled} of its tasks were cancelled"),
                    JobPhase::Blocked
                    | JobPhase::Ready
                    | JobPhase::Delayed
                    | JobPhase::Leased
                    | JobPhase::Running
                    | JobPhase::Done => String::new(),
                };
                self.class = (*failed > 0).then_some(FailureClass::Error);
                self.enter(phase, None, record);
            }
            Event::JobSubmitted(_)
            | Event::TaskMade { .. }
            | Event::CandidateAccepted(_)
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => {}
        }
    }

    fn go_on(&mut self, next: Next, record: &Record) {
        match next {
            Next::Ready => self.enter(JobPhase::Ready, None, record),
            Next::Delayed(due) => self.enter(JobPhase::Delayed, Some(due), record),
            Next::Failed(class) => {
                self.class = Some(class);
                self.enter(JobPhase::Failed, None, record);
            }
        }
    }

    fn enter(&mut self, phase: JobPhase, not_before: Option<Timestamp>, record: &Record) {
        self.phase = phase;
        self.not_before = not_before;
        self.changed_at = record.at;
    }
}

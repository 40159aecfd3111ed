//! Jobs and counts as listings show them.

use orch_core::array::Task;
use orch_core::id::JobId;
use orch_core::queue::QueueSpec;
use orch_core::state::{Counts, JobCounts, Registered};
use orch_core::summary::{JobPhase, JobSummary, TaskCounts};
use orch_core::time::Timestamp;

use super::UnknownState;
use crate::v1;

impl From<JobPhase> for v1::JobState {
    fn from(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Blocked => Self::Blocked,
            JobPhase::Ready => Self::Ready,
            JobPhase::Delayed => Self::Delayed,
            JobPhase::Leased => Self::Leased,
            JobPhase::Done => Self::Done,
            JobPhase::Failed => Self::Failed,
            JobPhase::Cancelled => Self::Cancelled,
            JobPhase::Running => Self::Running,
        }
    }
}

impl TryFrom<v1::JobState> for JobPhase {
    type Error = UnknownState;

    fn try_from(state: v1::JobState) -> Result<Self, UnknownState> {
        match state {
            v1::JobState::Unspecified => Err(UnknownState { what: "job state", value: state.into() }),
            v1::JobState::Blocked => Ok(Self::Blocked),
            v1::JobState::Ready => Ok(Self::Ready),
            v1::JobState::Delayed => Ok(Self::Delayed),
            v1::JobState::Leased => Ok(Self::Leased),
            v1::JobState::Done => Ok(Self::Done),
            v1::JobState::Failed => Ok(Self::Failed),
            v1::JobState::Cancelled => Ok(Self::Cancelled),
            v1::JobState::Running => Ok(Self::Running),
        }
    }
}

/// A job as listings show it.
pub fn summary(job: JobId, summary: JobSummary) -> v1::JobSummary {
    let JobSummary {
        queue,
        kind,
        name,
        priority,
        phase,
        not_before,
        attempts,
        failures,
        crashes,
        submitted_at,
        changed_at,
        worker,
        members: _,
        lease,
        accepted,
        duplicates,
        rejected,
        class,
        message,
        last_seq,
        tasks,
        task,
    } = summary;
    v1::JobSummary {
        job: job.get(),
        queue: queue.to_string(),
        kind: kind.to_string(),
        name: name.unwrap_or_default(),
        state: v1::JobState::from(phase).into(),
        attempts,
        failures,
        crashes,
        priority,
        submitted_unix_ms: submitted_at.0,
        changed_unix_ms: changed_at.0,
        worker: worker.map(|worker| worker.to_string()).unwrap_or_default(),
        lease: lease.map(|lease| lease.get()).unwrap_or_default(),
        accepted,
        duplicates,
        rejected,
        failure_class: class.map_or(v1::FailureClass::Unspecified, Into::into).into(),
        message,
        last_seq: last_seq.0,
        not_before_unix_ms: unix_ms(not_before),
        tasks: tasks.map(|TaskCounts { left, open, done, failed, cancelled }| v1::TaskCounts {
            left,
            open,
            done,
            failed,
            cancelled,
        }),
        task: task.map(Into::into),
    }
}

impl From<Task> for v1::Task {
    fn from(task: Task) -> Self {
        Self { array: task.array.get(), index: task.index }
    }
}

/// A time on the wire; 0 for none.
pub fn unix_ms(time: Option<Timestamp>) -> i64 {
    time.map_or(0, |time| time.0)
}

impl From<JobCounts> for v1::JobCounts {
    fn from(counts: JobCounts) -> Self {
        let JobCounts { blocked, ready, delayed, leased, done, failed, cancelled } = counts;
        Self { blocked, ready, delayed, leased, done, failed, cancelled }
    }
}

/// Totals, as [`v1::StatsResponse`] has them.
pub fn totals(counts: &Counts) -> (v1::JobCounts, v1::CandidateCounts, v1::AttemptCounts) {
    // `ends` only serves those who wait for jobs.
    let Counts { jobs, accepted, duplicate, rejected, leases_granted, failures, crashes, released, ends: _ } = *counts;
    let candidates = v1::CandidateCounts { accepted, duplicate, rejected };
    let attempts = v1::AttemptCounts { leases_granted, failures, crashes, released };
    (jobs.into(), candidates, attempts)
}

/// A queue and where its jobs stand.
pub fn queue_status(
    spec: &QueueSpec,
    paused: Option<&str>,
    jobs: JobCounts,
    oldest_ready: Option<Timestamp>,
) -> v1::QueueStatus {
    v1::QueueStatus {
        spec: Some(spec.into()),
        paused: paused.is_some(),
        paused_reason: paused.unwrap_or_default().to_owned(),
        jobs: Some(jobs.into()),
        oldest_ready_unix_ms: unix_ms(oldest_ready),
        waits: None,
    }
}

/// A registered contract.
///
/// # Errors
/// If it cannot be written as JSON (a bound that is not finite); no registered one is such.
pub fn contract_status(registered: &Registered) -> Result<v1::ContractStatus, serde_json::Error> {
    let Registered { contract: _, spec, seq, accepted } = registered;
    Ok(v1::ContractStatus {
        contract: spec.reference().to_string(),
        spec_json: serde_json::to_string(&**spec)?,
        seq: seq.0,
        accepted: *accepted,
    })
}

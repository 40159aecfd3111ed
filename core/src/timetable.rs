//! Schedules: jobs that come again and again, at times of the calendar.
//!
//! A schedule stands in the ledger, and so does each of its firings, which names the instant that it was due at and comes in one
//! batch with its job. So no instant fires twice, whatever restarts or clocks do; `state/timetable` decides.

use serde::{Deserialize, Serialize};

use crate::cron::{Cron, Zone};
use crate::id::{JobId, ScheduleName};
use crate::job::JobSpec;
use crate::queue::is_default;
use crate::time::{Span, Timestamp};

/// The most schedules of a cluster.
pub const MAX_SCHEDULES: usize = 10_000;

/// The most missed times that are made up for at once: those before are left out.
pub const MAX_CAUGHT_UP: usize = 100;

/// So late a firing is in time. What is later was missed: nothing could be written, or nobody was there.
pub const IN_TIME: Span = Span::seconds(60);

/// What happens to times that were missed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Missed {
    /// Nothing: it goes on with the next one.
    #[default]
    Skip,
    /// One job for all of them: for the last.
    Once,
    /// A job for each, up to the last [`MAX_CAUGHT_UP`].
    All,
}

/// What happens at a time at which the last job has not ended yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Another one is submitted.
    #[default]
    Allow,
    /// It is left out.
    Skip,
}

/// A schedule as a user defines it and as the ledger records it. Defining it again replaces it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleSpec {
    /// Its name.
    #[serde(rename = "schedule")]
    pub name: ScheduleName,
    /// When it comes.
    pub cron: Cron,
    /// Whose calendar and clocks these are.
    #[serde(default, skip_serializing_if = "is_default")]
    pub zone: Zone,
    /// What happens to times that were missed.
    #[serde(default, skip_serializing_if = "is_default")]
    pub missed: Missed,
    /// What happens while the last job has not ended.
    #[serde(default, skip_serializing_if = "is_default")]
    pub overlap: Overlap,
    /// The job, which gets the key `schedule/NAME/TIME`.
    pub job: JobSpec,
}

impl ScheduleSpec {
    /// The next time behind `after`.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        self.cron.next(&self.zone, after)
    }

    /// The job of a time.
    pub fn job_at(&self, due: Timestamp) -> JobSpec {
        let name = self.job.name.clone().or_else(|| Some(self.name.to_string()));
        JobSpec { name, idempotency_key: Some(format!("schedule/{}/{due}", self.name)), ..self.job.clone() }
    }

    /// What is wrong with it that its types let through: field and message.
    pub fn faults(&self) -> Vec<(String, String)> {
        let JobSpec { idempotency_key, unique, not_before, depends_on, .. } = &self.job;
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| faults.push((field.to_owned(), message.to_owned()));
        if idempotency_key.is_some() || *unique != crate::unique::Unique::default() {
            fault("job.idempotency_key", "is the schedule's to give, with each time: leave it out");
        }
        if not_before.is_some() {
            fault("job.not_before", "is one time, and the job comes again and again: use delay");
        }
        if !depends_on.is_empty() {
            fault("job.depends_on", "names jobs of the same submit, and there is none");
        }
        faults
    }
}

/// What came of a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Firing {
    /// This job was submitted, in the same batch; or it had been, under the same key.
    Submitted(JobId),
    /// None, for this one had not ended.
    Overlapped(JobId),
    /// None: it was missed. So were the ones before it since the last.
    Missed,
    /// None: the submit was refused, for this reason.
    Refused(String),
}

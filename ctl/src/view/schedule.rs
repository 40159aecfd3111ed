//! Schedules.

use orch_core::time::Timestamp;
use orch_core::timetable::{Firing, ScheduleSpec};
use orch_proto::v1;
use serde::Serialize;

use super::{some_text, some_time};
use crate::output::{Cell, Page, Table, Tint, View, each};

/// A schedule.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ScheduleView {
    /// As it was set.
    #[serde(flatten)]
    pub spec: ScheduleSpec,
    pub paused: bool,
    pub paused_reason: Option<String>,
    /// When it comes next, were it not paused; null: never again.
    pub next: Option<Timestamp>,
    /// The last time that was due.
    pub last: Option<Timestamp>,
    /// What came of it.
    pub last_outcome: Option<Firing>,
    /// The last job that it submitted.
    pub last_job: Option<u64>,
}

impl TryFrom<v1::ScheduleStatus> for ScheduleView {
    type Error = String;

    fn try_from(wire: v1::ScheduleStatus) -> Result<Self, String> {
        let v1::ScheduleStatus {
            spec_json,
            paused,
            paused_reason,
            next_unix_ms,
            last_unix_ms,
            last_outcome_json,
            last_job,
        } = wire;
        let outcome = some_text(last_outcome_json).map(|text| serde_json::from_str(&text)).transpose();
        Ok(Self {
            spec: serde_json::from_str(&spec_json).map_err(|error| error.to_string())?,
            paused,
            paused_reason: some_text(paused_reason),
            next: some_time(next_unix_ms),
            last: some_time(last_unix_ms),
            last_outcome: outcome.map_err(|error| error.to_string())?,
            last_job: (last_job > 0).then_some(last_job),
        })
    }
}

/// A list of schedules.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SchedulesView {
    pub schedules: Vec<ScheduleView>,
}

impl TryFrom<v1::ListSchedulesResponse> for SchedulesView {
    type Error = String;

    fn try_from(wire: v1::ListSchedulesResponse) -> Result<Self, String> {
        let schedules = wire.schedules.into_iter().map(ScheduleView::try_from).collect::<Result<_, _>>()?;
        Ok(Self { schedules })
    }
}

impl View for SchedulesView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["SCHEDULE", "CRON", "ZONE", "QUEUE", "STATUS", "NEXT", "LAST", "OUTCOME"]);
        for schedule in &self.schedules {
            let outcome = schedule.last_outcome.as_ref().map(|outcome| match outcome {
                Firing::Submitted(job) => Cell::from(format!("job {job}")),
                Firing::Overlapped(job) => Cell::tinted(format!("left out: job {job} ran"), Tint::Warn),
                Firing::Missed => Cell::tinted("missed", Tint::Warn),
                Firing::Refused(why) => Cell::tinted(format!("refused: {why}"), Tint::Bad),
            });
            table.row(vec![
                schedule.spec.name.to_string().into(),
                schedule.spec.cron.to_string().into(),
                schedule.spec.zone.to_string().into(),
                schedule.spec.job.queue.to_string().into(),
                if schedule.paused { Cell::tinted("paused", Tint::Warn) } else { Cell::tinted("active", Tint::Good) },
                Cell::maybe(schedule.next.as_ref()),
                Cell::maybe(schedule.last.as_ref()),
                outcome.unwrap_or_else(|| Cell::maybe(None::<&String>)),
            ]);
        }
        table.text(page, "no schedules: set one with `orchctl schedule set`")
    }

    fn names(&self) -> Vec<String> {
        self.schedules.iter().map(|schedule| schedule.spec.name.to_string()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.schedules)
    }
}

/// What became of a schedule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ScheduleActionView {
    pub schedule: String,
    /// `set`, `paused`, `active` or `removed`.
    pub action: &'static str,
    /// Whether it was not so before.
    pub changed: bool,
    /// The record that says so.
    pub seq: Option<u64>,
}

impl View for ScheduleActionView {
    fn table(&self, _page: &Page) -> String {
        let before = if self.changed { "" } else { ", as before" };
        format!("schedule {} is {}{before}", self.schedule, self.action)
    }

    fn names(&self) -> Vec<String> {
        vec![self.schedule.clone()]
    }
}

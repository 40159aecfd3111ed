//! Queues.

use std::collections::BTreeMap;

use orch_core::queue::QueueSpec;
use orch_core::time::{Span, Timestamp};
use orch_proto::v1;
use serde::Serialize;

use super::{ago, some_text, some_time, span};
use crate::output::{Cell, Page, Table, Tint, View, each};

/// Jobs by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct JobCountsView {
    pub blocked: u64,
    pub ready: u64,
    pub delayed: u64,
    pub leased: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl JobCountsView {
    /// Jobs that have not ended.
    pub fn open(&self) -> u64 {
        self.blocked + self.ready + self.delayed + self.leased
    }

    /// Every job.
    pub fn all(&self) -> u64 {
        self.open() + self.done + self.failed + self.cancelled
    }

    /// A cell per state.
    pub(super) fn cells(&self) -> [Cell; 7] {
        let Self { blocked, ready, delayed, leased, done, failed, cancelled } = *self;
        [
            blocked.into(),
            ready.into(),
            delayed.into(),
            leased.into(),
            done.into(),
            Cell::bad_unless_zero(failed),
            cancelled.into(),
        ]
    }
}

impl From<Option<v1::JobCounts>> for JobCountsView {
    fn from(wire: Option<v1::JobCounts>) -> Self {
        let v1::JobCounts { blocked, ready, delayed, leased, done, failed, cancelled } = wire.unwrap_or_default();
        Self { blocked, ready, delayed, leased, done, failed, cancelled }
    }
}

/// A queue.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueueView {
    pub queue: String,
    pub contract: Option<String>,
    pub kind: Option<String>,
    pub paused: bool,
    pub paused_reason: Option<String>,
    pub jobs: JobCountsView,
    pub oldest_ready_at: Option<Timestamp>,
    /// How long its jobs stood ready until they were leased, since the server started; null: none was.
    pub waits: Option<WaitsView>,
    /// What it changes of the retry rule; absent fields are the defaults.
    pub retry: orch_core::policy::RetryPatch,
    /// What it changes of the lease rule; absent fields are the defaults.
    pub lease: orch_core::policy::LeasePatch,
    pub timeout: Option<Span>,
    /// How long a job may stand ready until it is cancelled; null: for ever.
    pub queue_timeout: Option<Span>,
    /// Its share of the leases; null means 100.
    pub weight: Option<u32>,
    /// Shares of values of its jobs' fair keys; 100 for others.
    pub fair_weights: BTreeMap<String, u32>,
    pub max_running: Option<u32>,
}

/// How long jobs stood ready until they were leased.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct WaitsView {
    pub count: u64,
    pub p50_ms: u64,
    pub p99_ms: u64,
    pub longest_ms: u64,
}

impl From<v1::WaitTimes> for WaitsView {
    fn from(wire: v1::WaitTimes) -> Self {
        let v1::WaitTimes { count, p50_ms, p99_ms, longest_ms } = wire;
        Self { count, p50_ms, p99_ms, longest_ms }
    }
}

impl TryFrom<v1::QueueStatus> for QueueView {
    type Error = String;

    fn try_from(wire: v1::QueueStatus) -> Result<Self, String> {
        let v1::QueueStatus { spec, paused, paused_reason, jobs, oldest_ready_unix_ms, waits } = wire;
        let spec = spec.ok_or("the server's answer holds a queue without its definition")?;
        let spec = QueueSpec::try_from(spec).map_err(|faults| faults.to_string())?;
        let QueueSpec { name, contract, kind, retry, lease, timeout, queue_timeout, weight, max_running, fair_weights } =
            spec;
        Ok(Self {
            queue: name.to_string(),
            contract: contract.map(|contract| contract.to_string()),
            kind: kind.map(|kind| kind.to_string()),
            paused,
            paused_reason: some_text(paused_reason),
            jobs: jobs.into(),
            oldest_ready_at: some_time(oldest_ready_unix_ms),
            waits: waits.map(Into::into),
            retry,
            lease,
            timeout,
            queue_timeout,
            weight,
            fair_weights: fair_weights.into_iter().map(|(value, weight)| (value.to_string(), weight)).collect(),
            max_running,
        })
    }
}

/// A list of queues.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct QueuesView {
    pub queues: Vec<QueueView>,
}

impl View for QueuesView {
    fn table(&self, page: &Page) -> String {
        queue_table(&self.queues, page, "no queues yet: define one with `orchctl submit -f FILE`")
    }

    fn names(&self) -> Vec<String> {
        self.queues.iter().map(|queue| queue.queue.clone()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.queues)
    }
}

/// Queues as a table, here and under `stats`.
pub(super) fn queue_table(queues: &[QueueView], page: &Page, empty: &str) -> String {
    let mut table = Table::new(&[
        "QUEUE",
        "CONTRACT",
        "KIND",
        "STATUS",
        ">BLOCKED",
        ">READY",
        ">DELAYED",
        ">LEASED",
        ">DONE",
        ">FAILED",
        ">CANCELLED",
        ">OLDEST READY",
        ">WAIT P50",
        ">WAIT P99",
    ]);
    for queue in queues {
        let mut row = vec![
            Cell::from(&queue.queue),
            Cell::maybe(queue.contract.as_ref()),
            Cell::maybe(queue.kind.as_ref()),
            if queue.paused { Cell::tinted("paused", Tint::Warn) } else { Cell::tinted("active", Tint::Good) },
        ];
        row.extend(queue.jobs.cells());
        row.push(Cell::maybe(queue.oldest_ready_at.map(|at| ago(page.now, at)).as_ref()));
        let waited = |ms: fn(&WaitsView) -> u64| queue.waits.as_ref().map(|waits| span(Span(ms(waits))));
        row.push(Cell::maybe(waited(|waits| waits.p50_ms).as_ref()));
        row.push(Cell::maybe(waited(|waits| waits.p99_ms).as_ref()));
        table.row(row);
    }
    table.text(page, empty)
}

/// What became of a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct QueueActionView {
    pub queue: String,
    pub paused: bool,
    /// The record that says so.
    pub seq: Option<u64>,
}

impl View for QueueActionView {
    fn table(&self, _page: &Page) -> String {
        format!("queue {} is {}", self.queue, if self.paused { "paused" } else { "active" })
    }

    fn names(&self) -> Vec<String> {
        vec![self.queue.clone()]
    }
}

//! Jobs: a line in a list, and everything about one.

use orch_core::time::Timestamp;
use orch_proto::convert::{failure_class_name, job_state_name};
use orch_proto::v1;
use serde::Serialize;
use serde_json::Value;

use super::{ago, record_summary, some_text, some_time};
use crate::output::{Cell, Page, Table, Tint, View, each, key_values};

/// The most characters of a message in a list.
const MESSAGE_CHARS: usize = 80;

/// A job in a list.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobView {
    pub job: u64,
    pub queue: String,
    pub kind: String,
    pub name: Option<String>,
    pub state: &'static str,
    pub attempts: u32,
    pub failures: u32,
    pub crashes: u32,
    pub priority: i32,
    pub submitted_at: Option<Timestamp>,
    pub changed_at: Option<Timestamp>,
    pub not_before: Option<Timestamp>,
    pub worker: Option<String>,
    pub lease: Option<u64>,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
    pub failure_class: Option<&'static str>,
    pub message: Option<String>,
    pub last_seq: u64,
    /// Of an array: how its tasks stand.
    pub tasks: Option<TasksView>,
    /// Of a task: its array, and its number there.
    pub array: Option<u64>,
    pub task: Option<i64>,
}

/// How the tasks of an array stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct TasksView {
    /// Not leased yet.
    pub left: u64,
    /// Leased, and not ended since.
    pub open: u64,
    pub done: u64,
    pub failed: u64,
    pub cancelled: u64,
}

impl TasksView {
    fn words(&self) -> String {
        let Self { left, open, done, failed, cancelled } = *self;
        let counts = [(done, "done"), (open, "open"), (left, "left"), (failed, "failed"), (cancelled, "cancelled")];
        let counts: Vec<String> =
            counts.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")).collect();
        format!("{} tasks: {}", left + open + done + failed + cancelled, counts.join(", "))
    }
}

impl From<v1::JobSummary> for JobView {
    fn from(wire: v1::JobSummary) -> Self {
        // A newer server's state or class reads as "unknown", not as a failure of the command.
        let (state_name, class) = (job_state_name(wire.state()), failure_class_name(wire.failure_class()));
        let v1::JobSummary {
            job,
            queue,
            kind,
            name,
            state: _,
            attempts,
            failures,
            crashes,
            priority,
            submitted_unix_ms,
            changed_unix_ms,
            worker,
            lease,
            accepted,
            duplicates,
            rejected,
            failure_class: _,
            message,
            last_seq,
            not_before_unix_ms,
            tasks,
            task,
        } = wire;
        let tasks = tasks.map(|v1::TaskCounts { left, open, done, failed, cancelled }| TasksView {
            left,
            open,
            done,
            failed,
            cancelled,
        });
        Self {
            job,
            queue,
            kind,
            name: some_text(name),
            state: state_name,
            attempts,
            failures,
            crashes,
            priority,
            submitted_at: some_time(submitted_unix_ms),
            changed_at: some_time(changed_unix_ms),
            not_before: some_time(not_before_unix_ms),
            worker: some_text(worker),
            lease: (lease != 0).then_some(lease),
            accepted,
            duplicate: duplicates,
            rejected,
            failure_class: (!class.is_empty()).then_some(class),
            message: some_text(message),
            last_seq,
            tasks,
            array: task.map(|task| task.array),
            task: task.map(|task| task.index),
        }
    }
}

impl JobView {
    /// Its name; of a task, with its number.
    fn name_cell(&self) -> Cell {
        match self.task {
            Some(task) => format!("{}[{task}]", self.name.as_deref().unwrap_or_default()).into(),
            None => Cell::maybe(self.name.as_ref()),
        }
    }

    fn state_cell(&self) -> Cell {
        Cell::tinted(self.state, state_tint(self.state))
    }

    /// The failure, as short as a list wants it.
    fn note(&self) -> String {
        if let Some(tasks) = &self.tasks {
            return tasks.words();
        }
        let class = self.failure_class.map(|class| format!("{class}: ")).unwrap_or_default();
        let text = format!("{class}{}", self.message.as_deref().unwrap_or_default());
        match text.char_indices().nth(MESSAGE_CHARS) {
            Some((end, _)) => format!("{}…", &text[..end]),
            None => text,
        }
    }
}

/// How a state looks.
pub(super) fn state_tint(state: &str) -> Tint {
    match state {
        "done" => Tint::Good,
        "leased" | "running" => Tint::Busy,
        "failed" => Tint::Bad,
        "cancelled" => Tint::Warn,
        _ => Tint::Plain,
    }
}

/// A list of jobs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobsView {
    pub jobs: Vec<JobView>,
    /// Where the next page begins; null on the last.
    pub next_after_job: Option<u64>,
}

impl View for JobsView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&[
            ">JOB",
            "QUEUE",
            "KIND",
            "NAME",
            "STATE",
            ">ATTEMPTS",
            ">ACCEPTED",
            ">CHANGED",
            "WORKER",
            "MESSAGE",
        ]);
        for job in &self.jobs {
            table.row(vec![
                job.job.into(),
                Cell::from(&job.queue),
                Cell::from(&job.kind),
                job.name_cell(),
                job.state_cell(),
                job.attempts.into(),
                job.accepted.into(),
                Cell::maybe(job.changed_at.map(|at| ago(page.now, at)).as_ref()),
                Cell::maybe(job.worker.as_ref()),
                job.note().into(),
            ]);
        }
        table.text(page, "no jobs match")
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.job.to_string()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.jobs)
    }
}

/// Everything about a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct JobDetailView {
    #[serde(flatten)]
    pub job: JobView,
    pub depends_on: Vec<u64>,
    pub progress: Option<ProgressView>,
    /// When it is cancelled if no worker has taken it by then; null: it waits for ever, or is not ready.
    pub waits_until: Option<Timestamp>,
    /// The job as submitted.
    pub spec: Value,
    pub history: Vec<HistoryView>,
    /// The members of a gang that runs, by rank; empty otherwise.
    pub members: Vec<String>,
}

/// How far a leased job says it is.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ProgressView {
    /// 0..1; null if the worker does not know.
    pub fraction: Option<f64>,
    pub note: Option<String>,
}

/// A record of a job.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HistoryView {
    pub seq: u64,
    pub at: Option<Timestamp>,
    pub event: Value,
}

impl From<v1::LeaseProgress> for ProgressView {
    fn from(wire: v1::LeaseProgress) -> Self {
        let v1::LeaseProgress { lease: _, fraction, note, step: _ } = wire;
        Self { fraction: (0.0..=1.0).contains(&fraction).then_some(fraction), note: some_text(note) }
    }
}

impl From<v1::HistoryLine> for HistoryView {
    fn from(wire: v1::HistoryLine) -> Self {
        let v1::HistoryLine { seq, at_unix_ms, event_json } = wire;
        // What is no JSON is shown as it came.
        let event = serde_json::from_str(&event_json).unwrap_or(Value::String(event_json));
        Self { seq, at: some_time(at_unix_ms), event }
    }
}

impl TryFrom<v1::GetJobResponse> for JobDetailView {
    type Error = String;

    fn try_from(wire: v1::GetJobResponse) -> Result<Self, String> {
        let v1::GetJobResponse { summary, spec, history, depends_on, progress, waits_until_unix_ms } = wire;
        let summary = summary.ok_or("the server's answer holds no job")?;
        let spec = match spec {
            Some(spec) => {
                let spec = orch_core::job::JobSpec::try_from(spec).map_err(|faults| faults.to_string())?;
                serde_json::to_value(spec).map_err(|error| error.to_string())?
            }
            None => Value::Null,
        };
        let history: Vec<HistoryView> = history.into_iter().map(Into::into).collect();
        Ok(Self {
            members: members(summary.lease, &history),
            job: summary.into(),
            depends_on,
            progress: progress.map(Into::into),
            waits_until: some_time(waits_until_unix_ms),
            spec,
            history,
        })
    }
}

/// The members of a gang under its current lease, which is the record that granted it.
fn members(lease: u64, history: &[HistoryView]) -> Vec<String> {
    let granted = history.iter().find(|line| line.seq == lease).and_then(|line| line.event.get("lease_granted"));
    let Some(Value::Array(others)) = granted.and_then(|granted| granted.get("members")) else { return Vec::new() };
    let all = granted.into_iter().chain(others);
    all.filter_map(|member| Some(member.get("worker")?.as_str()?.to_owned())).collect()
}

impl View for JobDetailView {
    fn table(&self, page: &Page) -> String {
        let job = &self.job;
        let when = |at: Option<Timestamp>| at.map(|at| format!("{at} ({} ago)", ago(page.now, at)));
        let payload = self.spec.get("payload").map(Value::to_string);
        let mut pairs = vec![
            ("job", Cell::from(job.job)),
            ("queue", Cell::from(&job.queue)),
            ("kind", Cell::from(&job.kind)),
            ("name", Cell::maybe(job.name.as_ref())),
            ("state", job.state_cell()),
            ("attempts", format!("{} ({} failures, {} crashes)", job.attempts, job.failures, job.crashes).into()),
            ("priority", job.priority.into()),
            ("submitted", Cell::maybe(when(job.submitted_at).as_ref())),
            ("changed", Cell::maybe(when(job.changed_at).as_ref())),
            ("worker", Cell::maybe(job.worker.as_ref())),
            ("lease", Cell::maybe(job.lease.as_ref())),
            (
                "candidates",
                format!("{} accepted, {} duplicate, {} rejected", job.accepted, job.duplicate, job.rejected).into(),
            ),
            ("payload", Cell::maybe(payload.as_ref())),
        ];
        if let Some(at) = job.not_before {
            pairs.push(("not before", at.into()));
        }
        if let Some(at) = self.waits_until {
            pairs.push(("waits until", at.into()));
        }
        if let Some(tasks) = &job.tasks {
            pairs.push(("tasks", tasks.words().into()));
        }
        if let Some(workers) = self.spec.get("gang").map(|gang| gang.get("workers").unwrap_or(gang)) {
            let who = if self.members.is_empty() { String::new() } else { format!(": {}", self.members.join(", ")) };
            pairs.push(("gang", format!("{workers} workers at once{who}").into()));
        }
        if let (Some(array), Some(task)) = (job.array, job.task) {
            pairs.push(("task", format!("{task} of array {array}").into()));
        }
        if !self.depends_on.is_empty() {
            pairs.push(("depends on", format!("{:?}", self.depends_on).into()));
        }
        if let Some(progress) = &self.progress {
            let share = progress.fraction.map_or("unknown".to_owned(), |f| format!("{:.1} %", 100.0 * f));
            pairs.push(("progress", format!("{share} {}", progress.note.as_deref().unwrap_or_default()).into()));
        }
        if let Some(class) = job.failure_class {
            pairs.push(("failure", Cell::tinted(class, Tint::Bad)));
        }
        if let Some(message) = &job.message {
            pairs.push(("message", message.into()));
        }
        let mut history = Table::new(&[">SEQ", "AT", "EVENT", "FIELDS"]);
        for line in &self.history {
            let (name, fields) = record_summary(&line.event, true);
            history.row(vec![line.seq.into(), Cell::maybe(line.at.as_ref()), name.into(), fields.into()]);
        }
        format!("{}\n\n{}", key_values(page, &pairs), history.text(page, "no history"))
    }

    fn names(&self) -> Vec<String> {
        vec![self.job.job.to_string()]
    }
}

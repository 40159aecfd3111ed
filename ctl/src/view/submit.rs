//! What a submit, and other commands that act on jobs, came to.

use orch_proto::v1;
use serde::Serialize;

use crate::output::{Page, View};

/// What a submit came to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SubmitView {
    /// In the order of the files.
    pub jobs: Vec<SubmittedJobView>,
    /// Registered now.
    pub contracts: Vec<String>,
    pub contracts_known: Vec<String>,
    /// Defined now, or changed.
    pub queues: Vec<String>,
    pub queues_known: Vec<String>,
    /// Set now, or changed.
    pub limits: Vec<String>,
    pub limits_known: Vec<String>,
    /// Set now, or changed.
    pub schedules: Vec<String>,
    pub schedules_known: Vec<String>,
    /// The last durable record that speaks of it.
    pub seq: Option<u64>,
}

/// A job of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SubmittedJobView {
    pub job: u64,
    /// It was there, with the same idempotency key and spec.
    pub existed: bool,
}

impl From<v1::SubmittedJob> for SubmittedJobView {
    fn from(wire: v1::SubmittedJob) -> Self {
        let v1::SubmittedJob { job, existed } = wire;
        Self { job, existed }
    }
}

impl From<v1::SubmitResponse> for SubmitView {
    fn from(wire: v1::SubmitResponse) -> Self {
        // The ledger is for programs that present the receipt later.
        let v1::SubmitResponse {
            jobs,
            contracts,
            contracts_known,
            queues,
            queues_known,
            receipt,
            ledger: _,
            limits,
            limits_known,
            schedules,
            schedules_known,
        } = wire;
        let jobs = jobs.into_iter().map(Into::into).collect();
        let seq = receipt.map(|receipt| receipt.seq);
        Self {
            jobs,
            contracts,
            contracts_known,
            queues,
            queues_known,
            limits,
            limits_known,
            schedules,
            schedules_known,
            seq,
        }
    }
}

impl View for SubmitView {
    fn table(&self, _page: &Page) -> String {
        let mut lines = Vec::new();
        let mut list = |what: &str, names: &[String]| {
            if !names.is_empty() {
                lines.push(format!("{what} {}", names.join(", ")));
            }
        };
        list("contract registered:", &self.contracts);
        list("contract known:", &self.contracts_known);
        list("queue defined:", &self.queues);
        list("queue known:", &self.queues_known);
        list("limit set:", &self.limits);
        list("limit known:", &self.limits_known);
        list("schedule set:", &self.schedules);
        list("schedule known:", &self.schedules_known);
        let existed = self.jobs.iter().filter(|job| job.existed).count();
        let known = if existed > 0 { format!(", {existed} of them known before") } else { String::new() };
        match self.jobs.as_slice() {
            [] => {}
            [job] => lines.push(format!("job submitted: {}{known}", job.job)),
            jobs => lines.push(format!("jobs submitted: {} ({}){known}", jobs.len(), ranges(jobs))),
        }
        if lines.is_empty() { "nothing to submit".into() } else { lines.join("\n") }
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(|job| job.job.to_string()).collect()
    }
}

/// Ids with runs written as `7-106`, at most ten of them.
fn ranges(jobs: &[SubmittedJobView]) -> String {
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for SubmittedJobView { job, .. } in jobs {
        match runs.last_mut() {
            Some((_, last)) if *last + 1 == *job => *last = *job,
            Some(_) | None => runs.push((*job, *job)),
        }
    }
    let text = |(first, last): &(u64, u64)| if first == last { first.to_string() } else { format!("{first}-{last}") };
    let mut texts: Vec<String> = runs.iter().take(10).map(text).collect();
    if runs.len() > 10 {
        texts.push("...".into());
    }
    texts.join(", ")
}

/// What a submit would bring.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DryRunView {
    pub contracts: Vec<String>,
    pub queues: Vec<String>,
    pub limits: Vec<String>,
    pub schedules: Vec<String>,
    /// With each task of an array.
    pub jobs: u64,
    /// The queues that its jobs go to, with how many each gets.
    pub jobs_by_queue: std::collections::BTreeMap<String, u64>,
}

impl View for DryRunView {
    fn table(&self, _page: &Page) -> String {
        let mut lines = vec!["the files are well-formed; nothing was submitted".to_owned()];
        lines.extend(self.contracts.iter().map(|contract| format!("contract {contract}")));
        lines.extend(self.queues.iter().map(|queue| format!("queue {queue}")));
        lines.extend(self.limits.iter().map(|limit| format!("limit {limit}")));
        lines.extend(self.schedules.iter().map(|schedule| format!("schedule {schedule}")));
        lines.extend(self.jobs_by_queue.iter().map(|(queue, jobs)| format!("{jobs} jobs for queue {queue}")));
        lines.join("\n")
    }

    fn names(&self) -> Vec<String> {
        self.contracts.iter().chain(&self.queues).cloned().collect()
    }
}

/// The job that was put into a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EnqueuedView {
    pub job: u64,
    /// It was there, with the same idempotency key and spec.
    pub existed: bool,
    pub queue: String,
    /// How many tasks it has, if it is an array.
    pub tasks: Option<u64>,
}

impl View for EnqueuedView {
    fn table(&self, _page: &Page) -> String {
        let known = if self.existed { ", known before" } else { "" };
        match self.tasks {
            Some(tasks) => format!("array {} of {tasks} tasks in queue {}{known}", self.job, self.queue),
            None => format!("job {} in queue {}{known}", self.job, self.queue),
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.job.to_string()]
    }
}

/// What was done to jobs, or would be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ActionView {
    /// `retried` or `cancelled`.
    pub action: &'static str,
    pub dry_run: bool,
    pub count: u64,
    pub jobs: Vec<u64>,
}

impl View for ActionView {
    fn table(&self, _page: &Page) -> String {
        let jobs: Vec<_> = self.jobs.iter().map(|job| SubmittedJobView { job: *job, existed: false }).collect();
        let would = if self.dry_run { "would be " } else { "" };
        match self.count {
            0 => format!("no job {would}{}", self.action),
            1 => format!("1 job {would}{}: {}", self.action, ranges(&jobs)),
            n => format!("{n} jobs {would}{}: {}", self.action, ranges(&jobs)),
        }
    }

    fn names(&self) -> Vec<String> {
        self.jobs.iter().map(ToString::to_string).collect()
    }
}

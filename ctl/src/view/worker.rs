//! Workers: their shapes are the wire's ([`orch_proto::view`]), which has them in common with the orchestrator's routes.

use orch_core::time::{Span, Timestamp};
pub use orch_proto::view::{CleanupView, WorkerView, WorkersView};
use orch_proto::view::{HardwareView, ResourceView};
use serde::Serialize;

use super::{ago, span};
use crate::output::{Cell, Page, Table, Tint, View, each, key_values};

/// A worker's status, in its colour.
pub(super) fn status_cell(worker: &WorkerView) -> Cell {
    let tint = match worker.status {
        "live" => Tint::Good,
        "stale" | "set aside" => Tint::Bad,
        _ => Tint::Warn,
    };
    Cell::tinted(worker.status, tint)
}

impl View for WorkerView {
    fn table(&self, page: &Page) -> String {
        let when = |at: Option<Timestamp>| at.map(|at| format!("{at} ({} ago)", ago(page.now, at)));
        let mut pairs = vec![
            ("worker", Cell::from(&self.worker)),
            ("status", status_cell(self)),
            ("kinds", self.kinds.join(", ").into()),
            ("slots", format!("{} ({} leases)", self.slots, self.leases.len()).into()),
            ("version", Cell::from(&self.version)),
            ("registered", Cell::maybe(when(self.registered_at).as_ref())),
            ("last seen", Cell::maybe(when(self.last_seen_at).as_ref())),
        ];
        if let Some(reason) = &self.set_aside {
            pairs.push(("set aside", Cell::tinted(reason, Tint::Bad)));
        }
        if let Some(hardware) = &self.hardware {
            let HardwareView { host, os, arch, cpu_model, cpus, memory_bytes, gpus } = hardware;
            pairs.push(("host", format!("{host} ({os} {arch})").into()));
            pairs.push(("cpu", format!("{cpus} x {cpu_model}").into()));
            pairs.push(("memory", mebibytes(*memory_bytes).into()));
            for gpu in gpus {
                pairs.push(("gpu", format!("{} {} {}", gpu.model, mebibytes(gpu.memory_bytes), gpu.uuid).into()));
            }
        }
        for ResourceView { name, size, free, items } in &self.resources {
            let labels = if items.is_empty() { String::new() } else { format!(" [{}]", items.join(",")) };
            pairs.push(("resource", format!("{name} {free} of {size} free{}", short(&labels)).into()));
        }
        if let Some(remaining) = self.remaining_ms {
            pairs.push(("lives for", span(Span(remaining)).into()));
        }
        for (key, value) in &self.labels {
            pairs.push(("label", format!("{key}={value}").into()));
        }
        let mut leases = Table::new(&[">JOB", ">LEASE", "QUEUE", ">PROGRESS", ">EXPIRES IN", "NOTE"]);
        for lease in &self.leases {
            leases.row(vec![
                lease.job.into(),
                lease.lease.into(),
                Cell::from(&lease.queue),
                Cell::maybe(lease.fraction.map(|f| format!("{:.0} %", 100.0 * f)).as_ref()),
                span(Span(lease.expires_in_ms)).into(),
                Cell::maybe(lease.note.as_ref()),
            ]);
        }
        format!("{}\n\n{}", key_values(page, &pairs), leases.text(page, "it works on nothing"))
    }

    fn names(&self) -> Vec<String> {
        vec![self.worker.clone()]
    }
}

/// A list that stays readable on a line.
fn short(text: &str) -> String {
    const MOST: usize = 60;
    if text.chars().count() <= MOST {
        text.to_owned()
    } else {
        format!("{}...", text.chars().take(MOST).collect::<String>())
    }
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes >> 20)
}

impl View for WorkersView {
    fn table(&self, page: &Page) -> String {
        let mut table =
            Table::new(&["WORKER", "STATUS", "KINDS", ">LEASES", ">SLOTS", ">LAST SEEN", "HOST", ">CPUS", "VERSION"]);
        for worker in &self.workers {
            table.row(vec![
                Cell::from(&worker.worker),
                status_cell(worker),
                worker.kinds.join(",").into(),
                worker.leases.len().into(),
                worker.slots.into(),
                Cell::maybe(worker.last_seen_at.map(|at| ago(page.now, at)).as_ref()),
                Cell::maybe(worker.hardware.as_ref().map(|hardware| &hardware.host)),
                Cell::maybe(worker.hardware.as_ref().map(|hardware| &hardware.cpus)),
                Cell::from(&worker.version),
            ]);
        }
        table.text(page, "no workers: start one with `worker --server URL`")
    }

    fn names(&self) -> Vec<String> {
        self.workers.iter().map(|worker| worker.worker.clone()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.workers)
    }
}

/// Which workers drain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DrainView {
    pub draining: Vec<String>,
}

impl View for DrainView {
    fn table(&self, _page: &Page) -> String {
        match self.draining.as_slice() {
            [] => "no worker drains".into(),
            names => format!("draining: {}", names.join(", ")),
        }
    }

    fn names(&self) -> Vec<String> {
        self.draining.clone()
    }
}

impl View for CleanupView {
    fn table(&self, _page: &Page) -> String {
        match self.removed.as_slice() {
            [] => "no stale worker".into(),
            names => format!("removed {}; {} jobs put back", names.join(", "), self.leases_ended),
        }
    }

    fn names(&self) -> Vec<String> {
        self.removed.clone()
    }
}

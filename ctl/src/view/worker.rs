//! Workers.

use std::collections::BTreeMap;

use orch_core::resource::Amount;
use orch_core::time::{Span, Timestamp};
use orch_proto::v1;
use serde::Serialize;

use super::{ago, some_text, some_time, span};
use crate::output::{Cell, Page, Table, Tint, View, each, key_values};

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    pub worker: String,
    /// `live`, `draining`, `stale` or `set aside`.
    pub status: &'static str,
    /// Why it gets no jobs; null if it does.
    pub set_aside: Option<String>,
    pub kinds: Vec<String>,
    pub slots: u32,
    pub version: String,
    pub registered_at: Option<Timestamp>,
    pub last_seen_at: Option<Timestamp>,
    pub hardware: Option<HardwareView>,
    pub labels: BTreeMap<String, String>,
    /// What it has, and how much of each its leases leave.
    pub resources: Vec<ResourceView>,
    /// How long it will live; null: without a limit.
    pub remaining_ms: Option<u64>,
    pub leases: Vec<LeaseView>,
}

/// What a worker runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HardwareView {
    pub host: String,
    pub os: String,
    pub arch: String,
    pub cpu_model: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    pub gpus: Vec<GpuView>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpuView {
    pub uuid: String,
    pub model: String,
    pub memory_bytes: u64,
}

/// A resource of a worker. Amounts are exact decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceView {
    pub name: String,
    pub size: String,
    pub free: String,
    /// The names of its items; none for a sum.
    pub items: Vec<String>,
}

impl From<v1::ResourcePool> for ResourceView {
    fn from(wire: v1::ResourcePool) -> Self {
        let v1::ResourcePool { name, size, free, items } = wire;
        let (size, free) = if items.is_empty() {
            (Amount(size), Amount(free))
        } else {
            (Amount::whole(items.len() as u64), Amount(items.iter().map(|item| item.free).sum()))
        };
        let items = items.into_iter().map(|item| item.label).collect();
        Self { name, size: size.to_string(), free: free.to_string(), items }
    }
}

/// What a worker works on.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LeaseView {
    pub lease: u64,
    pub job: u64,
    pub queue: String,
    pub fraction: Option<f64>,
    pub note: Option<String>,
    pub expires_in_ms: u64,
}

impl From<v1::Hardware> for HardwareView {
    fn from(wire: v1::Hardware) -> Self {
        let v1::Hardware { host, os, arch, cpu_model, cpus, memory_bytes, gpus } = wire;
        let gpu = |v1::Gpu { uuid, model, memory_bytes }| GpuView { uuid, model, memory_bytes };
        Self { host, os, arch, cpu_model, cpus, memory_bytes, gpus: gpus.into_iter().map(gpu).collect() }
    }
}

impl From<v1::HeldLease> for LeaseView {
    fn from(wire: v1::HeldLease) -> Self {
        let v1::HeldLease { lease, job, queue, fraction, note, expires_in_ms } = wire;
        let fraction = (0.0..=1.0).contains(&fraction).then_some(fraction);
        Self { lease, job, queue, fraction, note: some_text(note), expires_in_ms }
    }
}

impl From<v1::WorkerStatus> for WorkerView {
    fn from(wire: v1::WorkerStatus) -> Self {
        let v1::WorkerStatus {
            worker,
            stale,
            draining,
            kinds,
            slots,
            hardware,
            labels,
            version,
            registered_unix_ms,
            last_seen_unix_ms,
            leases,
            resources,
            remaining_ms,
            set_aside,
        } = wire;
        Self {
            worker,
            status: match (stale, draining, set_aside.is_empty()) {
                (true, _, _) => "stale",
                (false, true, _) => "draining",
                (false, false, false) => "set aside",
                (false, false, true) => "live",
            },
            set_aside: some_text(set_aside),
            kinds,
            slots,
            version,
            registered_at: some_time(registered_unix_ms),
            last_seen_at: some_time(last_seen_unix_ms),
            hardware: hardware.map(Into::into),
            labels: labels.into_iter().collect(),
            resources: resources.into_iter().map(Into::into).collect(),
            remaining_ms,
            leases: leases.into_iter().map(Into::into).collect(),
        }
    }
}

impl WorkerView {
    pub(super) fn status_cell(&self) -> Cell {
        let tint = match self.status {
            "live" => Tint::Good,
            "stale" | "set aside" => Tint::Bad,
            _ => Tint::Warn,
        };
        Cell::tinted(self.status, tint)
    }
}

impl View for WorkerView {
    fn table(&self, page: &Page) -> String {
        let when = |at: Option<Timestamp>| at.map(|at| format!("{at} ({} ago)", ago(page.now, at)));
        let mut pairs = vec![
            ("worker", Cell::from(&self.worker)),
            ("status", self.status_cell()),
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

/// A list of workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkersView {
    pub workers: Vec<WorkerView>,
}

impl View for WorkersView {
    fn table(&self, page: &Page) -> String {
        let mut table =
            Table::new(&["WORKER", "STATUS", "KINDS", ">LEASES", ">SLOTS", ">LAST SEEN", "HOST", ">CPUS", "VERSION"]);
        for worker in &self.workers {
            table.row(vec![
                Cell::from(&worker.worker),
                worker.status_cell(),
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

/// Which workers were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanupView {
    pub removed: Vec<String>,
    pub leases_ended: u64,
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

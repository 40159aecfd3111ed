//! Workers.

use std::collections::BTreeMap;

use orch_core::resource::Amount;
use orch_core::time::Timestamp;
use serde::Serialize;

use super::{some_text, some_time};
use crate::v1;

/// A worker.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkerView {
    /// Its name.
    pub worker: String,
    /// `live`, `draining`, `stale` or `set aside`.
    pub status: &'static str,
    /// Why it gets no jobs; null if it does.
    pub set_aside: Option<String>,
    /// What it runs.
    pub kinds: Vec<String>,
    /// How many jobs it runs at once.
    pub slots: u32,
    /// Of its program.
    pub version: String,
    /// When it registered.
    pub registered_at: Option<Timestamp>,
    /// When it was last heard of.
    pub last_seen_at: Option<Timestamp>,
    /// What it runs on.
    pub hardware: Option<HardwareView>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// What it has, and how much of each its leases leave.
    pub resources: Vec<ResourceView>,
    /// How long it will live; null: without a limit.
    pub remaining_ms: Option<u64>,
    /// What it works on.
    pub leases: Vec<LeaseView>,
}

/// What a worker runs on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HardwareView {
    /// Its name.
    pub host: String,
    /// Its system, with the version.
    pub os: String,
    /// `x86_64`.
    pub arch: String,
    /// As its maker calls it.
    pub cpu_model: String,
    /// Processors.
    pub cpus: u32,
    /// Memory.
    pub memory_bytes: u64,
    /// GPUs.
    pub gpus: Vec<GpuView>,
}

/// A GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GpuView {
    /// The name that it has for ever.
    pub uuid: String,
    /// As its maker calls it.
    pub model: String,
    /// Its memory.
    pub memory_bytes: u64,
}

/// A resource of a worker. Amounts are exact decimals.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResourceView {
    /// Its name.
    pub name: String,
    /// All of it.
    pub size: String,
    /// What leases leave of it.
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
    /// The lease.
    pub lease: u64,
    /// Its job.
    pub job: u64,
    /// The job's queue.
    pub queue: String,
    /// How much is done, from 0 to 1; null: it does not say.
    pub fraction: Option<f64>,
    /// What it says of its progress.
    pub note: Option<String>,
    /// When it ends if its worker is not heard of.
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

/// A list of workers.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorkersView {
    /// By name.
    pub workers: Vec<WorkerView>,
}

/// Which workers were forgotten.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct CleanupView {
    /// Their names.
    pub removed: Vec<String>,
    /// How many jobs were put back.
    pub leases_ended: u64,
}

impl From<v1::ListWorkersResponse> for WorkersView {
    fn from(wire: v1::ListWorkersResponse) -> Self {
        let v1::ListWorkersResponse { workers } = wire;
        Self { workers: workers.into_iter().map(Into::into).collect() }
    }
}

impl From<v1::CleanupWorkersResponse> for CleanupView {
    fn from(wire: v1::CleanupWorkersResponse) -> Self {
        let v1::CleanupWorkersResponse { removed, leases_ended } = wire;
        Self { removed, leases_ended }
    }
}

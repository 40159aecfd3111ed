//! What this machine has: told to the orchestrator and by `worker hwdetect`.
//!
//! Where to look: `gpus` finds the GPUs.

use std::fmt;

use orch_proto::v1;
use serde::Serialize;

/// What this machine has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Hardware {
    /// The host's name.
    pub host: String,
    /// The operating system with its version.
    pub os: String,
    /// The processor's architecture, such as `x86_64`.
    pub arch: String,
    /// The processor as its maker calls it.
    pub cpu_model: String,
    /// Threads that run at once, as far as this process may use them.
    pub cpus: u32,
    /// Main memory.
    pub memory_bytes: u64,
    /// Their numbers.
    pub cpu_ids: Vec<u32>,
    /// GPUs, in the order of the PCI bus.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
    /// Its place on the PCI bus, by which CUDA names it.
    pub index: u32,
    /// The driver's name of this very card.
    pub uuid: String,
    /// The model.
    pub model: String,
    /// Its memory.
    pub memory_bytes: u64,
}

/// The host's name, or nothing.
pub(crate) fn host_name() -> String {
    sysinfo::System::host_name().unwrap_or_default()
}

/// Looks at this machine. Takes a few milliseconds, more where there is a GPU driver to ask.
pub fn detect() -> Hardware {
    let (cpu_model, memory_bytes) = cpu_and_memory();
    let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    Hardware {
        host: host_name(),
        os: sysinfo::System::long_os_version().unwrap_or_default(),
        arch: std::env::consts::ARCH.to_owned(),
        cpu_model,
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_bytes,
        cpu_ids: cpu_ids(),
        gpus: crate::gpus::detect(),
    }
}

/// The processor's model and the main memory; empty and 0 where the system does not tell.
fn cpu_and_memory() -> (String, u64) {
    let Ok(mut system) = sysinfo::System::new() else {
        return (String::new(), 0);
    };
    system.refresh_memory();
    system.refresh_cpu_list(sysinfo::CpuRefreshKind::nothing());
    let model = system.cpus().first().map(|cpu| cpu.brand().trim().to_owned()).unwrap_or_default();
    (model, system.total_memory())
}

/// The processors that this process may run on.
fn cpu_ids() -> Vec<u32> {
    if let Ok(allowed) = rustix::thread::sched_getaffinity(None) {
        let ids = (0..rustix::thread::CpuSet::MAX_CPU).filter(|id| allowed.is_set(*id));
        return ids.filter_map(|id| u32::try_from(id).ok()).collect();
    }
    let count = std::thread::available_parallelism().map_or(1, std::num::NonZeroUsize::get);
    (0..u32::try_from(count).unwrap_or(1)).collect()
}

impl Hardware {
    /// As it stands on the wire.
    pub(crate) fn to_wire(&self) -> v1::Hardware {
        let Self { host, os, arch, cpu_model, cpus, memory_bytes, cpu_ids: _, gpus } = self.clone();
        let gpu = |Gpu { index: _, uuid, model, memory_bytes }| v1::Gpu { uuid, model, memory_bytes };
        v1::Hardware { host, os, arch, cpu_model, cpus, memory_bytes, gpus: gpus.into_iter().map(gpu).collect() }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, os, arch, cpu_model, cpus, memory_bytes, cpu_ids: _, gpus } = self;
        let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
        writeln!(f, "host    {host}")?;
        writeln!(f, "system  {os} ({arch})")?;
        writeln!(f, "cpus    {cpus} x {cpu_model}")?;
        writeln!(f, "memory  {:.1} GiB", gib(*memory_bytes))?;
        if gpus.is_empty() {
            return writeln!(f, "gpus    none found");
        }
        for Gpu { index, uuid, model, memory_bytes } in gpus {
            writeln!(f, "gpu {index:<3} {model}, {:.1} GiB, {uuid}", gib(*memory_bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_has_a_processor_and_memory() {
        let hardware = detect();
        assert!(hardware.cpus > 0 && hardware.memory_bytes > 1 << 20, "{hardware:?}");
    }
}

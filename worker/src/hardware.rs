//! What this machine has: told to the orchestrator and by `worker hwdetect`.
//!
//! GPUs are asked of `nvidia-smi` where it is installed. Its absence, or any trouble with it, means "no GPU": a worker
//! never fails to start for want of one.

use std::fmt;
use std::process::{Command, Stdio};

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
    /// GPUs, in the driver's order.
    pub gpus: Vec<Gpu>,
}

/// One GPU.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Gpu {
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
        gpus: gpus(),
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

/// The GPUs that `nvidia-smi` lists; none if it is not there or does not answer well.
fn gpus() -> Vec<Gpu> {
    let output = Command::new("nvidia-smi")
        .args(["--query-gpu=uuid,name,memory.total", "--format=csv,noheader,nounits"])
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output();
    match output {
        Ok(output) if output.status.success() => parse_gpus(&String::from_utf8_lossy(&output.stdout)),
        Ok(_) | Err(_) => Vec::new(),
    }
}

/// Lines like `GPU-5e0..., NVIDIA H200, 143771`, memory in MiB. A line that is not like that is left out.
fn parse_gpus(csv: &str) -> Vec<Gpu> {
    let gpu = |line: &str| {
        let mut fields = line.split(',').map(str::trim);
        let (uuid, model, memory) = (fields.next()?, fields.next()?, fields.next()?);
        let memory: u64 = memory.parse().ok()?;
        Some(Gpu { uuid: uuid.to_owned(), model: model.to_owned(), memory_bytes: memory << 20 })
    };
    csv.lines().filter_map(gpu).collect()
}

impl Hardware {
    /// As it stands on the wire.
    pub(crate) fn to_wire(&self) -> v1::Hardware {
        let Self { host, os, arch, cpu_model, cpus, memory_bytes, gpus } = self.clone();
        let gpu = |Gpu { uuid, model, memory_bytes }| v1::Gpu { uuid, model, memory_bytes };
        v1::Hardware { host, os, arch, cpu_model, cpus, memory_bytes, gpus: gpus.into_iter().map(gpu).collect() }
    }
}

impl fmt::Display for Hardware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, os, arch, cpu_model, cpus, memory_bytes, gpus } = self;
        let gib = |bytes: u64| bytes as f64 / f64::from(1_u32 << 30);
        writeln!(f, "host    {host}")?;
        writeln!(f, "system  {os} ({arch})")?;
        writeln!(f, "cpus    {cpus} x {cpu_model}")?;
        writeln!(f, "memory  {:.1} GiB", gib(*memory_bytes))?;
        if gpus.is_empty() {
            return writeln!(f, "gpus    none found");
        }
        for Gpu { uuid, model, memory_bytes } in gpus {
            writeln!(f, "gpu     {model}, {:.1} GiB, {uuid}", gib(*memory_bytes))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpus_are_read_from_the_drivers_table() {
        let csv = "GPU-1-2, NVIDIA H200, 143771\nGPU-3, Tesla T4, [N/A]\n\nFailed to initialize NVML\n";
        let h200 = Gpu { uuid: "GPU-1-2".into(), model: "NVIDIA H200".into(), memory_bytes: 143_771 << 20 };
        assert_eq!(parse_gpus(csv), [h200]);
    }

    #[test]
    fn a_machine_has_a_processor_and_memory() {
        let hardware = detect();
        assert!(hardware.cpus > 0 && hardware.memory_bytes > 1 << 20, "{hardware:?}");
    }
}

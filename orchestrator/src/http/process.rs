//! What the system says of this process, under the names that every Prometheus client uses.

use std::fs;

/// This process. Linux only: elsewhere there is no `/proc` to read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Process {
    /// User and system time, in seconds.
    pub cpu_seconds: f64,
    /// Resident memory, in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// How many there may be.
    pub max_fds: Option<u64>,
}

impl Process {
    /// Looks; None where the system does not tell.
    pub fn look() -> Option<Self> {
        let stat = fs::read_to_string("/proc/self/stat").ok()?;
        // The command's name stands in parentheses and may hold anything, spaces too.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        // Counted from the state, which is field 3 of proc(5): utime is field 14, stime 15, rss 24.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        // A process does not live for 2^52 clock ticks.
        #[allow(clippy::cast_precision_loss)]
        let cpu_seconds = (field(14)? + field(15)?) as f64 / rustix::param::clock_ticks_per_second() as f64;
        Some(Self {
            cpu_seconds,
            resident_bytes: field(24)? * rustix::param::page_size() as u64,
            open_fds: fs::read_dir("/proc/self/fd").ok()?.count() as u64,
            max_fds: rustix::process::getrlimit(rustix::process::Resource::Nofile).current,
        })
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_files_and_a_past() {
        let process = Process::look().unwrap();
        assert!(process.resident_bytes > 1 << 20 && process.resident_bytes < 1 << 40, "{process:?}");
        assert!(process.open_fds >= 3 && process.cpu_seconds >= 0.0, "{process:?}");
    }
}

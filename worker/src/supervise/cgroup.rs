//! A job's control group (version 2), where the worker was given a directory for them: one write ends everything in it at
//! once, whatever it does meanwhile, and its memory and processes can be bounded together.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::Limits;

/// A job's control group.
#[derive(Debug)]
pub(super) struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// Makes one below `parent`, named after this process. Bounds whose controller the parent does not hand on are left to
    /// `setrlimit`.
    pub(super) fn create(parent: &Path, limits: &Limits) -> io::Result<Self> {
        let path = parent.join(format!("job-{}", std::process::id()));
        fs::create_dir(&path)?;
        let cgroup = Self { path };
        for (file, bound) in [("memory.max", limits.memory), ("pids.max", limits.processes)] {
            let file = cgroup.path.join(file);
            if let Some(bound) = bound.filter(|_| file.exists()) {
                fs::write(&file, bound.to_string())?;
            }
        }
        Ok(cgroup)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Has this process, and whatever it starts, belong to the group.
    pub(super) fn enter(path: &Path) -> io::Result<()> {
        fs::write(path.join("cgroup.procs"), "0")
    }

    /// Ends everything in it.
    pub(super) fn kill(&self) {
        // Older kernels have no such file; then the tree of processes is walked.
        let _ = fs::write(self.path.join("cgroup.kill"), "1");
    }

    /// Removes it. It is empty once the last of its processes is reaped, which may be a moment later.
    pub(super) fn remove(self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

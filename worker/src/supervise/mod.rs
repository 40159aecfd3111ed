//! A job's processes are kept together: nothing of a job lives longer than its lease.
//!
//! A process group is not enough. A process leaves its group with `setsid`, a daemon forks twice and is nobody's child,
//! and a worker that is itself killed can clean up nothing. So between the worker and each job's process stands a
//! *supervisor*: this same program, started again ([`keeper`]). It is the reaper of whatever the job starts and leaves, so
//! that all of it stays below it in the tree of processes ([`tree`]); it ends all of it when the job's own process ends,
//! when the worker asks for it, and when the worker is gone. Between the supervisor and the job, [`confine`] sets what the
//! job may use. A job that kills its supervisor leaves its processes to the worker, which ends them too ([`orphans`]).
//!
//! A program that runs workers calls [`take_over`] first. In any other, and elsewhere than on Linux, a job has a process
//! group and no more.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Pid;
use serde::{Deserialize, Serialize};

use crate::config::ProcessConfig;

pub use files::Files;
pub(crate) use files::can_restrict;
pub use limits::Limits;

mod files;
mod limits;

#[cfg(target_os = "linux")]
mod cgroup;
#[cfg(target_os = "linux")]
mod confine;
#[cfg(target_os = "linux")]
mod keeper;
#[cfg(target_os = "linux")]
mod orphans;
#[cfg(target_os = "linux")]
mod tree;

/// The first argument of a supervisor.
const SUPERVISE: &str = "supervise-job";

/// The first argument of what becomes a job's process.
#[cfg(target_os = "linux")]
const CONFINE: &str = "confine-job";

/// This very program, also after its file was replaced.
#[cfg(target_os = "linux")]
const MYSELF: &str = "/proc/self/exe";

/// Whether this program can be started again as a supervisor.
static CAN_SUPERVISE: AtomicBool = AtomicBool::new(false);

/// What a supervisor has to know; its second argument, in JSON. The job's own arguments follow it.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Order {
    /// The worker's process. Once it is not the supervisor's parent any more, it is gone.
    worker: u32,
    limits: Limits,
    pin: bool,
    /// Where to make the job's control group.
    cgroup: Option<PathBuf>,
    files: Option<Files>,
}

/// Makes this program one that supervises: to be called first, before there are threads. If it was started as a
/// supervisor, it is one, and has ended when this returns a code to exit with.
#[must_use]
pub fn take_over() -> Option<ExitCode> {
    #[cfg(target_os = "linux")]
    {
        let mut args = std::env::args_os().skip(1);
        match args.next().as_deref().and_then(std::ffi::OsStr::to_str) {
            Some(SUPERVISE) => return Some(keeper::main(args)),
            Some(CONFINE) => return Some(confine::main(args)),
            Some(_) | None => {}
        }
        CAN_SUPERVISE.store(true, Ordering::Relaxed);
    }
    None
}

/// Also ends what jobs leave to this process itself: for a program whose children are jobs and nothing else.
pub fn adopt_orphans() {
    #[cfg(target_os = "linux")]
    orphans::adopt();
}

/// What to start in place of a job's own words so that it is supervised. None: this program cannot.
pub(crate) fn command(config: &ProcessConfig) -> Option<Vec<OsString>> {
    if !CAN_SUPERVISE.load(Ordering::Relaxed) {
        return None;
    }
    #[cfg(target_os = "linux")]
    {
        let ProcessConfig { argv, limits, pin, cgroup, files, .. } = config.clone();
        let order = Order { worker: std::process::id(), limits, pin, cgroup, files };
        let order = serde_json::to_string(&order).ok()?;
        let words = [MYSELF.into(), SUPERVISE.into(), order.into()];
        Some(words.into_iter().chain(argv.into_iter().map(OsString::from)).collect())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = config;
        None
    }
}

/// Starts a supervisor, known before anybody looks for what jobs leave.
pub(crate) fn start<T>(spawn: impl FnOnce() -> io::Result<(T, Option<Pid>)>) -> io::Result<(T, Option<Pid>)> {
    #[cfg(target_os = "linux")]
    {
        orphans::start(spawn)
    }
    #[cfg(not(target_os = "linux"))]
    {
        spawn()
    }
}

/// A supervisor has ended, and left nobody if it ended `by_itself`.
pub(crate) fn ended(supervisor: Pid, by_itself: bool) {
    #[cfg(target_os = "linux")]
    orphans::ended(supervisor, by_itself);
    #[cfg(not(target_os = "linux"))]
    let _ = (supervisor, by_itself);
}

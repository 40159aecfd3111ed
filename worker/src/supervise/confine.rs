//! The last step before a job's program: what it may use is set, then this process becomes the program.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};

use super::cgroup::Cgroup;
use super::{Files, Limits, files};
use crate::resources::CPUS_VAR;

/// The exit code of a program that cannot be started, as of a shell.
const NOT_STARTED: u8 = 127;

/// What is set; the second argument, in JSON. The job's own arguments follow it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Confinement {
    pub limits: Limits,
    /// Whether it is kept to the processors that `ORCH_CPUS` names.
    pub pin: bool,
    pub cgroup: Option<PathBuf>,
    pub files: Option<Files>,
}

pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let confinement = args.next().and_then(|json| serde_json::from_str(json.to_str()?).ok());
    let (Some(confinement), Some(program)) = (confinement, args.next()) else {
        eprintln!("this is a part of the worker, which starts it for each job");
        return ExitCode::from(2);
    };
    if let Err(error) = apply(&confinement) {
        eprintln!("the job cannot be kept to its limits: {error}");
        return ExitCode::from(NOT_STARTED);
    }
    let error = Command::new(&program).args(args).exec();
    let place = std::env::current_dir().map(|dir| format!(" in {}", dir.display())).unwrap_or_default();
    eprintln!("cannot start {program:?}{place}: {error}");
    ExitCode::from(NOT_STARTED)
}

fn apply(confinement: &Confinement) -> io::Result<()> {
    if let Some(cgroup) = &confinement.cgroup {
        Cgroup::enter(cgroup)?;
    }
    // A program that is owned by another user and marked to run as that one does not: it would be out of reach.
    rustix::thread::set_no_new_privs(true)?;
    let Limits { memory, cpu_time, open_files, processes, file_size } = &confinement.limits;
    // No core dumps: a job's memory may hold what its owner does not want on a disk.
    let bounds = [
        (Resource::Core, Some(0)),
        (Resource::As, *memory),
        (Resource::Cpu, cpu_time.map(|time| time.as_secs().max(1))),
        (Resource::Nofile, *open_files),
        (Resource::Nproc, *processes),
        (Resource::Fsize, *file_size),
    ];
    for (resource, bound) in bounds {
        let Some(bound) = bound else { continue };
        // Not above what this process may have: only root can raise that.
        let bound = getrlimit(resource).maximum.map_or(bound, |maximum| maximum.min(bound));
        setrlimit(resource, Rlimit { current: Some(bound), maximum: Some(bound) })?;
    }
    if confinement.pin
        && let Ok(cpus) = std::env::var(CPUS_VAR)
    {
        pin(&cpus)?;
    }
    // Last: nothing above is among the job's files.
    confinement.files.as_ref().map_or(Ok(()), files::restrict)
}

/// Keeps this process, and what it becomes and starts, to processors: their numbers, such as `2,3`.
fn pin(cpus: &str) -> io::Result<()> {
    let describe = |what: String| io::Error::other(format!("pinned to processors {cpus}: {what}"));
    let mut set = CpuSet::new();
    for cpu in cpus.split(',') {
        let number = cpu.parse().ok().filter(|number| *number < CpuSet::MAX_CPU);
        set.set(number.ok_or_else(|| describe(format!("{cpu:?} is no processor's number")))?);
    }
    sched_setaffinity(None, &set).map_err(|error| describe(error.to_string()))
}

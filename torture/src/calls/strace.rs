//! Faults in system calls, by strace: over the unmodified program, at exactly the call that is wanted.
//!
//! strace counts calls per thread and per name. So a fault is aimed at one thread: the one that opens the data directory,
//! by the paths that only it touches, or the engine's, by attaching to it alone.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::{Pid, Signal};

use crate::TortureError;
use crate::process::{PATIENCE, Process, until};

/// Every call with which the ledger's files are touched; a `?` allows for systems that do not have it.
const CALLS: &str = "openat,?mkdir,?mkdirat,pwrite64,pread64,fdatasync,fsync,ftruncate,fallocate,?rename,?renameat,\
                     ?renameat2,?unlink,?unlinkat,flock,getdents64";

/// What is done to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// The process is killed as it enters the call.
    Kill,
    /// The call is not made, and this is its error.
    Error(&'static str),
}

/// A fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The name of the call.
    pub call: String,
    /// Which call of that name, from 1.
    pub when: u64,
    /// Whether every later one is hit too.
    pub for_good: bool,
    /// What is done to it.
    pub what: What,
}

impl Fault {
    fn expression(&self) -> String {
        let Self { call, when, for_good, what } = self;
        let plus = if *for_good { "+" } else { "" };
        match what {
            What::Kill => format!("inject={call}:signal=SIGKILL:when={when}{plus}"),
            What::Error(error) => format!("inject={call}:error={error}:when={when}{plus}"),
        }
    }

    /// Whether the call is a sync.
    pub fn is_sync(&self) -> bool {
        matches!(self.call.as_str(), "fsync" | "fdatasync")
    }

    /// Whether the call writes, or claims what is written to.
    pub fn is_write(&self) -> bool {
        matches!(self.call.as_str(), "pwrite64" | "fallocate")
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { call, when, for_good, what } = self;
        let what = match what {
            What::Kill => "SIGKILL",
            What::Error(error) => error,
        };
        write!(f, "{what} at {call} {when}{}", if *for_good { " and all after it" } else { "" })
    }
}

/// Makes sure that strace is there and may trace.
///
/// # Errors
/// [`TortureError::NoTool`].
pub fn check() -> Result<(), TortureError> {
    let lacks = |why: String| TortureError::NoTool {
        tool: "strace",
        why,
        fix: "install it (`apt-get install strace`, `dnf install strace`); in a container allow it (`--cap-add SYS_PTRACE`)",
    };
    let tried = Command::new("strace").args(["-f", "-qq", "-e", "trace=none", "-o", "/dev/null", "true"]).output();
    let tried = tried.map_err(|error| lacks(error.to_string()))?;
    if tried.status.success() { Ok(()) } else { Err(lacks(String::from_utf8_lossy(&tried.stderr).trim().to_owned())) }
}

fn base(log: &Path, fault: Option<&Fault>) -> Command {
    let mut strace = Command::new("strace");
    // Times since the epoch, to compare them with ours.
    strace.args(["-ttt", "-e", "signal=none", "-e", &format!("trace={CALLS}"), "-o"]).arg(log);
    if let Some(fault) = fault {
        strace.args(["-e", &fault.expression()]);
    }
    strace
}

/// The command traced from its start on, every thread of it, in what it does to these paths. The process that is started
/// becomes the command; the tracer stands aside.
pub fn launch(command: &Command, paths: &[PathBuf], log: &Path, fault: Option<&Fault>) -> Command {
    let mut strace = base(log, fault);
    strace.args(["-D", "-f", "-qq"]);
    for path in paths {
        strace.arg("-P").arg(path);
    }
    strace.arg("--").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => strace.env(name, value),
            None => strace.env_remove(name),
        };
    }
    strace
}

/// Attaches to the one thread of this name.
///
/// # Errors
/// [`TortureError::Ended`]: strace may not; [`TortureError::TimedOut`].
pub async fn attach(pid: Pid, thread: &str, log: &Path, fault: Option<&Fault>) -> Result<Process, TortureError> {
    let tid = until(&format!("the thread {thread}"), PATIENCE, async || Ok(thread_id(pid, thread))).await?;
    let mut strace = base(log, fault);
    strace.args(["-p", &tid.to_string()]);
    let mut tracer = Process::start(strace, &log.with_extension("log"))?;
    tracer.until_said("attached").await?;
    Ok(tracer)
}

fn thread_id(pid: Pid, thread: &str) -> Option<i32> {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero())).ok()?;
    let mut named = tasks
        .flatten()
        .filter(|task| std::fs::read_to_string(task.path().join("comm")).is_ok_and(|comm| comm.trim_end() == thread));
    named.next().and_then(|task| task.file_name().to_str()?.parse().ok())
}

/// Takes a tracer off, and its faults with it.
///
/// # Errors
/// [`TortureError::TimedOut`].
pub async fn detach(mut tracer: Process) -> Result<(), TortureError> {
    tracer.signal(Signal::INT)?;
    tracer.ended(PATIENCE).await.map(|_| ())
}

/// One call in a trace.
#[derive(Clone, Debug)]
pub struct Call {
    /// The thread; 0 in the trace of a single one.
    pub thread: u32,
    /// When, in seconds since the epoch.
    pub at: f64,
    /// Its name.
    pub name: String,
    /// What it was given and what it gave back, as strace shows it.
    pub text: String,
    /// Whether a fault hit it.
    pub injected: bool,
}

impl Call {
    /// Whether strace was taken off in the middle of it. What was to be injected may be half done then: the call is not made,
    /// and its error is one that no system gives.
    pub fn is_cut_off(&self) -> bool {
        self.text.ends_with("<detached ...>")
    }
}

/// The calls in a trace.
///
/// # Errors
/// [`TortureError::Io`].
pub fn read(log: &Path) -> Result<Vec<Call>, TortureError> {
    let text = std::fs::read_to_string(log).map_err(TortureError::io(format!("read {}", log.display())))?;
    Ok(text.lines().filter_map(parse).collect())
}

/// `1234 1700000000.123456 fsync(7) = 0`, the thread being left out where there is only one.
fn parse(line: &str) -> Option<Call> {
    let (first, rest) = line.split_once(' ')?;
    let (thread, time, rest) = if first.contains('.') {
        (0, first, rest.trim_start())
    } else {
        let (time, rest) = rest.trim_start().split_once(' ')?;
        (first.parse().ok()?, time, rest.trim_start())
    };
    let (name, text) = rest.split_once('(')?;
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
        return None;
    }
    let injected = text.ends_with("(INJECTED)");
    Some(Call { thread, at: time.parse().ok()?, name: name.to_owned(), text: text.to_owned(), injected })
}

/// How often each call was made by one thread.
pub fn counts(calls: &[Call], thread: u32) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for call in calls.iter().filter(|call| call.thread == thread) {
        *counts.entry(call.name.clone()).or_default() += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn traces_are_read_with_and_without_threads() {
        let call = parse("1234  1700000000.125000 fsync(7) = -1 EIO (Input/output error) (INJECTED)").unwrap();
        assert_eq!((call.thread, call.name.as_str(), call.injected), (1234, "fsync", true));
        let call = parse("1700000000.125000 pwrite64(7, \"a(b\"..., 3, 0) = 3").unwrap();
        assert_eq!((call.thread, call.name.as_str(), call.injected), (0, "pwrite64", false));
        assert!((call.at - 1_700_000_000.125).abs() < 1e-6);
        let call = parse("1700000000.125000 pwrite64(7, \"a\"..., 3, 0 <detached ...>").unwrap();
        assert!(call.is_cut_off() && !call.injected);
        assert!(parse("1234 1700000000.1 +++ exited with 0 +++").is_none());
        assert!(parse("1234 1700000000.1 <... fsync resumed>) = 0").is_none());
        let fault = Fault { call: "fsync".into(), when: 3, for_good: true, what: What::Error("EIO") };
        assert_eq!(fault.expression(), "inject=fsync:error=EIO:when=3+");
        assert_eq!(fault.to_string(), "EIO at fsync 3 and all after it");
    }
}

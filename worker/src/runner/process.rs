//! A child process with everything it starts: one process group, killed as a whole on every way out.
//!
//! A process that leaves the group on purpose (`setsid`) is out of reach here; so are the children of a worker that is
//! itself killed by SIGKILL.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::config::ProcessConfig;
use crate::leases::StopSignal;

/// A running child, leader of its own process group. Dropping it kills the group.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    /// None once the group was killed after the child's end: from then on the number may be another's.
    pid: Option<Pid>,
}

/// The child's pipes.
#[derive(Debug)]
pub(crate) struct Pipes {
    pub stdin: ChildStdin,
    pub stdout: ChildStdout,
    pub stderr: ChildStderr,
}

impl Group {
    /// Starts the program, no shell between, with these variables added to the environment.
    ///
    /// # Errors
    /// The operating system's, with the program's name.
    pub(crate) fn spawn(config: &ProcessConfig, vars: &[(&str, String)]) -> Result<(Self, Pipes), String> {
        let ProcessConfig { argv, cwd, env, .. } = config;
        let (program, args) = argv.split_first().ok_or("the configuration names no program")?;
        let mut command = Command::new(program);
        command.args(args).envs(env).envs(vars.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.process_group(0).kill_on_drop(true);
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        let describe = |error: io::Error| match cwd {
            Some(cwd) => format!("cannot start {program:?} in {}: {error}", cwd.display()),
            None => format!("cannot start {program:?}: {error}"),
        };
        let mut child = command.spawn().map_err(describe)?;
        let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("cannot start {program:?}: its pipes are missing"));
        };
        Ok((Self { child, pid }, Pipes { stdin, stdout, stderr }))
    }

    /// Waits for the child's end, then kills what it left behind in its group.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        // The group's number cannot be given to another process while a member lives, and is not reused within the
        // moment since the child was reaped: numbers are handed out in a circle.
        self.signal(Signal::KILL);
        self.pid = None;
        status
    }

    /// The child's end if it came already; then what it left behind is killed too.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.signal(Signal::KILL);
        self.pid = None;
        Some(status)
    }

    /// Asks the group to end, and kills it when `grace` is over or the worker has no time left.
    pub(crate) async fn stop(&mut self, grace: Duration, stop: &StopSignal) {
        self.signal(Signal::TERM);
        let in_time = tokio::select! {
            biased;
            () = stop.killed() => false,
            ended = tokio::time::timeout(grace, self.child.wait()) => ended.is_ok(),
        };
        if !in_time {
            self.signal(Signal::KILL);
        }
        // Reaps the child; a failure says that somebody else did.
        let _ = self.ended().await;
    }

    fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid {
            // An error says that no process of the group is left.
            let _ = kill_process_group(pid, signal);
        }
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.signal(Signal::KILL);
    }
}

/// How a process ended, in words: `exited with code 3`, `was killed by signal 9 (SIGKILL)`.
pub(crate) fn describe(status: ExitStatus) -> String {
    use std::os::unix::process::ExitStatusExt as _;
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exited with code {code}"),
        (None, Some(signal)) => match signal_name(signal) {
            Some(name) => format!("was killed by signal {signal} ({name})"),
            None => format!("was killed by signal {signal}"),
        },
        (None, None) => "ended without a status".to_owned(),
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    let names = [
        (Signal::HUP, "SIGHUP"),
        (Signal::INT, "SIGINT"),
        (Signal::QUIT, "SIGQUIT"),
        (Signal::ILL, "SIGILL"),
        (Signal::ABORT, "SIGABRT"),
        (Signal::BUS, "SIGBUS"),
        (Signal::FPE, "SIGFPE"),
        (Signal::KILL, "SIGKILL, perhaps for want of memory"),
        (Signal::SEGV, "SIGSEGV"),
        (Signal::PIPE, "SIGPIPE"),
        (Signal::TERM, "SIGTERM"),
        (Signal::XCPU, "SIGXCPU"),
    ];
    names.iter().find(|(known, _)| known.as_raw() == signal).map(|(_, name)| *name)
}

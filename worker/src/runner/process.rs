//! A child process with everything it starts, ended as a whole on every way out.
//!
//! Under a supervisor ([`supervise`]) that is everything. Without one it is the child's process group: what leaves the group
//! on purpose (`setsid`) is out of reach, and so are the children of a worker that is itself killed by SIGKILL.

use std::ffi::OsString;
use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::process::{Child, ChildStderr, ChildStdin, ChildStdout, Command};

use crate::config::ProcessConfig;
use crate::leases::StopSignal;
use crate::resources::Vars;
use crate::supervise;

/// Variables of the worker's own environment that a job's process gets. The rest may hold what is not the job's to know:
/// tokens, above all.
const PASSED: &[&str] = &["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ", "TMPDIR"];

/// A supervisor ends a job's processes within moments, or was stopped by one of them.
const SUPERVISOR_TIME: Duration = Duration::from_secs(2);

/// A running child, leader of its own process group, with everything below it. Dropping it kills all of that.
#[derive(Debug)]
pub(crate) struct Group {
    child: Child,
    /// None once the group was killed after the child's end: from then on the number may be another's.
    pid: Option<Pid>,
    /// The child is a supervisor: it is told what to do with the group.
    supervised: bool,
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
    pub(crate) fn spawn(
        config: &ProcessConfig,
        vars: &[(&str, String)],
        of_resources: &Vars,
    ) -> Result<(Self, Pipes), String> {
        let ProcessConfig { argv, cwd, env, pass_env, pin, files, .. } = config;
        let program = argv.first().ok_or("the configuration names no program")?;
        let supervisor = supervise::command(config);
        let supervised = supervisor.is_some();
        if (files.is_some() || *pin) && !supervised {
            return Err(
                "the configuration keeps a job to files or processors, and only a supervised job can be kept".into()
            );
        }
        let words = supervisor.unwrap_or_else(|| argv.iter().map(OsString::from).collect());
        let mut command = Command::new(words.first().ok_or("the configuration names no program")?);
        let passed = std::env::vars_os().filter(|(name, _)| {
            let name = name.to_str().unwrap_or_default();
            name.starts_with("LC_") || PASSED.contains(&name) || pass_env.iter().any(|passed| passed == name)
        });
        let Vars { unless_set, set } = of_resources.clone();
        command
            .args(&words[1..])
            .env_clear()
            .envs(unless_set)
            .envs(passed)
            .envs(env)
            .envs(set)
            .envs(vars.iter().map(|(name, value)| (name, value)));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A supervisor that is killed leaves its job behind: it is asked instead.
        command.process_group(0).kill_on_drop(!supervised);
        if let Some(cwd) = cwd {
            command.current_dir(cwd);
        }
        let describe = |error: io::Error| match cwd {
            Some(cwd) => format!("cannot start {program:?} in {}: {error}", cwd.display()),
            None => format!("cannot start {program:?}: {error}"),
        };
        let mut spawn = || command.spawn().map(with_pid);
        let (mut child, pid) = if supervised { supervise::start(&mut spawn) } else { spawn() }.map_err(describe)?;
        let (Some(stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
        else {
            return Err(format!("cannot start {program:?}: its pipes are missing"));
        };
        Ok((Self { child, pid, supervised }, Pipes { stdin, stdout, stderr }))
    }

    /// Waits for the child's end, then kills what it left behind.
    pub(crate) async fn ended(&mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait().await;
        self.clean_up(status.as_ref().ok().copied());
        status
    }

    /// The child's end if it came already; then what it left behind is killed too.
    pub(crate) fn has_ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        self.clean_up(Some(status));
        Some(status)
    }

    fn clean_up(&mut self, status: Option<ExitStatus>) {
        // The group's number cannot be given to another process while a member lives, and is not reused within the
        // moment since the child was reaped: numbers are handed out in a circle.
        let Some(pid) = self.pid.take() else { return };
        if self.supervised {
            // A supervisor that ended by itself has left nobody; one that was killed has.
            supervise::ended(pid, status.is_some_and(|status| status.code().is_some()));
        } else {
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    /// Asks the group to end, and kills it when `grace` is over or the worker has no time left.
    pub(crate) async fn stop(&mut self, grace: Duration, stop: &StopSignal) {
        self.ask();
        let in_time = tokio::select! {
            biased;
            () = stop.killed() => false,
            ended = tokio::time::timeout(grace, self.child.wait()) => ended.is_ok(),
        };
        if !in_time {
            self.kill();
            let gone = tokio::time::timeout(SUPERVISOR_TIME, self.child.wait()).await;
            if gone.is_err()
                && let Some(pid) = self.pid
            {
                tracing::warn!("a job's supervisor does not answer and is killed");
                let _ = kill_process_group(pid, Signal::KILL);
            }
        }
        // Reaps the child; a failure says that somebody else did.
        let _ = self.ended().await;
    }

    // An error of the following says that no process is left.

    fn ask(&self) {
        let Some(pid) = self.pid else { return };
        let _ = if self.supervised { kill_process(pid, Signal::TERM) } else { kill_process_group(pid, Signal::TERM) };
    }

    fn kill(&self) {
        let Some(pid) = self.pid else { return };
        let _ = if self.supervised { kill_process(pid, Signal::USR1) } else { kill_process_group(pid, Signal::KILL) };
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
    }
}

fn with_pid(child: Child) -> (Child, Option<Pid>) {
    let pid = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    (child, pid)
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

//! The supervisor: starts a job's process, and ends whatever is left of it.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};
use std::time::Duration;

use rustix::process::{
    Pid, Signal, WaitOptions, WaitStatus, getpid, getppid, kill_process, kill_process_group, set_child_subreaper, wait,
};
use tokio::signal::unix::{SignalKind, signal};

use super::cgroup::Cgroup;
use super::confine::Confinement;
use super::{CONFINE, MYSELF, Order, tree};

/// How often the supervisor looks whether its worker is still there.
const LOOK: Duration = Duration::from_millis(200);

/// The exit code of a supervisor that cannot do its work.
const BROKEN: u8 = 125;

pub(super) fn main(mut args: impl Iterator<Item = OsString>) -> ExitCode {
    let order = args.next().and_then(|json| serde_json::from_str(json.to_str()?).ok());
    let Some(order) = order else {
        eprintln!("this is a part of the worker, which starts it for each job");
        return ExitCode::from(2);
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(supervise(&order, args.collect()))) {
        Ok(status) => end_like(status),
        Err(error) => {
            eprintln!("the job cannot be supervised: {error}");
            ExitCode::from(BROKEN)
        }
    }
}

/// Runs the job to its end, or to its worker's. How its own process ended.
async fn supervise(order: &Order, argv: Vec<OsString>) -> io::Result<WaitStatus> {
    set_child_subreaper(Some(getpid()))?;
    let mut ended = signal(SignalKind::child())?;
    let mut stop = signal(SignalKind::terminate())?;
    let mut kill = signal(SignalKind::user_defined1())?;
    // The supervisor does not mind these. That it has a handler sets them back for the job, which must not find them
    // ignored because somebody started the worker with `nohup`, or behind `&` in a script.
    let _unminded = [signal(SignalKind::hangup())?, signal(SignalKind::interrupt())?, signal(SignalKind::quit())?];
    let cgroup = order.cgroup.as_ref().map(|parent| {
        let describe = |error| io::Error::other(format!("no control group in {}: {error}", parent.display()));
        Cgroup::create(parent, &order.limits).map_err(describe)
    });
    let cgroup = cgroup.transpose()?;
    let confinement = Confinement {
        limits: order.limits.clone(),
        pin: order.pin,
        cgroup: cgroup.as_ref().map(|cgroup| cgroup.path().to_owned()),
        files: order.files.clone(),
    };
    // Everything that can fail comes before there is a job to end.
    let nothing = File::options().read(true).write(true).open("/dev/null")?;
    let mut command = Command::new(MYSELF);
    command.arg(CONFINE).arg(serde_json::to_string(&confinement)?).args(argv);
    let job = Pid::from_child(&command.process_group(0).spawn()?);
    // The pipes are the job's alone: their ends say that it has ended.
    rustix::stdio::dup2_stdin(&nothing)?;
    rustix::stdio::dup2_stdout(&nothing)?;
    rustix::stdio::dup2_stderr(&nothing)?;

    let mut look = tokio::time::interval(LOOK);
    let mut status = None;
    while status.is_none() {
        tokio::select! {
            biased;
            _ = kill.recv() => break,
            // The job's group only: what has left it is not asked, but ended with the rest.
            _ = stop.recv() => drop(kill_process_group(job, Signal::TERM)),
            _ = ended.recv() => {
                while let Ok(Some((pid, how))) = wait(WaitOptions::NOHANG) {
                    if pid == job {
                        status = Some(how);
                    }
                }
            }
            _ = look.tick() => if !is_there(order.worker) {
                break;
            }
        }
    }
    let last = end_all(job, cgroup.as_ref());
    if let Some(cgroup) = cgroup {
        cgroup.remove();
    }
    status.or(last).ok_or_else(|| io::Error::other("its process was lost"))
}

fn is_there(worker: u32) -> bool {
    getppid().is_some_and(|parent| u32::try_from(parent.as_raw_nonzero().get()) == Ok(worker))
}

/// Ends every process below this one and reaps it. How the job's own process ended, if it was among them.
///
/// Whoever's parent ends becomes this process's child, so that ending its children, again and again, ends everything below
/// it, and there is nobody left once it has none.
fn end_all(job: Pid, cgroup: Option<&Cgroup>) -> Option<WaitStatus> {
    let mut status = None;
    loop {
        if let Some(cgroup) = cgroup {
            cgroup.kill();
        }
        let mut ended = false;
        loop {
            match wait(WaitOptions::NOHANG) {
                Ok(Some((pid, how))) => {
                    ended = true;
                    if pid == job {
                        status = Some(how);
                    }
                }
                Ok(None) => break,
                // There is no child, and so nothing at all.
                Err(_) => return status,
            }
        }
        for pid in tree::children() {
            // An error: it is gone already.
            let _ = kill_process(pid, Signal::KILL);
        }
        // A process that forks and ends, again and again, is caught by being quick.
        if !ended {
            std::thread::yield_now();
        }
    }
}

/// Ends as the job's process did, so that the worker sees what it would have seen of the process itself.
fn end_like(status: WaitStatus) -> ExitCode {
    if let Some(signal) = status.terminating_signal() {
        let _ = signal_hook::low_level::emulate_default_handler(signal);
        // A signal that ends nobody cannot have ended the job.
        return ExitCode::from(BROKEN);
    }
    ExitCode::from(status.exit_status().and_then(|code| u8::try_from(code).ok()).unwrap_or(BROKEN))
}

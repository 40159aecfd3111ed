//! One process per job: payload in on standard input, candidates out as lines on standard output, log on standard
//! error, exit code 0 for complete.

use std::process::ExitStatus;
use std::time::Duration;

use orch_proto::v1;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio_util::sync::CancellationToken;

use super::lines::LineCutter;
use super::process::{Group, Pipes, describe};
use super::tail::Tail;
use super::{Outcome, Output};
use crate::assignment::Assignment;
use crate::config::ProcessConfig;
use crate::leases::StopSignal;
use crate::submit::message::{Failure, FailureKind};

/// One read from a pipe.
const CHUNK: usize = 64 << 10;

/// How long a pipe may stay open without a byte after its process ended: a process that left the group may hold it.
const AFTER_EXIT: Duration = Duration::from_secs(2);

/// Why a process is looked at no longer.
enum Cut {
    Ended(std::io::Result<ExitStatus>),
    Fault(String),
    TimedOut(Duration),
    Stopped,
}

/// Runs the job's process to its end, or ends it.
pub(crate) async fn run(config: &ProcessConfig, job: &Assignment, output: Output, stop: &StopSignal) -> Outcome {
    let mut vars = vec![
        ("ORCH_JOB_ID", job.job.to_string()),
        ("ORCH_ATTEMPT", job.attempt.to_string()),
        ("ORCH_QUEUE", job.queue.clone()),
        ("ORCH_KIND", job.kind_text.clone()),
    ];
    vars.extend(job.trace.map(|trace| ("TRACEPARENT", trace.run.to_string())));
    if let Some(task) = job.task {
        vars.push(("ORCH_ARRAY_JOB_ID", task.array.to_string()));
        vars.push(("ORCH_ARRAY_TASK_ID", task.index.to_string()));
    }
    if let Some(v1::GangPlace { rank, members, hosts }) = &job.gang {
        vars.push(("ORCH_GANG_RANK", rank.to_string()));
        vars.push(("ORCH_GANG_SIZE", members.len().to_string()));
        vars.push(("ORCH_GANG_MEMBERS", members.join(",")));
        vars.push(("ORCH_GANG_HOSTS", hosts.join(",")));
    }
    let (mut group, Pipes { stdin, stdout, stderr }) = match Group::spawn(config, &vars, &job.vars) {
        Ok(spawned) => spawned,
        Err(message) => return Outcome::error(message),
    };
    let timeout = job.timeout.or(config.timeout);
    let exited = CancellationToken::new();
    let mut tail = Tail::default();
    let cut = {
        let read = read_candidates(stdout, config, &output, &exited);
        let side = async { tokio::join!(feed(stdin, &job.payload), keep_log(stderr, &output, &mut tail, &exited)) };
        let whole = async {
            tokio::pin!(read, side);
            let (mut read_done, mut side_done, mut status) = (false, false, None);
            while !read_done || !side_done || status.is_none() {
                tokio::select! {
                    fault = &mut read, if !read_done => match fault {
                        Ok(()) => read_done = true,
                        Err(fault) => return Cut::Fault(fault),
                    },
                    _ = &mut side, if !side_done => side_done = true,
                    ended = group.ended(), if status.is_none() => {
                        status = Some(ended);
                        exited.cancel();
                    }
                }
            }
            Cut::Ended(status.unwrap_or_else(|| Err(std::io::Error::other("no status"))))
        };
        tokio::select! {
            cut = whole => cut,
            limit = elapsed(timeout) => Cut::TimedOut(limit),
            () = stop.raised() => Cut::Stopped,
        }
    };
    match cut {
        Cut::Ended(status) => judge(status, &tail),
        Cut::Fault(fault) => {
            group.stop(config.stop_grace, stop).await;
            Outcome::error(fault)
        }
        Cut::TimedOut(limit) => {
            group.stop(config.stop_grace, stop).await;
            Outcome::timeout(limit)
        }
        Cut::Stopped => {
            group.stop(config.stop_grace, stop).await;
            Outcome::Stopped
        }
    }
}

/// What the end of the process means for the job.
fn judge(status: std::io::Result<ExitStatus>, tail: &Tail) -> Outcome {
    match status {
        Ok(status) if status.success() => Outcome::Complete,
        Ok(status) => Outcome::Failed(Failure {
            kind: FailureKind::Error,
            message: tail.after(&format!("the command {}", describe(status))),
            exit_code: status.code(),
        }),
        Err(error) => Outcome::error(format!("the command's end cannot be learned: {error}")),
    }
}

/// Ends after the time limit, if there is one.
pub(crate) async fn elapsed(limit: Option<Duration>) -> Duration {
    match limit {
        Some(limit) => {
            tokio::time::sleep(limit).await;
            limit
        }
        None => std::future::pending().await,
    }
}

/// Writes the payload as one line and closes the pipe. A process that does not read it is within its rights.
async fn feed(mut stdin: ChildStdin, payload: &str) {
    // One write, so that a process never sees the payload without its line's end.
    let line = format!("{payload}\n");
    let _ = stdin.write_all(line.as_bytes()).await;
    let _ = stdin.shutdown().await;
}

/// Hands on every line of standard output, as it is: the orchestrator judges what is a candidate.
async fn read_candidates(
    mut stdout: ChildStdout,
    config: &ProcessConfig,
    output: &Output,
    exited: &CancellationToken,
) -> Result<(), String> {
    let mut cutter = LineCutter::new(config.max_line_bytes);
    let mut chunk = vec![0; CHUNK];
    let mut total = 0_u64;
    loop {
        let read = tokio::select! {
            biased;
            read = stdout.read(&mut chunk) => read.map_err(|error| format!("the command's output broke: {error}"))?,
            () = silence_after(exited) => 0,
        };
        if read == 0 {
            output.candidates(cutter.finish().into_iter().collect()).await;
            return Ok(());
        }
        total += read as u64;
        if total > config.max_output_bytes {
            return Err(format!("the command's output is longer than {} bytes in all", config.max_output_bytes));
        }
        let lines = cutter.cut(&chunk[..read]).map_err(|error| error.to_string())?;
        if !output.candidates(lines).await {
            // Whoever closed the channel knows why and says so in place of this.
            return Err("the command's candidates are not taken any more".to_owned());
        }
    }
}

/// Copies standard error to the job's log and keeps its end.
async fn keep_log(mut stderr: ChildStderr, output: &Output, tail: &mut Tail, exited: &CancellationToken) {
    let mut chunk = vec![0; CHUNK];
    loop {
        let read = tokio::select! {
            biased;
            read = stderr.read(&mut chunk) => read.unwrap_or(0),
            () = silence_after(exited) => 0,
        };
        if read == 0 {
            return;
        }
        output.log(&chunk[..read]);
        tail.write(&chunk[..read]);
    }
}

/// Ends some time after the process did.
async fn silence_after(exited: &CancellationToken) {
    exited.cancelled().await;
    tokio::time::sleep(AFTER_EXIT).await;
}

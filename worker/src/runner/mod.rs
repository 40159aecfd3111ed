//! Runners: what computes a job. A worker maps each kind of job to one, and runs nothing else.
//!
//! [`builtin`] is Rust code of this project; [`command`] starts one process per job; [`serve`] keeps a process per slot
//! and feeds it jobs. `docs/runners.md` has the protocol of both as their authors see it. A runner gets the payload and
//! an [`Output`], and says how it ended; leases, batches and the orchestrator are none of its business.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::id::Kind;
use prost::bytes::Bytes;
use tokio::sync::mpsc;

use crate::assignment::Assignment;
use crate::config::RunnerConfig;
use crate::leases::{Held, StopSignal};
use crate::logs::JobLog;
use crate::submit::message::{Failure, FailureKind};

mod builtin;
mod command;
mod lines;
mod process;
mod serve;
mod tail;

/// Reads a runner's output, in the pieces in which it came, as a worker reads it: how many lines it has, and how many of
/// them the protocol of `serve` knows. For tests that write anything.
///
/// # Errors
/// A line is longer than `limit`.
pub fn read_output(pieces: &[&[u8]], limit: usize) -> Result<(usize, usize), String> {
    let mut cutter = lines::LineCutter::new(limit);
    let (mut count, mut known) = (0, 0);
    let mut take = |line: &[u8]| {
        count += 1;
        known += usize::from(serve::is_known(line));
    };
    for piece in pieces {
        cutter.cut(piece).map_err(|error| error.to_string())?.iter().for_each(|line| take(line));
    }
    cutter.finish().iter().for_each(|line| take(line));
    Ok((count, known))
}

/// How a runner ended.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Outcome {
    /// Everything was produced.
    Complete,
    Failed(Failure),
    /// The stop signal was raised before the end, and nothing of the job runs any more.
    Stopped,
}

impl Outcome {
    fn error(message: impl Into<String>) -> Self {
        Self::Failed(Failure { kind: FailureKind::Error, message: message.into(), exit_code: None })
    }

    fn permanent(message: impl Into<String>) -> Self {
        Self::Failed(Failure { kind: FailureKind::Permanent, message: message.into(), exit_code: None })
    }

    fn timeout(limit: std::time::Duration) -> Self {
        let message = format!("the job ran longer than its time-out of {}", humantime::format_duration(limit));
        Self::Failed(Failure { kind: FailureKind::Timeout, message, exit_code: None })
    }
}

/// Where a runner's candidates, progress and log go.
#[derive(Clone, Debug)]
pub(crate) struct Output {
    portions: mpsc::Sender<Vec<Bytes>>,
    held: Arc<Held>,
    log: JobLog,
    /// Of a gang only the first member's candidates are the job's.
    rank: u32,
}

impl Output {
    pub(crate) fn new(portions: mpsc::Sender<Vec<Bytes>>, held: Arc<Held>, log: JobLog, rank: u32) -> Self {
        Self { portions, held, log, rank }
    }

    /// Hands candidates over, in order; waits while too many are kept. False: nobody wants them any more. Those of a gang's
    /// other members go to the log.
    pub(crate) async fn candidates(&self, portion: Vec<Bytes>) -> bool {
        self.is_logged(&portion) || self.portions.send(portion).await.is_ok()
    }

    /// The same from a thread that may block.
    pub(crate) fn candidates_blocking(&self, portion: Vec<Bytes>) -> bool {
        self.is_logged(&portion) || self.portions.blocking_send(portion).is_ok()
    }

    /// Whether there is nothing to hand over, or it went to the log.
    fn is_logged(&self, portion: &[Bytes]) -> bool {
        if self.rank > 0 {
            portion.iter().for_each(|line| self.log.write(&[line, &b"\n"[..]].concat()));
        }
        portion.is_empty() || self.rank > 0
    }

    /// Notes how far the job is: a fraction between 0 and 1, negative if unknown.
    pub(crate) fn progress(&self, fraction: f64, note: &str) {
        self.held.set_progress(fraction, note);
    }

    /// Appends to the job's log.
    pub(crate) fn log(&self, text: &[u8]) {
        self.log.write(text);
    }
}

/// One kind's runner, ready to run.
#[derive(Debug)]
enum Runner {
    Builtin(crate::config::Builtin),
    Command(Box<crate::config::ProcessConfig>),
    Serve(Box<serve::Pool>),
}

/// The runners of a worker, by kind.
#[derive(Debug)]
pub(crate) struct Runners {
    kinds: BTreeMap<Kind, Runner>,
}

impl Runners {
    pub(crate) fn new(kinds: &BTreeMap<Kind, RunnerConfig>) -> Self {
        let runner = |config: &RunnerConfig| match config {
            RunnerConfig::Builtin(builtin) => Runner::Builtin(*builtin),
            RunnerConfig::Command(process) => Runner::Command(Box::new(process.clone())),
            RunnerConfig::Serve(serve) => Runner::Serve(Box::new(serve::Pool::new(serve.clone()))),
        };
        Self { kinds: kinds.iter().map(|(kind, config)| (kind.clone(), runner(config))).collect() }
    }

    /// Runs a job to its end. A kind that the worker's configuration does not list is failed, never run.
    pub(crate) async fn run(&self, job: &Assignment, output: Output, stop: &StopSignal) -> Outcome {
        match job.kind.as_ref().and_then(|kind| self.kinds.get(kind)) {
            Some(Runner::Builtin(builtin)) => builtin::run(*builtin, job, output, stop).await,
            Some(Runner::Command(process)) => command::run(process, job, output, stop).await,
            Some(Runner::Serve(pool)) => pool.run(job, output, stop).await,
            None => {
                let offered: Vec<&str> = self.kinds.keys().map(Kind::as_str).collect();
                Outcome::permanent(format!(
                    "this worker does not run jobs of kind {:?}, only: {}",
                    job.kind_text,
                    offered.join(", ")
                ))
            }
        }
    }

    /// Ends processes that wait for jobs.
    pub(crate) async fn shut_down(&self) {
        for runner in self.kinds.values() {
            match runner {
                Runner::Builtin(_) | Runner::Command(_) => {}
                Runner::Serve(pool) => pool.shut_down().await,
            }
        }
    }
}

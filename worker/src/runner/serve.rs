//! One long-lived process per slot: JSON lines both ways, so that Python or CUDA start once and not once per job.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_proto::v1;
use prost::bytes::Bytes;
use serde::Serialize;
use serde_json::value::RawValue;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;
use tracing::debug;

use super::command::elapsed;
use super::lines::LineCutter;
use super::process::{Group, Pipes, describe};
use super::tail::Tail;
use super::{Outcome, Output};
use crate::assignment::Assignment;
use crate::config::{ProcessConfig, ServeConfig};
use crate::leases::{StopSignal, lock};
use crate::pace::Pace;
use crate::resources::Vars;
use said::Said;

mod said;

/// Whether the protocol knows a line.
pub(super) fn is_known(line: &[u8]) -> bool {
    said::parse(line).is_ok()
}

/// One read from a pipe.
const CHUNK: usize = 64 << 10;

/// The processes of one kind: as many as jobs ever ran at once.
#[derive(Debug)]
pub(crate) struct Pool {
    config: ServeConfig,
    idle: Mutex<Vec<Process>>,
    /// Set while processes break: how long to wait before the next start.
    trouble: Mutex<Option<Pace>>,
}

/// What one job line tells the process.
#[derive(Serialize)]
struct JobLine<'a> {
    job: u64,
    attempt: u32,
    queue: &'a str,
    kind: &'a str,
    payload: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    gang: Option<GangLine<'a>>,
}

/// Which member of a gang the process is, and who the others are, by rank.
#[derive(Serialize)]
struct GangLine<'a> {
    rank: u32,
    members: &'a [String],
    hosts: &'a [String],
}

/// How a process answered a job.
enum Answered {
    Done,
    Failed(Outcome),
    /// It died or broke the protocol.
    Broken(String),
}

impl Pool {
    pub(crate) fn new(config: ServeConfig) -> Self {
        Self { config, idle: Mutex::default(), trouble: Mutex::default() }
    }

    /// Runs a job on an idle process, or on a new one.
    pub(crate) async fn run(&self, job: &Assignment, output: Output, stop: &StopSignal) -> Outcome {
        let Ok(payload) = serde_json::from_str::<&RawValue>(&job.payload) else {
            return Outcome::permanent("the payload is not JSON");
        };
        let process = tokio::select! {
            process = self.process(&job.vars, &output, stop) => process,
            () = stop.raised() => return Outcome::Stopped,
        };
        let mut process = match process {
            Ok(process) => process,
            Err(message) => return Outcome::error(message),
        };
        process.serves(Some(output.clone()));
        let timeout = job.timeout.or(self.config.process.timeout);
        let (outcome, keep) = tokio::select! {
            answered = process.answer(job, payload, &output, &self.config.process) => match answered {
                Answered::Done => (Outcome::Complete, true),
                Answered::Failed(outcome) => (outcome, true),
                Answered::Broken(message) => {
                    self.had_trouble();
                    (Outcome::error(message), false)
                }
            },
            limit = elapsed(timeout) => (Outcome::timeout(limit), false),
            () = stop.raised() => (Outcome::Stopped, false),
        };
        if keep && process.said.is_silent() {
            process.serves(None);
            *lock(&self.trouble) = None;
            lock(&self.idle).push(process);
        } else {
            process.group.stop(self.config.process.stop_grace, stop).await;
        }
        outcome
    }

    /// An idle process that lives, or a new one that is ready.
    async fn process(&self, vars: &Vars, output: &Output, stop: &StopSignal) -> Result<Process, String> {
        while let Some(mut process) = { lock(&self.idle).pop() } {
            match process.group.has_ended() {
                // A process is told once, when it starts, what it may use; and what it holds of a GPU it holds on to.
                None if process.vars != *vars => process.end(self.config.process.stop_grace).await,
                None => return Ok(process),
                Some(status) => debug!("an idle runner process {}", describe(status)),
            }
        }
        let wait = lock(&self.trouble).as_mut().map(Pace::next_wait);
        if let Some(wait) = wait {
            tokio::time::sleep(wait).await;
        }
        let started = Process::start(&self.config, vars, output, stop).await;
        if started.is_err() {
            self.had_trouble();
        }
        started
    }

    fn had_trouble(&self) {
        lock(&self.trouble).get_or_insert_with(|| Pace::new(Duration::from_millis(250), Duration::from_secs(30)));
    }

    /// Ends the idle processes: closes their standard input, which tells them to end, then insists.
    pub(crate) async fn shut_down(&self) {
        let idle = std::mem::take(&mut *lock(&self.idle));
        let mut ending = tokio::task::JoinSet::new();
        for process in idle {
            let grace = self.config.process.stop_grace;
            ending.spawn(process.end(grace));
        }
        ending.join_all().await;
    }
}

/// What the standard error of a process is worth right now.
#[derive(Debug, Default)]
struct Errors {
    /// The job that it is written for.
    job: Option<Output>,
    tail: Tail,
}

/// One process.
#[derive(Debug)]
struct Process {
    group: Group,
    /// What it was told of what it may use.
    vars: Vars,
    stdin: ChildStdin,
    said: Lines,
    errors: Arc<Mutex<Errors>>,
    pump: JoinHandle<()>,
}

impl Process {
    /// Starts the process and waits until it says that it is ready.
    async fn start(config: &ServeConfig, vars: &Vars, output: &Output, stop: &StopSignal) -> Result<Self, String> {
        let ServeConfig { process: config, start_timeout } = config;
        let (group, Pipes { stdin, stdout, stderr }) = Group::spawn(config, &[], vars)?;
        let errors = Arc::new(Mutex::new(Errors { job: Some(output.clone()), tail: Tail::default() }));
        let pump = tokio::spawn(keep_log(stderr, Arc::clone(&errors)));
        let said = Lines::new(stdout, config.max_line_bytes);
        let mut process = Self { group, vars: vars.clone(), stdin, said, errors, pump };
        let fault = match tokio::time::timeout(*start_timeout, process.said.next()).await {
            Ok(Ok(Some(line))) => match said::parse(&line) {
                Ok(Said::Ready) => return Ok(process),
                Ok(_) => "the runner's first line must be {\"ready\":true}".to_owned(),
                Err(error) => format!("the runner's first line must be {{\"ready\":true}}: {error}"),
            },
            Ok(Ok(None)) => process.death("before it was ready").await,
            Ok(Err(fault)) => fault,
            Err(_) => {
                let limit = humantime::format_duration(*start_timeout);
                let tail = lock(&process.errors).tail.clone();
                tail.after(&format!("the runner was not ready within its start time-out of {limit}"))
            }
        };
        process.group.stop(config.stop_grace, stop).await;
        Err(fault)
    }

    /// Whose log the standard error belongs to from now on.
    fn serves(&self, job: Option<Output>) {
        lock(&self.errors).job = job;
    }

    /// Gives the process a job and takes its lines until it says that the job is over.
    async fn answer(
        &mut self,
        job: &Assignment,
        payload: &RawValue,
        output: &Output,
        config: &ProcessConfig,
    ) -> Answered {
        let line = JobLine {
            job: job.job.get(),
            attempt: job.attempt,
            queue: &job.queue,
            kind: &job.kind_text,
            payload,
            traceparent: job.trace.map(|trace| trace.run.to_string()),
            gang: job.gang.as_ref().map(|v1::GangPlace { rank, members, hosts }| GangLine {
                rank: *rank,
                members,
                hosts,
            }),
        };
        // Numbers, strings and raw JSON are always JSON.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        // A process that died meanwhile is found out by the end of its output.
        let _ = self.stdin.write_all(&text).await;
        let _ = self.stdin.flush().await;
        let mut portion = Vec::new();
        let mut total = 0_u64;
        loop {
            let line = match self.said.next().await {
                Ok(Some(line)) => line,
                Ok(None) => return Answered::Broken(self.death("in the middle of the job").await),
                Err(fault) => return Answered::Broken(fault),
            };
            total += line.len() as u64;
            if total > config.max_output_bytes {
                let limit = config.max_output_bytes;
                return Answered::Broken(format!("the runner's answer to the job is longer than {limit} bytes"));
            }
            let said = match said::parse(&line) {
                Ok(said) => said,
                Err(error) => return Answered::Broken(error),
            };
            let is_candidate = matches!(said, Said::Candidate(_));
            if let Said::Candidate(candidate) = &said {
                portion.push(Bytes::copy_from_slice(candidate.get().as_bytes()));
            }
            // Candidates that came together go together.
            if (!is_candidate || self.said.is_silent()) && !output.candidates(std::mem::take(&mut portion)).await {
                return Answered::Broken("the runner's candidates are not taken any more".to_owned());
            }
            match said {
                Said::Candidate(_) => {}
                Said::Progress { fraction, note } => output.progress(fraction, &note),
                Said::Log(text) => output.log(format!("{text}\n").as_bytes()),
                Said::Done => return Answered::Done,
                Said::Error { message, permanent: true } => return Answered::Failed(Outcome::permanent(message)),
                Said::Error { message, permanent: false } => return Answered::Failed(Outcome::error(message)),
                Said::Ready => return Answered::Broken("the runner said ready in the middle of a job".to_owned()),
            }
        }
    }

    /// Why the output ended, in words: the process is dead, or closed its output and is ended for it.
    async fn death(&mut self, when: &str) -> String {
        let how = match tokio::time::timeout(Duration::from_secs(2), self.group.ended()).await {
            Ok(Ok(status)) => describe(status),
            Ok(Err(error)) => format!("ended: {error}"),
            Err(_) => "closed its standard output".to_owned(),
        };
        // The pump sees the end of the pipe as soon as the group is gone.
        let _ = tokio::time::timeout(Duration::from_secs(1), &mut self.pump).await;
        let tail = lock(&self.errors).tail.clone();
        tail.after(&format!("the runner process {how} {when}"))
    }

    /// Closes standard input, which asks the process to end, and kills it if it does not.
    async fn end(self, grace: Duration) {
        let Self { mut group, vars: _, stdin, said: _said, errors: _, pump } = self;
        drop(stdin);
        if tokio::time::timeout(grace, group.ended()).await.is_err() {
            group.stop(Duration::ZERO, &StopSignal::default()).await;
        }
        pump.abort();
    }
}

/// Copies standard error to the log of the job that is being served.
async fn keep_log(mut stderr: ChildStderr, errors: Arc<Mutex<Errors>>) {
    let mut chunk = vec![0; CHUNK];
    while let Ok(read) = stderr.read(&mut chunk).await {
        if read == 0 {
            return;
        }
        let mut errors = lock(&errors);
        errors.tail.write(&chunk[..read]);
        if let Some(job) = &errors.job {
            job.log(&chunk[..read]);
        }
    }
}

/// The lines that the process writes.
#[derive(Debug)]
struct Lines {
    stdout: ChildStdout,
    cutter: LineCutter,
    cut: VecDeque<Bytes>,
    chunk: Vec<u8>,
}

impl Lines {
    fn new(stdout: ChildStdout, max_line_bytes: usize) -> Self {
        Self { stdout, cutter: LineCutter::new(max_line_bytes), cut: VecDeque::new(), chunk: vec![0; CHUNK] }
    }

    /// The next line; None at the end of the output. Dropping the future loses nothing.
    async fn next(&mut self) -> Result<Option<Bytes>, String> {
        loop {
            if let Some(line) = self.cut.pop_front() {
                return Ok(Some(line));
            }
            let read = self
                .stdout
                .read(&mut self.chunk)
                .await
                .map_err(|error| format!("the runner's output broke: {error}"))?;
            if read == 0 {
                return Ok(None);
            }
            self.cut.extend(self.cutter.cut(&self.chunk[..read]).map_err(|error| error.to_string())?);
        }
    }

    /// Whether every line that was read was also taken.
    fn is_silent(&self) -> bool {
        self.cut.is_empty()
    }
}

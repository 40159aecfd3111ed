//! Workers and processes for tests.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_core::id::{Kind, WorkerId};
use orch_worker::config::{ProcessConfig, RunnerConfig, ServeConfig};
use orch_worker::{CancellationToken, WorkerConfig, WorkerError, WorkerReport};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio::net::unix::pipe;
use tokio::task::JoinHandle;

use crate::server::Server;

/// How long a process may take to come up, and to go, on a machine with much else to do.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A worker in this process.
pub struct Running {
    pub drain: CancellationToken,
    pub kill: CancellationToken,
    task: JoinHandle<Result<WorkerReport, WorkerError>>,
}

impl Running {
    pub fn start(config: WorkerConfig) -> Self {
        let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
        let task = tokio::spawn(orch_worker::run(config, drain.clone(), kill.clone()));
        Self { drain, kill, task }
    }

    /// Waits for the worker's own end.
    pub async fn ended(self) -> Result<WorkerReport, WorkerError> {
        tokio::time::timeout(PATIENCE, self.task).await.expect("the worker ends").unwrap()
    }

    /// Drains the worker and waits for its end.
    pub async fn drained(self) -> WorkerReport {
        self.drain.cancel();
        self.ended().await.unwrap()
    }
}

/// A worker of the test's server with these runners.
pub fn config(server: &Server, slots: usize, kinds: &[(&str, RunnerConfig)]) -> WorkerConfig {
    let name = WorkerId::new("tester").unwrap();
    let slots = NonZeroUsize::new(slots).unwrap();
    let mut config = WorkerConfig::new(vec![server.url().parse().unwrap()], name, slots);
    config.kinds.extend(kinds.iter().map(|(kind, runner)| (Kind::new(kind).unwrap(), runner.clone())));
    config.flush = Duration::from_millis(5);
    config
}

pub fn process(argv: &[&str]) -> ProcessConfig {
    ProcessConfig::new(argv.iter().map(|&word| word.to_owned()).collect())
}

/// A shell script, one process per job.
pub fn sh(script: &str) -> RunnerConfig {
    RunnerConfig::Command(process(&["sh", "-c", script]))
}

/// A Python program that serves job after job.
pub fn python_serve(program: &str) -> RunnerConfig {
    let process = process(&["python3", "-u", "-c", program]);
    RunnerConfig::Serve(ServeConfig { process, start_timeout: Duration::from_secs(20) })
}

/// A pipe with a name. Processes that a job starts hold its writing end; when the last of them is gone, the reading
/// end says so. No other way tells of grandchildren without guessing how long they take to die.
pub struct Fifo {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Fifo {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("fifo");
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        Self { _folder: folder, path }
    }

    /// A shell script under which `FIFO` is this pipe.
    pub fn sh(&self, script: &str) -> ProcessConfig {
        let mut process = process(&["sh", "-c", script]);
        process.env = BTreeMap::from([("FIFO".to_owned(), self.path.to_str().unwrap().to_owned())]);
        process
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The processes of the next job.
    pub fn processes(&self) -> Processes {
        let pipe = pipe::OpenOptions::new().open_receiver(&self.path).unwrap();
        Processes { path: self.path.clone(), pipe: BufReader::new(pipe), said: String::new() }
    }
}

/// The processes that hold a pipe: a job's, from the first that opens it to the last that is gone.
///
/// The pipe is read without ever blocking a thread, since one that blocks in a pipe that nobody opens would hold a failed
/// test for ever.
pub struct Processes {
    path: PathBuf,
    pipe: BufReader<pipe::Receiver>,
    said: String,
}

impl Processes {
    /// Waits for a first line: the program runs, and what stops it from here on stops a process.
    pub async fn up(&mut self) {
        let line = self.pipe.read_line(&mut self.said);
        tokio::time::timeout(PATIENCE, line).await.expect("the program runs").unwrap();
    }

    /// Waits until every process that holds the pipe is gone. What they said.
    pub async fn gone(mut self) -> String {
        // A pipe that nobody has opened yet does not end: this opens and closes it.
        drop(pipe::OpenOptions::new().open_sender(&self.path).unwrap());
        let rest = self.pipe.read_to_string(&mut self.said);
        tokio::time::timeout(PATIENCE, rest).await.expect("every process of the job is gone").unwrap();
        self.said
    }
}

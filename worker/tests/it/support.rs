//! Workers and processes for tests.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_core::id::{Kind, WorkerId};
use orch_worker::config::{ProcessConfig, RunnerConfig, ServeConfig};
use orch_worker::{CancellationToken, WorkerConfig, WorkerError, WorkerReport};
use tokio::task::JoinHandle;

use crate::server::Server;

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
        tokio::time::timeout(Duration::from_secs(30), self.task).await.expect("the worker ends").unwrap()
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

    /// What is written into the pipe until every process that holds it is gone.
    pub fn read_to_end(&self) -> JoinHandle<String> {
        let path = self.path.clone();
        tokio::task::spawn_blocking(move || std::fs::read_to_string(path).unwrap())
    }
}

/// Waits for a reading of a pipe to end.
pub async fn all_gone(reading: JoinHandle<String>) -> String {
    tokio::time::timeout(Duration::from_secs(20), reading).await.expect("every process of the job is gone").unwrap()
}

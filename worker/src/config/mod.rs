//! What a user sets: a checked [`WorkerConfig`], made once from flags, environment and file.
//!
//! [`file`] reads the YAML file and reports every fault with its place; [`merge`] lays flag over environment over file
//! over default; [`yaml`] is the tree with line numbers below it. Nothing behind this module sees unchecked text.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use orch_core::id::{Kind, NameError, WorkerId};
use orch_core::resource::Pools;
use orch_proto::credentials::TokenSource;
use orch_transport::ClientTls;
pub use orch_transport::{ServerUrl as Server, UrlError as ServerError};

pub use crate::supervise::{Files, Limits};

pub mod file;
pub mod merge;
mod show;
mod yaml;

/// Everything that a worker has to know.
#[derive(Clone, Debug, PartialEq)]
pub struct WorkerConfig {
    /// Where the orchestrator is; tried in turn. Never empty.
    pub servers: Vec<Server>,
    /// How TLS is spoken with it.
    pub tls: ClientTls,
    /// The name under which the worker registers, stable across its reconnections.
    pub name: WorkerId,
    /// Jobs at once.
    pub slots: NonZeroUsize,
    /// What runs which kind of job. Nothing else is ever run.
    pub kinds: BTreeMap<Kind, RunnerConfig>,
    /// Shown with the worker, and what jobs may ask for.
    pub labels: BTreeMap<String, String>,
    /// What it has besides what is found, or instead of it.
    pub resources: Pools,
    /// How long it works before it drains. None: until it is told to.
    pub time_limit: Option<Duration>,
    /// How long it has nothing to do until it drains. None: it waits for ever.
    pub idle_timeout: Option<Duration>,
    /// How long running jobs may take to finish once the worker drains.
    pub grace: Duration,
    /// How long candidates wait for company before they are sent.
    pub flush: Duration,
    /// Bytes of results kept in memory until they are acknowledged; beyond it, runners wait.
    pub keep_bytes: usize,
    /// How long without an orchestrator until the worker gives up. None: never.
    pub give_up_after: Option<Duration>,
    /// What the worker shows to be let in.
    pub token: TokenSource,
    /// The OpenTelemetry collector that gets the spans of runs, of jobs that the orchestrator traces. None: nobody does.
    pub otlp_endpoint: Option<Server>,
}

impl WorkerConfig {
    /// A worker with every default and the built-in kinds.
    pub fn new(servers: Vec<Server>, name: WorkerId, slots: NonZeroUsize) -> Self {
        Self {
            servers,
            tls: ClientTls::default(),
            name,
            slots,
            kinds: Builtin::ALL.iter().map(|&builtin| (builtin.kind(), RunnerConfig::Builtin(builtin))).collect(),
            labels: BTreeMap::new(),
            resources: Pools::default(),
            time_limit: None,
            idle_timeout: None,
            grace: Duration::from_secs(30),
            flush: Duration::from_millis(50),
            keep_bytes: 64 << 20,
            give_up_after: None,
            token: TokenSource::None,
            otlp_endpoint: None,
        }
    }
}

/// What runs a kind of job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunnerConfig {
    /// A miner of this project.
    Builtin(Builtin),
    /// One process per job.
    Command(ProcessConfig),
    /// One long-lived process per slot.
    Serve(ServeConfig),
}

impl RunnerConfig {
    /// Its processes, if it has any.
    pub(crate) fn process(&self) -> Option<&ProcessConfig> {
        match self {
            Self::Builtin(_) => None,
            Self::Command(process) => Some(process),
            Self::Serve(serve) => Some(&serve.process),
        }
    }

    /// How long its processes get between SIGTERM and SIGKILL.
    pub(crate) fn stop_grace(&self) -> Duration {
        self.process().map_or(Duration::ZERO, |process| process.stop_grace)
    }
}

/// The miners of this project.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Zeros of the Riemann zeta function.
    ZetaZeros,
}

impl Builtin {
    /// All of them.
    pub const ALL: [Self; 1] = [Self::ZetaZeros];

    /// Its name, which is also its kind of job unless the configuration says otherwise.
    pub fn name(self) -> &'static str {
        match self {
            Self::ZetaZeros => "zeta-zeros",
        }
    }

    /// The kind of job that it runs by default.
    ///
    /// # Panics
    /// Never: the names above are names of kinds, as a test holds.
    #[allow(clippy::expect_used)]
    pub fn kind(self) -> Kind {
        Kind::new(self.name()).expect("the name of a miner is the name of a kind")
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|builtin| builtin.name() == name)
    }
}

/// A process that computes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessConfig {
    /// Program and arguments; no shell reads them. Never empty.
    pub argv: Vec<String>,
    /// Where it runs. None: where the worker runs.
    pub cwd: Option<PathBuf>,
    /// Variables that it gets besides the few that every process needs.
    pub env: BTreeMap<String, String>,
    /// Names of variables that it gets from the worker's own environment.
    pub pass_env: Vec<String>,
    /// What it may use.
    pub limits: Limits,
    /// Whether a job's processes are kept to the processors that the job was given.
    pub pin: bool,
    /// A directory of control groups (version 2) that the worker may make others in: one for each job.
    pub cgroup: Option<PathBuf>,
    /// What of the file system it may use. None: what the worker's user may.
    pub files: Option<Files>,
    /// How long a job may run if the job itself says nothing. None: without limit.
    pub timeout: Option<Duration>,
    /// How long between SIGTERM and SIGKILL.
    pub stop_grace: Duration,
    /// The longest line of output.
    pub max_line_bytes: usize,
    /// The most output of one job.
    pub max_output_bytes: u64,
}

impl ProcessConfig {
    /// A process with every default.
    pub fn new(argv: Vec<String>) -> Self {
        Self {
            argv,
            cwd: None,
            env: BTreeMap::new(),
            pass_env: Vec::new(),
            limits: Limits::default(),
            pin: false,
            cgroup: None,
            files: None,
            timeout: None,
            stop_grace: Duration::from_secs(5),
            max_line_bytes: 64 << 10,
            max_output_bytes: 1 << 30,
        }
    }
}

/// A process that serves job after job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServeConfig {
    /// The process.
    pub process: ProcessConfig,
    /// How long it may take until it says that it is ready.
    pub start_timeout: Duration,
}

/// A name for a worker that was given none: the host's, and the process's number, so that two workers of a host differ.
///
/// # Errors
/// [`NameError`] if the host's name has no character that a name may have.
pub fn default_name() -> Result<WorkerId, NameError> {
    let host = crate::hardware::host_name();
    let host: String =
        host.chars().filter(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_')).take(100).collect();
    let host = host.trim_start_matches(|c: char| !c.is_ascii_alphanumeric());
    let host = if host.is_empty() { "worker" } else { host };
    WorkerId::new(&format!("{host}-{}", std::process::id()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_miner_has_a_kind() {
        for builtin in Builtin::ALL {
            assert_eq!(Builtin::named(builtin.kind().as_str()), Some(builtin));
        }
        assert!(default_name().is_ok());
    }
}

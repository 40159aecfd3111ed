//! Flag over environment over file over default. Flags and environment are one thing here: clap lays the one over the
//! other before we see them.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use orch_core::access::Secret;
use orch_core::id::{NameError, WorkerId};
use orch_core::resource::{Pool, Pools, ResourceName};
use orch_proto::credentials::TokenSource;
use orch_transport::{ClientTls, Dial};

use super::file::{FileConfig, LogFormat};
use super::{Server, WorkerConfig, default_name};

/// What flags and environment set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Settings {
    /// Addresses of the orchestrator.
    pub servers: Vec<Server>,
    /// How TLS is spoken.
    pub tls: ClientTls,
    /// Jobs at once.
    pub slots: Option<NonZeroUsize>,
    /// The worker's name.
    pub name: Option<WorkerId>,
    /// How long running jobs may finish on drain.
    pub grace: Option<Duration>,
    /// Resources by name.
    pub resources: Vec<(ResourceName, Pool)>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// How long the worker works.
    pub time_limit: Option<Duration>,
    /// How long without anything to do until the worker leaves.
    pub idle_timeout: Option<Duration>,
    /// How long without an orchestrator until the worker gives up.
    pub give_up_after: Option<Duration>,
    /// A file with the token to show.
    pub token_file: Option<PathBuf>,
    /// The token itself, of the environment.
    pub token: Option<Secret>,
    /// The collector of traces.
    pub otlp_endpoint: Option<Server>,
    /// The log level.
    pub log_level: Option<String>,
    /// The log format.
    pub log_format: Option<LogFormat>,
}

/// Settings in force: the worker's, and those of its log.
#[derive(Clone, Debug, PartialEq)]
pub struct Effective {
    /// The worker's.
    pub worker: WorkerConfig,
    /// The file they came from, if any.
    pub file: Option<PathBuf>,
    /// Which log lines are written.
    pub log_level: String,
    /// How they look.
    pub log_format: LogFormat,
}

/// Why settings do not make a worker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MergeError {
    /// Nobody said where the orchestrator is.
    #[error("no orchestrator is named: use --server http://HOST:PORT, ORCH_SERVER, or `server:` in the file")]
    NoServer,
    /// The settings of TLS contradict the addresses, or each other.
    #[error("{0}")]
    Tls(String),
    /// The host's name cannot be part of a name.
    #[error(transparent)]
    Name(#[from] NameError),
}

/// Lays settings over the file over the defaults.
///
/// # Errors
/// [`MergeError`] if something without a default is missing.
pub fn merge(settings: Settings, file: FileConfig, path: Option<PathBuf>) -> Result<Effective, MergeError> {
    let Settings {
        servers,
        tls,
        slots,
        name,
        grace,
        resources,
        labels,
        time_limit,
        idle_timeout,
        give_up_after,
        token_file,
        token,
        otlp_endpoint,
        log_level,
        log_format,
    } = settings;
    let servers = if servers.is_empty() { file.servers.unwrap_or_default() } else { servers };
    if servers.is_empty() {
        return Err(MergeError::NoServer);
    }
    let tls = ClientTls {
        ca: tls.ca.or(file.tls.ca),
        cert: tls.cert.or(file.tls.cert),
        key: tls.key.or(file.tls.key),
        domain: tls.domain.or(file.tls.domain),
    };
    for server in &servers {
        Dial::new(server.clone(), tls.clone()).map_err(|error| MergeError::Tls(error.to_string()))?;
    }
    let name = match name.or(file.name) {
        Some(name) => name,
        None => default_name()?,
    };
    let slots = slots.or(file.slots).unwrap_or_else(default_slots);
    let defaults = WorkerConfig::new(servers, name, slots);
    let worker = WorkerConfig {
        kinds: file.kinds.unwrap_or(defaults.kinds),
        labels: file.labels.into_iter().chain(labels).collect(),
        resources: Pools(file.resources.0.into_iter().chain(resources).collect()),
        time_limit: time_limit.or(file.time_limit),
        idle_timeout: idle_timeout.or(file.idle_timeout),
        grace: grace.or(file.grace).unwrap_or(defaults.grace),
        flush: file.flush.unwrap_or(defaults.flush),
        keep_bytes: file.keep_bytes.unwrap_or(defaults.keep_bytes),
        give_up_after: give_up_after.or(file.give_up_after),
        token: match (token_file, token, file.token_file) {
            (Some(path), _, _) | (None, None, Some(path)) => TokenSource::File(path),
            (None, Some(secret), _) => TokenSource::Told(secret),
            (None, None, None) => TokenSource::None,
        },
        otlp_endpoint: otlp_endpoint.or(file.otlp_endpoint),
        tls,
        servers: defaults.servers,
        name: defaults.name,
        slots: defaults.slots,
    };
    if worker.token != TokenSource::None {
        for server in &worker.servers {
            server.may_carry_secrets().map_err(|error| MergeError::Tls(error.to_string()))?;
        }
    }
    let log_level = log_level.or(file.log_level).unwrap_or_else(|| "info".to_owned());
    Ok(Effective { worker, file: path, log_level, log_format: log_format.or(file.log_format).unwrap_or_default() })
}

/// As many jobs at once as the machine runs threads at once.
fn default_slots() -> NonZeroUsize {
    std::thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let server: Server = "a:1".parse().unwrap();
        let file = FileConfig {
            servers: Some(vec!["b:2".parse().unwrap()]),
            slots: NonZeroUsize::new(3),
            grace: Some(Duration::from_secs(7)),
            ..FileConfig::default()
        };
        let flags =
            Settings { servers: vec![server.clone()], grace: Some(Duration::from_secs(1)), ..Settings::default() };
        let merged = merge(flags, file.clone(), None).unwrap();
        assert_eq!(merged.worker.servers, [server]);
        assert_eq!(merged.worker.grace, Duration::from_secs(1));
        assert_eq!(merged.worker.slots.get(), 3);
        assert_eq!(merged.worker.kinds.len(), 1, "the built-in kinds are the default");
        let merged = merge(Settings::default(), file, None).unwrap();
        assert_eq!(merged.worker.servers[0].as_str(), "http://b:2");
        assert_eq!(merge(Settings::default(), FileConfig::default(), None), Err(MergeError::NoServer));
    }
}

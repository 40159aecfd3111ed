//! The orchestrator's configuration: flag over environment over file over default, checked as a whole.
//!
//! [`layer`] holds what one source says, [`args`] the flags and variables, [`file`] the YAML file; here is the result,
//! [`OrchestratorConfig`], and what makes it one.

mod args;
mod exposure;
mod file;
mod layer;
mod logging;
mod rolling;
mod service_accounts;
mod telemetry;
mod tls;

use std::net::SocketAddr;
use std::path::PathBuf;

use orch_core::access::Secret;
use orch_core::liveness::STALE_AFTER;
use orch_core::policy::{LeasePolicy, RetryPolicy};
use orch_core::time::Span;
use orch_telemetry::Telemetry;
use orch_transport::{ClientAuth, ServerTls};
use serde::Serialize;

use crate::access::Enforcement;

pub use args::{Args, ArgsError};
pub use exposure::{Exposed, exposure};
pub use file::FileError;
pub use layer::{ConfigError, ConfigFault, Layer};
pub use logging::{LogFormat, install as install_logging};
pub use service_accounts::ServiceAccounts;

/// Everything that can be set, checked.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OrchestratorConfig {
    /// The data directory: ledger, index, job logs.
    pub data: PathBuf,
    /// Where the gRPC server listens. Port 0 takes a free one.
    pub listen: SocketAddr,
    /// Listen where other machines reach it also without TLS or authentication.
    pub insecure: bool,
    /// The certificates, if TLS is spoken.
    #[serde(serialize_with = "tls::shown")]
    pub tls: Option<ServerTls>,
    /// The name in the certificate whose holder may make KEDA's calls without a token; None: nobody may.
    pub scaler_certificate: Option<String>,
    /// A worker that is silent for longer counts as lost.
    pub stale_after: Span,
    /// Exit once nothing is open: queued, delayed, blocked or leased.
    pub drain: bool,
    /// The size at which a segment of the ledger is closed, in bytes.
    pub segment_bytes: u64,
    /// Use the data directory even where a lock or a sync may not be one (tmpfs, overlay, network).
    pub allow_any_filesystem: bool,
    /// Receipts for records up to this one that the ledger does not know are accepted as lost. 0: none.
    pub accept_rollback: u64,
    /// The most streams of one connection.
    pub max_streams: u32,
    /// A token that makes its holder an admin and is not in the ledger. Only whether there is one is shown.
    #[serde(serialize_with = "whether_set")]
    pub bootstrap_token: Option<Secret>,
    /// Kubernetes' service accounts that are let in.
    pub service_accounts: ServiceAccounts,
    /// What becomes of callers that may not do what they ask for.
    pub enforcement: Enforcement,
    /// The most connections.
    pub max_connections: u32,
    /// The most connections of one address, or of one /64 of IPv6.
    pub max_connections_per_address: u32,
    /// The largest header of a call, in bytes.
    pub max_header_bytes: u32,
    /// A connection that has asked nothing for so long after it was opened is closed.
    pub first_call_timeout: Span,
    /// How long a call may take until its answer begins.
    pub call_timeout: Span,
    /// A connection over which nothing is under way for so long is closed.
    pub idle_timeout: Span,
    /// How often a peer is asked whether it is still there.
    pub keepalive_interval: Span,
    /// How long it may take to say so.
    pub keepalive_timeout: Span,
    /// What is logged: `error`, `warn`, `info`, `debug`, `trace`, or a filter such as `info,orch_orchestrator=debug`.
    pub log_level: String,
    /// How it is logged.
    pub log_format: LogFormat,
    /// Where traces go, and which; None: nobody traces.
    #[serde(serialize_with = "telemetry::shown")]
    pub telemetry: Option<Telemetry>,
    /// A file that gets the log lines too, besides standard error.
    pub log_file: Option<PathBuf>,
    /// The size at which the log file is put aside, in bytes.
    pub log_max_bytes: u64,
    /// How many log files that were put aside are kept.
    pub log_backup_count: u32,
}

impl Default for OrchestratorConfig {
    fn default() -> Self {
        Self {
            data: PathBuf::from("orch-data"),
            listen: SocketAddr::from(([127, 0, 0, 1], 50051)),
            insecure: false,
            tls: None,
            scaler_certificate: None,
            stale_after: STALE_AFTER,
            drain: false,
            segment_bytes: 256 << 20,
            allow_any_filesystem: false,
            accept_rollback: 0,
            max_streams: 1024,
            bootstrap_token: None,
            service_accounts: ServiceAccounts::default(),
            enforcement: Enforcement::Auto,
            // Ten thousand workers, and many that come back before the server noticed that they were gone.
            max_connections: 16_384,
            // Ten thousand workers may stand behind one translated address or one proxy; no address can take all there is.
            max_connections_per_address: 10_240,
            max_header_bytes: 16 << 10,
            first_call_timeout: Span::seconds(10),
            call_timeout: Span::seconds(120),
            idle_timeout: Span::seconds(900),
            keepalive_interval: Span::seconds(30),
            keepalive_timeout: Span::seconds(20),
            log_level: "info".into(),
            log_format: LogFormat::Text,
            telemetry: None,
            log_file: None,
            log_max_bytes: 5 << 20,
            log_backup_count: 5,
        }
    }
}

// serde passes a reference.
#[allow(clippy::ref_option)]
fn whether_set<S: serde::Serializer>(secret: &Option<Secret>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_bool(secret.is_some())
}

/// The largest message that the server reads. A batch of candidates and its frame must fit.
pub const MAX_MESSAGE_BYTES: usize = 4 << 20;

/// The configuration with the rules that queues and jobs may change, as `--print-config` shows it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(flatten)]
    config: &'a OrchestratorConfig,
    defaults_of_queues: QueueDefaults,
}

#[derive(Serialize)]
struct QueueDefaults {
    lease_ttl: Span,
    heartbeat: Span,
    max_attempts: u32,
    retry_backoff: Span,
    retry_factor: f64,
    retry_cap: Span,
    retry_jitter: Span,
    crash_limit: u32,
}

impl OrchestratorConfig {
    /// Whether nobody gets an answer who shows no certificate.
    pub fn demands_certificates(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.client_ca.is_some() && tls.client_auth == ClientAuth::Required)
    }

    /// Every default, with this data directory.
    pub fn new(data: PathBuf) -> Self {
        Self { data, ..Self::default() }
    }

    /// The configuration as JSON, with the defaults that queues and jobs start from.
    pub fn to_json(&self) -> serde_json::Value {
        let LeasePolicy { ttl, heartbeat } = LeasePolicy::default();
        let RetryPolicy { max_attempts, backoff, factor, cap, jitter, crash_limit } = RetryPolicy::default();
        let defaults_of_queues = QueueDefaults {
            lease_ttl: ttl,
            heartbeat,
            max_attempts,
            retry_backoff: backoff,
            retry_factor: factor,
            retry_cap: cap,
            retry_jitter: jitter,
            crash_limit,
        };
        // Numbers, texts and maps with text keys: nothing that JSON cannot hold.
        serde_json::to_value(Shown { config: self, defaults_of_queues }).unwrap_or_default()
    }
}

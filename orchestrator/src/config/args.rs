//! Flags and environment variables.

use std::path::PathBuf;

use clap::Parser;
use orch_core::access::Secret;

use super::{ConfigError, FileError, Layer, OrchestratorConfig};

const EXAMPLES: &str = "\
Examples:
  orchestrator --data /var/lib/orch                     listen on 127.0.0.1:50051
  orchestrator --data /var/lib/orch --listen 0.0.0.0:50051 --tls-cert server.pem --tls-key server-key.pem \
      --tls-client-ca ca.pem                            for other machines: they need a certificate (docs/tls.md)
  ORCH_LOG_FORMAT=json orchestrator --config orch.yaml  settings from a file
  orchestrator --data /var/lib/orch --drain             exit 0 once every job has ended
  orchestrator --config orch.yaml --print-config        show the settings in force, and stop
  orchestrator --bootstrap-token-file admin.token       nobody gets in without a token

A setting is looked for as a flag, then as the environment variable beside it, then in the file, whose keys are the
flags' names with underscores (data, listen, stale_after, ...). Unknown keys and bad values are errors.

What other machines reach must have TLS and authentication; without them only 127.0.0.1 and ::1 are listened on, unless
--insecure is given. `orchctl cert dev DIR` makes certificates to try it with.

Signals: SIGTERM or Ctrl-C finishes what is under way, closes the ledger and exits 0; a second one ends at once, which
loses nothing that was acknowledged. SIGHUP loads the certificates anew at once.

Then start workers with `worker --server http://ADDR` and give them work with `orchctl submit -f FILE`.";

/// The orchestrator of an Orch cluster: leases jobs to workers, judges what they deliver, and writes what it accepts
/// to an append-only ledger.
///
/// One process owns one data directory, which is made on the first start. Nothing is acknowledged before it is on disk.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "orchestrator", version, after_help = EXAMPLES)]
pub struct Args {
    /// A YAML file of settings.
    #[arg(long, env = "ORCH_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Show the settings in force as JSON, and stop.
    #[arg(long)]
    pub print_config: bool,

    /// The data directory: ledger, index, job logs [default: orch-data].
    #[arg(long, env = "ORCH_DATA", value_name = "DIR")]
    data: Option<PathBuf>,

    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:50051].
    #[arg(long, env = "ORCH_LISTEN", value_name = "ADDR:PORT")]
    listen: Option<String>,

    /// Listen on an address that other machines reach without TLS or without authentication: everybody there can then do
    /// everything, and read everything on its way.
    #[arg(long, env = "ORCH_INSECURE", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    insecure: Option<bool>,

    /// Speak TLS with this certificate: a PEM file, with those that lead to its authority. Loaded anew when it changes.
    #[arg(long, env = "ORCH_SERVER_TLS_CERT", value_name = "FILE")]
    tls_cert: Option<PathBuf>,

    /// The key of the certificate, as PEM.
    #[arg(long, env = "ORCH_SERVER_TLS_KEY", value_name = "FILE")]
    tls_key: Option<PathBuf>,

    /// Clients have to show a certificate that an authority of this PEM file signed.
    #[arg(long, env = "ORCH_SERVER_TLS_CLIENT_CA", value_name = "FILE")]
    tls_client_ca: Option<PathBuf>,

    /// Whether they must: required or optional [default: required].
    #[arg(long, env = "ORCH_SERVER_TLS_CLIENT_AUTH", value_name = "HOW")]
    tls_client_auth: Option<String>,

    /// The name in KEDA's certificate: its holder may ask how much work there is, and nothing else, without a token, which
    /// KEDA cannot show. The common name, or a DNS name or URI that the certificate is for.
    #[arg(long, env = "ORCH_SCALER_CERTIFICATE", value_name = "NAME")]
    scaler_certificate: Option<String>,

    /// A worker that is silent for longer counts as lost, and its jobs go to others [default: 2m].
    #[arg(long, env = "ORCH_STALE_AFTER", value_name = "TIME")]
    stale_after: Option<String>,

    /// Exit 0 once nothing is open: queued, delayed, blocked or leased.
    #[arg(long, env = "ORCH_DRAIN", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    drain: Option<bool>,

    /// The size at which a file of the ledger is closed and the next one begun [default: 268435456].
    #[arg(long, env = "ORCH_SEGMENT_BYTES", value_name = "BYTES")]
    segment_bytes: Option<u64>,

    /// Use the data directory even on a file system where a lock or a sync may not be one (tmpfs, overlay, network).
    #[arg(long, env = "ORCH_ALLOW_ANY_FILESYSTEM", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    allow_any_filesystem: Option<bool>,

    /// Accept that what came after an older copy of the data directory is lost: receipts for records up to SEQ that the
    /// ledger does not know no longer stop it. The orchestrator says which SEQ, and writes nothing until then.
    #[arg(long, value_name = "SEQ")]
    accept_rollback: Option<u64>,

    /// The most streams of one connection [default: 1024].
    #[arg(long, env = "ORCH_MAX_STREAMS", value_name = "N")]
    max_streams: Option<u32>,

    /// A file with a token that makes its holder an admin; it is not in the ledger. Or put the token into
    /// ORCH_BOOTSTRAP_TOKEN (ORCHESTRATOR_TOKEN works too). With it nobody gets in without a token.
    #[arg(long, env = "ORCH_BOOTSTRAP_TOKEN_FILE", value_name = "FILE")]
    bootstrap_token_file: Option<PathBuf>,

    /// A service account of Kubernetes that is let in, and what it is: `jobs/worker=worker`, or with the queues that it may
    /// touch `jobs/ci=submitter:zeta,beta`. Its pods show a token that was projected for the audience. Repeat it for more.
    #[arg(long, env = "ORCH_SERVICE_ACCOUNTS", value_delimiter = ' ', value_name = "NAMESPACE/NAME=ROLE")]
    service_account: Option<Vec<String>>,

    /// The audience that their tokens must be made for [default: orch].
    #[arg(long, env = "ORCH_SERVICE_ACCOUNT_AUDIENCE", value_name = "NAME")]
    service_account_audience: Option<String>,

    /// How often the API server is asked anew whether a token is still good: a deleted pod is out that soon [default: 1m].
    #[arg(long, env = "ORCH_SERVICE_ACCOUNT_RECHECK", value_name = "TIME")]
    service_account_recheck: Option<String>,

    /// The Kubernetes API server that says whose a token is [default: that of the pod we run in].
    #[arg(long, env = "ORCH_KUBERNETES_API", value_name = "URL")]
    kubernetes_api: Option<String>,

    /// A directory with token and ca.crt to ask it with
    /// [default: /var/run/secrets/kubernetes.io/serviceaccount].
    #[arg(long, env = "ORCH_KUBERNETES_CREDENTIALS", value_name = "DIR")]
    kubernetes_credentials: Option<PathBuf>,

    /// What becomes of callers that may not do what they ask for: strict refuses them, warn lets them pass and records
    /// it, off asks nobody who it is; auto is strict as soon as there is a bootstrap token or a token was ever made, and
    /// off until then [default: auto].
    #[arg(long, env = "ORCH_ENFORCEMENT", value_name = "WORD")]
    enforcement: Option<String>,

    /// The most connections; less if fewer files may be open [default: 16384].
    #[arg(long, env = "ORCH_MAX_CONNECTIONS", value_name = "N")]
    max_connections: Option<u32>,

    /// The most connections of one address, or of one /64 of IPv6 [default: 10240].
    #[arg(long, env = "ORCH_MAX_CONNECTIONS_PER_ADDRESS", value_name = "N")]
    max_connections_per_address: Option<u32>,

    /// The largest header of a call [default: 16384].
    #[arg(long, env = "ORCH_MAX_HEADER_BYTES", value_name = "BYTES")]
    max_header_bytes: Option<u32>,

    /// A connection that has asked nothing for so long after it was opened is closed [default: 10s].
    #[arg(long, env = "ORCH_FIRST_CALL_TIMEOUT", value_name = "TIME")]
    first_call_timeout: Option<String>,

    /// How long a call may take until its answer begins [default: 2m].
    #[arg(long, env = "ORCH_CALL_TIMEOUT_LIMIT", value_name = "TIME")]
    call_timeout: Option<String>,

    /// A connection over which nothing is under way for so long is closed [default: 15m].
    #[arg(long, env = "ORCH_IDLE_TIMEOUT", value_name = "TIME")]
    idle_timeout: Option<String>,

    /// How often a peer is asked whether it is still there [default: 30s].
    #[arg(long, env = "ORCH_KEEPALIVE_INTERVAL", value_name = "TIME")]
    keepalive_interval: Option<String>,

    /// How long it may take to say so [default: 20s].
    #[arg(long, env = "ORCH_KEEPALIVE_TIMEOUT", value_name = "TIME")]
    keepalive_timeout: Option<String>,

    /// What is logged: error, warn, info, debug, trace, or a filter such as info,orch_orchestrator=debug [default: info].
    #[arg(long, env = "ORCH_LOG_LEVEL", value_name = "FILTER")]
    log_level: Option<String>,

    /// How it is logged, to standard error: text or json [default: text].
    #[arg(long, env = "ORCH_LOG_FORMAT", value_name = "FORMAT")]
    log_format: Option<String>,

    /// An OpenTelemetry collector that gets the traces of jobs, over OTLP/gRPC; without it nobody traces. The usual
    /// OTEL_EXPORTER_OTLP_ENDPOINT works too.
    #[arg(long, env = "ORCH_OTLP_ENDPOINT", value_name = "URL")]
    otlp_endpoint: Option<String>,

    /// The part of all jobs whose traces are kept, from 0 to 1 [default: 1].
    #[arg(long, env = "ORCH_TRACE_SAMPLING", value_name = "PART")]
    trace_sampling: Option<String>,

    /// A file that gets the log lines too.
    #[arg(long, env = "ORCH_LOG_FILE", value_name = "FILE")]
    log_file: Option<PathBuf>,

    /// The size at which the log file is put aside as FILE.1, and FILE.1 as FILE.2 [default: 5242880].
    #[arg(long, env = "ORCH_LOG_MAX_BYTES", value_name = "BYTES")]
    log_max_bytes: Option<u64>,

    /// How many log files that were put aside are kept [default: 5].
    #[arg(long, env = "ORCH_LOG_BACKUP_COUNT", value_name = "N")]
    log_backup_count: Option<u32>,
}

/// The bootstrap token, where the environment has it. It is no flag: every user of the machine sees those.
fn token_of_environment() -> Option<Secret> {
    let variable = |name| std::env::var(name).ok().filter(|text: &String| !text.trim().is_empty());
    let text = variable("ORCH_BOOTSTRAP_TOKEN").or_else(|| variable("ORCHESTRATOR_TOKEN"))?;
    Some(Secret::new(text.trim()))
}

/// The collector, where the environment names one as OpenTelemetry has it.
fn collector_of_environment() -> Option<String> {
    std::env::var("OTEL_EXPORTER_OTLP_ENDPOINT").ok().filter(|text| !text.trim().is_empty())
}

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum ArgsError {
    /// The file cannot be used.
    #[error(transparent)]
    File(#[from] FileError),
    /// Some settings cannot be.
    #[error("bad settings")]
    Config(#[from] ConfigError),
}

impl Args {
    /// The configuration: flags and variables over the file over the defaults.
    ///
    /// # Errors
    /// [`ArgsError`].
    pub fn resolve(self) -> Result<OrchestratorConfig, ArgsError> {
        let Self {
            config,
            print_config: _,
            data,
            listen,
            insecure,
            tls_cert,
            tls_key,
            tls_client_ca,
            tls_client_auth,
            scaler_certificate,
            stale_after,
            drain,
            segment_bytes,
            allow_any_filesystem,
            accept_rollback,
            max_streams,
            bootstrap_token_file,
            service_account,
            service_account_audience,
            service_account_recheck,
            kubernetes_api,
            kubernetes_credentials,
            enforcement,
            max_connections,
            max_connections_per_address,
            max_header_bytes,
            first_call_timeout,
            call_timeout,
            idle_timeout,
            keepalive_interval,
            keepalive_timeout,
            log_level,
            log_format,
            otlp_endpoint,
            trace_sampling,
            log_file,
            log_max_bytes,
            log_backup_count,
        } = self;
        let flags = Layer {
            data,
            listen,
            insecure,
            tls_cert,
            tls_key,
            tls_client_ca,
            tls_client_auth,
            scaler_certificate,
            stale_after,
            drain,
            segment_bytes,
            allow_any_filesystem,
            accept_rollback,
            max_streams,
            bootstrap_token_file,
            bootstrap_token: token_of_environment(),
            service_account,
            service_account_audience,
            service_account_recheck,
            kubernetes_api,
            kubernetes_credentials,
            enforcement,
            max_connections,
            max_connections_per_address,
            max_header_bytes,
            first_call_timeout,
            call_timeout,
            idle_timeout,
            keepalive_interval,
            keepalive_timeout,
            log_level,
            log_format,
            otlp_endpoint: otlp_endpoint.or_else(collector_of_environment),
            trace_sampling,
            log_file,
            log_max_bytes,
            log_backup_count,
        };
        let file = config.map(|path| Layer::from_file(&path)).transpose()?.unwrap_or_default();
        Ok(flags.over(file).check()?)
    }
}

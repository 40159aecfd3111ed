//! One source of settings, and how sources become a configuration.

use std::fmt;
use std::path::PathBuf;

use orch_core::access::Secret;
use orch_core::time::Span;
use orch_proto::credentials::{TokenError, read_token};
use serde::Deserialize;

use super::service_accounts::ServiceAccountSettings;
use super::tls::TlsSettings;
use super::{LogFormat, OrchestratorConfig, telemetry};
use crate::access::Enforcement;

/// What one source sets, as text where a text can be wrong. Absent: the next source, then the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Layer {
    /// See [`OrchestratorConfig::data`].
    pub data: Option<PathBuf>,
    /// See [`OrchestratorConfig::listen`].
    pub listen: Option<String>,
    /// See [`OrchestratorConfig::insecure`].
    pub insecure: Option<bool>,
    /// See [`OrchestratorConfig::tls`].
    pub tls_cert: Option<PathBuf>,
    /// See [`OrchestratorConfig::tls`].
    pub tls_key: Option<PathBuf>,
    /// See [`OrchestratorConfig::tls`].
    pub tls_client_ca: Option<PathBuf>,
    /// See [`OrchestratorConfig::tls`].
    pub tls_client_auth: Option<String>,
    /// See [`OrchestratorConfig::scaler_certificate`].
    pub scaler_certificate: Option<String>,
    /// See [`OrchestratorConfig::stale_after`].
    pub stale_after: Option<String>,
    /// See [`OrchestratorConfig::drain`].
    pub drain: Option<bool>,
    /// See [`OrchestratorConfig::segment_bytes`].
    pub segment_bytes: Option<u64>,
    /// See [`OrchestratorConfig::allow_any_filesystem`].
    pub allow_any_filesystem: Option<bool>,
    /// See [`OrchestratorConfig::accept_rollback`]. A decision of one start: in no file.
    #[serde(skip)]
    pub accept_rollback: Option<u64>,
    /// See [`OrchestratorConfig::max_streams`].
    pub max_streams: Option<u32>,
    /// The file of [`OrchestratorConfig::bootstrap_token`].
    pub bootstrap_token_file: Option<PathBuf>,
    /// The token itself, from the environment: in no file of settings, which is read by more people.
    #[serde(skip)]
    pub bootstrap_token: Option<Secret>,
    /// See [`OrchestratorConfig::service_accounts`].
    pub service_account: Option<Vec<String>>,
    /// See [`OrchestratorConfig::service_accounts`].
    pub service_account_audience: Option<String>,
    /// See [`OrchestratorConfig::service_accounts`].
    pub service_account_recheck: Option<String>,
    /// See [`OrchestratorConfig::service_accounts`].
    pub kubernetes_api: Option<String>,
    /// See [`OrchestratorConfig::service_accounts`].
    pub kubernetes_credentials: Option<PathBuf>,
    /// See [`OrchestratorConfig::enforcement`].
    pub enforcement: Option<String>,
    /// See [`OrchestratorConfig::max_connections`].
    pub max_connections: Option<u32>,
    /// See [`OrchestratorConfig::max_connections_per_address`].
    pub max_connections_per_address: Option<u32>,
    /// See [`OrchestratorConfig::max_header_bytes`].
    pub max_header_bytes: Option<u32>,
    /// See [`OrchestratorConfig::first_call_timeout`].
    pub first_call_timeout: Option<String>,
    /// See [`OrchestratorConfig::call_timeout`].
    pub call_timeout: Option<String>,
    /// See [`OrchestratorConfig::idle_timeout`].
    pub idle_timeout: Option<String>,
    /// See [`OrchestratorConfig::keepalive_interval`].
    pub keepalive_interval: Option<String>,
    /// See [`OrchestratorConfig::keepalive_timeout`].
    pub keepalive_timeout: Option<String>,
    /// See [`OrchestratorConfig::log_level`].
    pub log_level: Option<String>,
    /// See [`OrchestratorConfig::log_format`].
    pub log_format: Option<String>,
    /// See [`OrchestratorConfig::telemetry`].
    pub otlp_endpoint: Option<String>,
    /// See [`OrchestratorConfig::telemetry`].
    pub trace_sampling: Option<String>,
    /// See [`OrchestratorConfig::log_file`].
    pub log_file: Option<PathBuf>,
    /// See [`OrchestratorConfig::log_max_bytes`].
    pub log_max_bytes: Option<u64>,
    /// See [`OrchestratorConfig::log_backup_count`].
    pub log_backup_count: Option<u32>,
}

/// A setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFault {
    /// Which.
    pub field: &'static str,
    /// Why, with the value.
    pub message: String,
}

/// Every setting that cannot be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// In the order of the configuration.
    pub faults: Vec<ConfigFault>,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, ConfigFault { field, message }) in self.faults.iter().enumerate() {
            let separator = if i == 0 { "" } else { "; " };
            write!(f, "{separator}{field}: {message}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigError {}

impl Layer {
    /// This layer, and `below` where it says nothing.
    #[must_use]
    pub fn over(self, below: Self) -> Self {
        let Self {
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
            bootstrap_token,
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
        Self {
            data: data.or(below.data),
            listen: listen.or(below.listen),
            insecure: insecure.or(below.insecure),
            tls_cert: tls_cert.or(below.tls_cert),
            tls_key: tls_key.or(below.tls_key),
            tls_client_ca: tls_client_ca.or(below.tls_client_ca),
            tls_client_auth: tls_client_auth.or(below.tls_client_auth),
            scaler_certificate: scaler_certificate.or(below.scaler_certificate),
            stale_after: stale_after.or(below.stale_after),
            drain: drain.or(below.drain),
            segment_bytes: segment_bytes.or(below.segment_bytes),
            allow_any_filesystem: allow_any_filesystem.or(below.allow_any_filesystem),
            accept_rollback: accept_rollback.or(below.accept_rollback),
            max_streams: max_streams.or(below.max_streams),
            // The one goes before the other, wherever each was set.
            bootstrap_token_file: bootstrap_token_file.or(below.bootstrap_token_file),
            bootstrap_token: bootstrap_token.or(below.bootstrap_token),
            service_account: service_account.or(below.service_account),
            service_account_audience: service_account_audience.or(below.service_account_audience),
            service_account_recheck: service_account_recheck.or(below.service_account_recheck),
            kubernetes_api: kubernetes_api.or(below.kubernetes_api),
            kubernetes_credentials: kubernetes_credentials.or(below.kubernetes_credentials),
            enforcement: enforcement.or(below.enforcement),
            max_connections: max_connections.or(below.max_connections),
            max_connections_per_address: max_connections_per_address.or(below.max_connections_per_address),
            max_header_bytes: max_header_bytes.or(below.max_header_bytes),
            first_call_timeout: first_call_timeout.or(below.first_call_timeout),
            call_timeout: call_timeout.or(below.call_timeout),
            idle_timeout: idle_timeout.or(below.idle_timeout),
            keepalive_interval: keepalive_interval.or(below.keepalive_interval),
            keepalive_timeout: keepalive_timeout.or(below.keepalive_timeout),
            log_level: log_level.or(below.log_level),
            log_format: log_format.or(below.log_format),
            otlp_endpoint: otlp_endpoint.or(below.otlp_endpoint),
            trace_sampling: trace_sampling.or(below.trace_sampling),
            log_file: log_file.or(below.log_file),
            log_max_bytes: log_max_bytes.or(below.log_max_bytes),
            log_backup_count: log_backup_count.or(below.log_backup_count),
        }
    }

    /// The configuration that this layer makes of the defaults.
    ///
    /// # Errors
    /// [`ConfigError`] with every bad setting.
    pub fn check(self) -> Result<OrchestratorConfig, ConfigError> {
        let Self {
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
            bootstrap_token,
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
        let default = OrchestratorConfig::default();
        let mut check = Check::default();
        if scaler_certificate.is_some() && tls_client_ca.is_none() {
            let message = "means nothing without tls_client_ca: name the authority of clients' certificates".to_owned();
            check.faults.push(ConfigFault { field: "scaler_certificate", message });
        }
        let tls = TlsSettings { cert: tls_cert, key: tls_key, client_ca: tls_client_ca, client_auth: tls_client_auth };
        let config = OrchestratorConfig {
            data: check.all("data", data, default.data, |data| {
                if data.as_os_str().is_empty() { Err("is empty: name a directory".into()) } else { Ok(data) }
            }),
            listen: check.all("listen", listen, default.listen, |text| {
                let fix = "write an address and a port, like 127.0.0.1:50051 or [::1]:50051";
                text.parse().map_err(|_| format!("{text:?} is no address: {fix}"))
            }),
            insecure: insecure.unwrap_or(default.insecure),
            tls: tls.check(&mut check.faults),
            scaler_certificate: check.all("scaler_certificate", scaler_certificate, None, |name| {
                if name.is_empty() {
                    Err("is empty: write the name in KEDA's certificate".into())
                } else {
                    Ok(Some(name))
                }
            }),
            stale_after: check.all("stale_after", stale_after, default.stale_after, |text| {
                let span: Span = text.parse()?;
                if span < Span::seconds(1) { Err(format!("{span}: at least 1s")) } else { Ok(span) }
            }),
            drain: drain.unwrap_or(default.drain),
            segment_bytes: check.range("segment_bytes", segment_bytes, default.segment_bytes, 1 << 20, 1 << 30),
            allow_any_filesystem: allow_any_filesystem.unwrap_or(default.allow_any_filesystem),
            accept_rollback: accept_rollback.unwrap_or(default.accept_rollback),
            max_streams: check.range("max_streams", max_streams, default.max_streams, 1, 1 << 20),
            bootstrap_token: match bootstrap_token_file {
                Some(file) => check.all("bootstrap_token_file", Some(file), None, |file| {
                    let told = |error: TokenError| match error {
                        TokenError::Read { path, source } => format!("{} cannot be read: {source}", path.display()),
                        TokenError::NoToken(_) => error.to_string(),
                    };
                    read_token(&file).map_err(told).and_then(long_enough).map(Some)
                }),
                None => check.all("bootstrap_token", bootstrap_token, None, |secret| long_enough(secret).map(Some)),
            },
            service_accounts: ServiceAccountSettings {
                accounts: service_account,
                audience: service_account_audience,
                recheck: service_account_recheck,
                api: kubernetes_api,
                credentials: kubernetes_credentials,
            }
            .check(&mut check.faults),
            enforcement: check.all("enforcement", enforcement, default.enforcement, |text| text.parse::<Enforcement>()),
            max_connections: check.range("max_connections", max_connections, default.max_connections, 1, 1 << 20),
            max_connections_per_address: check.range(
                "max_connections_per_address",
                max_connections_per_address,
                default.max_connections_per_address,
                1,
                1 << 20,
            ),
            max_header_bytes: check.range(
                "max_header_bytes",
                max_header_bytes,
                default.max_header_bytes,
                4096,
                1 << 20,
            ),
            first_call_timeout: check.span(
                "first_call_timeout",
                first_call_timeout,
                default.first_call_timeout,
                1,
                600,
            ),
            // A long poll takes up to a minute.
            call_timeout: check.span("call_timeout", call_timeout, default.call_timeout, 65, 3600),
            idle_timeout: check.span("idle_timeout", idle_timeout, default.idle_timeout, 10, 7 * 86_400),
            keepalive_interval: check.span(
                "keepalive_interval",
                keepalive_interval,
                default.keepalive_interval,
                1,
                3600,
            ),
            keepalive_timeout: check.span("keepalive_timeout", keepalive_timeout, default.keepalive_timeout, 1, 3600),
            log_level: check.all("log_level", log_level, default.log_level, |text| {
                let known = text.parse::<tracing_subscriber::EnvFilter>();
                known.map(|_| text.clone()).map_err(|error| format!("{text:?} is no log filter: {error}"))
            }),
            log_format: check.all("log_format", log_format, default.log_format, |text| text.parse::<LogFormat>()),
            telemetry: telemetry::check(otlp_endpoint, trace_sampling, &mut check.faults),
            log_file: check.all("log_file", log_file, default.log_file, |file| {
                if file.as_os_str().is_empty() { Err("is empty: name a file".into()) } else { Ok(Some(file)) }
            }),
            log_max_bytes: check.range("log_max_bytes", log_max_bytes, default.log_max_bytes, 4096, 1 << 40),
            log_backup_count: check.range("log_backup_count", log_backup_count, default.log_backup_count, 0, 1000),
        };
        if check.faults.is_empty() { Ok(config) } else { Err(ConfigError { faults: check.faults }) }
    }
}

/// The fewest characters of a bootstrap token: 16 random ones are beyond guessing.
const MIN_TOKEN: usize = 16;

fn long_enough(secret: Secret) -> Result<Secret, String> {
    let length = secret.expose().len();
    if length < MIN_TOKEN {
        let fix = "`openssl rand -hex 32` makes a good one";
        return Err(format!("the token has {length} characters, at least {MIN_TOKEN} are needed: {fix}"));
    }
    Ok(secret)
}

#[derive(Default)]
struct Check {
    faults: Vec<ConfigFault>,
}

impl Check {
    /// The checked value; the default if it is not set, or bad, which is noted.
    fn all<T, U>(
        &mut self,
        field: &'static str,
        value: Option<T>,
        default: U,
        check: impl FnOnce(T) -> Result<U, String>,
    ) -> U {
        let Some(value) = value else { return default };
        check(value).unwrap_or_else(|message| {
            self.faults.push(ConfigFault { field, message });
            default
        })
    }

    fn span(&mut self, field: &'static str, value: Option<String>, default: Span, least: u64, most: u64) -> Span {
        let (least, most) = (Span::seconds(least), Span::seconds(most));
        self.all(field, value, default, |text| {
            let span: Span = text.parse()?;
            if span < least || span > most { Err(format!("{span} is not within {least} and {most}")) } else { Ok(span) }
        })
    }

    fn range<T: PartialOrd + Copy + fmt::Display>(
        &mut self,
        field: &'static str,
        value: Option<T>,
        default: T,
        least: T,
        most: T,
    ) -> T {
        self.all(field, value, default, |value| {
            if value < least || value > most {
                Err(format!("{value} is not within {least} and {most}"))
            } else {
                Ok(value)
            }
        })
    }
}

//! Arguments that every command takes.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use orch_core::time::Span;
use serde::Deserialize;

/// Arguments that every command takes.
#[derive(Debug, Args)]
#[command(next_help_heading = "Global options")]
pub struct GlobalArgs {
    /// The orchestrator; https:// for TLS [default: http://127.0.0.1:50051]
    #[arg(long, global = true, value_name = "URL", env = "ORCH_SERVER", hide_env_values = true)]
    pub server: Option<String>,

    /// A file with the token to show; or put the token into ORCH_TOKEN
    #[arg(long, global = true, value_name = "FILE", env = "ORCH_TOKEN_FILE", hide_env_values = true)]
    pub token_file: Option<PathBuf>,

    /// The authorities of the server's certificate, as PEM [default: those that this machine trusts]
    #[arg(long, global = true, value_name = "FILE", env = "ORCH_TLS_CA", hide_env_values = true)]
    pub tls_ca: Option<PathBuf>,

    /// The certificate that orchctl shows, as PEM
    #[arg(long, global = true, value_name = "FILE", env = "ORCH_TLS_CERT", hide_env_values = true)]
    pub tls_cert: Option<PathBuf>,

    /// Its key, as PEM
    #[arg(long, global = true, value_name = "FILE", env = "ORCH_TLS_KEY", hide_env_values = true)]
    pub tls_key: Option<PathBuf>,

    /// The name in the server's certificate, if it is not the one in the address
    #[arg(long, global = true, value_name = "NAME", env = "ORCH_TLS_DOMAIN", hide_env_values = true)]
    pub tls_domain: Option<String>,

    /// How to print results
    #[arg(short, long, global = true, value_name = "FORMAT", env = "ORCH_OUTPUT", hide_env_values = true)]
    pub output: Option<Format>,

    /// When to use colour; NO_COLOR is respected
    #[arg(long, global = true, value_name = "WHEN", env = "ORCH_COLOR", hide_env_values = true)]
    pub color: Option<Color>,

    /// Print no progress and no notes, only results and errors
    #[arg(short, long, global = true)]
    pub quiet: bool,

    /// How long one call to the server may take [default: 60s]
    #[arg(long, global = true, value_name = "DURATION", env = "ORCH_CALL_TIMEOUT", hide_env_values = true)]
    pub call_timeout: Option<Span>,
}

/// How results are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// For people
    Table,
    /// One JSON document
    Json,
    /// One line of JSON per item
    Jsonl,
    /// One YAML document
    Yaml,
    /// Ids or names only, one a line
    Name,
}

impl Format {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Yaml => "yaml",
            Self::Name => "name",
        }
    }
}

/// When colour is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Color {
    /// On a terminal
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl Color {
    /// Its name on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always => "always",
            Self::Never => "never",
        }
    }
}

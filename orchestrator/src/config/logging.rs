//! Where log lines go: standard error and a file, as text or as JSON.

use std::io::{self, IsTerminal as _};
use std::str::FromStr;
use std::sync::Mutex;

use serde::Serialize;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::layer;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use super::OrchestratorConfig;
use super::rolling::RollingFile;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// For machines: an object a line.
    Json,
}

impl FromStr for LogFormat {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            other => Err(format!("{other:?} is no log format: write text or json")),
        }
    }
}

/// Sends log lines to standard error, and to the log file if there is one, from now on. False if something else
/// receives them already.
///
/// # Errors
/// The log file cannot be opened.
pub fn install(config: &OrchestratorConfig) -> io::Result<bool> {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let file = match &config.log_file {
        Some(path) => Some(Mutex::new(RollingFile::open(path, config.log_max_bytes, config.log_backup_count)?)),
        None => None,
    };
    let log = tracing_subscriber::registry().with(filter);
    Ok(match config.log_format {
        LogFormat::Text => {
            let stderr = layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal()).with_target(false);
            let file = file.map(|file| layer().with_writer(file).with_ansi(false).with_target(false));
            log.with(stderr).with(file).try_init().is_ok()
        }
        LogFormat::Json => {
            let stderr = layer().json().flatten_event(true).with_writer(io::stderr);
            let file = file.map(|file| layer().json().flatten_event(true).with_writer(file));
            log.with(stderr).with(file).try_init().is_ok()
        }
    })
}

//! Where log lines go: standard error, as text or as JSON.

use std::io::IsTerminal as _;
use std::str::FromStr;

use serde::Serialize;
use tracing_subscriber::EnvFilter;

use super::OrchestratorConfig;

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

/// Sends log lines to standard error from now on. False if something else receives them already.
pub fn install(config: &OrchestratorConfig) -> bool {
    let filter = EnvFilter::try_new(&config.log_level).unwrap_or_else(|_| EnvFilter::new("info"));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.log_format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).with_target(false).try_init().is_ok(),
        LogFormat::Json => lines.json().flatten_event(true).try_init().is_ok(),
    }
}

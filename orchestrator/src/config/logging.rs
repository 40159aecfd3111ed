//! Where log lines go: standard error and a file, as text or as JSON.

use std::io::{self, IsTerminal as _, Write};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use orch_core::text::one_line;
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
            let colours = io::stderr().is_terminal();
            let lines = move || Lines { to: io::stderr(), colours };
            let stderr = layer().with_writer(lines).with_ansi(colours).with_target(false);
            let file = file.map(|file| {
                let file = Arc::new(file);
                let lines = move || Lines { to: Shared(Arc::clone(&file)), colours: false };
                layer().with_writer(lines).with_ansi(false).with_target(false)
            });
            log.with(stderr).with(file).try_init().is_ok()
        }
        LogFormat::Json => {
            let stderr = layer().json().flatten_event(true).with_writer(io::stderr);
            let file = file.map(|file| layer().json().flatten_event(true).with_writer(file));
            log.with(stderr).with(file).try_init().is_ok()
        }
    })
}

/// Writes each event as one line, whatever strangers put into it. JSON does that by itself.
struct Lines<W> {
    to: W,
    colours: bool,
}

impl<W: Write> Write for Lines<W> {
    /// An event comes whole, with the newline that ends it.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = one_line(text.strip_suffix('\n').unwrap_or(&text), self.colours).into_owned();
        line.push('\n');
        self.to.write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}

/// A file that several threads write to, a line at a time.
struct Shared(Arc<Mutex<RollingFile>>);

impl Write for Shared {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(line)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_whatever_a_worker_says() {
        let mut lines = Lines { to: Vec::new(), colours: false };
        let said = "w1\n2026-01-01T00:00:00Z ERROR the ledger is lost\u{1b}[2K";
        lines.write_all(format!("INFO a worker came worker={said}\n").as_bytes()).unwrap();
        let text = String::from_utf8(lines.to).unwrap();
        assert_eq!(text.lines().count(), 1);
        assert!(text.ends_with("lost\\u{1b}[2K\n") && text.contains("w1\\n2026"), "{text:?}");
    }
}

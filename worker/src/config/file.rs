//! The configuration file: YAML, unknown keys refused, every fault reported with line and field at once.

use std::collections::BTreeMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_core::id::{Kind, WorkerId};
use orch_core::resource::Pools;
use orch_transport::ClientTls;
use serde_saphyr::Spanned;

use super::yaml::Node;
use super::{RunnerConfig, Server};
use reader::Reader;

mod reader;

/// What a file sets; what it leaves out is None.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct FileConfig {
    /// `server`: one address or a list.
    pub servers: Option<Vec<Server>>,
    /// `tls`.
    pub tls: ClientTls,
    /// `name`.
    pub name: Option<WorkerId>,
    /// `slots`.
    pub slots: Option<NonZeroUsize>,
    /// `kinds`. Without it the worker offers the built-in ones.
    pub kinds: Option<BTreeMap<Kind, RunnerConfig>>,
    /// `labels`.
    pub labels: BTreeMap<String, String>,
    /// `resources`.
    pub resources: Pools,
    /// `time_limit`.
    pub time_limit: Option<Duration>,
    /// `idle_timeout`.
    pub idle_timeout: Option<Duration>,
    /// `grace`.
    pub grace: Option<Duration>,
    /// `flush`.
    pub flush: Option<Duration>,
    /// `keep_bytes`.
    pub keep_bytes: Option<usize>,
    /// `give_up_after`.
    pub give_up_after: Option<Duration>,
    /// `token_file`, relative to the file.
    pub token_file: Option<PathBuf>,
    /// `otlp_endpoint`.
    pub otlp_endpoint: Option<Server>,
    /// `log.level`.
    pub log_level: Option<String>,
    /// `log.format`.
    pub log_format: Option<LogFormat>,
}

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// One fault of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The line, from 1; 0 if the fault is of the whole file.
    pub line: u64,
    /// The field, as a path; empty for the whole file.
    pub field: String,
    /// What is wrong with it.
    pub message: String,
}

/// Every fault of a file.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct FileFaults {
    /// The file.
    pub path: PathBuf,
    /// Its faults, in the order of their lines.
    pub faults: Vec<Fault>,
}

impl fmt::Display for FileFaults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, faults } = self;
        for (i, Fault { line, field, message }) in faults.iter().enumerate() {
            let newline = if i == 0 { "" } else { "\n" };
            write!(f, "{newline}{}", path.display())?;
            if *line > 0 {
                write!(f, ":{line}")?;
            }
            write!(f, ": ")?;
            if !field.is_empty() {
                write!(f, "{field}: ")?;
            }
            write!(f, "{message}")?;
        }
        Ok(())
    }
}

/// Reads a file.
///
/// # Errors
/// [`FileFaults`] with every fault; one that says so if the file cannot be read.
pub fn read(path: &Path) -> Result<FileConfig, FileFaults> {
    match std::fs::read_to_string(path) {
        Ok(text) => parse(path, &text),
        Err(error) => {
            let fault = Fault { line: 0, field: String::new(), message: format!("cannot be read: {error}") };
            Err(FileFaults { path: path.to_owned(), faults: vec![fault] })
        }
    }
}

/// Reads the text of a file; `path` is for messages and for paths relative to it.
///
/// # Errors
/// [`FileFaults`] with every fault.
pub fn parse(path: &Path, text: &str) -> Result<FileConfig, FileFaults> {
    let mut reader = Reader::new(path.parent().unwrap_or(Path::new("")));
    let config = match serde_saphyr::from_str::<Spanned<Node>>(text) {
        Ok(root) => reader.root(&root),
        Err(error) => {
            let location = error.location();
            let line = location.map_or(0, |location| location.line());
            reader.faults.push(Fault { line, field: String::new(), message: syntax(&error) });
            FileConfig::default()
        }
    };
    if reader.faults.is_empty() {
        return Ok(config);
    }
    reader.faults.sort_by_key(|fault| fault.line);
    Err(FileFaults { path: path.to_owned(), faults: reader.faults })
}

/// The first line of the parser's message: the rest is a drawing of the place, which we name ourselves.
fn syntax(error: &serde_saphyr::Error) -> String {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or("not YAML");
    format!("not YAML: {}", first.trim_start_matches("error: "))
}

/// A length of time, as people write it.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    text.parse::<orch_core::time::Span>().map(orch_core::time::Span::duration)
}

/// Whether something is to be.
pub(super) fn truth(text: &str) -> Result<bool, String> {
    text.parse().map_err(|_| format!("{text:?} is neither true nor false"))
}

/// A number of bytes: plain, or with KiB, MiB or GiB.
pub(super) fn bytes(text: &str) -> Result<u64, String> {
    let fault = || format!("{text:?} is not a size: write it like 65536, 64KiB, 16MiB or 1GiB");
    let (number, factor) = [("KiB", 1_u64 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)]
        .iter()
        .find_map(|(unit, factor)| text.strip_suffix(unit).map(|number| (number.trim_end(), *factor)))
        .unwrap_or((text, 1));
    let number: u64 = number.parse().map_err(|_| fault())?;
    number.checked_mul(factor).filter(|&bytes| bytes > 0).ok_or_else(fault)
}

/// A filter for log lines: a level, or levels by module.
///
/// # Errors
/// What is wrong with it, in words.
pub fn level(text: &str) -> Result<String, String> {
    match text.parse::<tracing_subscriber::EnvFilter>() {
        Ok(_) => Ok(text.to_owned()),
        Err(error) => Err(format!("{text:?} is no log level ({error}): say error, warn, info, debug or trace")),
    }
}

#[cfg(test)]
mod tests;

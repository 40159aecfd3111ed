//! Finds a ledger's files where a user points at them.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use orch_core::id::Seq;
use orch_ledger::layout;

/// There is no ledger where one was named.
#[derive(Debug, thiserror::Error)]
#[error("{} is not a ledger: {found}", .path.display())]
pub struct NotALedger {
    /// What was named.
    pub path: PathBuf,
    /// What was found there, and what to name instead.
    pub found: String,
}

/// The data directory that a user means: it itself, or the folder of segments in it.
///
/// # Errors
/// [`NotALedger`] says what was found instead.
pub fn locate(path: &Path) -> Result<PathBuf, NotALedger> {
    let not = |found: String| NotALedger { path: path.to_owned(), found };
    let metadata = fs::metadata(path).map_err(|error| {
        not(match error.kind() {
            io::ErrorKind::NotFound => "there is no such directory".to_owned(),
            _ => error.to_string(),
        })
    })?;
    if !metadata.is_dir() {
        return Err(not(file(path)));
    }
    if is_data(path) {
        return Ok(path.to_owned());
    }
    if has_segments(path).map_err(|error| not(error.to_string()))? {
        // Only the real path has a parent: the given one may be `.`.
        let real = path.canonicalize().map_err(|error| not(error.to_string()))?;
        return match real.parent().filter(|parent| is_data(parent)) {
            Some(parent) => Ok(parent.to_owned()),
            None => Err(not(format!(
                "it holds segments, but HEAD is not beside it, which says how far the ledger is durable; copy the whole data directory ({}, {}, {}/)",
                layout::HEAD,
                layout::LEDGER_ID,
                layout::LEDGER
            ))),
        };
    }
    Err(not(format!(
        "it has neither {} nor {}/; name the directory that the orchestrator was given with --data",
        layout::HEAD,
        layout::LEDGER
    )))
}

fn is_data(path: &Path) -> bool {
    path.join(layout::HEAD).is_file()
}

fn has_segments(path: &Path) -> io::Result<bool> {
    for entry in fs::read_dir(path)? {
        if entry?.file_name().to_str().and_then(layout::segment_seq).is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What to say of a file.
fn file(path: &Path) -> String {
    let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    let parent = || path.canonicalize().ok().and_then(|real| Some(real.parent()?.to_owned())).unwrap_or_default();
    if layout::segment_seq(name).is_some() {
        let parent = parent();
        let data = parent.parent().unwrap_or(&parent);
        return format!("it is one segment of a ledger; name the data directory, {}", data.display());
    }
    if [layout::HEAD, layout::LEDGER_ID, layout::LOCK].contains(&name) {
        return format!("it is one file of a data directory; name the directory, {}", parent().display());
    }
    "it is a file; a ledger is a data directory (results of older programs come into one with `orchctl import-legacy`)"
        .to_owned()
}

/// How many bytes there are to read up to a record.
pub(crate) fn bytes_until(data: &Path, until: Seq) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(data.join(layout::LEDGER))? {
        let entry = entry?;
        if entry.file_name().to_str().and_then(layout::segment_seq).is_some_and(|first| first <= until) {
            bytes += entry.metadata()?.len();
        }
    }
    Ok(bytes)
}

/// Whether a file of this path would lie among the ledger's own.
pub(crate) fn is_of_ledger(data: &Path, path: &Path) -> bool {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    let (Ok(data), Ok(parent)) = (data.canonicalize(), parent.canonicalize()) else { return false };
    let own = [layout::HEAD, layout::LEDGER_ID, layout::LEDGER_ID_TMP, layout::LOCK];
    let is_own = path.file_name().and_then(OsStr::to_str).is_some_and(|name| own.contains(&name));
    parent.starts_with(data.join(layout::LEDGER)) || (parent == data && is_own)
}

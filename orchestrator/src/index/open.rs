//! Opening the index: use what is there if it can be trusted, otherwise begin anew.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use orch_core::id::Seq;

use super::follower::Source;
use super::guard::in_time;
use super::mark::{self, Mark};
use super::memory::MemoryStore;
use super::sled_store::SledStore;
use super::store::{Store, StoreError};

/// The version of the keys and values. An index of another one is not read.
pub const SCHEMA: u32 = 3;

/// How long sled may take to open and to be checked. It reads everything once, about a million jobs in some seconds.
const OPEN_LIMIT: Duration = Duration::from_secs(600);

/// Where the index of a ledger lies in a data directory.
pub fn directory(data: &Path, ledger: &str) -> PathBuf {
    data.join("index").join(format!("{SCHEMA}-{ledger}"))
}

/// A store that can be followed on.
pub(super) struct Opened {
    pub(super) store: Arc<dyn Store>,
    pub(super) mark: Mark,
    /// Why it begins anew; None if what was there is used, or if nothing was.
    pub(super) anew: Option<String>,
}

/// Opens the index at `dir`, or begins a new one there; in memory if the disk does not take one.
pub(super) fn open(dir: &Path, durable: Seq, source: &mut dyn Source) -> Opened {
    remove_others(dir);
    let mut anew = None;
    if dir.exists() {
        match open_sled(dir).and_then(|(store, mark)| usable(mark, durable, source).map(|mark| (store, mark))) {
            Ok((store, mark)) => return Opened { store, mark, anew: None },
            Err(error) => anew = Some(error.to_string()),
        }
    }
    match discard(dir).map_err(|error| StoreError::Failed(error.to_string())).and_then(|()| open_sled(dir)) {
        Ok((store, _)) => Opened { store, mark: Mark::default(), anew },
        Err(error) => {
            tracing::warn!(%error, dir = %dir.display(), "no index on disk: it is kept in memory");
            let anew = Some(format!("no index on disk: {error}"));
            Opened { store: Arc::new(MemoryStore::default()), mark: Mark::default(), anew }
        }
    }
}

fn open_sled(dir: &Path) -> Result<(Arc<dyn Store>, Mark), StoreError> {
    let dir = dir.to_owned();
    in_time("open", OPEN_LIMIT, move || {
        std::fs::create_dir_all(&dir).map_err(|error| StoreError::Failed(error.to_string()))?;
        let store: Arc<dyn Store> = Arc::new(SledStore::open(&dir)?);
        let mark = mark::verified(&*store)?.unwrap_or_default();
        Ok((store, mark))
    })
}

/// The mark, if it speaks of this ledger as it is now.
fn usable(mark: Mark, durable: Seq, source: &mut dyn Source) -> Result<Mark, StoreError> {
    if mark.applied > durable {
        let what = format!("it is at record {}, the ledger at {durable}", mark.applied);
        return Err(StoreError::Damaged(what));
    }
    if mark.applied == Seq(0) {
        return Ok(mark);
    }
    match source.witness(mark.applied) {
        Ok(Some(witness)) if witness == mark.witness => Ok(mark),
        Ok(_) => Err(StoreError::Damaged(format!("record {} of the ledger is another one now", mark.applied))),
        Err(error) => Err(StoreError::Failed(error.to_string())),
    }
}

/// Removes an index for good. Fine if there is none.
pub(super) fn discard(dir: &Path) -> io::Result<()> {
    let gone = if dir.is_dir() { std::fs::remove_dir_all(dir) } else { std::fs::remove_file(dir) };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

/// Removes the indexes of other versions and ledgers: `<number>-<something>`, nothing else.
fn remove_others(dir: &Path) {
    let Some(Ok(beside)) = dir.parent().map(std::fs::read_dir) else { return };
    for path in beside.flatten().map(|entry| entry.path()).filter(|path| path != dir) {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let is_index = name.split_once('-').is_some_and(|(schema, _)| schema.parse::<u32>().is_ok());
        if is_index && let Err(error) = discard(&path) {
            tracing::warn!(%error, path = %path.display(), "an index of another version or ledger cannot be removed");
        }
    }
}

//! Where the ledger lives, and whether it still does.
//!
//! A process that stood still for a while may wake over a directory that is no longer its own: moved away, with a copy in
//! its place that another orchestrator works on. Its files are open, its lock is held and its syncs succeed, on files
//! that nobody looks at any more. So the file LOCK under the directory's path is compared with the one that was locked,
//! between the sync and the answers: whoever copies the directory later copies what was synced, and whoever copied it
//! before has moved it, which shows.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::batch::Fatal;

/// The place of a data directory, and the lock that was found there.
#[derive(Debug)]
pub(super) struct Home {
    dir: PathBuf,
    /// Device and number of the file that was locked.
    locked: (u64, u64),
}

impl Home {
    /// The home of the ledger whose lock this process has taken in `dir`.
    pub(super) fn of(dir: &Path) -> io::Result<Self> {
        Ok(Self { dir: dir.to_owned(), locked: lock_in(dir)? })
    }

    /// Whether the directory at the path is still the one that was locked.
    pub(super) fn check(&self) -> Result<(), Fatal> {
        match lock_in(&self.dir) {
            Ok(found) if found == self.locked => Ok(()),
            Ok(_) => Err(Fatal::Moved { dir: self.dir.clone(), source: None }),
            Err(source) => Err(Fatal::Moved { dir: self.dir.clone(), source: Some(source) }),
        }
    }
}

fn lock_in(dir: &Path) -> io::Result<(u64, u64)> {
    let lock = fs::metadata(dir.join(orch_ledger::layout::LOCK))?;
    Ok((lock.dev(), lock.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_that_was_replaced_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let (dir, moved) = (parent.path().join("data"), parent.path().join("moved"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("LOCK"), "").unwrap();
        let home = Home::of(&dir).unwrap();
        home.check().unwrap();
        fs::rename(&dir, &moved).unwrap();
        assert!(home.check().unwrap_err().to_string().contains("another one now"));
        fs::create_dir(&dir).unwrap();
        fs::write(dir.join("LOCK"), "").unwrap();
        assert!(home.check().is_err());
        fs::remove_dir_all(&dir).unwrap();
        fs::rename(&moved, &dir).unwrap();
        home.check().unwrap();
    }
}

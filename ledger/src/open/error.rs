//! Why a ledger cannot be opened.

use std::io;
use std::path::{Path, PathBuf};

use orch_core::record::NEWEST_FORMAT;

use crate::disk::{FileSystem, is_no_space};
use crate::fault::{Fault, Place, Refusal};
use crate::segment::check::CheckError;
use crate::writer::CommitError;

/// Why a ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("data directory {} is in use by {holder}: stop that process or choose another directory", .dir.display())]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// What the holder says of itself.
        holder: String,
    },
    /// The file system cannot keep the promise.
    #[error("data directory {} lies on {file_system}, where a ledger is not safe: {why}; choose a directory on a local disk, or pass --allow-any-filesystem to go on regardless", .dir.display())]
    FileSystem {
        /// The data directory.
        dir: PathBuf,
        /// Its file system.
        file_system: FileSystem,
        /// Why it is unfit.
        why: &'static str,
    },
    /// Another version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads and writes format versions 1 to {NEWEST_FORMAT}: use the version of orch that wrote it", .dir.display())]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// It is not as it must be.
    #[error("the ledger is damaged and was left as it is: {refusal}; run next: {}", .refusal.next_command())]
    Refused {
        /// Where and what.
        refusal: Box<Refusal>,
    },
    /// There is no space for the boot record.
    #[error("no space for the boot record in {}: free some and start again", .dir.display())]
    NoSpace {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// This process may not write there.
    #[error("failed to {doing} in {}, which this process may not write: give the directory to the user who runs it, or choose another one", .dir.display())]
    NotAllowed {
        /// What was refused.
        doing: &'static str,
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The system failed.
    #[error("failed to {doing} in {}", .dir.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

impl OpenError {
    /// What a check of the segments in `dir` found.
    pub(crate) fn of_check(dir: &Path, error: CheckError) -> Self {
        Failure { dir: dir.to_owned() }.check(error)
    }
}

/// Makes errors that name the directory.
pub(super) struct Failure {
    pub(super) dir: PathBuf,
}

impl Failure {
    pub(super) fn io(&self, doing: &'static str, source: io::Error) -> OpenError {
        let dir = self.dir.clone();
        match source.kind() {
            _ if is_no_space(&source) => OpenError::NoSpace { dir, source },
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                OpenError::NotAllowed { doing, dir, source }
            }
            _ => OpenError::Io { doing, dir, source },
        }
    }

    pub(super) fn refused(&self, place: Place, fault: Fault) -> OpenError {
        OpenError::Refused { refusal: Box::new(Refusal { dir: self.dir.clone(), place, fault }) }
    }

    pub(super) fn check(&self, error: CheckError) -> OpenError {
        match error {
            CheckError::Io(error) => self.io("read the segments", error),
            CheckError::Fault(place, fault) => self.refused(place, fault),
        }
    }

    pub(super) fn commit(&self, error: CommitError) -> OpenError {
        match error {
            CommitError::NoSpace(no_space) => OpenError::NoSpace { dir: self.dir.clone(), source: no_space.source },
            CommitError::Fatal { doing, source } => OpenError::Io { doing, dir: self.dir.clone(), source },
        }
    }
}

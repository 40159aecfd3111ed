//! A data directory from a backup.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::Seq;

use crate::chain::Link;
use crate::disk::Dir;
use crate::disk::real::RealDir;
use crate::fault::Refusal;
use crate::identity::Identity;
use crate::reader::Follower;
use crate::secret;
use crate::target;
use crate::verify::{Tail, VerifyError, verify_in, verify_up_to_head};

use super::copy::feed;
use super::{BackedUp, Backup, BackupError};

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// There is no backup.
    #[error("there is no backup in {}", .dir.display())]
    NoBackup {
        /// The directory.
        dir: PathBuf,
    },
    /// The backup was never finished: it was interrupted while it was new.
    #[error("the backup in {} was never finished", .dir.display())]
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// A backup is being written there, or an orchestrator runs on it.
    #[error("the backup in {} is in use", .dir.display())]
    InUse {
        /// The directory.
        dir: PathBuf,
    },
    /// The backup is not as it must be.
    #[error("the backup in {} is damaged: {refusal}", .refusal.dir.display())]
    Damaged {
        /// Where and what.
        refusal: Box<Refusal>,
    },
    /// It ends with another batch than expected.
    #[error("the backup in {} ends at seq {} with chain link {}, expected {expected}", .dir.display(), .link.seq, .link.chain)]
    OtherChain {
        /// The backup.
        dir: PathBuf,
        /// Its last batch.
        link: Link,
        /// The link that it should end with.
        expected: Digest,
    },
    /// The target is in use for something.
    #[error("{} is not empty: it holds {found}", .dir.display())]
    NotEmpty {
        /// The target.
        dir: PathBuf,
        /// A file in it.
        found: String,
    },
    /// A newer version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads format versions 1 to {}", .dir.display(), orch_core::record::NEWEST_FORMAT)]
    Format {
        /// The backup.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// The copy failed.
    #[error(transparent)]
    Copy(#[from] BackupError),
    /// The system failed.
    #[error("failed to {doing} in {}", .dir.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A data directory that was restored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// Which ledger.
    pub identity: Identity,
    /// Where it stands.
    pub link: Link,
    /// How many segments it has.
    pub segments: u64,
    /// How many bytes they have.
    pub bytes: u64,
}

/// Makes a data directory at `to` of the backup `from`. The backup is verified first, the copy at the end. `progress` is
/// told how many records of how many are done.
///
/// # Errors
/// [`RestoreError`].
pub fn restore(
    from: &Path,
    to: &Path,
    expect: Option<Digest>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let done = restore_in(Arc::new(RealDir::new(from)), Arc::new(RealDir::new(to)), expect, progress)?;
    let dir = to.to_owned();
    secret::take_along(from, to).map_err(|source| RestoreError::Io { doing: "keep the secret", dir, source })?;
    Ok(done)
}

/// The same, on any disk.
///
/// # Errors
/// As [`restore`].
pub fn restore_in(
    from: Arc<dyn Dir>,
    to: Arc<dyn Dir>,
    expect: Option<Digest>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Restored, RestoreError> {
    let dir = || from.path().to_owned();
    let (identity, link) = check(&*from)?;
    if let Some(expected) = expect.filter(|expected| *expected != link.chain) {
        return Err(RestoreError::OtherChain { dir: dir(), link, expected });
    }
    let occupant = target::occupant(&*to);
    let look = |source| RestoreError::Io { doing: "look into the target", dir: to.path().to_owned(), source };
    if let Some(found) = occupant.map_err(look)? {
        return Err(RestoreError::NotEmpty { dir: to.path().to_owned(), found });
    }
    let backup = Backup::begin(to, &identity.ledger, link)?;
    let BackedUp { identity, link, added: _, segments, bytes } =
        feed(backup, Follower::new_in(from, Seq(1)), progress)?;
    Ok(Restored { identity, link, segments, bytes })
}

/// Which ledger the backup is of, and how far it is good: all of it, or at least up to what its HEAD names. Behind that
/// may stand what an interrupted run left.
fn check(from: &dyn Dir) -> Result<(Identity, Link), RestoreError> {
    let unreadable = |error| match error {
        VerifyError::NoLedger { dir } => RestoreError::NoBackup { dir },
        VerifyError::Format { dir, found } => RestoreError::Format { dir, found },
        VerifyError::Io { dir, source } => RestoreError::Io { doing: "read the backup", dir, source },
    };
    let report = verify_in(from, 1, &|_, _| {}).map_err(unreadable)?;
    let dir = || from.path().to_owned();
    let Some(identity) = report.identity else { return Err(RestoreError::Unfinished { dir: dir() }) };
    if report.tail == Tail::InUse {
        return Err(RestoreError::InUse { dir: dir() });
    }
    let Some(refusal) = report.findings.into_iter().next() else { return Ok((identity, report.link)) };
    let to_head = verify_up_to_head(from).map_err(unreadable)?;
    match to_head.head {
        Some(head) if to_head.findings.is_empty() && head.batch > 0 => Ok((identity, head.link())),
        Some(_) | None => Err(RestoreError::Damaged { refusal: Box::new(refusal) }),
    }
}

//! A backup from a data directory, beside its running orchestrator too.

use std::io;
use std::path::Path;
use std::sync::Arc;

use orch_core::id::Seq;
use orch_core::record::knows_format;

use crate::chain::Link;
use crate::disk::Dir;
use crate::disk::real::RealDir;
use crate::fault::{Place, Refusal};
use crate::head::durable_head;
use crate::identity;
use crate::layout;
use crate::lock;
use crate::reader::Follower;
use crate::secret;
use crate::verify::{VerifyError, verify_in};

use super::{BackedUp, Backup, BackupError, failed};

/// Backs up the ledger in `from` into `to`: up to what HEAD names as durable if an orchestrator uses it, otherwise up to
/// its last whole batch. Takes no lock in `from`. `progress` is
/// told how many records of how many are done. The secret of the directory goes along.
///
/// # Errors
/// [`BackupError`].
pub fn copy(from: &Path, to: &Path, progress: &mut dyn FnMut(u64, u64)) -> Result<BackedUp, BackupError> {
    let done = copy_in(Arc::new(RealDir::new(from)), Arc::new(RealDir::new(to)), progress)?;
    let dir = to.to_owned();
    secret::take_along(from, to).map_err(|source| BackupError::Io { doing: "keep the secret", dir, source })?;
    Ok(done)
}

/// The same, on any disk.
///
/// # Errors
/// As [`copy`].
pub fn copy_in(
    from: Arc<dyn Dir>,
    to: Arc<dyn Dir>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackedUp, BackupError> {
    let identity = match identity::read(&*from).map_err(failed(&*from, "read LEDGER_ID"))? {
        None => return Err(BackupError::NoLedger { dir: from.path().to_owned() }),
        Some(Ok(identity)) if knows_format(identity.format) => identity,
        Some(Ok(identity)) => {
            return Err(BackupError::Format { dir: from.path().to_owned(), found: identity.format });
        }
        Some(Err(fault)) => {
            let refusal = Refusal { dir: from.path().to_owned(), place: Place::file(layout::LEDGER_ID), fault };
            return Err(BackupError::Source { refusal: Box::new(refusal) });
        }
    };
    let target = match lock::is_held(&*from).map_err(failed(&*from, "look at the lock"))? {
        true => durable_head(&*from).map_err(|error| source_head(&*from, error))?.link(),
        false => last_whole(&*from)?,
    };
    let backup = Backup::begin(to, &identity.ledger, target)?;
    feed(backup, Follower::new_in(from, Seq(1)), progress)
}

/// The last whole batch of a ledger that nobody uses. HEAD may name the one before it: it lags by one when an orchestrator
/// is killed, and what it does not name yet may have been acknowledged.
fn last_whole(from: &dyn Dir) -> Result<Link, BackupError> {
    let report = verify_in(from, 1, &|_, _| {}).map_err(|error| match error {
        VerifyError::Io { source, .. } => failed(from, "read the ledger")(source),
        VerifyError::NoLedger { dir } => BackupError::NoLedger { dir },
        VerifyError::Format { dir, found } => BackupError::Format { dir, found },
    })?;
    match report.findings.into_iter().next() {
        None => Ok(report.link),
        Some(refusal) => Err(BackupError::Source { refusal: Box::new(refusal) }),
    }
}

/// A HEAD that says nothing is damage of the source.
fn source_head(from: &dyn Dir, error: io::Error) -> BackupError {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<crate::Fault>()) {
        Some(fault) => {
            let (dir, place) = (from.path().to_owned(), Place::file(layout::HEAD));
            BackupError::Source { refusal: Box::new(Refusal { dir, place, fault: fault.clone() }) }
        }
        None => failed(from, "read HEAD")(error),
    }
}

/// Gives a backup what it wants from files.
pub(super) fn feed(
    mut backup: Backup,
    from: Follower,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<BackedUp, BackupError> {
    /// How often progress is told, in records.
    const STEP: u64 = 4096;
    let Link { seq: target, .. } = backup.target;
    let before = backup.before.seq;
    if before > target {
        return meet_ahead(backup, from);
    }
    let mut follower = from.at(backup.start());
    while let Some(line) = follower.next_line(target)? {
        backup.take(line.raw())?;
        if line.seq.0 % STEP == 0 {
            progress(line.seq.0 - before.0, target.0 - before.0);
        }
    }
    backup.finish()
}

/// The backup holds more than HEAD names: HEAD lags by a batch while an orchestrator is busy. Or the ledger was put
/// back to an older state.
fn meet_ahead(mut backup: Backup, from: Follower) -> Result<BackedUp, BackupError> {
    let mut follower = from.at(backup.start());
    let before = backup.before.seq;
    if let Ok(Some(line)) = follower.next_line(before) {
        backup.take(line.raw())?;
    }
    backup.finish()
}

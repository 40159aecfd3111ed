//! Where a backup begins: anew, where the last one ended, or where one was interrupted.

use std::io;
use std::sync::Arc;

use orch_core::record::{FORMAT, knows_format};

use crate::chain::{ChainChecker, Link};
use crate::disk::{self, Access, Dir};
use crate::fault::{Fault, Place};
use crate::head::{self, Head, HeadFile};
use crate::identity::{self, Identity};
use crate::layout;
use crate::lock::{self, Attempt};
use crate::recovery::examine::{check_epoch, check_head_agrees, check_head_reached, walk};
use crate::segment::check::{CheckError, Segment};
use crate::segment::list;

use super::write::Out;
use super::{Backup, BackupError, damaged, failed};

/// What a backup may hold besides segments. An orchestrator's data directory has more.
const OURS: [&str; 8] = [
    layout::LOCK,
    layout::HEAD,
    layout::LEDGER_ID,
    layout::LEDGER_ID_TMP,
    layout::LEDGER,
    layout::SECRET,
    layout::SECRET_TMP,
    "lost+found",
];

impl Backup {
    /// Begins a backup of the ledger `ledger` in `dir`, up to the batch `target` at least. A backup that is there
    /// already is checked and extended.
    ///
    /// # Errors
    /// [`BackupError`] if the directory is no backup of this ledger. A backup that is there keeps what it has.
    pub fn begin(dir: Arc<dyn Dir>, ledger: &str, target: Link) -> Result<Self, BackupError> {
        if let Some(found) = foreign(&*dir).map_err(failed(&*dir, "look into the backup"))? {
            return Err(BackupError::NotABackup { dir: dir.path().to_owned(), found });
        }
        dir.create_dir("").map_err(failed(&*dir, "make the backup"))?;
        let lock = match lock::try_take(&*dir).map_err(failed(&*dir, "lock the backup"))? {
            Attempt::Taken(lock) => lock,
            Attempt::Held(holder) => return Err(BackupError::Locked { dir: dir.path().to_owned(), holder }),
        };
        let identified = identified(&*dir, ledger)?;
        let (head, head_file) = match &identified {
            Some(_) => existing_head(&*dir)?,
            // It names the end from the beginning: so an unfinished backup is never taken for a new, empty ledger.
            None => (Head::default(), marker(&*dir, target).map_err(failed(&*dir, "write HEAD"))?),
        };
        dir.create_dir(layout::LEDGER).map_err(failed(&*dir, "make its directories"))?;
        remove_unfinished(&*dir).map_err(failed(&*dir, "remove an unfinished segment"))?;
        let Found { link, epoch, last } = found(&*dir, ledger, &head).map_err(|error| match error {
            CheckError::Io(source) => failed(&*dir, "read the backup")(source),
            CheckError::Fault(place, fault) => damaged(&*dir, place, fault),
        })?;
        let out = last.map(|segment| cut(&*dir, &segment)).transpose();
        let out = out.map_err(failed(&*dir, "cut an unfinished batch"))?;
        let identity = identified.clone().unwrap_or_else(|| Identity { ledger: ledger.to_owned(), format: FORMAT });
        Ok(Self {
            dir,
            lock,
            identity,
            identified,
            head_file,
            target,
            before: link,
            met: false,
            checker: ChainChecker::after(link),
            epoch,
            out,
            buffer: Vec::new(),
            whole: 0,
        })
    }
}

/// Something in the directory that no backup has.
fn foreign(dir: &dyn Dir) -> io::Result<Option<String>> {
    match dir.list("") {
        Ok(names) => Ok(names.into_iter().filter(|name| !OURS.contains(&name.as_str())).min()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn identified(dir: &dyn Dir, ledger: &str) -> Result<Option<Identity>, BackupError> {
    match identity::read(dir).map_err(failed(dir, "read LEDGER_ID"))? {
        None => Ok(None),
        Some(Err(fault)) => Err(damaged(dir, Place::file(layout::LEDGER_ID), fault)),
        Some(Ok(Identity { format, .. })) if !knows_format(format) => {
            Err(BackupError::Format { dir: dir.path().to_owned(), found: format })
        }
        Some(Ok(identity)) if identity.ledger != ledger => Err(BackupError::OtherLedger {
            dir: dir.path().to_owned(),
            expected: ledger.to_owned(),
            found: identity.ledger,
        }),
        Some(Ok(identity)) => Ok(Some(identity)),
    }
}

fn existing_head(dir: &dyn Dir) -> Result<(Head, HeadFile), BackupError> {
    let slots = head::read(dir).map_err(failed(dir, "read HEAD"))?;
    let fault = if slots.is_some() { Fault::HeadDamaged } else { Fault::HeadMissing };
    let head = slots.and_then(|slots| slots.newest()).ok_or_else(|| damaged(dir, Place::file(layout::HEAD), fault))?;
    let file = HeadFile::open(dir, &head).map_err(failed(dir, "open HEAD"))?;
    // Both slots are durable before one of them is written again.
    file.sync().map_err(failed(dir, "sync HEAD"))?;
    Ok((head, file))
}

fn marker(dir: &dyn Dir, target: Link) -> io::Result<HeadFile> {
    let Link { seq, batch, chain } = target;
    HeadFile::create(dir, Head { batch, seq, chain, ..Head::default() })
}

fn remove_unfinished(dir: &dyn Dir) -> io::Result<()> {
    match dir.remove(layout::NEXT_TMP) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        Ok(()) | Err(_) => Ok(()),
    }
}

/// What a backup has.
struct Found {
    link: Link,
    epoch: u64,
    last: Option<Segment>,
}

/// Checks what is there. What stands in the last segment behind HEAD and is not whole was interrupted: unlike an
/// orchestrator, a backup may have several batches on their way to the disk at once.
fn found(dir: &dyn Dir, ledger: &str, head: &Head) -> Result<Found, CheckError> {
    let firsts = list::list(dir)?.map_err(|(place, fault)| CheckError::Fault(place, fault))?;
    let mut epoch = 0;
    let (link, last) = walk(dir, ledger, &firsts, &mut |chunk| {
        chunk.read(&mut |segment, entry| {
            check_head_agrees(head, segment, &entry)?;
            check_epoch(&entry.record.event, &mut epoch)
        })
    })?;
    check_head_reached(head, link, last.as_ref())?;
    Ok(Found { link, epoch, last })
}

/// Brings the last segment back to its last whole batch, from where it is gone on with.
fn cut(dir: &dyn Dir, segment: &Segment) -> io::Result<Out> {
    let file = dir.open(&layout::segment(segment.first), Access::Write)?;
    let mut end = segment.whole;
    if segment.newline_missing {
        disk::write_all_at(&*file, b"\n", end)?;
        end += 1;
    }
    if segment.len > end {
        file.set_len(end)?;
    }
    Ok(Out { first: segment.first, file, end, named: true })
}

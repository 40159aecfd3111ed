//! Taking a ledger into use: lock, examine, mend, and begin a new segment.

mod error;

use std::io;
use std::path::Path;
use std::sync::Arc;

use orch_core::record::{FORMAT, knows_format};
use orch_core::time::Timestamp;

use crate::disk::Dir;
use crate::disk::real::RealDir;
use crate::fault::{Fault, Place};
use crate::head::{self, HeadFile};
use crate::identity::{self, Identity};
use crate::layout;
use crate::lock::{self, Attempt};
use crate::recovery::examine::{Replay, examine};
use crate::recovery::mend::{Quarantined, mend};
use crate::segment::list;
use crate::writer::Ledger;

pub use error::OpenError;

use error::Failure;

/// How to open a ledger. What the ledger would have to ask the machine for is given here.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// The time of the boot record.
    pub now: Timestamp,
    /// The orchestrator's version, for the boot record.
    pub version: String,
    /// The host's name, for the boot record and the lock.
    pub host: String,
    /// This process, for the boot record and the lock.
    pub pid: u32,
    /// The id of the ledger if a new one is made; a random UUID without it.
    pub new_ledger_id: Option<String>,
    /// The size in bytes beyond which a segment is closed; at most 1 GiB.
    pub segment_bytes: u64,
    /// How much space is claimed ahead, in bytes; 0 claims none.
    pub claim_bytes: u64,
    /// How many zeros are written behind a small batch, in bytes, so that the next syncs find space that was written
    /// before: it about halves their cost on ext4. 0 writes none.
    pub zero_bytes: u64,
    /// Goes on even where a lock or a sync may not be one.
    pub allow_any_filesystem: bool,
}

impl OpenOptions {
    /// Options with the usual sizes: segments of 256 MiB, 16 MiB claimed ahead.
    pub fn new(now: Timestamp, version: &str, host: &str, pid: u32) -> Self {
        Self {
            now,
            version: version.to_owned(),
            host: host.to_owned(),
            pid,
            new_ledger_id: None,
            segment_bytes: 256 << 20,
            claim_bytes: 16 << 20,
            zero_bytes: 256 << 10,
            allow_any_filesystem: false,
        }
    }
}

/// A ledger in use.
#[derive(Debug)]
pub struct Opened {
    /// The ledger.
    pub ledger: Ledger,
    /// The number of this boot.
    pub epoch: u64,
    /// What recovery did.
    pub recovered: RecoveryReport,
}

/// What recovery found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// The ledger was made just now.
    pub created: bool,
    /// The torn tail that was put away.
    pub quarantined: Option<Quarantined>,
    /// The last line lacked its newline and got it.
    pub newline_added: bool,
    /// One slot of HEAD could not be read; the other one was used.
    pub head_slot_damaged: bool,
    /// A segment that was never finished was removed.
    pub unfinished_segment_removed: bool,
}

impl Ledger {
    /// Opens the ledger in `dir`, making one if there is none. Every record goes through `replay`, in order, the two
    /// that this boot writes last; an error of `replay` refuses the ledger, unchanged.
    ///
    /// # Errors
    /// [`OpenError`]. The ledger is unchanged, unless it is `NoSpace` or `Io`, which may come after a torn tail was
    /// put away.
    pub fn open(dir: &Path, options: OpenOptions, replay: &mut Replay<'_>) -> Result<Opened, OpenError> {
        Self::open_in(Arc::new(RealDir::new(dir)), options, replay)
    }

    /// The same, on any disk.
    ///
    /// # Errors
    /// As [`Ledger::open`].
    pub fn open_in(dir: Arc<dyn Dir>, options: OpenOptions, replay: &mut Replay<'_>) -> Result<Opened, OpenError> {
        let failed = Failure { dir: dir.path().to_owned() };
        dir.create_dir("").map_err(|e| failed.io("make the directory", e))?;
        check_file_system(&*dir, &options)?;
        let lock = match lock::try_take(&*dir).map_err(|e| failed.io("take the lock", e))? {
            Attempt::Taken(lock) => lock,
            Attempt::Held(holder) => return Err(OpenError::Locked { dir: dir.path().to_owned(), holder }),
        };
        let mut report = RecoveryReport::default();
        let (identity, head) = identify(&*dir, &options, &mut report)?;
        let examined = examine(&*dir, &identity.ledger, &head, replay).map_err(|e| failed.check(e))?;
        report.newline_added = examined.last.as_ref().is_some_and(|segment| segment.newline_missing);
        report.quarantined = mend(&*dir, &examined, &head).map_err(|e| failed.io("mend the last segment", e))?;
        report.unfinished_segment_removed =
            remove_if_there(&*dir, layout::NEXT_TMP).map_err(|e| failed.io("remove an unfinished segment", e))?;
        let head_file = HeadFile::open(&*dir, &head).map_err(|e| failed.io("make HEAD durable", e))?;
        let epoch = examined.epoch + 1;
        lock.describe(options.pid, &options.host, epoch);
        let mut ledger = Ledger::start(dir, lock, options, identity, head_file, head.batch, &examined);
        let booted = ledger.boot().map_err(|e| failed.commit(e))?;
        for (record, position) in &booted.records {
            replay(record, position).map_err(|message| {
                let fault = Fault::Replay { seq: record.seq, message };
                failed.refused(Place::file(layout::segment(record.seq)), fault)
            })?;
        }
        Ok(Opened { ledger, epoch, recovered: report })
    }
}

fn check_file_system(dir: &dyn Dir, options: &OpenOptions) -> Result<(), OpenError> {
    let failed = Failure { dir: dir.path().to_owned() };
    let file_system = dir.file_system().map_err(|e| failed.io("ask for the file system", e))?;
    match file_system.unfit {
        Some(why) if !options.allow_any_filesystem => {
            Err(OpenError::FileSystem { dir: dir.path().to_owned(), file_system, why })
        }
        Some(_) | None => Ok(()),
    }
}

/// Which ledger this is and what HEAD says of it; makes both for a new ledger.
///
/// HEAD comes into being before LEDGER_ID, and LEDGER_ID before the first segment. So without LEDGER_ID the ledger is
/// new, unless there are segments or a HEAD that names one; with it, a missing HEAD is a loss.
fn identify(
    dir: &dyn Dir,
    options: &OpenOptions,
    report: &mut RecoveryReport,
) -> Result<(Identity, head::Head), OpenError> {
    let failed = Failure { dir: dir.path().to_owned() };
    let refuse = |file: &str, fault: Fault| Err(failed.refused(Place::file(file), fault));
    let slots = head::read(dir).map_err(|e| failed.io("read HEAD", e))?;
    let newest = slots.and_then(|slots| slots.newest());
    match identity::read(dir).map_err(|e| failed.io("read LEDGER_ID", e))? {
        Some(Err(fault)) => refuse(layout::LEDGER_ID, fault),
        Some(Ok(identity)) if !knows_format(identity.format) => {
            Err(OpenError::Format { dir: dir.path().to_owned(), found: identity.format })
        }
        Some(Ok(identity)) => match (slots, newest) {
            (None, _) => refuse(layout::HEAD, Fault::HeadMissing),
            (Some(_), None) => refuse(layout::HEAD, Fault::HeadDamaged),
            (Some(slots), Some(head)) => {
                report.head_slot_damaged = slots.one_damaged();
                make_dirs(dir)?;
                Ok((identity, head))
            }
        },
        None => {
            let segments = list::list(dir).map_err(|e| failed.io("list the segments", e))?;
            let segments = segments.map_err(|(place, fault)| failed.refused(place, fault))?;
            if !segments.is_empty() || newest.is_some_and(|head| head.batch > 0) {
                return refuse(layout::LEDGER_ID, Fault::IdentityMissing);
            }
            make_dirs(dir)?;
            HeadFile::create(dir, head::Head::default()).map_err(|e| failed.io("make HEAD", e))?;
            let id = options.new_ledger_id.clone().unwrap_or_else(|| uuid::Uuid::new_v4().to_string());
            let identity = identity::create(dir, &id, FORMAT).map_err(|e| failed.io("make LEDGER_ID", e))?;
            report.created = true;
            Ok((identity, head::Head { generation: 1, ..head::Head::default() }))
        }
    }
}

fn make_dirs(dir: &dyn Dir) -> Result<(), OpenError> {
    let failed = Failure { dir: dir.path().to_owned() };
    let make = || {
        dir.create_dir(layout::LEDGER)?;
        dir.create_dir(layout::QUARANTINE)?;
        dir.sync_dir("")
    };
    make().map_err(|e: io::Error| failed.io("make its directories", e))
}

fn remove_if_there(dir: &dyn Dir, name: &str) -> io::Result<bool> {
    match dir.remove(name) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

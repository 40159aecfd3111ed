//! Checks a whole ledger, offline and read-only, all segments at the same time.
//!
//! It finds what a start would find and says it in the same words. Each segment is checked from its own header on;
//! then the ends are laid against the headers. Beside a running orchestrator it checks up to what HEAD names.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use orch_core::id::Seq;
use orch_core::record::{Event, FORMAT};
use orch_core::time::Timestamp;

use crate::chain::{ChainFault, Link};
use crate::disk::real::RealDir;
use crate::disk::{Access, Dir};
use crate::fault::{Fault, Place, Refusal};
use crate::head::{self, Head};
use crate::identity::{self, Identity};
use crate::layout;
use crate::lock;
use crate::recovery::Sign;
use crate::recovery::examine::{check_head_agrees, check_head_reached, judge_end, not_last};
use crate::segment::check::{self, CheckError, Segment, Task};
use crate::segment::chunk::Entry;
use crate::segment::list;

/// What stands behind the last whole batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tail {
    /// Nothing but claimed space.
    Clean,
    /// A torn write that was never acknowledged: the next start puts it into the quarantine.
    Torn {
        /// What shows it.
        sign: Sign,
        /// Where it begins in the last segment.
        offset: u64,
        /// Its length.
        bytes: u64,
    },
    /// The last line lacks its newline: the next start adds it.
    NewlineMissing,
    /// A running orchestrator is writing there.
    InUse,
}

/// What a check of a whole ledger found.
#[derive(Clone, Debug)]
pub struct VerifyReport {
    /// Which ledger.
    pub identity: Option<Identity>,
    /// What HEAD names.
    pub head: Option<Head>,
    /// The last good batch, up to the first finding.
    pub link: Link,
    /// How many segments there are.
    pub segments: u64,
    /// How many batches are good.
    pub batches: u64,
    /// How many records are good.
    pub records: u64,
    /// How many bytes the good records have.
    pub bytes: u64,
    /// How many good records there are of each event.
    pub events: BTreeMap<String, u64>,
    /// How often the ledger was taken into use.
    pub boots: u64,
    /// The times of the first and the last good record.
    pub times: Option<(Timestamp, Timestamp)>,
    /// How the ledger ends.
    pub tail: Tail,
    /// One slot of HEAD cannot be read.
    pub head_slot_damaged: bool,
    /// What is wrong; nothing if the ledger is good. At most one finding per segment, in order.
    pub findings: Vec<Refusal>,
}

/// Why a ledger cannot be checked at all.
#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    /// There is no ledger.
    #[error("there is no ledger in {}", .dir.display())]
    NoLedger {
        /// The data directory.
        dir: PathBuf,
    },
    /// Another version wrote it.
    #[error("ledger in {} has format version {found}, this version of orch reads format version {FORMAT}", .dir.display())]
    Format {
        /// The data directory.
        dir: PathBuf,
        /// Its format version.
        found: u32,
    },
    /// The system failed.
    #[error("failed to read the ledger in {}", .dir.display())]
    Io {
        /// The data directory.
        dir: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// Checks the ledger in `dir` with that many threads. `progress` is told, from any of them, how many bytes of how many
/// are done.
///
/// # Errors
/// [`VerifyError`] if there is nothing to check. Damage is no error but a finding.
pub fn verify(dir: &Path, threads: usize, progress: &(dyn Fn(u64, u64) + Sync)) -> Result<VerifyReport, VerifyError> {
    verify_in(&RealDir::new(dir), threads, progress)
}

/// The same, on any disk.
///
/// # Errors
/// As [`verify`].
pub fn verify_in(
    dir: &dyn Dir,
    threads: usize,
    progress: &(dyn Fn(u64, u64) + Sync),
) -> Result<VerifyReport, VerifyError> {
    let failed = |source: io::Error| VerifyError::Io { dir: dir.path().to_owned(), source };
    let running = lock::is_held(dir).map_err(failed)?;
    let mut report = Report::new(dir, running);
    let firsts = report.survey().map_err(failed)?;
    match &report.out.identity {
        Some(identity) if identity.format != FORMAT => {
            return Err(VerifyError::Format { dir: dir.path().to_owned(), found: identity.format });
        }
        Some(_) => {}
        None if firsts.is_empty() && report.out.findings.is_empty() => {
            return Err(VerifyError::NoLedger { dir: dir.path().to_owned() });
        }
        None => {}
    }
    let parts = report.check_all(&firsts, threads, progress).map_err(failed)?;
    report.stitch(parts).map_err(failed)?;
    Ok(report.out)
}

/// What one segment has.
#[derive(Default)]
struct Counts {
    records: u64,
    batches: u64,
    bytes: u64,
    events: BTreeMap<&'static str, u64>,
    boots: Vec<(u64, Place)>,
    times: Option<(Timestamp, Timestamp)>,
}

struct Part {
    first: Seq,
    counts: Counts,
    checked: Result<Segment, (Place, Fault)>,
}

struct Report<'a> {
    dir: &'a dyn Dir,
    running: bool,
    out: VerifyReport,
}

impl<'a> Report<'a> {
    fn new(dir: &'a dyn Dir, running: bool) -> Self {
        let out = VerifyReport {
            identity: None,
            head: None,
            link: Link::default(),
            segments: 0,
            batches: 0,
            records: 0,
            bytes: 0,
            events: BTreeMap::new(),
            boots: 0,
            times: None,
            tail: Tail::Clean,
            head_slot_damaged: false,
            findings: Vec::new(),
        };
        Self { dir, running, out }
    }

    fn find(&mut self, place: Place, fault: Fault) {
        self.out.findings.push(Refusal { dir: self.dir.path().to_owned(), place, fault });
    }

    /// Reads the small files and lists the segments. HEAD comes first: what it names must be found after it.
    fn survey(&mut self) -> io::Result<Vec<Seq>> {
        let slots = head::read(self.dir)?;
        let identity = identity::read(self.dir)?;
        let firsts = match list::list(self.dir)? {
            Ok(firsts) => firsts,
            Err((place, fault)) => {
                self.find(place, fault);
                Vec::new()
            }
        };
        match identity {
            Some(Ok(identity)) => self.out.identity = Some(identity),
            Some(Err(fault)) => self.find(Place::file(layout::LEDGER_ID), fault),
            None if firsts.is_empty() => return Ok(firsts),
            None => self.find(Place::file(layout::LEDGER_ID), Fault::IdentityMissing),
        }
        match slots {
            None => self.find(Place::file(layout::HEAD), Fault::HeadMissing),
            Some(slots) => {
                self.out.head = slots.newest();
                self.out.head_slot_damaged = slots.one_damaged();
                if self.out.head.is_none() {
                    self.find(Place::file(layout::HEAD), Fault::HeadDamaged);
                }
            }
        }
        self.out.segments = firsts.len() as u64;
        Ok(firsts)
    }

    /// Checks every segment for itself, several at a time.
    fn check_all(&self, firsts: &[Seq], threads: usize, progress: &(dyn Fn(u64, u64) + Sync)) -> io::Result<Vec<Part>> {
        let mut total = 0;
        for first in firsts {
            total += self.dir.open(&layout::segment(*first), Access::Read)?.len()?;
        }
        let next = AtomicUsize::new(0);
        let done = AtomicU64::new(0);
        let parts = Mutex::new(Vec::with_capacity(firsts.len()));
        let ledger = self.out.identity.as_ref().map(|identity| identity.ledger.as_str());
        let head = self.out.head.unwrap_or_default();
        let dir = self.dir;
        let work = || {
            while let Some(&first) = firsts.get(next.fetch_add(1, Ordering::Relaxed)) {
                let task = Task { dir, ledger, first, before: None };
                let part = check_part(task, &head, &|bytes| {
                    progress(done.fetch_add(bytes, Ordering::Relaxed) + bytes, total);
                });
                parts.lock().unwrap_or_else(PoisonError::into_inner).push(part);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..threads.clamp(1, firsts.len().max(1)) {
                scope.spawn(work);
            }
            work();
        });
        progress(total, total);
        let parts = parts.into_inner().unwrap_or_else(PoisonError::into_inner);
        let mut parts = parts.into_iter().collect::<io::Result<Vec<Part>>>()?;
        parts.sort_by_key(|part| part.first);
        Ok(parts)
    }

    /// Lays the segments end to end. Behind a damaged one the next is taken at its own word.
    fn stitch(&mut self, parts: Vec<Part>) -> io::Result<()> {
        let count = parts.len();
        let head = self.out.head.unwrap_or_default();
        let mut before = Some(Link::default());
        let mut last = None;
        for (i, part) in parts.into_iter().enumerate() {
            let Part { first, counts, checked } = part;
            if let Some(expected) = before.map(|link| link.seq.next()).filter(|expected| *expected != first) {
                // A start stops here too, before it looks into the segment.
                self.find(Place::file(layout::segment(first)), Fault::Segment { expected, found: Some(first) });
                before = None;
            }
            let segment = match checked {
                Ok(segment) => segment,
                Err((place, fault)) => {
                    self.find(place, fault);
                    before = None;
                    last = None;
                    continue;
                }
            };
            if let Some(link) = before {
                self.joint(&segment, link);
            }
            before = Some(segment.link);
            if i + 1 < count
                && let Some((place, fault)) = not_last(&segment)
            {
                self.find(place, fault);
                before = None;
            }
            self.add(counts);
            if self.out.findings.is_empty() {
                self.out.link = segment.link;
            }
            last = Some(segment);
        }
        if let (Some(segment), true) = (&last, self.out.head.is_some()) {
            self.end(segment, &head)?;
        }
        if self.out.findings.is_empty()
            && let Err(CheckError::Fault(place, fault)) = check_head_reached(&head, self.out.link, last.as_ref())
        {
            self.find(place, fault);
        }
        Ok(())
    }

    /// A segment must go on where the one before it ended.
    fn joint(&mut self, segment: &Segment, before: Link) {
        if segment.lines == 0 || segment.before == before {
            return;
        }
        let place = Place { file: layout::segment(segment.first), line: 1, offset: 0 };
        if segment.before.chain == before.chain {
            let fault = ChainFault::Batch { expected: before.batch + 1, found: segment.before.batch + 1 };
            self.find(place, fault.into());
        } else {
            let expected = format!("previous chain link {}", before.chain);
            self.find(place, Fault::Header { expected, found: segment.before.chain.to_string() });
        }
    }

    fn end(&mut self, segment: &Segment, head: &Head) -> io::Result<()> {
        if self.running && segment.link.batch >= head.batch {
            self.out.tail = Tail::InUse;
            return Ok(());
        }
        match judge_end(segment, head) {
            Ok(None) if segment.newline_missing => self.out.tail = Tail::NewlineMissing,
            Ok(None) => {}
            Ok(Some(torn)) => {
                let bytes = torn.bytes.len() as u64;
                self.out.tail = Tail::Torn { sign: torn.sign, offset: segment.whole, bytes };
            }
            Err(CheckError::Io(error)) => return Err(error),
            Err(CheckError::Fault(place, fault)) => self.find(place, fault),
        }
        Ok(())
    }

    /// Adds a segment's counts, unless something was found before.
    fn add(&mut self, counts: Counts) {
        if !self.out.findings.is_empty() {
            return;
        }
        let Counts { records, batches, bytes, events, boots, times } = counts;
        self.out.records += records;
        self.out.batches += batches;
        self.out.bytes += bytes;
        for (name, n) in events {
            *self.out.events.entry(name.to_owned()).or_default() += n;
        }
        for (epoch, place) in boots {
            let expected = self.out.boots + 1;
            if epoch != expected {
                self.find(place, Fault::Epoch { expected, found: epoch });
            }
            self.out.boots = epoch;
        }
        if let Some((from, to)) = times {
            self.out.times = Some((self.out.times.map_or(from, |times| times.0), to));
        }
    }
}

fn check_part(task: Task<'_>, head: &Head, progress: &dyn Fn(u64)) -> io::Result<Part> {
    /// How often progress is told, in bytes.
    const STEP: u64 = 4 << 20;
    let mut counts = Counts::default();
    let mut told = 0;
    let checked = check::check(task, &mut |chunk| {
        chunk.read(&mut |segment, entry| {
            check_head_agrees(head, segment, &entry)?;
            counts.add(segment, &entry);
            Ok(())
        })?;
        if counts.bytes - told >= STEP {
            progress(counts.bytes - told);
            told = counts.bytes;
        }
        Ok(())
    });
    progress(counts.bytes - told);
    let checked = match checked {
        Ok(segment) => Ok(segment),
        Err(CheckError::Fault(place, fault)) => Err((place, fault)),
        Err(CheckError::Io(error)) => return Err(error),
    };
    Ok(Part { first: task.first, counts, checked })
}

impl Counts {
    fn add(&mut self, segment: Seq, entry: &Entry) {
        self.records += 1;
        self.batches += u64::from(entry.left == 0);
        self.bytes = entry.end;
        *self.events.entry(entry.record.event.name()).or_default() += 1;
        if let Event::Booted { epoch, .. } = entry.record.event {
            let place = Place { file: layout::segment(segment), line: entry.line, offset: entry.offset };
            self.boots.push((epoch, place));
        }
        let at = entry.record.at;
        self.times = Some((self.times.map_or(at, |times| times.0), at));
    }
}

//! All segments, laid end to end.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use orch_core::id::Seq;

use crate::chain::{ChainFault, Link};
use crate::disk::{Access, Dir};
use crate::fault::{Fault, Place, Refusal};
use crate::head::{self, Head};
use crate::identity;
use crate::layout;
use crate::recovery::examine::{check_head_reached, judge_end, not_last};
use crate::segment::check::{CheckError, Segment, Task};
use crate::segment::list;

use super::part::{Counts, Part, check_part};
use super::{Tail, VerifyReport};

/// The report in the making.
pub(super) struct Report<'a> {
    dir: &'a dyn Dir,
    running: bool,
    pub(super) out: VerifyReport,
}

impl<'a> Report<'a> {
    pub(super) fn new(dir: &'a dyn Dir, running: bool) -> Self {
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
    pub(super) fn survey(&mut self) -> io::Result<Vec<Seq>> {
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
    pub(super) fn check_all(
        &self,
        firsts: &[Seq],
        threads: usize,
        progress: &(dyn Fn(u64, u64) + Sync),
    ) -> io::Result<Vec<Part>> {
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
    pub(super) fn stitch(&mut self, parts: Vec<Part>) -> io::Result<()> {
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

//! Finds the last batch that the chain vouches for, and everything that is wrong.

use std::collections::BTreeSet;
use std::io;

use orch_core::id::Seq;
use orch_core::record::{Event, NEWEST_FORMAT, knows_format};

use crate::Position;
use crate::chain::Link;
use crate::disk::{Access, Dir};
use crate::fault::{Fault, Place, Refusal};
use crate::head::{self, Head};
use crate::identity::{self, Identity};
use crate::layout;
use crate::line;
use crate::recovery::examine::{Replay, check_epoch, check_head_agrees, judge_end, not_last};
use crate::segment::check::{self, CheckError, Segment, Task};
use crate::segment::chunk::{Chunk, Entry};
use crate::segment::scan::{Scanner, used_len};

use super::loss;
use super::{KeptSegment, RepairError, RepairPlan};

/// Reads everything and says what a repair would keep.
pub(super) fn find(dir: &dyn Dir, replay: &mut Replay<'_>) -> Result<RepairPlan, RepairError> {
    let io = |source| RepairError::Io { doing: "read the ledger", dir: dir.path().to_owned(), source };
    let mut finder = Finder { dir, findings: Vec::new() };
    let (firsts, strays) = segments(dir).map_err(io)?;
    let slots = head::read(dir).map_err(io)?;
    let identity = identity::read(dir).map_err(io)?;
    if firsts.is_empty() && strays.is_empty() && identity.is_none() && slots.is_none() {
        return Err(RepairError::NoLedger { dir: dir.path().to_owned() });
    }
    for name in &strays {
        finder.find(Place::file(format!("{}/{name}", layout::LEDGER)), Fault::StrayFile);
    }
    let (identity, identity_rebuilt) = finder.identify(identity, &firsts).map_err(io)??;
    let head = slots.and_then(|slots| slots.newest());
    match (slots, head) {
        (None, _) => finder.find(Place::file(layout::HEAD), Fault::HeadMissing),
        (Some(_), None) => finder.find(Place::file(layout::HEAD), Fault::HeadDamaged),
        (Some(_), Some(_)) => {}
    }
    let walked = finder.walk(&identity.ledger, &firsts, head.unwrap_or_default(), replay).map_err(io)?;
    finder.end(&walked, &firsts, head).map_err(io)?;
    let Walked { link, epoch, segments, .. } = walked;
    if finder.findings.is_empty() {
        return Err(RepairError::Whole { dir: dir.path().to_owned(), link });
    }
    let loss = loss::of(dir, &segments, &firsts, &strays, link, head).map_err(io)?;
    let identity = Identity { format: NEWEST_FORMAT, ..identity };
    let kept_bytes = segments.iter().map(|segment| segment.bytes).sum();
    let findings = finder.findings;
    Ok(RepairPlan { identity, identity_rebuilt, head, kept: link, kept_bytes, segments, findings, loss, epoch })
}

/// The first seqs of all segments, and the files that only look like segments.
fn segments(dir: &dyn Dir) -> io::Result<(BTreeSet<Seq>, Vec<String>)> {
    let names = match dir.list(layout::LEDGER) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut firsts = BTreeSet::new();
    let mut strays = Vec::new();
    for name in names {
        match layout::segment_seq(&name) {
            Some(first) => {
                firsts.insert(first);
            }
            None if name.ends_with(".jsonl") => strays.push(name),
            None => {}
        }
    }
    strays.sort_unstable();
    Ok((firsts, strays))
}

struct Finder<'a> {
    dir: &'a dyn Dir,
    findings: Vec<Refusal>,
}

/// How far the chain goes.
struct Walked {
    link: Link,
    epoch: u64,
    segments: Vec<KeptSegment>,
    /// The check of the last segment, if it came to its end.
    last: Option<Segment>,
}

impl Finder<'_> {
    fn find(&mut self, place: Place, fault: Fault) {
        self.findings.push(Refusal { dir: self.dir.path().to_owned(), place, fault });
    }

    /// Which ledger it is: as LEDGER_ID says, or else the header of the first segment.
    fn identify(
        &mut self,
        read: Option<Result<Identity, Fault>>,
        firsts: &BTreeSet<Seq>,
    ) -> io::Result<Result<(Identity, bool), RepairError>> {
        let fault = match read {
            Some(Ok(identity)) if knows_format(identity.format) => return Ok(Ok((identity, false))),
            Some(Ok(identity)) => {
                return Ok(Err(RepairError::Format { dir: self.dir.path().to_owned(), found: identity.format }));
            }
            Some(Err(fault)) => fault,
            None => Fault::IdentityMissing,
        };
        self.find(Place::file(layout::LEDGER_ID), fault);
        for first in firsts {
            let file = self.dir.open(&layout::segment(*first), Access::Read)?;
            let mut scanner = Scanner::new(&*file, 0, used_len(&*file)?);
            let Some(raw) = scanner.next()? else { continue };
            if let Ok(Event::SegmentOpened { ledger, format, .. }) =
                line::decode(raw.bytes).and_then(|line| line.event())
                && knows_format(format)
            {
                return Ok(Ok((Identity { ledger, format }, true)));
            }
        }
        Ok(Err(RepairError::Nothing { dir: self.dir.path().to_owned() }))
    }

    /// Follows the chain from segment to segment for as long as it holds. A segment's damaged end does not stop it if
    /// the next segment goes on from the last good batch: the link in its header proves that nothing is missing.
    fn walk(
        &mut self,
        ledger: &str,
        firsts: &BTreeSet<Seq>,
        head: Head,
        replay: &mut Replay<'_>,
    ) -> io::Result<Walked> {
        let mut fold = Fold { head, link: Link::default(), end: 0, epoch: 0, stopped: false, disagrees: None };
        let mut walked = Walked { link: Link::default(), epoch: 0, segments: Vec::new(), last: None };
        while !fold.stopped {
            let first = fold.link.seq.next();
            if !firsts.contains(&first) {
                break;
            }
            let before = fold.link;
            fold.end = 0;
            let task = Task { dir: self.dir, ledger: Some(ledger), first, before: Some(before) };
            let checked = check::check(task, &mut |chunk| fold.take(chunk, replay));
            let followed = fold.link != before && firsts.contains(&fold.link.seq.next());
            let (last, fault) = match checked {
                // What stands at the very end may be a torn write: that is judged later.
                Ok(segment) => {
                    let fault = not_last(&segment).filter(|_| followed);
                    (Some(segment), fault)
                }
                Err(CheckError::Fault(place, fault)) => (None, Some((place, fault))),
                Err(CheckError::Io(error)) => return Err(error),
            };
            if let Some((place, fault)) = fault {
                self.find(place, fault);
            }
            if let Some((place, fault)) = fold.disagrees.take() {
                self.find(place, fault);
            }
            walked.last = last;
            if fold.link == before {
                break;
            }
            walked.segments.push(self.keep(first, fold.end)?);
        }
        Ok(Walked { link: fold.link, epoch: fold.epoch, ..walked })
    }

    fn keep(&self, first: Seq, end: u64) -> io::Result<KeptSegment> {
        let file = self.dir.open(&layout::segment(first), Access::Read)?;
        let used = used_len(&*file)?;
        Ok(KeptSegment { first, bytes: end.min(used), newline_missing: end > used, behind: used.saturating_sub(end) })
    }

    /// What is wrong where the chain ends: damage that is no torn write, segments that do not belong to it, a HEAD that
    /// saw more.
    fn end(&mut self, walked: &Walked, firsts: &BTreeSet<Seq>, head: Option<Head>) -> io::Result<()> {
        let expected = walked.link.seq.next();
        let found_before = self.findings.len();
        if let Some(segment) = &walked.last {
            match (&segment.fault, judge_end(segment, &head.unwrap_or_default())) {
                (_, Err(CheckError::Io(error))) => return Err(error),
                (_, Err(CheckError::Fault(place, fault))) => self.find(place, fault),
                // A torn end is one only where nothing follows.
                (Some((place, fault)), Ok(_)) if firsts.iter().any(|first| *first > segment.first) => {
                    self.find(place.clone(), fault.clone());
                }
                (_, Ok(_)) => {}
            }
        }
        let explained = walked.last.is_none() && !walked.segments.is_empty() || self.findings.len() > found_before;
        let kept: BTreeSet<Seq> = walked.segments.iter().map(|segment| segment.first).collect();
        let others = firsts.difference(&kept).filter(|first| **first != expected);
        let (doubled, later): (Vec<Seq>, Vec<Seq>) = others.partition(|first| **first < expected);
        // What follows a fault is lost with it; one missing segment is told once.
        for first in doubled.into_iter().chain(later.into_iter().take(1).filter(|_| !explained)) {
            self.find(Place::file(layout::segment(first)), Fault::Segment { expected, found: Some(first) });
        }
        if let Some(head) = head.filter(|head| head.batch > walked.link.batch) {
            let place = walked.segments.last().map_or_else(
                || Place::file(layout::LEDGER),
                |segment| Place { offset: segment.bytes, ..Place::file(layout::segment(segment.first)) },
            );
            let Link { seq, batch, .. } = walked.link;
            self.find(place, Fault::HeadAhead { head: Box::new(head), batch, seq });
        }
        Ok(())
    }
}

/// The good records so far.
struct Fold {
    head: Head,
    /// The last whole batch in which every record is good.
    link: Link,
    /// Where it ends in its segment.
    end: u64,
    epoch: u64,
    /// A record was refused: what follows it cannot be replayed.
    stopped: bool,
    /// HEAD names another batch than the chain has.
    disagrees: Option<(Place, Fault)>,
}

impl Fold {
    fn take(&mut self, chunk: &Chunk, replay: &mut Replay<'_>) -> Result<(), CheckError> {
        let read = chunk.read(&mut |segment, entry| self.entry(segment, entry, replay));
        self.stopped = read.is_err();
        read
    }

    fn entry(&mut self, segment: Seq, entry: Entry, replay: &mut Replay<'_>) -> Result<(), Fault> {
        // The chain is right in itself; that HEAD saw another one is a loss that no cut undoes.
        if let Err(fault) = check_head_agrees(&self.head, segment, &entry) {
            let place = Place { file: layout::segment(segment), line: entry.line, offset: entry.offset };
            self.disagrees = Some((place, fault));
        }
        let mut epoch = self.epoch;
        check_epoch(&entry.record.event, &mut epoch)?;
        let Entry { record, batch, left, chain, end, .. } = entry;
        replay(&record, &Position { batch, left, chain })
            .map_err(|message| Fault::Replay { seq: record.seq, message })?;
        self.epoch = epoch;
        if let Some(chain) = chain {
            self.link = Link { seq: record.seq, batch, chain };
            self.end = end;
        }
        Ok(())
    }
}

//! Reads a whole ledger, hands out its records, and says what must be mended; or refuses. Read-only.

use std::io;
use std::sync::mpsc;

use orch_core::id::Seq;
use orch_core::record::{Event, Record};
use orch_core::seeded::{self, Bug};

use crate::Position;
use crate::chain::Link;
use crate::disk::{self, Access, Dir};
use crate::fault::{Fault, NotTorn, Place};
use crate::head::Head;
use crate::layout;
use crate::line::MAX_BATCH_BYTES;
use crate::segment::check::{self, CheckError, ChunkSink, Segment, Task};
use crate::segment::chunk::{Chunk, Entry};
use crate::segment::list;
use crate::segment::offsets::Offsets;

use super::tail::{self, Sign};

/// The caller's fold over the records.
pub(crate) type Replay<'a> = dyn FnMut(&Record, &Position) -> Result<(), String> + 'a;

/// A ledger that may be used.
#[derive(Debug)]
pub(crate) struct Examined {
    /// Its last whole batch.
    pub link: Link,
    /// The last boot; 0 for none.
    pub epoch: u64,
    pub offsets: Offsets,
    /// The last segment, if there is one.
    pub last: Option<Segment>,
    /// What of it must be cut off.
    pub torn: Option<Torn>,
}

/// A torn tail.
#[derive(Clone, Debug)]
pub(crate) struct Torn {
    pub sign: Sign,
    pub bytes: Vec<u8>,
}

/// Examines the ledger `ledger`, of which HEAD says `head`.
///
/// Bytes and chain are checked in a thread of their own if there is much to read; events are read and handed out here.
pub(crate) fn examine(
    dir: &dyn Dir,
    ledger: &str,
    head: &Head,
    replay: &mut Replay<'_>,
) -> Result<Examined, CheckError> {
    /// Less than this is read sooner than a thread is started, in bytes.
    const MUCH: u64 = 2 << 20;
    let firsts = list::list(dir)?.map_err(|(place, fault)| CheckError::Fault(place, fault))?;
    let mut fold = Fold { head, epoch: 0, offsets: Offsets::default() };
    let mut read = |chunk: &Chunk| chunk.read(&mut |segment, entry| fold.take(segment, entry, replay));
    let mut bytes = 0;
    for first in &firsts {
        bytes += dir.open(&layout::segment(*first), Access::Read)?.len()?;
    }
    let walk = |sink: &mut ChunkSink<'_>| walk(dir, ledger, &firsts, sink);
    let (link, last) = if bytes < MUCH { walk(&mut |chunk| read(chunk))? } else { beside(walk, &mut read)? };
    let torn = match &last {
        Some(segment) => judge_end(segment, head)?,
        None => None,
    };
    check_head_reached(head, link, last.as_ref())?;
    Ok(Examined { link, epoch: fold.epoch, offsets: fold.offsets, last, torn })
}

/// Checks the segments one after the other, each from where the one before it ended.
pub(crate) fn walk(
    dir: &dyn Dir,
    ledger: &str,
    firsts: &[Seq],
    sink: &mut ChunkSink<'_>,
) -> Result<(Link, Option<Segment>), CheckError> {
    let mut link = Link::default();
    let mut last = None;
    for (i, &first) in firsts.iter().enumerate() {
        let expected = link.seq.next();
        if first != expected {
            let fault = Fault::Segment { expected, found: Some(first) };
            return Err(CheckError::Fault(Place::file(layout::segment(first)), fault));
        }
        let segment = check::check(Task { dir, ledger: Some(ledger), first, before: Some(link) }, sink)?;
        link = segment.link;
        if i + 1 < firsts.len()
            && let Some((place, fault)) = not_last(&segment)
        {
            return Err(CheckError::Fault(place, fault));
        }
        last = Some(segment);
    }
    Ok((link, last))
}

/// Walks in a thread of its own and reads here. What reading finds was written before what the walk finds.
fn beside<T: Send>(
    walk: impl FnOnce(&mut ChunkSink<'_>) -> Result<T, CheckError> + Send,
    read: &mut dyn FnMut(&Chunk) -> Result<(), CheckError>,
) -> Result<T, CheckError> {
    /// Chunks in between: enough that neither waits for the other's every step.
    const BETWEEN: usize = 8;
    let (sender, receiver) = mpsc::sync_channel::<Chunk>(BETWEEN);
    std::thread::scope(|scope| {
        let walker = scope.spawn(move || {
            walk(&mut |chunk| {
                // The reader is gone when it found something; then the walk's own end is of no account.
                let gone = |_| CheckError::Io(io::ErrorKind::BrokenPipe.into());
                sender.send(std::mem::take(chunk)).map_err(gone)
            })
        });
        let read = receiver.iter().try_for_each(|chunk| read(&chunk));
        drop(receiver);
        let walked = walker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        read.and(walked)
    })
}

/// What is wrong with the end of a segment that another one follows: it must end with its last batch.
pub(crate) fn not_last(segment: &Segment) -> Option<(Place, Fault)> {
    let place = || Place { file: layout::segment(segment.first), line: segment.lines, offset: segment.whole };
    match &segment.fault {
        Some(fault) => Some(fault.clone()),
        None if segment.newline_missing => Some((place(), Fault::Newline { found: None })),
        None if segment.len > segment.used => {
            // Zeros are claimed space, which is given back before the next segment begins.
            Some((place(), Fault::Newline { found: Some(0) }))
        }
        None => None,
    }
}

/// What stands behind the last whole batch of the last segment: nothing, a torn batch, or damage.
pub(crate) fn judge_end(segment: &Segment, head: &Head) -> Result<Option<Torn>, CheckError> {
    let Some((place, fault)) = &segment.fault else { return Ok(None) };
    let refuse = |why| {
        let fault = Fault::Tail { fault: Box::new(fault.clone()), why };
        Err(CheckError::Fault(place.clone(), fault))
    };
    if segment.whole == 0 {
        return refuse(NotTorn::FirstBatch);
    }
    let batch = segment.link.batch + 1;
    if head.batch >= batch {
        return refuse(NotTorn::HeadNamesIt { batch, head: head.batch });
    }
    let bytes = segment.used - segment.whole;
    if bytes > MAX_BATCH_BYTES as u64 {
        return refuse(NotTorn::TooLong { bytes });
    }
    let mut tail = vec![0; usize::try_from(bytes).unwrap_or(0)];
    let read = disk::read_full_at(&*segment.file, &mut tail, segment.whole)?;
    if read < tail.len() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
    }
    match tail::judge(&tail, segment.whole, batch, head.batch) {
        Ok(sign) => Ok(Some(Torn { sign, bytes: tail })),
        Err(why) => refuse(why),
    }
}

/// The ledger must reach as far as HEAD says.
pub(crate) fn check_head_reached(head: &Head, link: Link, last: Option<&Segment>) -> Result<(), CheckError> {
    if head.batch <= link.batch || seeded::on(Bug::HeadNotChecked) {
        return Ok(());
    }
    let place = match last {
        Some(segment) => Place { file: layout::segment(segment.first), line: segment.lines, offset: segment.whole },
        None => Place::file(layout::LEDGER),
    };
    let fault = Fault::HeadAhead { head: Box::new(*head), batch: link.batch, seq: link.seq };
    Err(CheckError::Fault(place, fault))
}

/// The end of a batch must be what HEAD says of it, if HEAD names this batch.
pub(crate) fn check_head_agrees(head: &Head, segment: Seq, entry: &Entry) -> Result<(), Fault> {
    let (Some(chain), true) = (entry.chain, head.batch == entry.batch) else { return Ok(()) };
    let pairs = [
        ("seq", head.seq.to_string(), entry.record.seq.to_string()),
        ("chain link", head.chain.to_string(), chain.to_string()),
        ("segment", head.segment.to_string(), segment.to_string()),
        ("end offset", head.offset.to_string(), entry.end.to_string()),
    ];
    match pairs.into_iter().find(|(_, expected, found)| expected != found) {
        Some((what, expected, found)) => Err(Fault::HeadDisagrees { batch: head.batch, what, expected, found }),
        None => Ok(()),
    }
}

/// Boots are numbered from 1.
pub(crate) fn check_epoch(event: &Event, before: &mut u64) -> Result<(), Fault> {
    if let Event::Booted { epoch, .. } = event {
        let expected = *before + 1;
        if *epoch != expected {
            return Err(Fault::Epoch { expected, found: *epoch });
        }
        *before = *epoch;
    }
    Ok(())
}

/// What is gathered from the records on their way to the caller.
struct Fold<'a> {
    head: &'a Head,
    epoch: u64,
    offsets: Offsets,
}

impl Fold<'_> {
    fn take(&mut self, segment: Seq, entry: Entry, replay: &mut Replay<'_>) -> Result<(), Fault> {
        check_head_agrees(self.head, segment, &entry)?;
        check_epoch(&entry.record.event, &mut self.epoch)?;
        self.offsets.note(segment, entry.record.seq, entry.offset, entry.end);
        let Entry { record, batch, left, chain, .. } = entry;
        replay(&record, &Position { batch, left, chain }).map_err(|message| Fault::Replay { seq: record.seq, message })
    }
}

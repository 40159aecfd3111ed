//! What a repair loses, as far as anybody can tell.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use orch_core::id::Seq;

use crate::chain::Link;
use crate::disk::{Access, Dir};
use crate::head::Head;
use crate::layout;
use crate::line;
use crate::segment::scan::{Scanner, used_len};

use super::KeptSegment;

/// What stands behind the last good batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Loss {
    /// The first seq that is lost.
    pub from: Seq,
    /// The last record that HEAD names as durable, if it is among the lost: all up to it were acknowledged for sure.
    pub acknowledged_to: Option<Seq>,
    /// HEAD cannot be read, so nobody can tell what was acknowledged.
    pub head_unknown: bool,
    /// How many bytes are not kept, in all files.
    pub bytes: u64,
    /// The lines among them that can still be read: each one's checksum is right, but no chain vouches for it.
    pub readable: Tally,
    /// Bytes that are no line.
    pub unreadable_bytes: u64,
    /// Segments that are not kept at all, below the data directory. They stay where they are.
    pub left_behind: Vec<String>,
}

/// Lines, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many.
    pub records: u64,
    /// How many ends of batches are among them.
    pub batches: u64,
    /// The lowest and the highest seq.
    pub seqs: Option<(Seq, Seq)>,
    /// The lowest and the highest number of a batch.
    pub numbers: Option<(u64, u64)>,
    /// How many there are of each event.
    pub events: BTreeMap<String, u64>,
}

impl Tally {
    /// How many there are of an event.
    pub fn of(&self, event: &str) -> u64 {
        self.events.get(event).copied().unwrap_or(0)
    }
}

/// Counts what stands behind `link`.
pub(super) fn of(
    dir: &dyn Dir,
    kept: &[KeptSegment],
    firsts: &BTreeSet<Seq>,
    strays: &[String],
    link: Link,
    head: Option<Head>,
) -> io::Result<Loss> {
    let mut loss = Loss {
        from: link.seq.next(),
        acknowledged_to: head.map(|head| head.seq).filter(|seq| *seq > link.seq),
        head_unknown: head.is_none(),
        ..Loss::default()
    };
    for segment in kept.iter().filter(|segment| segment.behind > 0) {
        loss.count(dir, &layout::segment(segment.first), segment.bytes, link)?;
    }
    let whole: BTreeSet<Seq> = kept.iter().map(|segment| segment.first).collect();
    let left_behind = firsts.difference(&whole).map(|first| layout::segment(*first));
    let strays = strays.iter().map(|name| format!("{}/{name}", layout::LEDGER));
    for name in left_behind.chain(strays) {
        loss.count(dir, &name, 0, link)?;
        loss.left_behind.push(name);
    }
    Ok(loss)
}

impl Loss {
    /// Counts a file from `start` on. Lines up to `link` are there a second time.
    fn count(&mut self, dir: &dyn Dir, name: &str, start: u64, link: Link) -> io::Result<()> {
        let file = dir.open(name, Access::Read)?;
        let end = used_len(&*file)?;
        self.bytes += end.saturating_sub(start);
        let mut scanner = Scanner::new(&*file, start, end);
        while let Some(raw) = scanner.next()? {
            match line::decode(raw.bytes) {
                Ok(line) if line.seq <= link.seq => {}
                Ok(line) => self.readable.add(&line),
                Err(_) => self.unreadable_bytes += raw.bytes.len() as u64 + u64::from(raw.newline),
            }
        }
        Ok(())
    }
}

impl Tally {
    fn add(&mut self, line: &line::Line<'_>) {
        self.records += 1;
        self.batches += u64::from(line.left == 0);
        self.seqs = Some(self.seqs.map_or((line.seq, line.seq), |(low, high)| (low.min(line.seq), high.max(line.seq))));
        let (seen, number) = (self.numbers, line.batch);
        self.numbers = Some(seen.map_or((number, number), |(low, high)| (low.min(number), high.max(number))));
        *self.events.entry(line.event_name().to_owned()).or_default() += 1;
    }
}

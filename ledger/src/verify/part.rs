//! One segment, checked for itself.

use std::collections::BTreeMap;
use std::io;

use orch_core::id::Seq;
use orch_core::record::Event;
use orch_core::time::Timestamp;

use crate::fault::{Fault, Place};
use crate::head::Head;
use crate::layout;
use crate::recovery::examine::check_head_agrees;
use crate::segment::check::{self, CheckError, Segment, Task};
use crate::segment::chunk::Entry;

/// What one segment has.
#[derive(Default)]
pub(super) struct Counts {
    pub(super) records: u64,
    pub(super) batches: u64,
    pub(super) bytes: u64,
    pub(super) events: BTreeMap<&'static str, u64>,
    pub(super) boots: Vec<(u64, Place)>,
    pub(super) times: Option<(Timestamp, Timestamp)>,
}

/// A segment's check.
pub(super) struct Part {
    pub(super) first: Seq,
    pub(super) counts: Counts,
    pub(super) checked: Result<Segment, (Place, Fault)>,
}

/// Checks a segment; `progress` is told how many more bytes are done.
pub(super) fn check_part(task: Task<'_>, head: &Head, progress: &dyn Fn(u64)) -> io::Result<Part> {
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

//! Where records lie: one entry in memory per 4 KiB of ledger, so that any record is one small read away.

use orch_core::id::Seq;

/// How many bytes of a segment share an entry.
const STRIDE: u64 = 4096;

/// The offsets of one segment.
#[derive(Clone, Debug)]
pub(crate) struct SegmentOffsets {
    pub first: Seq,
    /// The offset of the byte after its last whole batch.
    pub end: u64,
    /// Where some lines begin: (seq - first, offset), ascending. Segments stay far below 4 GiB.
    marks: Vec<(u32, u32)>,
}

/// Lines that are read at once: from the line of `seq`, at `start`, to before `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Block {
    pub segment: Seq,
    pub seq: Seq,
    pub start: u64,
    pub end: u64,
}

impl SegmentOffsets {
    pub(crate) fn new(first: Seq) -> Self {
        Self { first, end: 0, marks: Vec::new() }
    }

    /// Notes that the line of `seq` begins at `offset`. Lines come in order.
    pub(crate) fn note(&mut self, seq: Seq, offset: u64) {
        if self.marks.last().is_none_or(|last| offset - u64::from(last.1) >= STRIDE)
            && let (Ok(seq), Ok(offset)) = (u32::try_from(seq.0 - self.first.0), u32::try_from(offset))
        {
            self.marks.push((seq, offset));
        }
    }

    /// The block that the line of `seq` lies in. `seq` is in this segment.
    fn block(&self, seq: Seq) -> Option<Block> {
        let delta = seq.0.checked_sub(self.first.0)?;
        let after = self.marks.partition_point(|mark| u64::from(mark.0) <= delta);
        let (mark_seq, start) = *self.marks.get(after.checked_sub(1)?)?;
        let end = self.marks.get(after).map_or(self.end, |next| u64::from(next.1));
        Some(Block { segment: self.first, seq: self.first.plus(u64::from(mark_seq)), start: u64::from(start), end })
    }
}

/// The offsets of all segments.
#[derive(Clone, Debug, Default)]
pub(crate) struct Offsets {
    segments: Vec<SegmentOffsets>,
}

impl Offsets {
    pub(crate) fn push(&mut self, segment: SegmentOffsets) {
        self.segments.push(segment);
    }

    /// Notes that the line of `seq` lies in `segment` from `offset` to before `end`. Lines come in order.
    pub(crate) fn note(&mut self, segment: Seq, seq: Seq, offset: u64, end: u64) {
        if self.segments.last().is_none_or(|last| last.first != segment) {
            self.segments.push(SegmentOffsets::new(segment));
        }
        if let Some(last) = self.segments.last_mut() {
            last.note(seq, offset);
            last.end = end;
        }
    }

    pub(crate) fn last_mut(&mut self) -> Option<&mut SegmentOffsets> {
        self.segments.last_mut()
    }

    /// The block that the line of `seq` lies in; `None` before the first record.
    pub(crate) fn block(&self, seq: Seq) -> Option<Block> {
        let after = self.segments.partition_point(|segment| segment.first <= seq);
        self.segments.get(after.checked_sub(1)?)?.block(seq)
    }
}

//! Torn or damaged? What stands behind the last whole batch of the last segment decides whether a start is safe.
//!
//! A crash can leave a batch half written. Such a batch was never acknowledged, so it can go. Everything else is
//! damage to records that somebody may rely on. The write that tore was one batch, written in one piece into space
//! that read as zeros; what reached the disk is some of its 512-byte sectors, the others still read as zeros, or the
//! file ends early. So a torn tail ends inside a line, or before its batch does, or has an empty sector; and a tail
//! without any of these signs was not torn. After etcd's `wal/decoder.go`, which judges the same way.

use crate::fault::NotTorn;
use crate::line::{self, LINE_START, MAX_BATCH_BYTES};

/// The unit that a disk writes or does not write.
const SECTOR: u64 = 512;

/// What shows that a tail was torn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sign {
    /// It ends inside a line.
    EndsInsideLine,
    /// It ends at the end of a line, but its batch has more lines.
    EndsBeforeBatch {
        /// How many lines are not there.
        missing: u32,
    },
    /// A sector in it is empty.
    EmptySector {
        /// The offset in the file of the part of the sector that lies in the tail.
        offset: u64,
    },
}

/// Judges a tail: the bytes from `at`, the end of the last whole batch, to the last byte that is not zero.
/// `batch` is the number of the batch that would stand there, `head` the batch that HEAD names.
pub(crate) fn judge(tail: &[u8], at: u64, batch: u64, head: u64) -> Result<Sign, NotTorn> {
    if head >= batch {
        return Err(NotTorn::HeadNamesIt { batch, head });
    }
    if tail.len() > MAX_BATCH_BYTES {
        return Err(NotTorn::TooLong { bytes: tail.len() as u64 });
    }
    let survey = survey(tail, batch)?;
    if survey.ends_inside_line {
        return Ok(Sign::EndsInsideLine);
    }
    if survey.missing > 0 {
        return Ok(Sign::EndsBeforeBatch { missing: survey.missing });
    }
    empty_sector(tail, at).map(|offset| Sign::EmptySector { offset }).ok_or(NotTorn::NoSign)
}

struct Survey {
    ends_inside_line: bool,
    /// How many lines the last good line calls for beyond those that follow, good or bad.
    missing: u32,
}

/// Walks over good lines and bad ones. A damaged newline must not hide the good lines around it: a line with its
/// newline damaged is a good line, and no sign of tearing.
fn survey(tail: &[u8], batch: u64) -> Result<Survey, NotTorn> {
    let mut survey = Survey { ends_inside_line: false, missing: 0 };
    let mut rest = tail;
    while !rest.is_empty() {
        if let Some(line) = line::decode_prefix(rest) {
            if line.batch != batch {
                return Err(NotTorn::OtherBatch { batch, found: line.batch, seq: line.seq });
            }
            survey.missing = line.left;
            rest = rest.get(line.raw().len() + 1..).unwrap_or_default();
            continue;
        }
        let newline = memchr::memchr(b'\n', rest);
        let start = memchr::memmem::find(&rest[1..], LINE_START).map(|at| at + 1);
        match (newline, start) {
            // What looks like the start of a line inside this one may be a good line behind a destroyed newline.
            (Some(newline), Some(start)) if start < newline => rest = &rest[start..],
            (None, Some(start)) => rest = &rest[start..],
            (Some(newline), _) => {
                survey.missing = survey.missing.saturating_sub(1);
                rest = &rest[newline + 1..];
            }
            (None, None) => {
                survey.ends_inside_line = true;
                break;
            }
        }
    }
    Ok(survey)
}

/// Where the first sector begins of which the part in the tail is all zero.
fn empty_sector(tail: &[u8], at: u64) -> Option<u64> {
    let mut start = 0;
    while start < tail.len() {
        let into = (at + start as u64) % SECTOR;
        let len = usize::try_from(SECTOR - into).unwrap_or(1).min(tail.len() - start);
        if tail[start..start + len].iter().all(|byte| *byte == 0) {
            return Some(at + start as u64);
        }
        start += len;
    }
    None
}

//! Takes a torn tail away, and makes durable what was found.
//!
//! The tail is kept in the quarantine before it is cut off. Every step can be interrupted and done again.
//!
//! What was found may lie in the page cache only, because the process was killed before its sync, or because the sync
//! failed and the process ended, as it must. In the second case Linux takes the pages for clean: a sync now would
//! succeed and write nothing, and the next loss of power would take records that were answered for since. So what HEAD
//! does not vouch for is written once more, the same bytes to the same place, before it is synced.

use std::io;

use orch_core::seeded::{self, Bug};

use crate::disk::{self, Access, Dir, File};
use crate::head::Head;
use crate::layout;

use super::Sign;
use super::examine::{Examined, Torn};

/// How much is written again at once.
const BLOCK: usize = 1 << 20;

/// A torn tail that was put away.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// The file that holds it now, below the data directory.
    pub file: String,
    /// The segment that it was cut off, below the data directory.
    pub segment: String,
    /// Where in the segment it began.
    pub offset: u64,
    /// Its length.
    pub bytes: u64,
    /// What showed that it was torn.
    pub sign: Sign,
}

/// Brings the last segment to the end of its last whole batch, and makes it and its directory durable even if there
/// was nothing to do. `head` is what HEAD names.
pub(crate) fn mend(dir: &dyn Dir, examined: &Examined, head: &Head) -> io::Result<Option<Quarantined>> {
    let Some(segment) = &examined.last else { return Ok(None) };
    let name = layout::segment(segment.first);
    let file = dir.open(&name, Access::Write)?;
    let quarantined = match &examined.torn {
        Some(torn) => Some(put_away(dir, &name, segment.whole, torn)?),
        None => None,
    };
    if segment.newline_missing {
        disk::write_all_at(&*file, b"\n", segment.whole)?;
        file.set_len(segment.whole + 1)?;
    } else if segment.len > segment.whole && !seeded::on(Bug::TornLineKept) {
        file.set_len(segment.whole)?;
    }
    let vouched = if head.segment == segment.first { head.offset } else { 0 };
    write_again(&*file, vouched, segment.whole)?;
    file.sync_all()?;
    dir.sync_dir(layout::LEDGER)?;
    Ok(quarantined)
}

/// Writes the bytes from `at` to `end` as they are, so that the next sync is about them.
fn write_again(file: &dyn File, mut at: u64, end: u64) -> io::Result<()> {
    let mut block = vec![0; usize::try_from(end.saturating_sub(at)).unwrap_or(usize::MAX).min(BLOCK)];
    while at < end {
        let len = usize::try_from(end - at).unwrap_or(usize::MAX).min(block.len());
        if disk::read_full_at(file, &mut block[..len], at)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk::write_all_at(file, &block[..len], at)?;
        at += len as u64;
    }
    Ok(())
}

fn put_away(dir: &dyn Dir, segment: &str, offset: u64, torn: &Torn) -> io::Result<Quarantined> {
    let stem = segment.trim_start_matches("ledger/").trim_end_matches(".jsonl");
    let file_name = format!("{}/{stem}-{offset}.torn", layout::QUARANTINE);
    disk::replace_file(dir, &file_name, &torn.bytes)?;
    Ok(Quarantined {
        file: file_name,
        segment: segment.to_owned(),
        offset,
        bytes: torn.bytes.len() as u64,
        sign: torn.sign,
    })
}

//! Takes a torn tail away, and makes durable what was found.
//!
//! The tail is kept in the quarantine before it is cut off. Every step can be interrupted and done again.

use std::io;

use orch_core::seeded::{self, Bug};

use crate::disk::{self, Access, Dir};
use crate::layout;

use super::Sign;
use super::examine::{Examined, Torn};

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

/// Brings the last segment to the end of its last whole batch, and syncs it and its directory even if there was
/// nothing to do: after a crash of the process the end may be in the page cache only, and what is answered from it
/// must be durable.
pub(crate) fn mend(dir: &dyn Dir, examined: &Examined) -> io::Result<Option<Quarantined>> {
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
    file.sync_all()?;
    dir.sync_dir(layout::LEDGER)?;
    Ok(quarantined)
}

fn put_away(dir: &dyn Dir, segment: &str, offset: u64, torn: &Torn) -> io::Result<Quarantined> {
    let stem = segment.trim_start_matches("ledger/").trim_end_matches(".jsonl");
    let file_name = format!("{}/{stem}-{offset}.torn", layout::QUARANTINE);
    let temporary = format!("{file_name}.tmp");
    let file = dir.open(&temporary, Access::Create)?;
    file.set_len(0)?;
    disk::write_all_at(&*file, &torn.bytes, 0)?;
    file.sync_all()?;
    dir.rename(&temporary, &file_name)?;
    dir.sync_dir(layout::QUARANTINE)?;
    Ok(Quarantined {
        file: file_name,
        segment: segment.to_owned(),
        offset,
        bytes: torn.bytes.len() as u64,
        sign: torn.sign,
    })
}

//! Which segments there are.

use std::io;

use orch_core::id::Seq;

use crate::disk::Dir;
use crate::fault::{Fault, Place};
use crate::layout;

/// The first seqs of all segments, in order; or a file that looks like a segment and is none. Other files, such as
/// an editor's leftovers, are nobody's business.
pub(crate) fn list(dir: &dyn Dir) -> io::Result<Result<Vec<Seq>, (Place, Fault)>> {
    let names = match dir.list(layout::LEDGER) {
        Ok(names) => names,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(error),
    };
    let mut seqs = Vec::with_capacity(names.len());
    for name in names {
        match layout::segment_seq(&name) {
            Some(seq) => seqs.push(seq),
            None if name.ends_with(".jsonl") => {
                let place = Place::file(format!("{}/{name}", layout::LEDGER));
                return Ok(Err((place, Fault::StrayFile)));
            }
            None => {}
        }
    }
    seqs.sort_unstable();
    Ok(Ok(seqs))
}

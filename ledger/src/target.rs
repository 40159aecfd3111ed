//! Writing a ledger into a directory of its own: what repair and backup have in common.

use std::io;
use std::ops::Range;

use crate::disk::{self, Dir, File};

/// How much is copied at once.
const BLOCK: usize = 1 << 20;

/// Something that a directory holds, if it holds anything. A file system's own `lost+found` does not count.
pub(crate) fn occupant(dir: &dyn Dir) -> io::Result<Option<String>> {
    match dir.list("") {
        Ok(names) => Ok(names.into_iter().filter(|name| name != "lost+found").min()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Copies a part of a file to the beginning of another one.
pub(crate) fn copy_range(from: &dyn File, range: Range<u64>, to: &dyn File) -> io::Result<()> {
    let mut block = vec![0; usize::try_from(range.end - range.start).unwrap_or(BLOCK).min(BLOCK)];
    let mut at = range.start;
    while at < range.end {
        let len = usize::try_from(range.end - at).unwrap_or(BLOCK).min(block.len());
        if disk::read_full_at(from, &mut block[..len], at)? < len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        disk::write_all_at(to, &block[..len], at - range.start)?;
        at += len as u64;
    }
    Ok(())
}

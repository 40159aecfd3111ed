//! Cuts a file into lines, reading it in large blocks.

use std::io;

use crate::disk::{self, File};
use crate::line::MAX_LINE_BYTES;

/// How much is read at once: enough for the longest line twice.
const BLOCK: usize = 2 * (MAX_LINE_BYTES + 1);

/// Some bytes between two newlines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawLine<'a> {
    /// Without the newline. At most one byte more than the longest line: the rest is not looked at.
    pub bytes: &'a [u8],
    /// Where it begins.
    pub offset: u64,
    /// Whether a newline ends it; else the file does, or it is too long.
    pub newline: bool,
}

/// Reads lines one after the other.
#[derive(Debug)]
pub(crate) struct Scanner<'f> {
    file: &'f dyn File,
    /// Nothing from here on is read.
    end: u64,
    block: Vec<u8>,
    /// The offset in the file of the block's first byte.
    block_at: u64,
    /// Where in the block the next line begins.
    next: usize,
}

impl<'f> Scanner<'f> {
    pub(crate) fn new(file: &'f dyn File, start: u64, end: u64) -> Self {
        Self { file, end, block: Vec::new(), block_at: start, next: 0 }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<RawLine<'_>>> {
        let mut newline = memchr::memchr(b'\n', &self.block[self.next..]);
        if newline.is_none() {
            self.fill()?;
            newline = memchr::memchr(b'\n', &self.block[self.next..]);
        }
        let start = self.next;
        let rest = self.block.len() - start;
        let offset = self.block_at + start as u64;
        match newline {
            Some(len) if len <= MAX_LINE_BYTES => {
                self.next += len + 1;
                Ok(Some(RawLine { bytes: &self.block[start..start + len], offset, newline: true }))
            }
            Some(_) | None if rest == 0 => Ok(None),
            Some(_) | None => {
                let len = rest.min(MAX_LINE_BYTES + 1);
                self.next += len;
                Ok(Some(RawLine { bytes: &self.block[start..start + len], offset, newline: false }))
            }
        }
    }

    /// Drops what was given out and reads on until the block is full or the file ends.
    fn fill(&mut self) -> io::Result<()> {
        self.block.drain(..self.next);
        self.block_at += self.next as u64;
        self.next = 0;
        let have = self.block.len();
        let file_left = self.end.saturating_sub(self.block_at + have as u64);
        let want = usize::try_from(file_left).unwrap_or(usize::MAX).min(BLOCK - have.min(BLOCK));
        disk::read_on_at(self.file, &mut self.block, want, self.block_at + have as u64)?;
        Ok(())
    }
}

/// The length of a file without the zeros at its end: space that was claimed and not used yet. No line has a zero in it.
pub(crate) fn used_len(file: &dyn File) -> io::Result<u64> {
    let mut end = file.len()?;
    let mut block = vec![0; usize::try_from(end).unwrap_or(usize::MAX).min(256 << 10)];
    while end > 0 {
        let start = end.saturating_sub(block.len() as u64);
        let len = usize::try_from(end - start).unwrap_or(block.len());
        let n = disk::read_full_at(file, &mut block[..len], start)?;
        if let Some(used) = without_zeros(&block[..n]) {
            return Ok(start + used as u64);
        }
        end = start;
    }
    Ok(0)
}

/// The length without the zeros at the end, if there is anything else.
fn without_zeros(bytes: &[u8]) -> Option<usize> {
    let mut end = bytes.len();
    // Small pieces: the one that is not zero is gone through byte by byte.
    for piece in bytes.rchunks(512) {
        if *piece != disk::ZEROS[..piece.len()] {
            break;
        }
        end -= piece.len();
    }
    bytes[..end].iter().rposition(|byte| *byte != 0).map(|last| last + 1)
}

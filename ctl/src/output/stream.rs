//! Lines that go out as they come, for ledgers and other things too long for memory.

use std::io::{BufWriter, Stdout, Write as _};

use super::lost_output;
use crate::exit::Failure;

/// Standard output, buffered.
#[derive(Debug)]
pub struct Lines {
    out: BufWriter<Stdout>,
}

impl Lines {
    /// Ready to write.
    pub fn new() -> Self {
        Self { out: BufWriter::with_capacity(64 * 1024, std::io::stdout()) }
    }

    /// Writes bytes as they are.
    ///
    /// # Errors
    /// As [`super::emit`].
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(lost_output)
    }

    /// Makes what was written visible.
    ///
    /// # Errors
    /// As [`super::emit`].
    pub fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(lost_output)
    }
}

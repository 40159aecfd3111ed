//! The chain: every batch is bound to all batches before it.
//!
//! The link of a batch is SHA-256 over the 32 bytes of the link before it (zeros before the first), then every line
//! of the batch with its newline, the last line only up to `,"chain":`. [`ChainChecker`] follows lines in order and
//! knows nothing of files, so it serves recovery, verification, the compactor and lines that came over the wire.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use sha2::{Digest as _, Sha256};

use crate::line::{self, Line, LineFault};

/// The end of a batch: where the chain stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Link {
    /// The last record of the batch; 0 before the first.
    pub seq: Seq,
    /// The number of the batch; 0 before the first.
    pub batch: u64,
    /// Its chain link; zeros before the first.
    pub chain: Digest,
}

/// Why a line is not the one that must follow.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainFault {
    /// It is not a line.
    #[error(transparent)]
    Line(#[from] LineFault),
    /// Another seq than the next.
    #[error("expected seq {expected}, found {found}")]
    Seq {
        /// The next seq.
        expected: Seq,
        /// What the line says.
        found: Seq,
    },
    /// Another batch than the one that goes on or begins here.
    #[error("expected batch {expected}, found {found}")]
    Batch {
        /// The batch.
        expected: u64,
        /// What the line says.
        found: u64,
    },
    /// Within a batch, another count of lines that follow.
    #[error("expected {expected} more lines in the batch, found {found}")]
    Left {
        /// One less than the line before said.
        expected: u32,
        /// What the line says.
        found: u32,
    },
    /// The chain link is not that of these bytes after those before.
    #[error("expected chain link {expected}, found {found}")]
    Chain {
        /// The link as computed.
        expected: Digest,
        /// What the line says.
        found: Digest,
    },
}

/// Follows the lines of a ledger and checks that each is the one that must come next.
#[derive(Clone, Debug, Default)]
pub struct ChainChecker {
    link: Link,
    open: Option<Open>,
}

/// A batch that has begun.
#[derive(Clone, Debug)]
struct Open {
    hasher: Sha256,
    seq: Seq,
    left: u32,
}

impl ChainChecker {
    /// A checker that expects the first line of a ledger.
    pub fn new() -> Self {
        Self::default()
    }

    /// A checker that expects the first line of the batch after this link.
    pub fn after(link: Link) -> Self {
        Self { link, open: None }
    }

    /// The end of the last whole batch.
    pub fn link(&self) -> Link {
        self.link
    }

    /// How many lines the batch that has begun still needs; `None` between batches.
    pub fn lines_missing(&self) -> Option<u32> {
        self.open.as_ref().map(|open| open.left)
    }

    /// Reads a line, given without its newline, and moves on behind it. When it ends a batch, `chain` of the line is
    /// known to be right and [`ChainChecker::link`] is the batch's.
    ///
    /// # Errors
    /// [`ChainFault`], the first fault found; the checker stays where it was.
    pub fn check<'a>(&mut self, raw: &'a [u8]) -> Result<Line<'a>, ChainFault> {
        let line = line::decode(raw)?;
        self.check_line(&line)?;
        Ok(line)
    }

    /// The same for a line that was read already.
    ///
    /// # Errors
    /// As [`ChainChecker::check`].
    pub fn check_line(&mut self, line: &Line<'_>) -> Result<(), ChainFault> {
        let expected = self.open.as_ref().map_or(self.link.seq, |open| open.seq).next();
        if line.seq != expected {
            return Err(ChainFault::Seq { expected, found: line.seq });
        }
        let expected = self.link.batch + 1;
        if line.batch != expected {
            return Err(ChainFault::Batch { expected, found: line.batch });
        }
        if let Some(open) = &self.open
            && line.left != open.left - 1
        {
            return Err(ChainFault::Left { expected: open.left - 1, found: line.left });
        }
        match line.chain {
            None => self.go_on(line),
            Some(found) => self.end_batch(line, found)?,
        }
        Ok(())
    }

    fn go_on(&mut self, line: &Line<'_>) {
        let previous = self.link.chain;
        let open = self.open.get_or_insert_with(|| Open {
            hasher: Sha256::new().chain_update(previous.0),
            seq: line.seq,
            left: line.left,
        });
        open.hasher.update(line.chained());
        open.hasher.update(b"\n");
        open.seq = line.seq;
        open.left = line.left;
    }

    fn end_batch(&mut self, line: &Line<'_>, found: Digest) -> Result<(), ChainFault> {
        let hasher = match &self.open {
            Some(open) => open.hasher.clone(),
            None => Sha256::new().chain_update(self.link.chain.0),
        };
        let expected = Digest(hasher.chain_update(line.chained()).finalize().into());
        if expected != found {
            return Err(ChainFault::Chain { expected, found });
        }
        self.open = None;
        self.link = Link { seq: line.seq, batch: line.batch, chain: found };
        Ok(())
    }
}

//! What can be wrong with a ledger, said the same way by recovery and by verification.
//!
//! A [`Refusal`] is data: where, what was expected, what was found. Nothing was changed when one is given.

use std::fmt;
use std::path::PathBuf;

use orch_core::id::Seq;

use crate::chain::ChainFault;
use crate::head::Head;

/// Where in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// The file, below the data directory.
    pub file: String,
    /// The line, from 1; 0 if the file as a whole is meant.
    pub line: u64,
    /// The offset of the line's first byte.
    pub offset: u64,
}

impl Place {
    /// A file as a whole.
    pub(crate) fn file(name: impl Into<String>) -> Self {
        Self { file: name.into(), line: 0, offset: 0 }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.file)?;
        if self.line > 0 {
            write!(f, " line {} (byte {})", self.line, self.offset)?;
        }
        Ok(())
    }
}

/// A ledger that is not as it must be: whoever finds that stops rather than guesses.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{place}: {fault}")]
pub struct Refusal {
    /// The data directory.
    pub dir: PathBuf,
    /// Where.
    pub place: Place,
    /// What.
    pub fault: Fault,
}

impl Refusal {
    /// The command that an operator runs next.
    pub fn next_command(&self) -> String {
        format!("orchctl ledger verify {}", self.dir.display())
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// A line is not the one that must stand there.
    #[error(transparent)]
    Line(#[from] ChainFault),
    /// Something else than a newline follows a line.
    #[error("expected a newline after the line, found {}", byte_or_end(*.found))]
    Newline {
        /// The byte; `None` at the end of the file.
        found: Option<u8>,
    },
    /// The segment ends in the middle of a batch.
    #[error("expected {missing} more lines of batch {batch}, found the end of the segment")]
    BatchCut {
        /// The batch.
        batch: u64,
        /// How many of its lines are not there.
        missing: u32,
    },
    /// The segment does not begin as a segment does.
    #[error("expected {expected} at the start of the segment, found {found}")]
    Header {
        /// What should stand there.
        expected: String,
        /// What does.
        found: String,
    },
    /// A line that may only stand at the start of a segment stands elsewhere.
    #[error("expected segment_opened only at the start of a segment, found it within one")]
    StrayHeader,
    /// A segment goes on after its seal.
    #[error("expected nothing after segment_sealed, found another line")]
    AfterSeal,
    /// An event that the segment's format does not have yet.
    #[error("expected an event of format {format}, as the segment says, found {event}, which format {since} brought")]
    TooNew {
        /// The event's name.
        event: String,
        /// The first version of the format that has it.
        since: u32,
        /// The format of the segment.
        format: u32,
    },
    /// A segment is missing, is there twice, or has another's name.
    #[error("expected the segment that starts with seq {expected}, found {}", seq_or_none(*.found))]
    Segment {
        /// The seq that must come next.
        expected: Seq,
        /// The first seq of the segment that is there instead.
        found: Option<Seq>,
    },
    /// A file whose name looks like a segment's and is none.
    #[error("expected segments named <20 digits>.jsonl, found this file")]
    StrayFile,
    /// The boots are not numbered one by one.
    #[error("expected boot epoch {expected}, found {found}")]
    Epoch {
        /// One more than the boot before.
        expected: u64,
        /// What the record says.
        found: u64,
    },
    /// The end of the last segment is damaged, and it is not a write that a crash tore.
    #[error("{fault}; this is damage and not a torn write: {why}")]
    Tail {
        /// The damage.
        fault: Box<Fault>,
        /// What speaks against a torn write.
        why: NotTorn,
    },
    /// The ledger ends before the batch that HEAD saw durable.
    #[error("expected the ledger to reach at least batch {} (seq {}), which HEAD names as durable, found its end at batch {batch} (seq {seq}): acknowledged records are missing", .head.batch, .head.seq)]
    HeadAhead {
        /// What HEAD says.
        head: Box<Head>,
        /// The last whole batch.
        batch: u64,
        /// Its last record.
        seq: Seq,
    },
    /// The ledger ends before a record that was durable once. Said by readers, who know the record and not its batch.
    #[error(
        "expected records up to seq {until}, which are durable, found the end of the ledger after seq {last}: acknowledged records are missing"
    )]
    EndsEarly {
        /// The last durable record.
        until: Seq,
        /// The last that is there.
        last: Seq,
    },
    /// The batch that HEAD names is there, but it is another one.
    #[error("expected {what} {expected} of batch {batch}, as HEAD names it, found {found}")]
    HeadDisagrees {
        /// The batch.
        batch: u64,
        /// Which field.
        what: &'static str,
        /// What HEAD says.
        expected: String,
        /// What the segments say.
        found: String,
    },
    /// HEAD is missing although the ledger is not new.
    #[error(
        "expected HEAD, which names the last durable batch, found no such file: without it nobody can tell whether acknowledged records are missing"
    )]
    HeadMissing,
    /// Neither slot of HEAD can be read.
    #[error(
        "expected a readable slot in HEAD, found both damaged: without it nobody can tell whether acknowledged records are missing"
    )]
    HeadDamaged,
    /// LEDGER_ID is missing although the ledger is not new.
    #[error("expected LEDGER_ID, found no such file beside a ledger that is not new")]
    IdentityMissing,
    /// LEDGER_ID is not what was written.
    #[error("expected the id and the format version of the ledger, found {found}")]
    IdentityDamaged {
        /// Its text, escaped and cut short.
        found: String,
    },
    /// The caller could not replay a record.
    #[error("expected a record that continues the state, found seq {seq} refused: {message}")]
    Replay {
        /// The record.
        seq: Seq,
        /// The caller's reason.
        message: String,
    },
}

/// What speaks against a torn write.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTorn {
    /// HEAD names the batch or a later one.
    #[error("HEAD names batch {head}, so batch {batch} was durable once")]
    HeadNamesIt {
        /// The damaged batch.
        batch: u64,
        /// What HEAD names.
        head: u64,
    },
    /// It is longer than a batch can be.
    #[error("{bytes} bytes are more than one batch can have")]
    TooLong {
        /// Its length.
        bytes: u64,
    },
    /// A whole line of another batch lies in it.
    #[error("a whole line of batch {found} (seq {seq}) lies in it, where only batch {batch} can be")]
    OtherBatch {
        /// The damaged batch.
        batch: u64,
        /// The other batch.
        found: u64,
        /// The line.
        seq: Seq,
    },
    /// It is as long as it should be and has no hole.
    #[error("it does not end early and no sector of it is empty")]
    NoSign,
    /// It is the first batch of its segment.
    #[error("a segment gets its name only after its first batch is durable")]
    FirstBatch,
}

fn byte_or_end(byte: Option<u8>) -> String {
    byte.map_or_else(|| "the end of the segment".to_owned(), |byte| format!("byte {byte:#04x}"))
}

fn seq_or_none(seq: Option<Seq>) -> String {
    seq.map_or_else(|| "none".to_owned(), |seq| format!("one that starts with seq {seq}"))
}

//! What is said on the submit stream, in the worker's own words: ends and failures up, answers and refusals down.

use std::fmt;
use std::time::Duration;

use prost::bytes::Bytes;

/// Why a job failed, as its worker may say it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FailureKind {
    /// The runner reported an error, or broke.
    Error,
    /// It ran longer than allowed.
    Timeout,
    /// No retry would help.
    Permanent,
}

/// A failure of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub kind: FailureKind,
    pub message: String,
    pub exit_code: Option<i32>,
}

/// How a job ended, by its runner's word.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum End {
    Complete,
    Fail(Failure),
}

/// One message that is to be sent.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Message {
    Batch { number: u64, candidates: Vec<Bytes> },
    Complete { batches: u64 },
    Fail(Failure),
}

/// How many of a batch's candidates got which verdict.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub accepted: u64,
    pub duplicates: u64,
    pub rejected: u64,
}

/// An answer of the orchestrator to one message.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Answer {
    Verdicts { number: u64, tally: Tally },
    Ended,
    Refused(Refusal),
}

/// The orchestrator's refusal of one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Refusal {
    /// The batch that is refused, 0 for the end.
    pub number: u64,
    pub reason: String,
    pub message: String,
    /// With `BATCH_GAP`: the number to go on from.
    pub expected: u64,
    /// Not zero: nothing is wrong with the results, send them again after this.
    pub retry_after: Duration,
}

/// What an answer means beyond the outbox.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Effect {
    /// Nothing: an answer to something that was answered before, or a wait.
    Nothing,
    /// Candidates were judged.
    Judged(Tally),
    /// The job's end is on the ledger; the lease is over.
    Ended,
    /// The lease is no longer this worker's: its results were dropped.
    Lost(String),
    /// The results were refused for good; a failure with this message goes out in their place.
    Replaced(String),
}

/// How much may be kept and sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Bounds {
    /// Bytes sent and not yet answered, over all leases. The orchestrator's to set.
    pub window: usize,
    /// Bytes kept in memory, sent or not: how far a job computes on while the orchestrator is away.
    pub keep: usize,
}

/// The cost of a candidate in bytes: its text and its frame on the wire.
pub(crate) fn cost(candidate: &Bytes) -> usize {
    candidate.len() + 5
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { number, reason, message, expected: _, retry_after: _ } = self;
        match number {
            0 => write!(f, "the orchestrator refused the end of the job ({reason}): {message}"),
            number => write!(f, "the orchestrator refused batch {number} ({reason}): {message}"),
        }
    }
}

//! What clients were told, and the file in which they keep it.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Write};
use std::path::Path;

use orch_core::id::{JobId, LeaseId, Seq, WorkerId};
use orch_core::job::Payload;
use orch_core::receipt::Receipt;
use orch_core::state::{BatchAnswer, CompleteAnswer, Verdict};
use orch_core::time::Span;
use serde::{Deserialize, Serialize};

use super::machine::Machine;

/// An answer that a client got. In JSON: an object with one key, the kind of answer in snake case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Acknowledged {
    /// A job was taken in.
    Submitted {
        /// Its id.
        job: JobId,
        /// The idempotency key that it was submitted under.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        key: Option<String>,
        /// What was submitted; compared if it is given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        payload: Option<Payload>,
    },
    /// A worker got a lease.
    Granted {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// The job.
        job: JobId,
    },
    /// What a worker had said of its time when it asked for a lease that it got: not an answer, but what one led to.
    Asked {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// How long it was to live yet, in milliseconds.
        remaining: Span,
    },
    /// A worker took what it was granted, and holds all of this at once: not an answer, but what answers led to.
    Holds {
        /// The worker.
        worker: WorkerId,
        /// Every lease that it works on.
        leases: Vec<LeaseId>,
        /// What it has.
        has: Machine,
    },
    /// A batch was judged.
    Judged {
        /// Who sent it.
        worker: WorkerId,
        /// The lease for which it was sent.
        lease: LeaseId,
        /// The batch's number.
        number: u64,
        /// The verdicts, in order.
        verdicts: Vec<Told>,
        /// The candidates as they were sent; compared if they are given.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        candidates: Vec<String>,
        /// The receipt that came with it.
        receipt: Receipt,
    },
    /// A job's end was taken in.
    Ended {
        /// Who said that it ended.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// How it ended.
        end: End,
        /// The receipt that came with it.
        receipt: Receipt,
    },
    /// Leases were given back.
    Released {
        /// The worker.
        worker: WorkerId,
        /// A lease that was the worker's until then.
        lease: LeaseId,
    },
    /// A worker was told that a lease is not its any more.
    Lost {
        /// The worker.
        worker: WorkerId,
        /// The lease.
        lease: LeaseId,
        /// The last durable record when it was told, if that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        durable: Option<Seq>,
    },
    /// A job was cancelled.
    Cancelled {
        /// The job.
        job: JobId,
    },
    /// A failed job was put back.
    Retried {
        /// The job.
        job: JobId,
    },
    /// A receipt that came with any other answer.
    Receipt(Receipt),
}

/// The verdict on one candidate, as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// It is in the ledger, at this seq.
    Accepted(Seq),
    /// It was there before, at this seq.
    Duplicate(Seq),
    /// It broke a rule.
    Rejected,
}

/// How an attempt ended, as it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The job is done.
    Done,
    /// The attempt failed.
    Failed {
        /// Whether the job failed for good.
        finally: bool,
    },
}

impl Told {
    /// The verdicts of an answer.
    pub fn of(answer: &BatchAnswer) -> Vec<Self> {
        let told = |verdict: &Verdict| match verdict {
            Verdict::Accepted(seq) => Self::Accepted(*seq),
            Verdict::Duplicate(seq) => Self::Duplicate(*seq),
            Verdict::Rejected(_) => Self::Rejected,
        };
        answer.verdicts.iter().map(told).collect()
    }
}

impl End {
    /// The end that an answer tells.
    pub const fn of(answer: &CompleteAnswer) -> Self {
        match answer {
            CompleteAnswer::Done => Self::Done,
            CompleteAnswer::Failed { finally, .. } => Self::Failed { finally: *finally },
        }
    }
}

/// A JSONL file of answers, written as they come: a line each, handed to the system before the call returns, so that
/// a kill of the writer loses at most the line that it is writing.
#[derive(Debug)]
pub struct AcknowledgedLog {
    file: File,
}

impl AcknowledgedLog {
    /// Opens the file, making it if it is not there; lines are added at its end.
    ///
    /// # Errors
    /// As the system says.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { file: File::options().create(true).append(true).open(path)? })
    }

    /// Adds an answer.
    ///
    /// # Errors
    /// As the system says.
    pub fn note(&mut self, told: &Acknowledged) -> io::Result<()> {
        let mut line = serde_json::to_vec(told)?;
        line.push(b'\n');
        self.file.write_all(&line)
    }

    /// Every answer in the file. A last line without its newline was being written when its writer was killed, and
    /// is left out.
    ///
    /// # Errors
    /// As the system says, or `InvalidData` for a line that is no answer.
    pub fn read(path: &Path) -> io::Result<Vec<Acknowledged>> {
        let mut reader = BufReader::new(File::open(path)?);
        let mut told = Vec::new();
        let mut line = String::new();
        while reader.read_line(&mut line)? > 0 {
            if !line.ends_with('\n') {
                break;
            }
            told.push(serde_json::from_str(&line)?);
            line.clear();
        }
        Ok(told)
    }
}

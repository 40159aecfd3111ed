//! Why no data set came out. Whatever it is, an older output file is as it was.

use std::path::{Path, PathBuf};

use orch_core::contract::ContractError;
use orch_core::id::{ContractRef, JobId, LeaseId, Seq};
use orch_ledger::Fault;
use orch_ledger::reader::FollowError;

use crate::output::OutputError;
use crate::sort::SortError;
use crate::source::NotALedger;

/// Why no data set came out.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// There is no ledger where one was named.
    #[error(transparent)]
    NotALedger(#[from] NotALedger),
    /// Its files cannot be read, or are not what was written.
    #[error(transparent)]
    Follow(#[from] FollowError),
    /// A line is not the one that must follow.
    #[error("the ledger is damaged: record {seq}: {fault}{}", verify(.dir.as_deref()))]
    Damaged {
        /// The record that should stand there.
        seq: Seq,
        /// What is wrong.
        fault: Fault,
        /// The data directory, if the lines came from files.
        dir: Option<PathBuf>,
    },
    /// The lines end before their batch does.
    #[error("the ledger's lines end within batch {batch}: {missing} of its records are missing")]
    Cut {
        /// The batch.
        batch: u64,
        /// How many of its lines are not there.
        missing: u32,
    },
    /// The ledger does not reach the record up to which was to be taken.
    #[error("the ledger's last durable record is {last}, records until {until} were asked for")]
    Until {
        /// What was asked for.
        until: Seq,
        /// The last durable record.
        last: Seq,
    },
    /// There is no such contract in the ledger.
    #[error("contract {contract} is not in the ledger, which has {}", list(.known))]
    NoSuchContract {
        /// What was asked for.
        contract: ContractRef,
        /// Those that are there.
        known: Vec<ContractRef>,
    },
    /// A recorded contract that this version cannot use: it does not know how to sort by it.
    #[error("record {seq} holds a contract that cannot be used")]
    Contract {
        /// The record.
        seq: Seq,
        /// Why not.
        source: Box<ContractError>,
    },
    /// A candidate was accepted under a contract that was not recorded before it.
    #[error("candidate {seq} was accepted under contract {contract}, which no record before it holds")]
    Unregistered {
        /// The candidate.
        seq: Seq,
        /// The contract.
        contract: ContractRef,
    },
    /// A candidate was accepted under a lease that was not current.
    #[error("candidate {seq} was accepted under lease {lease} of job {job}, which was not current")]
    NoSuchLease {
        /// The candidate.
        seq: Seq,
        /// The job.
        job: JobId,
        /// The lease.
        lease: LeaseId,
    },
    /// A candidate has a field of its own where its origin would stand.
    #[error(
        "candidate {seq} (contract {contract}) has a field {:?} of its own, where provenance would stand: take the data set without provenance, or leave the contract out",
        crate::PROVENANCE_KEY
    )]
    ReservedKey {
        /// The candidate.
        seq: Seq,
        /// Its contract.
        contract: ContractRef,
    },
    /// The ledger holds the same candidate twice, which no orchestrator writes.
    #[error("records {first} and {second} are the same candidate, which a ledger never holds twice")]
    Twice {
        /// The one that was there first.
        first: Seq,
        /// The one that should not be there.
        second: Seq,
    },
    /// The sort failed.
    #[error(transparent)]
    Sort(#[from] SortError),
    /// The output failed.
    #[error(transparent)]
    Output(#[from] OutputError),
}

impl CompactError {
    /// Says in which data directory damage was found.
    pub(crate) fn in_dir(self, data: &Path) -> Self {
        if let Self::Damaged { seq, fault, dir: None } = self {
            return Self::Damaged { seq, fault, dir: Some(data.to_owned()) };
        }
        self
    }
}

fn verify(dir: Option<&Path>) -> String {
    dir.map_or_else(String::new, |dir| format!("; run next: orchctl ledger verify {}", dir.display()))
}

fn list(known: &[ContractRef]) -> String {
    if known.is_empty() {
        return "none".to_owned();
    }
    known.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

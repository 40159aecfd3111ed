//! What was read and written.

use orch_core::digest::Digest;
use orch_core::id::{ContractRef, Seq};
use serde::Serialize;

/// What was read from a ledger, and what came out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Summary {
    /// The ledger's id; none if it has no records yet.
    pub ledger: Option<String>,
    /// The last record that was taken into account.
    pub seq: Seq,
    /// The last batch that was read, which `seq` lies in.
    pub batch: u64,
    /// The chain link of that batch: it stands for every byte of the ledger up to there.
    pub chain: Digest,
    /// How many records were taken into account.
    pub records: u64,
    /// How many candidates were accepted, under any contract.
    pub accepted: u64,
    /// How many candidates were duplicates. In JSON `duplicate`, as wherever candidates are counted.
    #[serde(rename = "duplicate")]
    pub duplicates: u64,
    /// How many candidates were rejected.
    pub rejected: u64,
    /// How many candidates came out.
    pub written: u64,
    /// How many bytes came out.
    pub bytes: u64,
    /// What came out, by contract, in the order of the output. A contract without candidates stands there with 0.
    pub contracts: Vec<ContractCount>,
    /// How many sorted runs did not fit into memory and went to a temporary file.
    pub spilled_runs: u64,
}

/// How many candidates of one contract came out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ContractCount {
    /// The contract.
    pub contract: ContractRef,
    /// How many.
    pub written: u64,
}

/// How far the work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// The ledger is read.
    Reading {
        /// Bytes read.
        done: u64,
        /// Bytes to read.
        total: u64,
    },
    /// The data set is written.
    Writing {
        /// Candidates written.
        done: u64,
        /// Candidates to write.
        total: u64,
    },
}

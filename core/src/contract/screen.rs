//! Judging candidates: the three gates, pure and parallel.

use serde_json::value::RawValue;

use super::{ContractSpec, Rule};
use crate::digest::Digest;
use crate::id::ContractRef;
use crate::job::Payload;

/// A contract ready to judge: its schema compiled, its rules checked.
pub struct Contract {
    spec: ContractSpec,
}

/// Why a contract cannot be registered: every fault, each naming its place.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract {contract}: {}", faults.join("; "))]
pub struct ContractError {
    /// The contract, `name@version`.
    pub contract: String,
    /// Its faults.
    pub faults: Vec<String>,
}

/// Why a contract cannot judge a job's candidates: a bound or a count refers to a field that its payload lacks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("contract {contract}: payload field {field:?} {fault}")]
pub struct BindError {
    /// The contract.
    pub contract: ContractRef,
    /// The field of the payload.
    pub field: String,
    /// What is wrong with it.
    pub fault: String,
}

/// A contract bound to one payload.
pub struct Screen {}

/// A candidate that passed every gate but that for duplicates. Only [`Screen::judge`] makes one.
#[derive(Clone, Debug)]
pub struct Screened {
    contract: ContractRef,
    digest: Digest,
    offsets: Vec<u32>,
    neighbours: Vec<Probe>,
    candidate: Box<RawValue>,
}

/// A bucket beside a candidate's own, in which the same candidate may already lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probe {
    /// The digest of that bucket.
    pub digest: Digest,
    /// Per numeric identity field, -1, 0 or 1: where the bucket lies from the candidate's own.
    pub steps: Vec<i8>,
}

/// The verdict on a candidate that did not pass.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// The rule it broke.
    pub rule: Rule,
    /// How, with field and values; at most 300 characters.
    pub message: String,
}

impl Contract {
    /// # Errors
    pub fn compile(_spec: ContractSpec) -> Result<Self, ContractError> {
        todo!()
    }
    /// The contract as recorded.
    pub fn spec(&self) -> &ContractSpec {
        &self.spec
    }
    /// # Errors
    pub fn bind(self: &std::sync::Arc<Self>, _payload: &Payload) -> Result<Screen, BindError> {
        todo!()
    }
    /// # Errors
    pub fn expected_count(&self, _payload: &Payload) -> Result<Option<u64>, BindError> {
        todo!()
    }
}
impl Screen {
    /// # Errors
    pub fn judge(&self, _raw: &[u8]) -> Result<Screened, Rejection> {
        todo!()
    }
}
impl Screened {
    /// The contract that it passed.
    pub fn contract(&self) -> &ContractRef {
        &self.contract
    }

    /// SHA-256 of its identity.
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// Per numeric identity field, where in its bucket the value lies, in 2^-32 of the quantum.
    pub fn offsets(&self) -> &[u32] {
        &self.offsets
    }

    /// The buckets beside its own.
    pub fn neighbours(&self) -> &[Probe] {
        &self.neighbours
    }

    /// The candidate in canonical JSON.
    pub fn candidate(&self) -> &RawValue {
        &self.candidate
    }

    /// The candidate in canonical JSON, by value.
    pub fn into_candidate(self) -> Box<RawValue> {
        self.candidate
    }
}

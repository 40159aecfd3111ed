//! Judging candidates: the gates in their order, pure and parallel.

use std::sync::Arc;

use serde_json::value::RawValue;

use super::compile::Contract;
use super::identity::Identified;
use super::tolerance::BoundRule;
use super::{MAX_NUMERIC_FIELDS, Rule, message};
use crate::digest::Digest;
use crate::id::ContractRef;
use crate::json::{self, JsonError, Limits};

/// A contract bound to one payload.
pub struct Screen {
    contract: Arc<Contract>,
    /// One for each tolerance rule.
    bounds: Vec<BoundRule>,
}

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
    /// Per numeric identity field, -1, 0 or 1: where the bucket lies from the candidate's own. 0 beyond the last.
    pub steps: [i8; MAX_NUMERIC_FIELDS],
}

/// The verdict on a candidate that did not pass.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}: {message}", rule.name())]
pub struct Rejection {
    /// The rule it broke.
    pub rule: Rule,
    /// How, with field and values; at most 300 characters, none of them a control character.
    pub message: String,
}

impl Rejection {
    /// A rejection by this rule; the message is made safe and cut to length.
    pub fn new(rule: Rule, message: &str) -> Self {
        Self { rule, message: message::clip(message) }
    }
}

impl Screen {
    pub(super) fn new(contract: Arc<Contract>, bounds: Vec<BoundRule>) -> Self {
        Self { contract, bounds }
    }

    /// The contract.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// Passes a candidate through the gates: size and depth, strict JSON, schema, tolerance, identity.
    ///
    /// # Errors
    /// [`Rejection`] by the first gate that it does not pass.
    pub fn judge(&self, raw: &[u8]) -> Result<Screened, Rejection> {
        let contract = &*self.contract;
        let limits = contract.spec().limits;
        let limits = Limits { max_bytes: limits.max_bytes as usize, max_depth: limits.max_depth as usize };
        let tree =
            json::parse_tree(raw, limits).map_err(|error| Rejection::new(rule_of(&error), &error.to_string()))?;
        contract.schema.check(&tree).map_err(|fault| Rejection::new(Rule::Schema, &fault))?;
        for (rule, bound) in contract.rules.iter().zip(&self.bounds) {
            rule.check(bound, &tree).map_err(|fault| Rejection::new(Rule::Tolerance, &fault))?;
        }
        let identified = contract.identity.identify(&tree);
        let Identified { digest, offsets, neighbours } =
            identified.map_err(|fault| Rejection::new(Rule::Identity, &fault))?;
        let candidate = tree.canonical_raw();
        Ok(Screened { contract: contract.reference().clone(), digest, offsets, neighbours, candidate })
    }
}

fn rule_of(error: &JsonError) -> Rule {
    match error {
        JsonError::TooLarge { .. } | JsonError::TooDeep { .. } => Rule::Size,
        JsonError::DuplicateKey { .. } | JsonError::Number { .. } | JsonError::Syntax(_) => Rule::Json,
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

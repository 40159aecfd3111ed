//! A contract as a user writes it and as the ledger records it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::bound::{Bound, CountRule};
use crate::id::{ContractName, ContractRef};
use crate::queue::is_default;

/// A version of a contract.
///
/// Fields of a candidate are named by their key at the top level, or by a JSON Pointer (RFC 6901) if the text
/// starts with `/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ContractSpec {
    /// Its name.
    #[serde(rename = "contract")]
    pub name: ContractName,
    /// Its version, from 1. A registered version never changes.
    pub version: u32,
    /// What it is about, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Bounds on a candidate's text.
    #[serde(default, skip_serializing_if = "is_default")]
    pub limits: SizeLimits,
    /// JSON Schema (draft 2020-12) of a candidate.
    pub schema: Value,
    /// Rules on numeric fields, all of which must hold.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tolerance: Vec<ToleranceRule>,
    /// The fields that say which candidate is the same as which. At least one.
    pub identity: Vec<IdentityField>,
    /// What makes a job complete, beyond its worker's word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub complete: Option<Completeness>,
}

impl ContractSpec {
    /// The name and version, `name@version`.
    pub fn reference(&self) -> ContractRef {
        ContractRef { name: self.name.clone(), version: self.version }
    }
}

/// Bounds on a candidate's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SizeLimits {
    /// The most bytes. At most 65,536, so that a record fits into a line.
    pub max_bytes: u32,
    /// The deepest nesting. At most 64.
    pub max_depth: u32,
}

impl Default for SizeLimits {
    fn default() -> Self {
        Self { max_bytes: 16 * 1024, max_depth: 16 }
    }
}

/// A rule on one numeric field. Exactly one comparison is set.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToleranceRule {
    /// The field.
    pub field: String,
    /// Its magnitude is strictly less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub abs_lt: Option<Bound>,
    /// It is strictly less.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lt: Option<Bound>,
    /// It is less or equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub le: Option<Bound>,
    /// It is strictly greater.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gt: Option<Bound>,
    /// It is greater or equal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ge: Option<Bound>,
}

/// One field of a candidate's identity.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdentityField {
    /// The field.
    pub field: String,
    /// For a number (or an exact decimal in a string): two values closer than this are the same. Written as a
    /// decimal, `1e-6` or `"0.000001"`. Without a quantum, values are the same if their canonical JSON is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quantum: Option<Value>,
}

/// What makes a job complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Completeness {
    /// Exactly so many distinct candidates (accepted ones and duplicates) were delivered under the job's lease.
    pub count: CountRule,
}

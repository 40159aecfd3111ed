//! Contracts: what a candidate must be to be accepted.
//!
//! [`ContractSpec`] is a contract as written and recorded; [`Contract`] is one ready to judge; a [`Screen`] is a
//! contract bound to one job's payload. [`Screen::judge`] passes a candidate through the gates in order (JSON and
//! schema, tolerance, identity), and a [`Screened`] candidate can come from nowhere else.

//!
//! Where to look: `compile` checks a spec and reports every fault; `schema`, `tolerance` and `identity` are the
//! gates; `decimal` is the exact arithmetic under identity and sort keys; [`AcceptedSet`] finds duplicates.

mod accepted;
mod bound;
mod compile;
mod decimal;
mod field;
mod identity;
mod message;
mod schema;
mod screen;
mod sort_key;
mod spec;
mod subset;
mod tolerance;

pub use accepted::AcceptedSet;
pub use bound::{Bound, CountRule};
pub use compile::{BindError, Contract, ContractError};
pub use identity::same;
pub use screen::{Probe, Rejection, Screen, Screened};
pub use spec::{Completeness, ContractSpec, IdentityField, SizeLimits, ToleranceRule};

use serde::{Deserialize, Serialize};

/// The most identity fields with a quantum: each multiplies the buckets to look into by three.
pub const MAX_NUMERIC_FIELDS: usize = 4;

/// The gates' rules, as a rejection names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// The queue has no contract, so that nothing can be accepted.
    NoContract,
    /// Too large or too deep.
    Size,
    /// Not strict JSON.
    Json,
    /// Against the contract's JSON Schema.
    Schema,
    /// A numeric field out of its tolerance.
    Tolerance,
    /// An identity field is missing, or its value has no exact bucket.
    Identity,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 6] =
        [Self::NoContract, Self::Size, Self::Json, Self::Schema, Self::Tolerance, Self::Identity];

    /// The rule's name, as in records and on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoContract => "no_contract",
            Self::Size => "size",
            Self::Json => "json",
            Self::Schema => "schema",
            Self::Tolerance => "tolerance",
            Self::Identity => "identity",
        }
    }
}

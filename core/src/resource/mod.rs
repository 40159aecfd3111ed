//! Resources: what a worker has, what a job needs, and which parts of the one the other gets.
//!
//! Everything is counted in whole ten-thousandths ([`Amount`]), so that nothing is ever rounded. A worker has [`Pools`]:
//! a sum (memory) or single items (GPUs, CPUs). A job names alternatives ([`Needs`]), the first that fits is taken.
//! The same code matches in the orchestrator and assigns in the worker: what was leased can be assigned.
//!
//! Syntax and meaning follow `HyperQueue`'s, so that its users need not learn another.

mod amount;
mod need;
mod pool;
mod requirements;

pub use amount::{Amount, AmountError, mebibytes};
pub(crate) use need::Written;
pub use need::{MAX_ALTERNATIVES, MAX_NEEDS, Need, Needs, NeedsError, Quantity, Variant};
pub use pool::{Allocation, Item, MAX_ITEMS, MAX_POOLS, Pool, PoolError, Pools, Taken};
pub use requirements::{MAX_LABELS, Offer, Preference, Requirements, label_faults};

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The name of a resource. `cpus`, `mem` (in MiB) and `gpus` are found by workers themselves.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceName(Arc<str>);

/// Why a text does not name a resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not the name of a resource: use 1 to 64 letters, digits, _ and /, and start with a letter")]
pub struct ResourceNameError(String);

/// Processors.
pub const CPUS: &str = "cpus";
/// Main memory, in MiB.
pub const MEM: &str = "mem";
/// NVIDIA GPUs, also written `gpu` and `gpus/nvidia`.
pub const GPUS: &str = "gpus";

impl ResourceName {
    /// The name, if the text is one.
    ///
    /// # Errors
    /// [`ResourceNameError`] for a name that could not stand in an environment variable.
    pub fn new(text: &str) -> Result<Self, ResourceNameError> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_');
        let named = !text.is_empty() && text.len() <= 64 && text.starts_with(|c: char| c.is_ascii_alphabetic());
        if !named || !text.chars().all(fits) || text == need::MIN_TIME {
            return Err(ResourceNameError(text.chars().take(64).collect()));
        }
        Ok(Self(match text {
            "gpu" | "gpus/nvidia" => GPUS.into(),
            "cpu" => CPUS.into(),
            "memory" => MEM.into(),
            other => other.into(),
        }))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ResourceName {
    type Err = ResourceNameError;

    fn from_str(text: &str) -> Result<Self, ResourceNameError> {
        Self::new(text)
    }
}

impl fmt::Display for ResourceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for ResourceName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for ResourceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

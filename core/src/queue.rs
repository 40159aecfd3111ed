//! Queues: named streams of jobs with their defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::{ContractRef, Kind, QueueName};
use crate::limit::KeyValue;
use crate::policy::{LeasePatch, RetryPatch};
use crate::time::Span;

/// A queue as a user defines it and as the ledger records it. Defining it again replaces the whole definition;
/// jobs keep the contract under which their lease was granted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueueSpec {
    /// Its name.
    #[serde(rename = "queue")]
    pub name: QueueName,
    /// The contract that judges its candidates. Without one, every candidate is rejected.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contract: Option<ContractRef>,
    /// The kind of jobs that name none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// What it changes of the retry rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPatch,
    /// What it changes of the lease rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: LeasePatch,
    /// How long one attempt of a job may run. None: as long as its lease is kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// How long a job may stand ready without a worker until it is cancelled. None: for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Span>,
    /// Its share of the leases, against the other queues' weights: 1 to [`crate::limit::MAX_WEIGHT`]. None:
    /// [`crate::limit::DEFAULT_WEIGHT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<u32>,
    /// The shares of values of its jobs' fair keys, against each other: 1 to [`crate::limit::MAX_WEIGHT`], and
    /// [`crate::limit::DEFAULT_WEIGHT`] for values that are not here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub fair_weights: BTreeMap<KeyValue, u32>,
    /// How many of its jobs may run at once. None: as many as there are workers for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
}

impl QueueSpec {
    /// A queue with every default.
    pub fn new(name: QueueName) -> Self {
        Self {
            name,
            contract: None,
            kind: None,
            retry: RetryPatch::default(),
            lease: LeasePatch::default(),
            timeout: None,
            queue_timeout: None,
            weight: None,
            fair_weights: BTreeMap::new(),
            max_running: None,
        }
    }
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

//! Jobs as users submit them and as the ledger records them.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::array::ArraySpec;
use crate::digest::Digest;
use crate::gang::GangSpec;
use crate::id::{KeyName, Kind, QueueName, SemaphoreName};
use crate::json::{self, JsonError};
use crate::limit::KeyValue;
use crate::policy::{LeasePatch, RetryPatch};
use crate::queue::is_default;
use crate::resource::{Needs, Preference, Requirements};
use crate::time::{Span, Timestamp};
use crate::unique::Unique;

/// The most bytes of a job's payload, in canonical form.
pub const MAX_PAYLOAD_BYTES: usize = 256 * 1024;

/// The deepest nesting of a payload.
pub const MAX_PAYLOAD_DEPTH: usize = 64;

/// What a job is about: JSON in canonical form (RFC 8785), meaningful to its runner and its contract only.
#[derive(Clone, Debug)]
pub struct Payload(Box<RawValue>);

impl Payload {
    /// The payload that a JSON text means.
    ///
    /// # Errors
    /// [`JsonError`] if the text is not strict JSON (duplicate keys, numbers beyond a double), too deep
    /// ([`MAX_PAYLOAD_DEPTH`]) or too large ([`MAX_PAYLOAD_BYTES`]).
    pub fn parse(text: &[u8]) -> Result<Self, JsonError> {
        let limits = json::Limits { max_bytes: MAX_PAYLOAD_BYTES, max_depth: MAX_PAYLOAD_DEPTH };
        Ok(Self(json::parse_tree(text, limits)?.canonical_raw()))
    }

    /// The payload that holds this value.
    pub fn from_value(value: &serde_json::Value) -> Self {
        Self(json::Tree::from(value).canonical_raw())
    }

    /// The canonical JSON text.
    pub fn as_str(&self) -> &str {
        self.0.get()
    }

    /// The payload as a value.
    pub fn value(&self) -> serde_json::Value {
        // The text was made by `canonical`, which only writes JSON.
        serde_json::from_str(self.as_str()).unwrap_or_default()
    }
}

impl Default for Payload {
    fn default() -> Self {
        Self::from_value(&serde_json::Value::Null)
    }
}

impl PartialEq for Payload {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Serialize for Payload {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Payload {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self(Box::<RawValue>::deserialize(deserializer)?))
    }
}

/// What happens to a job when one that it depends on fails or is cancelled.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDependencyFailure {
    /// The job is cancelled too.
    #[default]
    Cancel,
    /// The job goes on as if the other had been done.
    Continue,
}

/// A job as submitted, recorded word for word.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobSpec {
    /// The queue it belongs to.
    pub queue: QueueName,
    /// Its kind; without one, the queue's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<Kind>,
    /// A name for people, and for `depends_on` within one submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What to compute.
    #[serde(default)]
    pub payload: Payload,
    /// Higher goes first; equal ones go in the order of their submit.
    #[serde(default, skip_serializing_if = "is_default")]
    pub priority: i32,
    /// Whose it is: jobs of a queue with the same priority take turns by this value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fair_key: Option<KeyValue>,
    /// What limits may be about: `host = api.example.org`. Jobs of any queue share a key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<KeyName, KeyValue>,
    /// How many units of which semaphores it takes while it runs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub semaphores: BTreeMap<SemaphoreName, u32>,
    /// What it needs of its worker, in alternatives; nothing but a slot if there are none.
    #[serde(default, skip_serializing_if = "Needs::is_empty")]
    pub resources: Needs,
    /// Labels that its worker must have.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Labels for which one worker is preferred to another.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub prefer: Vec<Preference>,
    /// What it changes of its queue's retry rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub retry: RetryPatch,
    /// What it changes of its queue's lease rule.
    #[serde(default, skip_serializing_if = "is_default")]
    pub lease: LeasePatch,
    /// How long one attempt may run; without it, as the queue says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<Span>,
    /// Not before this long after the submit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay: Option<Span>,
    /// Not before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub not_before: Option<Timestamp>,
    /// How long it may stand ready without a worker until it is cancelled; without it, as the queue says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue_timeout: Option<Span>,
    /// Names of jobs of the same submit that must be done first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub depends_on: Vec<String>,
    /// What happens when one of them fails or is cancelled.
    #[serde(default, skip_serializing_if = "is_default")]
    pub on_dependency_failure: OnDependencyFailure,
    /// The same key and spec again give the same job instead of a second one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// For how long the key stands for this job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub unique: Unique,
    /// The tasks that it stands for, if it is an array.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub array: Option<ArraySpec>,
    /// How many workers it needs at once, if not one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gang: Option<GangSpec>,
}

impl JobSpec {
    /// A job with every default.
    pub fn new(queue: QueueName, payload: Payload) -> Self {
        Self {
            queue,
            kind: None,
            name: None,
            payload,
            priority: 0,
            fair_key: None,
            keys: BTreeMap::new(),
            semaphores: BTreeMap::new(),
            resources: Needs::default(),
            labels: BTreeMap::new(),
            prefer: Vec::new(),
            retry: RetryPatch::default(),
            lease: LeasePatch::default(),
            timeout: None,
            delay: None,
            not_before: None,
            queue_timeout: None,
            depends_on: Vec::new(),
            on_dependency_failure: OnDependencyFailure::default(),
            idempotency_key: None,
            unique: Unique::default(),
            array: None,
            gang: None,
        }
    }

    /// What it requires of its worker, as a job of this kind.
    pub fn requirements(&self, kind: &Kind) -> Requirements {
        Requirements {
            needs: self.resources.clone(),
            labels: self.labels.clone(),
            prefer: self.prefer.clone(),
            avoid: BTreeSet::new(),
            gang: self.gang.map(|gang| gang.required(kind, &self.queue)),
        }
    }

    /// Digest of the whole spec, by which an idempotency key tells a repeat from another job.
    pub fn digest(&self) -> Digest {
        // Fields are written in their order above and the payload is canonical: equal specs have equal texts.
        Digest::of(&serde_json::to_vec(self).unwrap_or_default())
    }

    /// The fields in which two specs differ, by name, for a message that says why a key was refused.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let object = |spec: &Self| match serde_json::to_value(spec) {
            Ok(serde_json::Value::Object(map)) => map,
            Ok(_) | Err(_) => serde_json::Map::new(),
        };
        let (mine, theirs) = (object(self), object(other));
        let keys: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        keys.into_iter().filter(|key| mine.get(*key) != theirs.get(*key)).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(payload: &str) -> JobSpec {
        JobSpec::new(QueueName::new("q").unwrap(), Payload::parse(payload.as_bytes()).unwrap())
    }

    #[test]
    fn a_payload_is_canonical_so_that_equal_means_equal() {
        assert_eq!(spec("{\"b\":1.0, \"a\":2}"), spec("{\"a\":2,\"b\":1}"));
        assert_eq!(spec("{\"b\":1.0, \"a\":2}").payload.as_str(), "{\"a\":2,\"b\":1}");
    }

    #[test]
    fn differences_are_named() {
        let (mut a, b) = (spec("1"), spec("2"));
        a.priority = 4;
        assert_eq!(a.differences(&b), ["payload", "priority"]);
        assert_ne!(a.digest(), b.digest());
    }
}

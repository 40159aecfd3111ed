//! A range cut into jobs: one line of a manifest for a million of them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::check::job_faults;
use crate::id::{KeyName, Kind, QueueName, SemaphoreName};
use crate::job::{JobSpec, OnDependencyFailure, Payload};
use crate::limit::KeyValue;
use crate::policy::{LeasePatch, RetryPatch};
use crate::resource::{Needs, Preference};
use crate::time::{Span, Timestamp};
use crate::unique::Unique;

/// The most jobs that one range may be cut into.
pub const MAX_RANGE_JOBS: u64 = 10_000_000;

/// The largest bound of a range, either way: up to 2^53 every whole number is a JSON number that keeps its value.
const MAX_BOUND: i64 = 1 << 53;

/// A range of whole numbers and the job that each of its pieces becomes.
#[derive(Clone, Debug, PartialEq)]
pub struct RangeSpec {
    /// The job, but for the two bounds in its payload and its idempotency key.
    template: JobSpec,
    key: String,
    cut: Cut,
}

/// How a range is cut: `[from, to)` into pieces of `step`, the last one shorter if it does not come out even.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cut {
    /// The first number.
    pub from: i64,
    /// One more than the last number.
    pub to: i64,
    /// How many numbers a piece has.
    pub step: i64,
    /// The payload's fields that get a piece's bounds: its first number, and one more than its last.
    #[serde(rename = "as")]
    pub names: [String; 2],
}

/// `jobs:` with a range, as written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RangeDocument {
    queue: QueueName,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    payload: Value,
    #[serde(default)]
    priority: i32,
    #[serde(default)]
    fair_key: Option<KeyValue>,
    #[serde(default)]
    keys: BTreeMap<KeyName, KeyValue>,
    #[serde(default)]
    semaphores: BTreeMap<SemaphoreName, u32>,
    #[serde(default)]
    resources: Needs,
    #[serde(default)]
    labels: BTreeMap<String, String>,
    #[serde(default)]
    prefer: Vec<Preference>,
    #[serde(default)]
    retry: RetryPatch,
    #[serde(default)]
    lease: LeasePatch,
    #[serde(default)]
    timeout: Option<Span>,
    #[serde(default)]
    delay: Option<Span>,
    #[serde(default)]
    not_before: Option<Timestamp>,
    #[serde(default)]
    queue_timeout: Option<Span>,
    #[serde(default)]
    depends_on: Vec<String>,
    #[serde(default)]
    on_dependency_failure: OnDependencyFailure,
    #[serde(default)]
    key: Option<String>,
    #[serde(default)]
    unique: Unique,
    range: Cut,
}

impl RangeDocument {
    /// The range, or every fault of it: field and message.
    pub(super) fn resolve(self) -> Result<RangeSpec, Vec<(String, String)>> {
        let Self {
            queue,
            kind,
            payload,
            priority,
            fair_key,
            keys,
            semaphores,
            resources,
            labels,
            prefer,
            retry,
            lease,
            timeout,
            delay,
            not_before,
            queue_timeout,
            depends_on,
            on_dependency_failure,
            key,
            unique,
            range: cut,
        } = self;
        let mut faults = cut.faults();
        match &payload {
            Value::Null => {}
            Value::Object(map) => {
                let mut taken: Vec<&String> = cut.names.iter().filter(|name| map.contains_key(*name)).collect();
                taken.dedup();
                let fault = |name| (format!("payload.{name}"), "is what the range sets: leave it out".to_owned());
                faults.extend(taken.into_iter().map(fault));
            }
            Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                faults.push(("payload".to_owned(), "must be a map, which the range adds its bounds to".to_owned()));
            }
        }
        let key = key.unwrap_or_else(|| queue.to_string());
        let template = JobSpec {
            queue,
            kind,
            name: None,
            payload: Payload::from_value(&payload),
            priority,
            fair_key,
            keys,
            semaphores,
            resources,
            labels,
            prefer,
            retry,
            lease,
            timeout,
            delay,
            not_before,
            queue_timeout,
            depends_on,
            on_dependency_failure,
            idempotency_key: None,
            unique,
            array: None,
            gang: None,
        };
        let range = RangeSpec { template, key, cut };
        if faults.is_empty() {
            // What is wrong with one piece is wrong with all; the last one has the longest key or nearly so.
            faults.extend(job_faults(&range.piece(range.len() - 1)));
        }
        if faults.is_empty() { Ok(range) } else { Err(faults) }
    }
}

impl Cut {
    fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: String| faults.push((format!("range.{field}"), message));
        let Self { from, to, step, names } = self;
        for (field, bound) in [("from", from), ("to", to)] {
            if !(-MAX_BOUND..=MAX_BOUND).contains(bound) {
                fault(field, format!("{bound} is beyond 2^53"));
            }
        }
        if to <= from {
            fault("to", format!("{to} is not greater than from = {from}"));
        }
        if *step < 1 {
            fault("step", format!("{step} is less than 1"));
        } else if self.len() > MAX_RANGE_JOBS {
            fault(
                "step",
                format!("{step} cuts the range into {} jobs, at most {MAX_RANGE_JOBS} are allowed", self.len()),
            );
        }
        if names[0] == names[1] || names.iter().any(String::is_empty) {
            fault("as", "must be two different names".to_owned());
        }
        faults
    }

    /// How many pieces there are. Needs a step from 1.
    fn len(&self) -> u64 {
        let width = i128::from(self.to) - i128::from(self.from);
        let step = i128::from(self.step);
        u64::try_from((width + step - 1) / step).unwrap_or(0)
    }
}

impl RangeSpec {
    /// How many jobs it makes: 1 to [`MAX_RANGE_JOBS`].
    pub fn len(&self) -> u64 {
        self.cut.len()
    }

    /// Whether it makes none, which no range that was read does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The queue of its jobs.
    pub fn queue(&self) -> &QueueName {
        &self.template.queue
    }

    /// How it is cut.
    pub fn cut(&self) -> &Cut {
        &self.cut
    }

    /// The jobs, made one by one. Each has the key `KEY/FROM-TO`, so that submitting the range again adds none.
    pub fn jobs(&self) -> impl Iterator<Item = JobSpec> {
        (0..self.len()).map(|i| self.piece(i))
    }

    pub(super) fn template(&self) -> &JobSpec {
        &self.template
    }

    fn piece(&self, i: u64) -> JobSpec {
        let Cut { from, to, step, names } = &self.cut;
        // The bounds are within 2^53 and i below 10^7 pieces that lie between them: i128 is only for the last sum.
        let low = i128::from(*from) + i128::from(i) * i128::from(*step);
        let high = (low + i128::from(*step)).min(i128::from(*to));
        let (low, high) = (low as i64, high as i64);
        let mut payload = match self.template.payload.value() {
            Value::Object(map) => map,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                serde_json::Map::new()
            }
        };
        payload.insert(names[0].clone(), low.into());
        payload.insert(names[1].clone(), high.into());
        JobSpec {
            payload: Payload::from_value(&Value::Object(payload)),
            idempotency_key: Some(format!("{}/{low}-{high}", self.key)),
            ..self.template.clone()
        }
    }
}

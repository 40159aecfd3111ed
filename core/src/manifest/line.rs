//! One line of a JSONL import: a job.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value};

use super::check::job_faults;
use super::shape::{self, JOB};
use crate::array::ArraySpec;
use crate::gang::GangSpec;
use crate::id::{KeyName, Kind, QueueName, SemaphoreName};
use crate::job::{JobSpec, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH, OnDependencyFailure, Payload};
use crate::json::{self, Limits};
use crate::limit::KeyValue;
use crate::policy::{LeasePatch, RetryPatch};
use crate::resource::{Needs, Preference};
use crate::time::{Span, Timestamp};
use crate::unique::Unique;

/// The most bytes of a line: the largest payload, and generous room for the rest.
pub const MAX_LINE_BYTES: usize = MAX_PAYLOAD_BYTES + 64 * 1024;

/// Why a line is not a job: every fault that was found, each naming its field.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", faults.join("; "))]
pub struct LineError {
    /// The faults.
    pub faults: Vec<String>,
}

/// A job as a line has it: the queue may come from elsewhere.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JobLine {
    #[serde(default)]
    queue: Option<QueueName>,
    #[serde(default)]
    kind: Option<Kind>,
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    payload: Payload,
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
    idempotency_key: Option<String>,
    #[serde(default)]
    unique: Unique,
    array: Option<ArraySpec>,
    gang: Option<GangSpec>,
}

/// The job in a line of JSON: an object with the fields of a [`JobSpec`]. A line without `queue` gets the default.
///
/// # Errors
/// [`LineError`], for a line that is too long, not strict JSON, has unknown or duplicate fields, lacks a queue where
/// there is no default, or has a field with a value that it cannot have.
pub fn job_from_json(line: &[u8], default_queue: Option<&QueueName>) -> Result<JobSpec, LineError> {
    if line.len() > MAX_LINE_BYTES {
        return Err(one(format!("the line is {} bytes long, at most {MAX_LINE_BYTES} are allowed", line.len())));
    }
    // Millions of lines come this way: a good one is read straight into its fields, and the payload, which is kept
    // as it was written, is then read strictly. Whatever fails is looked at again with care.
    if let Ok(job) = serde_json::from_slice::<JobLine>(line)
        && let Some(job) = job.resolve(default_queue)
        && job_faults(&job).is_empty()
    {
        return Ok(job);
    }
    diagnose(line, default_queue)
}

impl JobLine {
    fn resolve(self, default_queue: Option<&QueueName>) -> Option<JobSpec> {
        let Self {
            queue,
            kind,
            name,
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
            idempotency_key,
            unique,
            array,
            gang,
        } = self;
        Some(JobSpec {
            queue: queue.or_else(|| default_queue.cloned())?,
            kind,
            name,
            payload: Payload::parse(payload.as_str().as_bytes()).ok()?,
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
            idempotency_key,
            unique,
            array,
            gang,
        })
    }
}

/// The slow way, which says what is wrong.
fn diagnose(line: &[u8], default_queue: Option<&QueueName>) -> Result<JobSpec, LineError> {
    // The payload's own limits are checked with the job; its object is one level down.
    let limits = Limits { max_bytes: MAX_LINE_BYTES, max_depth: MAX_PAYLOAD_DEPTH + 1 };
    let value = json::parse(line, limits).map_err(|error| one(error.to_string()))?;
    let Value::Object(mut map) = value else {
        return Err(one("a line must be a JSON object with the fields of a job".to_owned()));
    };
    if let (false, Some(queue)) = (map.contains_key("queue"), default_queue) {
        map.insert("queue".to_owned(), Value::from(queue.as_str()));
    }
    let mut faults = field_faults(&map);
    if !map.contains_key("queue") {
        faults.push("queue: is missing, and no default was given".to_owned());
    }
    if !faults.is_empty() {
        return Err(LineError { faults });
    }
    let payload = Payload::from_value(map.get("payload").unwrap_or(&Value::Null));
    let job: JobSpec = serde_json::from_value(Value::Object(map)).map_err(|error| one(error.to_string()))?;
    let job = JobSpec { payload, ..job };
    let faults: Vec<String> = job_faults(&job).into_iter().map(|(field, text)| format!("{field}: {text}")).collect();
    if faults.is_empty() { Ok(job) } else { Err(LineError { faults }) }
}

fn field_faults(map: &Map<String, Value>) -> Vec<String> {
    let mut faults = Vec::new();
    for (key, value) in map {
        if !JOB.fields.contains(&key.as_str()) {
            faults.push(format!("{key}: {}", shape::unknown(key, JOB.fields)));
            continue;
        }
        let mut alone = Map::new();
        alone.insert("queue".to_owned(), Value::from("q"));
        alone.insert(key.clone(), value.clone());
        if let Err(error) = serde_json::from_value::<JobSpec>(Value::Object(alone)) {
            faults.push(format!("{key}: {error}"));
        }
    }
    faults
}

fn one(fault: String) -> LineError {
    LineError { faults: vec![fault] }
}

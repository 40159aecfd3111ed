//! What types alone do not say: sensible values of a job, and names that lead to jobs without a circle.

use std::collections::{BTreeMap, HashMap};

use super::shape::nearest;
use super::{Fault, Place};
use crate::array::array_faults;
use crate::gang::gang_faults;
use crate::id::{KeyName, SemaphoreName};
use crate::job::{JobSpec, MAX_PAYLOAD_BYTES, MAX_PAYLOAD_DEPTH};
use crate::limit::{KeyValue, MAX_FAIR_WEIGHTS, MAX_KEYS, MAX_WEIGHT, RUNNING};
use crate::policy::{LeasePatch, RetryPatch};
use crate::resource::label_faults;
use crate::retry::MAX_RULES;
use crate::time::Span;
use crate::unique::Unique;

/// The most characters of a job's name or idempotency key.
pub const MAX_NAME_CHARS: usize = 256;

/// The most jobs that one job may wait for.
pub const MAX_DEPENDENCIES: usize = 10_000;

/// Every fault of a job that its types let through: field and message.
pub(super) fn job_faults(job: &JobSpec) -> Vec<(String, String)> {
    let mut faults = rule_faults(&job.retry, &job.lease, job.timeout, job.queue_timeout);
    let mut fault = |field: &str, message: String| faults.push((field.to_owned(), message));
    for (field, text) in [("name", &job.name), ("idempotency_key", &job.idempotency_key)] {
        if let Some(message) = text.as_ref().and_then(|text| name_fault(text)) {
            fault(field, message);
        }
    }
    if job.unique != Unique::Forever && job.idempotency_key.is_none() {
        fault("unique", "is about an idempotency_key, and there is none".to_owned());
    }
    if job.depends_on.len() > MAX_DEPENDENCIES {
        fault("depends_on", format!("names {} jobs, at most {MAX_DEPENDENCIES} are allowed", job.depends_on.len()));
    }
    for (field, message) in want_faults(&job.keys, &job.semaphores) {
        fault(&field, message);
    }
    for (field, message) in
        label_faults(&job.labels, &job.prefer).into_iter().chain(array_faults(job)).chain(gang_faults(job))
    {
        fault(&field, message);
    }
    let text = job.payload.as_str();
    if text.len() > MAX_PAYLOAD_BYTES {
        fault("payload", format!("is {} bytes of JSON, at most {MAX_PAYLOAD_BYTES} are allowed", text.len()));
    }
    if nesting(text) > MAX_PAYLOAD_DEPTH {
        fault("payload", format!("is nested more than {MAX_PAYLOAD_DEPTH} levels deep"));
    }
    faults
}

/// The faults of what a job wants of limits: field and message.
pub fn want_faults(
    keys: &BTreeMap<KeyName, KeyValue>,
    semaphores: &BTreeMap<SemaphoreName, u32>,
) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (field, count) in [("keys", keys.len()), ("semaphores", semaphores.len())] {
        if count > MAX_KEYS {
            faults.push((field.to_owned(), format!("has {count} names, at most {MAX_KEYS} are allowed")));
        }
    }
    for (name, units) in semaphores {
        let field = format!("semaphores.{name}");
        if name.as_str() == RUNNING {
            faults.push((field, "is the word for all running jobs: give the semaphore another name".to_owned()));
        } else if *units == 0 {
            faults.push((field, "0 units would limit nothing: leave it out".to_owned()));
        }
    }
    faults
}

/// The faults of what a queue says of its share: field and message.
pub fn share_faults(
    weight: Option<u32>,
    fair_weights: &BTreeMap<KeyValue, u32>,
    max_running: Option<u32>,
) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    if let Some(weight) = weight.filter(|weight| !(1..=MAX_WEIGHT).contains(weight)) {
        faults.push(("weight".to_owned(), format!("{weight} is not between 1 and {MAX_WEIGHT}")));
    }
    if fair_weights.len() > MAX_FAIR_WEIGHTS {
        let message = format!("has {} values, at most {MAX_FAIR_WEIGHTS} are allowed", fair_weights.len());
        faults.push(("fair_weights".to_owned(), message));
    }
    for (value, weight) in fair_weights.iter().filter(|(_, weight)| !(1..=MAX_WEIGHT).contains(*weight)) {
        faults.push((format!("fair_weights.{value}"), format!("{weight} is not between 1 and {MAX_WEIGHT}")));
    }
    if max_running == Some(0) {
        faults.push(("max_running".to_owned(), "0 would run nothing: pause the queue instead".to_owned()));
    }
    faults
}

/// The faults of the rules about failures: field and message.
pub fn retry_rule_faults(retry: &RetryPatch) -> Vec<(String, String)> {
    let rules = retry.rules.as_deref().unwrap_or_default();
    let mut faults = Vec::new();
    if rules.len() > MAX_RULES {
        faults.push(("rules".to_owned(), format!("has {} rules, at most {MAX_RULES} are allowed", rules.len())));
    }
    for (i, rule) in rules.iter().enumerate() {
        faults.extend(rule.faults().into_iter().map(|(field, message)| (format!("rules[{i}].{field}"), message)));
    }
    faults
}

/// The faults of retry and lease rules, of a job or a queue: field and message.
pub(super) fn rule_faults(
    retry: &RetryPatch,
    lease: &LeasePatch,
    timeout: Option<Span>,
    queue_timeout: Option<Span>,
) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: &str| faults.push((field.to_owned(), message.to_owned()));
    if retry.max_attempts == Some(0) {
        fault("retry.max_attempts", "0 would never run the job: 1 means no retry");
    }
    if retry.crash_limit == Some(0) {
        fault("retry.crash_limit", "0 would never run the job: 1 means no second worker");
    }
    for (field, message) in retry_rule_faults(retry) {
        fault(&format!("retry.{field}"), &message);
    }
    // Written so that a NaN is a fault too.
    if retry.factor.is_some_and(|factor| !(1.0..=1e6).contains(&factor)) {
        fault("retry.factor", "must be between 1 and 1e6");
    }
    if lease.ttl == Some(Span(0)) {
        fault("lease.ttl", "must be longer than 0");
    }
    if lease.heartbeat == Some(Span(0)) {
        fault("lease.heartbeat", "must be longer than 0");
    }
    if let (Some(ttl), Some(heartbeat)) = (lease.ttl, lease.heartbeat)
        && heartbeat >= ttl
    {
        fault("lease.heartbeat", &format!("{heartbeat} is not shorter than ttl = {ttl}"));
    }
    if timeout == Some(Span(0)) {
        fault("timeout", "must be longer than 0");
    }
    if queue_timeout == Some(Span(0)) {
        fault("queue_timeout", "must be longer than 0");
    }
    faults
}

fn name_fault(text: &str) -> Option<String> {
    let chars = text.chars().count();
    if chars == 0 || chars > MAX_NAME_CHARS {
        return Some(format!("has {chars} characters: 1 to {MAX_NAME_CHARS} are allowed"));
    }
    text.chars().any(char::is_control).then(|| "has a control character".to_owned())
}

/// How deep a JSON text is nested.
fn nesting(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A job of a manifest and where it stands.
pub(super) struct Listed<'a> {
    pub(super) job: &'a JobSpec,
    pub(super) document: usize,
    pub(super) at: Place,
    pub(super) path: String,
}

/// The faults of names and dependencies across a submit.
pub(super) fn dependency_faults(jobs: &[Listed<'_>]) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut by_name: HashMap<&str, usize> = HashMap::new();
    for (i, listed) in jobs.iter().enumerate() {
        let Some(name) = &listed.job.name else { continue };
        if let Some(first) = by_name.insert(name, i) {
            by_name.insert(name, first);
            faults.push(listed.fault("name", format!("{name:?} is also the name of {}", jobs[first].title())));
        }
    }
    let mut waits: Vec<Vec<usize>> = Vec::with_capacity(jobs.len());
    for listed in jobs {
        let mut targets = Vec::new();
        for (k, name) in listed.job.depends_on.iter().enumerate() {
            match by_name.get(name.as_str()) {
                Some(&target) => targets.push(target),
                None => faults.push(listed.fault(&format!("depends_on[{k}]"), missing(name, &by_name))),
            }
        }
        waits.push(targets);
    }
    if faults.is_empty()
        && let Some(circle) = circle(&waits)
    {
        let names: Vec<&str> = circle.iter().filter_map(|i| jobs[*i].job.name.as_deref()).collect();
        let message = format!("is a circle: {} waits for itself", names.join(" waits for "));
        faults.push(jobs[circle[0]].fault("depends_on", message));
    }
    faults
}

fn missing(name: &str, by_name: &HashMap<&str, usize>) -> String {
    // Comparing with every name of a huge submit, for every missing one, would take minutes.
    let near = if by_name.len() <= 1_000 { nearest(name, by_name.keys().copied()) } else { None };
    match near {
        Some(near) => format!("{name:?} is no job of this submit: did you mean {near:?}?"),
        None => format!("{name:?} is no job of this submit"),
    }
}

/// Jobs that wait for each other in a circle, if there are any, by an iterative depth-first search.
fn circle(waits: &[Vec<usize>]) -> Option<Vec<usize>> {
    #[derive(Clone, Copy, PartialEq)]
    enum Mark {
        New,
        Open,
        Done,
    }
    let mut marks = vec![Mark::New; waits.len()];
    for start in 0..waits.len() {
        if marks[start] != Mark::New {
            continue;
        }
        marks[start] = Mark::Open;
        // The way from the start to here, each job with the next of its targets to visit.
        let mut way = vec![(start, 0)];
        while let Some((job, next)) = way.last_mut() {
            let Some(&target) = waits[*job].get(*next) else {
                marks[*job] = Mark::Done;
                way.pop();
                continue;
            };
            *next += 1;
            match marks[target] {
                Mark::New => {
                    marks[target] = Mark::Open;
                    way.push((target, 0));
                }
                Mark::Open => return Some(way.iter().map(|(job, _)| *job).skip_while(|job| *job != target).collect()),
                Mark::Done => {}
            }
        }
    }
    None
}

impl Listed<'_> {
    fn fault(&self, field: &str, message: String) -> Fault {
        let path = super::shape::join(&self.path, field);
        Fault { document: Some(self.document), at: Some(self.at), path, message }
    }

    fn title(&self) -> String {
        format!("{} in document {}", self.path, self.document)
    }
}

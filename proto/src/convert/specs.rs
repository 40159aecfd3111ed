//! Jobs and queues as submitted: `v1::JobSpec`, `v1::QueueSpec` and their patches to the core's and back.
//!
//! The bounds here keep what could not be replayed out of the ledger: a time beyond the calendar, a factor that
//! JSON cannot write, texts that would make a line too long.

use orch_core::array::{ArraySpec, Fields, TasksError, array_faults};
use orch_core::gang::{GangSpec, gang_faults};
use orch_core::id::{ContractRef, Kind, QueueName};
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::limit::KeyValue;
use orch_core::manifest::{MAX_DEPENDENCIES, MAX_NAME_CHARS, retry_rule_faults, share_faults, want_faults};
use orch_core::policy::{LeasePatch, RetryPatch};
use orch_core::queue::QueueSpec;
use orch_core::resource::label_faults;
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;

use super::{Faults, limits, resources, retry};
use crate::v1;

/// The most bytes of the names of a job's dependencies together: its record must fit into a line of the ledger.
pub const MAX_DEPENDENCY_BYTES: usize = 256 * 1024;

/// The longest delay, timeout or wait: 100 years of 365 days.
pub const MAX_SPAN: Span = Span::seconds(100 * 365 * 86_400);

/// The last time that can be written in RFC 3339 in every time zone: 9999-12-30T22:00:00Z.
pub const MAX_TIMESTAMP: Timestamp = Timestamp(253_402_207_200_000);

impl TryFrom<v1::JobSpec> for JobSpec {
    type Error = Faults;

    fn try_from(wire: v1::JobSpec) -> Result<Self, Faults> {
        let v1::JobSpec {
            queue,
            kind,
            name,
            payload_json,
            priority,
            retry,
            lease,
            timeout_ms,
            delay_ms,
            not_before_unix_ms,
            depends_on,
            continue_on_dependency_failure,
            idempotency_key,
            keys,
            semaphores,
            resources: wire_resources,
            labels,
            prefer,
            queue_timeout_ms,
            unique: wire_unique,
            array,
            fair_key,
            gang,
        } = wire;
        let mut faults = Faults::new();
        let queue = faults.take("queue", QueueName::new(&queue));
        let kind = optional(kind).and_then(|kind| faults.take("kind", Kind::new(&kind)));
        let payload = if payload_json.is_empty() {
            Some(Payload::default())
        } else {
            faults.take("payload_json", Payload::parse(payload_json.as_bytes()))
        };
        let retry = faults.absorb("retry", retry.unwrap_or_default().try_into());
        let lease = faults.absorb("lease", lease.unwrap_or_default().try_into());
        let name = optional(name).and_then(|name| faults.take("name", text(name)));
        let timeout = timeout_ms.and_then(|ms| faults.take("timeout_ms", positive(ms)));
        let delay = delay_ms.and_then(|ms| faults.take("delay_ms", span(ms)));
        let not_before = not_before_unix_ms.and_then(|ms| faults.take("not_before_unix_ms", timestamp(ms)));
        let queue_timeout = queue_timeout_ms.and_then(|ms| faults.take("queue_timeout_ms", positive(ms)));
        let key = optional(idempotency_key).and_then(|key| faults.take("idempotency_key", text(key)));
        let unique = faults.take("unique", unique(wire_unique, key.is_some())).unwrap_or_default();
        let depends_on = dependencies(depends_on, &mut faults);
        let fair_key = optional(fair_key).and_then(|value| faults.take("fair_key", KeyValue::new(&value)));
        let keys = limits::keys(keys, &mut faults);
        let semaphores = limits::semaphores(semaphores, &mut faults);
        for (field, message) in want_faults(&keys, &semaphores) {
            faults.push(&field, message);
        }
        let resources = resources::needs(wire_resources, &mut faults);
        let (labels, prefer) = (labels.into_iter().collect(), resources::preferences(prefer));
        for (field, message) in label_faults(&labels, &prefer) {
            faults.push(&field, message);
        }
        let on_dependency_failure = match continue_on_dependency_failure {
            true => OnDependencyFailure::Continue,
            false => OnDependencyFailure::Cancel,
        };
        let gang = gang.map(|v1::GangSpec { workers, timeout_ms }| GangSpec {
            workers,
            timeout: timeout_ms.and_then(|ms| faults.take("gang.timeout_ms", span(ms))),
        });
        let array = array.and_then(|array| faults.take("array", ArraySpec::try_from(array)));
        let (Some(queue), Some(payload), Some(retry), Some(lease)) = (queue, payload, retry, lease) else {
            return Err(faults);
        };
        let spec = Self {
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
            idempotency_key: key,
            unique,
            array,
            gang,
        };
        for (field, message) in array_faults(&spec).into_iter().chain(gang_faults(&spec)) {
            faults.push(&field, message);
        }
        faults.or(spec)
    }
}

impl TryFrom<v1::ArraySpec> for ArraySpec {
    type Error = String;

    fn try_from(wire: v1::ArraySpec) -> Result<Self, String> {
        let v1::ArraySpec { tasks, r#as, max_running } = wire;
        let fields = match <[String; 2]>::try_from(r#as) {
            Ok(bounds) => Fields::Bounds(bounds),
            Err(names) if names.len() > 2 => {
                return Err(format!("as has {} names, at most 2 are allowed", names.len()));
            }
            Err(names) => names.into_iter().next().map_or_else(Fields::default, Fields::Index),
        };
        let tasks = tasks.parse().map_err(|error: TasksError| format!("tasks: {error}"))?;
        Ok(Self { tasks, fields, max_running })
    }
}

impl From<&ArraySpec> for v1::ArraySpec {
    fn from(array: &ArraySpec) -> Self {
        let ArraySpec { tasks, fields, max_running } = array;
        let names = if *fields == Fields::default() { &[][..] } else { fields.names() };
        Self { tasks: tasks.to_string(), r#as: names.to_vec(), max_running: *max_running }
    }
}

impl From<&JobSpec> for v1::JobSpec {
    fn from(spec: &JobSpec) -> Self {
        let JobSpec {
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
        } = spec;
        Self {
            queue: queue.to_string(),
            kind: kind.as_ref().map(ToString::to_string).unwrap_or_default(),
            name: name.clone().unwrap_or_default(),
            payload_json: payload.as_str().to_owned(),
            priority: *priority,
            retry: retry_to_wire(retry),
            lease: lease_to_wire(lease),
            timeout_ms: timeout.map(|span| span.0),
            delay_ms: delay.map(|span| span.0),
            not_before_unix_ms: not_before.map(|time| time.0),
            depends_on: depends_on.clone(),
            continue_on_dependency_failure: match on_dependency_failure {
                OnDependencyFailure::Cancel => false,
                OnDependencyFailure::Continue => true,
            },
            idempotency_key: idempotency_key.clone().unwrap_or_default(),
            array: array.as_ref().map(Into::into),
            gang: gang
                .map(|GangSpec { workers, timeout }| v1::GangSpec { workers, timeout_ms: timeout.map(|span| span.0) }),
            keys: keys.iter().map(|(name, value)| (name.to_string(), value.to_string())).collect(),
            semaphores: semaphores.iter().map(|(name, units)| (name.to_string(), *units)).collect(),
            resources: resources.0.iter().map(Into::into).collect(),
            labels: labels.clone().into_iter().collect(),
            prefer: resources::preferences_to_wire(prefer),
            queue_timeout_ms: queue_timeout.map(|span| span.0),
            unique: unique_to_wire(*unique),
            fair_key: fair_key.as_ref().map(ToString::to_string).unwrap_or_default(),
        }
    }
}

impl TryFrom<v1::QueueSpec> for QueueSpec {
    type Error = Faults;

    fn try_from(wire: v1::QueueSpec) -> Result<Self, Faults> {
        let v1::QueueSpec {
            queue,
            contract,
            kind,
            retry,
            lease,
            timeout_ms,
            weight,
            max_running,
            queue_timeout_ms,
            fair_weights: wire_weights,
        } = wire;
        let mut faults = Faults::new();
        let name = faults.take("queue", QueueName::new(&queue));
        let contract = optional(contract).and_then(|text| faults.take("contract", text.parse::<ContractRef>()));
        let kind = optional(kind).and_then(|kind| faults.take("kind", Kind::new(&kind)));
        let retry = faults.absorb("retry", retry.unwrap_or_default().try_into());
        let lease = faults.absorb("lease", lease.unwrap_or_default().try_into());
        let timeout = timeout_ms.and_then(|ms| faults.take("timeout_ms", positive(ms)));
        let queue_timeout = queue_timeout_ms.and_then(|ms| faults.take("queue_timeout_ms", positive(ms)));
        let fair_weights = limits::fair_weights(wire_weights, &mut faults);
        for (field, message) in share_faults(weight, &fair_weights, max_running) {
            faults.push(&field, message);
        }
        let (Some(name), Some(retry), Some(lease)) = (name, retry, lease) else { return Err(faults) };
        faults.or(Self {
            name,
            contract,
            kind,
            retry,
            lease,
            timeout,
            queue_timeout,
            weight,
            fair_weights,
            max_running,
        })
    }
}

impl From<&QueueSpec> for v1::QueueSpec {
    fn from(spec: &QueueSpec) -> Self {
        let QueueSpec { name, contract, kind, retry, lease, timeout, queue_timeout, weight, fair_weights, max_running } =
            spec;
        Self {
            queue: name.to_string(),
            contract: contract.as_ref().map(ToString::to_string).unwrap_or_default(),
            kind: kind.as_ref().map(ToString::to_string).unwrap_or_default(),
            retry: retry_to_wire(retry),
            lease: lease_to_wire(lease),
            timeout_ms: timeout.map(|span| span.0),
            weight: *weight,
            max_running: *max_running,
            queue_timeout_ms: queue_timeout.map(|span| span.0),
            fair_weights: fair_weights.iter().map(|(value, weight)| (value.to_string(), *weight)).collect(),
        }
    }
}

impl TryFrom<v1::RetryPatch> for RetryPatch {
    type Error = Faults;

    fn try_from(wire: v1::RetryPatch) -> Result<Self, Faults> {
        let v1::RetryPatch { max_attempts, backoff_ms, factor, cap_ms, jitter_ms, crash_limit, rules } = wire;
        let mut faults = Faults::new();
        let rules = rules.map(|v1::RetryRules { rules }| {
            let each = rules.into_iter().enumerate();
            each.filter_map(|(i, wire)| faults.absorb(&format!("rules[{i}]"), retry::rule(wire))).collect()
        });
        let patch = Self {
            max_attempts: max_attempts.and_then(|n| faults.take("max_attempts", at_least_one(n))),
            backoff: backoff_ms.and_then(|ms| faults.take("backoff_ms", span(ms))),
            factor: factor.and_then(|factor| faults.take("factor", growth(factor))),
            cap: cap_ms.and_then(|ms| faults.take("cap_ms", span(ms))),
            jitter: jitter_ms.and_then(|ms| faults.take("jitter_ms", span(ms))),
            crash_limit: crash_limit.and_then(|n| faults.take("crash_limit", at_least_one(n))),
            rules,
        };
        for (field, message) in retry_rule_faults(&patch) {
            faults.push(&field, message);
        }
        faults.or(patch)
    }
}

impl TryFrom<v1::LeasePatch> for LeasePatch {
    type Error = Faults;

    fn try_from(wire: v1::LeasePatch) -> Result<Self, Faults> {
        let v1::LeasePatch { ttl_ms, heartbeat_ms } = wire;
        let mut faults = Faults::new();
        if let (Some(ttl), Some(heartbeat)) = (ttl_ms, heartbeat_ms)
            && heartbeat >= ttl
        {
            faults.push("heartbeat_ms", format_args!("{heartbeat} is not less than ttl_ms, which is {ttl}"));
        }
        let patch = Self {
            ttl: ttl_ms.and_then(|ms| faults.take("ttl_ms", positive(ms))),
            heartbeat: heartbeat_ms.and_then(|ms| faults.take("heartbeat_ms", positive(ms))),
        };
        faults.or(patch)
    }
}

/// An untouched patch is left out, as it is in the ledger.
fn retry_to_wire(patch: &RetryPatch) -> Option<v1::RetryPatch> {
    let RetryPatch { max_attempts, backoff, factor, cap, jitter, crash_limit, rules } = patch;
    (*patch != RetryPatch::default()).then(|| v1::RetryPatch {
        max_attempts: *max_attempts,
        backoff_ms: backoff.map(|span| span.0),
        factor: *factor,
        cap_ms: cap.map(|span| span.0),
        jitter_ms: jitter.map(|span| span.0),
        crash_limit: *crash_limit,
        rules: rules.as_ref().map(|rules| v1::RetryRules { rules: rules.iter().map(retry::rule_to_wire).collect() }),
    })
}

fn lease_to_wire(patch: &LeasePatch) -> Option<v1::LeasePatch> {
    let LeasePatch { ttl, heartbeat } = patch;
    (*patch != LeasePatch::default())
        .then(|| v1::LeasePatch { ttl_ms: ttl.map(|span| span.0), heartbeat_ms: heartbeat.map(|span| span.0) })
}

/// For how long a key stands for its job; without a key it says nothing.
fn unique(wire: Option<v1::Unique>, has_key: bool) -> Result<Unique, String> {
    use v1::unique::Until;
    let unique = match wire.and_then(|unique| unique.until) {
        None | Some(Until::Done(false)) => Unique::Forever,
        Some(Until::Done(true)) => Unique::UntilDone,
        Some(Until::PeriodMs(ms)) => Unique::For(positive(ms)?),
    };
    if unique == Unique::Forever || has_key { Ok(unique) } else { Err("is about an idempotency key: name one".into()) }
}

fn unique_to_wire(unique: Unique) -> Option<v1::Unique> {
    use v1::unique::Until;
    let until = match unique {
        Unique::Forever => return None,
        Unique::UntilDone => Until::Done(true),
        Unique::For(span) => Until::PeriodMs(span.0),
    };
    Some(v1::Unique { until: Some(until) })
}

fn optional(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

/// Texts for people: short, and without control characters, which would break lines and terminals.
fn text(text: String) -> Result<String, String> {
    let chars = text.chars().count();
    if chars > MAX_NAME_CHARS {
        return Err(format!("{chars} characters, at most {MAX_NAME_CHARS} are allowed"));
    }
    match text.chars().find(|c| c.is_control()) {
        Some(c) => Err(format!("holds the control character {c:?}")),
        None => Ok(text),
    }
}

fn dependencies(names: Vec<String>, faults: &mut Faults) -> Vec<String> {
    if names.len() > MAX_DEPENDENCIES {
        faults.push("depends_on", format_args!("{} names, at most {MAX_DEPENDENCIES} are allowed", names.len()));
        return Vec::new();
    }
    let bytes: usize = names.iter().map(String::len).sum();
    if bytes > MAX_DEPENDENCY_BYTES {
        faults.push("depends_on", format_args!("{bytes} bytes of names, at most {MAX_DEPENDENCY_BYTES} are allowed"));
        return Vec::new();
    }
    let mut checked = Vec::with_capacity(names.len());
    for (i, name) in names.into_iter().enumerate() {
        let result = if name.is_empty() { Err("is empty".to_owned()) } else { text(name) };
        checked.extend(faults.take(&format!("depends_on[{i}]"), result));
    }
    checked
}

fn span(ms: u64) -> Result<Span, String> {
    let span = Span(ms);
    if span <= MAX_SPAN { Ok(span) } else { Err(format!("{ms} ms are more than 100 years")) }
}

fn positive(ms: u64) -> Result<Span, String> {
    if ms == 0 { Err("0 ms: must be longer than nothing".into()) } else { span(ms) }
}

fn timestamp(ms: i64) -> Result<Timestamp, String> {
    let time = Timestamp(ms);
    let known = Timestamp(0)..=MAX_TIMESTAMP;
    if known.contains(&time) { Ok(time) } else { Err(format!("{ms} ms since 1970 is outside the years 1970 to 9999")) }
}

fn at_least_one(n: u32) -> Result<u32, &'static str> {
    if n == 0 { Err("0: must be at least 1") } else { Ok(n) }
}

fn growth(factor: f64) -> Result<f64, String> {
    let sane = (1.0..=1e6).contains(&factor);
    if sane { Ok(factor) } else { Err(format!("{factor}: must be a number between 1 and 1e6")) }
}

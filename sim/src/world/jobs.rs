//! The jobs of a run, and what computing them finds.
//!
//! A job's candidates are a function of its payload, so that every attempt finds the same; each finds them with a little
//! noise, on either side of a bucket's edge. Jobs overlap, so that candidates of one are duplicates of another's.

use orch_core::array::{ArraySpec, Fields, Tasks};
use orch_core::contract::ContractSpec;
use orch_core::gang::GangSpec;
use orch_core::id::QueueName;
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::policy::{LeasePatch, RetryPatch};
use orch_core::queue::QueueSpec;
use orch_core::retry::RetryRule;
use orch_core::state::{Granted, Submission};
use orch_core::time::Span;
use orch_core::unique::Unique;

use super::dice::Dice;
use super::variety::Variety;
use super::{machines, rules, time_limit};
use crate::checker::Machine;

/// How long a lease lives without a heartbeat. Longer than what counts as a stall of the engine.
pub(crate) const TTL: u64 = 8_000;

/// The queues: one whose contract gets stricter, and one that gives up early.
pub(crate) const QUEUES: [&str; 2] = ["roots", "brief"];

/// The retry rules of the queues, if they have any.
pub(crate) type Rules = Option<Vec<RetryRule>>;

/// The contract. Its second version asks for more than its first.
pub(crate) fn contract(version: u32) -> Result<ContractSpec, String> {
    let bound = if version == 1 { 1.0 } else { 0.5 };
    let spec = serde_json::json!({
        "contract": "roots",
        "version": version,
        "schema": {"type": "object", "additionalProperties": false, "required": ["t", "q"],
                   "properties": {"t": {"type": "number"}, "q": {"type": "number"}}},
        "tolerance": [{"field": "q", "abs_lt": bound}],
        "identity": [{"field": "t", "quantum": 1}],
        "complete": {"count": {"payload": "count"}},
    });
    serde_json::from_value(spec).map_err(|error| error.to_string())
}

/// A queue under a version of the contract.
pub(crate) fn queue(name: &str, version: u32, rules: Rules) -> Result<QueueSpec, String> {
    let mut queue = QueueSpec::new(QueueName::new(name).map_err(|error| error.to_string())?);
    queue.contract = Some(format!("roots@{version}").parse().map_err(|error| format!("{error}"))?);
    queue.kind = Some("roots".parse().map_err(|error| format!("{error}"))?);
    let brief = name == QUEUES[1];
    queue.retry = RetryPatch {
        max_attempts: Some(if brief { 2 } else { 8 }),
        backoff: Some(Span(400)),
        factor: Some(1.5),
        cap: Some(Span(2_000)),
        jitter: Some(Span(200)),
        crash_limit: Some(if brief { 2 } else { 40 }),
        rules,
    };
    queue.lease = LeasePatch { ttl: Some(Span(TTL)), heartbeat: Some(Span(super::worker::HEARTBEAT)) };
    Ok(queue)
}

/// The submit that everything else needs.
pub(crate) fn setup(rules: &Rules) -> Result<Submission, String> {
    let queues = QUEUES.iter().map(|name| queue(name, 1, rules.clone())).collect::<Result<_, _>>()?;
    Ok(Submission { contracts: vec![contract(1)?], queues, ..Submission::default() })
}

/// The submit that makes the contract stricter.
pub(crate) fn stricter(rules: &Rules) -> Result<Submission, String> {
    let queues = vec![queue(QUEUES[0], 2, rules.clone())?];
    Ok(Submission { contracts: vec![contract(2)?], queues, ..Submission::default() })
}

/// Some jobs, each under a key of its own.
pub(crate) fn jobs(
    dice: &mut Dice,
    count: usize,
    batch: usize,
    variety: &mut Variety,
    machines: &[Machine],
) -> Result<Submission, String> {
    let mut jobs = Vec::new();
    for i in 0..count {
        let name = QUEUES[usize::from(dice.chance(250))];
        let (base, want) = (dice.between(0, 40), dice.between(1, 6));
        let payload = serde_json::json!({"base": base, "count": want});
        let mut job =
            JobSpec::new(QueueName::new(name).map_err(|error| error.to_string())?, Payload::from_value(&payload));
        job.name = Some(format!("job-{batch}-{i}"));
        job.idempotency_key = Some(format!("key-{batch}-{i}"));
        // Of what was drawn already, so that older seeds go on meaning what they meant.
        job.unique =
            [Unique::Forever, Unique::UntilDone, Unique::For(Span(9_000))][usize::try_from(base % 3).unwrap_or(0)];
        job.queue_timeout = (base % 5 == 0).then_some(Span(4_000));
        job.priority = i32::try_from(dice.between(0, 2)).unwrap_or(0);
        if dice.chance(150) {
            job.delay = Some(Span(dice.between(100, 6_000)));
        }
        if i > 0 && dice.chance(200) {
            job.depends_on = vec![format!("job-{batch}-{}", dice.below(i))];
            if dice.chance(500) {
                job.on_dependency_failure = OnDependencyFailure::Continue;
            }
        }
        // Of what was drawn already, too.
        if base % 6 == 1 {
            job.payload = Payload::from_value(&serde_json::json!({"count": want}));
            job.array = Some(array(base, want)?);
        }
        // And so are gangs: a few, because each keeps its workers until all of them have heard of its end.
        if base % 20 == 3 {
            job.gang = Some(GangSpec { workers: 2, timeout: Some(Span(3_000)) });
        }
        if variety.needs && variety.dice.chance(600) {
            machines::need(&mut job, &mut variety.dice, machines)?;
        }
        if variety.limits {
            time_limit::ask(&mut job, &mut variety.later);
        }
        if variety.rules {
            rules::rule(&mut job, &mut variety.dice)?;
        }
        jobs.push(job);
    }
    Ok(Submission { jobs, ..Submission::default() })
}

/// Some tasks, which find the number that they begin with in their payload.
fn array(base: u64, want: u64) -> Result<ArraySpec, String> {
    let base = i64::try_from(base).unwrap_or(0);
    let tasks = Tasks::range(base, base + i64::try_from(want).unwrap_or(0), 2).map_err(|error| error.to_string())?;
    let max_running = want.is_multiple_of(3).then_some(1);
    Ok(ArraySpec { fields: Fields::Index("base".to_owned()), max_running, ..ArraySpec::new(tasks) })
}

/// What an attempt finds, in the order in which it is sent.
pub(crate) fn candidates(granted: &Granted, dice: &mut Dice) -> Vec<String> {
    let payload = granted.payload.value();
    let number = |name: &str| payload.get(name).and_then(serde_json::Value::as_u64).unwrap_or(0);
    let strict = granted.contract.as_ref().is_some_and(|contract| contract.version > 1);
    let mut found = Vec::new();
    for k in number("base")..number("base") + number("count") {
        let noise = [0.0, 0.25, -0.25][dice.below(3)];
        let q = if strict { 0.25 } else { [0.25, 0.75][dice.below(2)] };
        let t = 10.0 * k as f64 + noise;
        found.push(format!("{{\"t\":{t},\"q\":{q}}}"));
        match dice.below(16) {
            // The same once more, and what no contract lets through.
            0 => found.push(format!("{{\"q\":{q},\"t\":{}}}", 10.0 * k as f64)),
            1 => found.push(format!("{{\"t\":{t},\"q\":7}}")),
            2 => found.push("{\"t\":".to_owned()),
            _ => {}
        }
    }
    found
}

/// One job under a key of its own.
pub(crate) fn one(n: u64, count: u64) -> Result<Submission, String> {
    let payload = serde_json::json!({"base": n, "count": count});
    let queue = QueueName::new(QUEUES[0]).map_err(|error| error.to_string())?;
    let mut job = JobSpec::new(queue, Payload::from_value(&payload));
    job.idempotency_key = Some(format!("one-{n}"));
    Ok(Submission { jobs: vec![job], ..Submission::default() })
}

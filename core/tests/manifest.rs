//! What `orchctl submit -f` takes, and what it says about the rest.

use orch_core::id::QueueName;
use orch_core::manifest::{Document, Manifest, job_from_json, parse};
use orch_core::time::Span;

fn good(text: &str) -> Manifest {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

#[track_caller]
fn bad(text: &str, faults: &[&str]) {
    let error = parse(text).expect_err("must be refused").to_string();
    assert_eq!(error.lines().collect::<Vec<_>>(), faults);
}

#[test]
fn the_example_of_the_one_command_is_read() {
    let manifest = good(include_str!("../../examples/zeta-zeros.yaml"));
    assert_eq!(manifest.contracts().count(), 1);
    assert_eq!(manifest.queues().count(), 1);
    assert_eq!(manifest.job_count(), 100);
    let jobs: Vec<_> = manifest.jobs().collect();
    assert_eq!(jobs.len(), 100);
    assert_eq!(jobs[0].payload.as_str(), "{\"a\":-1,\"b\":999,\"eps_root\":1e-8}");
    assert_eq!(jobs[99].payload.as_str(), "{\"a\":98999,\"b\":99999,\"eps_root\":1e-8}");
    assert_eq!(jobs[0].idempotency_key.as_deref(), Some("zeta-zeros/-1-999"));
}

#[test]
fn a_contract_means_the_same_in_yaml_and_in_the_ledger() {
    let manifest = good(include_str!("../../examples/zeta-zeros.yaml"));
    let contract = manifest.contracts().next().unwrap();
    let text = serde_json::to_string(contract).unwrap();
    assert_eq!(&serde_json::from_str::<orch_core::contract::ContractSpec>(&text).unwrap(), contract);
    // JSON is YAML too.
    assert_eq!(good(&text).documents, [Document::Contract(Box::new(contract.clone()))]);
}

#[test]
fn every_kind_of_document() {
    let manifest = good(
        "\
---
queue: q
kind: command
retry: {max_attempts: 5, backoff: 1m 30s}
lease: {ttl: 2m, heartbeat: 10s}
---
# empty documents count for nothing
---
job:
  queue: q
  name: first
  payload: {eps: 1e-8, list: [1, 2.50, yes, null, true, '3']}
  timeout: 90s
---
jobs:
  - {queue: q, depends_on: [first], on_dependency_failure: continue}
  - {queue: q, priority: -3, not_before: 2026-11-21T08:00:00Z, idempotency_key: k}
---
jobs:
  queue: q
  key: again
  payload: {z: 1}
  range: {from: -10, to: 11, step: 10, as: [lo, hi]}
",
    );
    assert_eq!(manifest.documents.len(), 4);
    assert_eq!(manifest.job_count(), 6);
    let jobs: Vec<_> = manifest.jobs().collect();
    assert_eq!(jobs[0].payload.as_str(), "{\"eps\":1e-8,\"list\":[1,2.5,\"yes\",null,true,\"3\"]}");
    assert_eq!(jobs[0].timeout, Some(Span::seconds(90)));
    let pieces: Vec<_> = jobs[3..].iter().map(|job| (job.payload.as_str(), job.idempotency_key.as_deref())).collect();
    assert_eq!(
        pieces,
        [
            ("{\"hi\":0,\"lo\":-10,\"z\":1}", Some("again/-10-0")),
            ("{\"hi\":10,\"lo\":0,\"z\":1}", Some("again/0-10")),
            ("{\"hi\":11,\"lo\":10,\"z\":1}", Some("again/10-11")),
        ]
    );
}

#[test]
fn every_fault_is_reported_with_its_place() {
    bad(
        "\
contract: c@d
version: 0.5
schema: true
limit: {max_bytes: 1}
tolerance:
  - {field: x, abs_lt: {payloads: e}}
  - {field: x, lessthan: 3}
identity: []
---
queue: q
retry: {max_attempts: 0, factr: 2, backoff: soon}
---
job:
  priority: high
  kind: a b
---
jobs:
  queue: q
  payload: {a: 3}
  range: {from: 5, to: 5, step: 0, as: [a, a]}
---
hello
---
jobs: 3
---
job: {queue: q}
queue: q
",
        &[
            "document 1, line 1, column 11: contract: contract \"c@d\" is not a name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - / and start with a letter or digit",
            "document 1, line 2, column 10: version: invalid type: floating point `0.5`, expected u32",
            "document 1, line 4, column 1: limit: is not a field: did you mean limits?",
            "document 1, line 6, column 24: tolerance[0].abs_lt: unknown field `payloads`, expected `payload` or `plus`",
            "document 1, line 7, column 16: tolerance[1].lessthan: is not a field: there are field, abs_lt, lt, le, gt, ge",
            "document 2, line 11, column 26: retry.factr: is not a field: did you mean factor?",
            "document 2, line 11, column 45: retry.backoff: \"soon\" is not a length of time: write it like 30s, 10m or 1h 30m",
            "document 3, line 14, column 13: job.priority: invalid type: string \"high\", expected i32",
            "document 3, line 15, column 9: job.kind: kind \"a b\" is not a name: use 1 to 128 of the characters A-Z a-z 0-9 . _ - / and start with a letter or digit",
            "document 3, line 14, column 3: job.queue: is missing",
            "document 4, line 20, column 24: jobs.range.to: 5 is not greater than from = 5",
            "document 4, line 20, column 33: jobs.range.step: 0 is less than 1",
            "document 4, line 20, column 40: jobs.range.as: must be two different names",
            "document 4, line 19, column 16: jobs.payload.a: is what the range sets: leave it out",
            "document 5, line 22, column 1: must be a map: a document is a contract (contract: NAME, ...), a queue (queue: NAME, ...), limits:, a schedule (schedule: NAME, ...), job: or jobs:",
            "document 6, line 24, column 7: jobs: must be a list of jobs, or a map with a range",
            "document 7, line 27, column 1: queue: stands beside job: put it below",
        ],
    );
}

#[test]
fn a_contract_that_cannot_judge_is_refused_where_it_is_wrong() {
    bad(
        "contract: c\nversion: 1\nschema:\n  type: objekt\ntolerance:\n  - {field: x}\nidentity:\n  - {field: x, quantum: -1}\n",
        &[
            "document 1, line 4, column 9: schema/type: value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string'",
            "document 1, line 4, column 9: schema/type: want array, but got string",
            "document 1, line 6, column 5: tolerance[0]: has none of abs_lt, lt, le, gt, ge: exactly one is needed",
            "document 1, line 8, column 25: identity[0].quantum: -1 is not greater than 0",
        ],
    );
}

#[test]
fn names_must_lead_to_jobs_without_a_circle() {
    bad(
        "jobs:\n  - {queue: q, name: one}\n  - {queue: q, name: one}\n  - {queue: q, depends_on: [oen]}\n",
        &[
            "document 1, line 3, column 5: jobs[1].name: \"one\" is also the name of jobs[0] in document 1",
            "document 1, line 4, column 5: jobs[2].depends_on[0]: \"oen\" is no job of this submit: did you mean \"one\"?",
        ],
    );
    bad(
        "job: {queue: q, name: a, depends_on: [b]}\n---\njobs:\n  - {queue: q, name: b, depends_on: [c]}\n  - {queue: q, name: c, depends_on: [a]}\n",
        &["document 1, line 1, column 6: job.depends_on: is a circle: a waits for b waits for c waits for itself"],
    );
    bad("queue: q\n---\nqueue: q\n", &["document 2, line 3, column 8: queue: queue q is in document 1 already"]);
}

#[test]
fn yaml_that_json_could_not_say_is_refused_with_its_place() {
    bad("job: {queue: q, payload: .nan}", &["line 1, column 26: value `.nan` is not a finite number"]);
    bad("job: {queue: q, payload: -.inf}", &["line 1, column 26: value `-.inf` is not a finite number"]);
    bad("job: {queue: q, payload: 1e400}", &["line 1, column 26: value `1e400` is not a finite number"]);
    bad(
        "job:\n  queue: q\n  payload: 9007199254740993\n",
        &["line 3, column 12: number 9007199254740993 cannot be held by a double: write it as a string"],
    );
    bad("queue: q\nqueue: r\n", &["line 2, column 1: duplicate mapping key: queue not allowed here"]);
    let error = parse("job:\n  - [\n").unwrap_err();
    assert!(error.faults[0].at.is_some(), "{error}");
}

#[test]
fn what_a_text_can_cost_is_bounded() {
    // Each level doubles the one before: 2^40 strings, were they made.
    let mut bomb = String::from("a0: &a0 [x, x]\n");
    for i in 1..40 {
        bomb.push_str(&format!("a{i}: &a{i} [*a{}, *a{}]\n", i - 1, i - 1));
    }
    assert!(parse(&bomb).is_err());
    assert!(parse(&format!("job: {}", "[".repeat(10_000))).is_err());
    assert!(parse(&"- ".repeat(100_000)).is_err());
    bad(
        "jobs: {queue: q, range: {from: 0, to: 100000000, step: 1, as: [a, b]}}",
        &[
            "document 1, line 1, column 56: jobs.range.step: 1 cuts the range into 100000000 jobs, at most 10000000 are allowed",
        ],
    );
}

#[test]
fn a_line_of_an_import_is_a_job() {
    let queue = QueueName::new("q").unwrap();
    let job =
        job_from_json(b"{\"queue\":\"r\",\"payload\":{\"b\":1.0,\"a\":[ ]},\"priority\":2}", Some(&queue)).unwrap();
    assert_eq!((job.queue.as_str(), job.payload.as_str(), job.priority), ("r", "{\"a\":[],\"b\":1}", 2));
    assert_eq!(job_from_json(b"{}", Some(&queue)).unwrap().queue, queue);
    let fault = |line: &str| job_from_json(line.as_bytes(), None).unwrap_err().to_string();
    assert_eq!(fault("{\"payload\":1}"), "queue: is missing, and no default was given");
    assert_eq!(
        fault("{\"queue\":\"q\",\"prioritty\":1,\"retry\":{\"x\":1}}"),
        "prioritty: is not a field: did you mean priority?; \
         retry: unknown field `x`, expected one of `max_attempts`, `backoff`, `factor`, `cap`, `jitter`, `crash_limit`, \
         `rules`"
    );
    assert_eq!(fault("{\"queue\":\"q\",\"queue\":\"q\"}"), "key \"queue\" stands twice in one object");
    assert_eq!(fault("{\"queue\":\"q\",\"payload\":{\"a\":1,\"a\":2}}"), "key \"a\" stands twice in one object");
    assert_eq!(
        fault("{\"queue\":\"q\",\"payload\":1e999}"),
        "number at line 1 column 28 cannot be held by a double: write it as a string"
    );
    assert_eq!(fault("[]"), "a line must be a JSON object with the fields of a job");
    assert_eq!(fault("{\"queue\":\"q\""), "not JSON: EOF while parsing an object at line 1 column 12");
    assert_eq!(fault("{\"queue\":\"q\",\"timeout\":\"0s\"}"), "timeout: must be longer than 0");
    assert_eq!(
        fault(&format!("{{\"queue\":\"q\",\"payload\":{}1{}}}", "[".repeat(70), "]".repeat(70))),
        "JSON nested more than 65 levels deep"
    );
}

/// The blocks of a language in a page.
fn blocks<'a>(page: &'a str, language: &str) -> Vec<&'a str> {
    let fence = format!("```{language}\n");
    page.split(fence.as_str()).skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

#[test]
fn what_the_documentation_shows_is_read() {
    let contracts = include_str!("../../docs/contracts.md");
    assert_eq!(good(blocks(contracts, "yaml")[0]).contracts().count(), 1);
    let manifests = include_str!("../../docs/manifests.md");
    let counts: Vec<_> = blocks(manifests, "yaml").into_iter().map(|block| good(block).job_count()).collect();
    assert_eq!(counts, [0, 0, 0, 3, 2, 2, 100]);
    let scheduling = include_str!("../../docs/scheduling.md");
    let counts: Vec<_> = blocks(scheduling, "yaml").into_iter().map(|block| good(block).job_count()).collect();
    assert_eq!(counts, [0, 1, 2, 1, 0, 1, 1, 0, 0]);
    for line in blocks(manifests, "json") {
        job_from_json(line.as_bytes(), None).unwrap();
    }
}

#[test]
fn limits_keys_and_shares() {
    use orch_core::limit::{AtLimit, LimitSpec, LimitTarget, Rate};
    let manifest = good(
        "\
limits:
  running: 8
  host=*: 4
  resolver=unpaywall: 2
  resolver=crossref: {max: 3, rate: {tokens: 10, per: 1s, burst: 20}, at_limit: reject}
  gpu_slots: 4
---
{queue: q, kind: k, weight: 300, max_running: 10}
---
job: {queue: q, keys: {host: api.example.org, resolver: crossref}, semaphores: {gpu_slots: 1}}
",
    );
    let limits: Vec<&LimitSpec> = manifest.limits().collect();
    assert_eq!(limits.len(), 5);
    assert_eq!(*limits[0], LimitSpec::max(LimitTarget::Running, 8));
    assert_eq!(limits[1].limit, LimitTarget::Each("host".parse().unwrap()));
    assert_eq!(limits[3].rate, Some(Rate { tokens: 10, per: Span(1000), burst: 20 }));
    assert_eq!(limits[3].at_limit, AtLimit::Reject);
    assert_eq!(limits[4].limit, LimitTarget::Semaphore("gpu_slots".parse().unwrap()));
    let job = manifest.jobs().next().unwrap();
    assert_eq!(job.keys.len(), 2);
    assert_eq!(job.semaphores.values().copied().collect::<Vec<_>>(), [1]);
    bad(
        "\
limits:
  ho st=x: 4
  host=*: many
  gpu_slots: {most: 3}
  a=b: {}
  running: {max: 3, at_limit: reject}
---
limits: 8
---
{queue: q, weight: 0, max_running: 0}
---
job: {queue: q, keys: {host: ''}, semaphores: {running: 1, gpu: 0}}
---
job: {queue: q, semaphores: {running: 1, gpu: 0}}
",
        &[
            "document 1, line 2, column 3: limits.ho st=x: key \"ho st\" is not a name: use 1 to 128 of the characters \
             A-Z a-z 0-9 . _ - / and start with a letter or digit",
            "document 1, line 3, column 11: limits.host=*: invalid type: string \"many\", expected u32",
            "document 1, line 4, column 15: limits.gpu_slots.most: is not a field: there are max, rate, at_limit",
            "document 1, line 5, column 8: limits.a=b.max: is missing: a limit has max, or rate, or both",
            "document 1, line 6, column 31: limits.running.at_limit: is for limits on keys: here jobs wait",
            "document 2, line 8, column 9: limits: must be a map such as {running: 8, host=*: 4, resolver=crossref: 3, \
             gpu_slots: 4}",
            "document 3, line 10, column 20: weight: 0 is not between 1 and 10000",
            "document 3, line 10, column 36: max_running: 0 would run nothing: pause the queue instead",
            "document 4, line 12, column 23: job.keys: value \"\" cannot be: use 1 to 256 characters, none a control \
             character, and not * alone",
            "document 5, line 14, column 47: job.semaphores.gpu: 0 units would limit nothing: leave it out",
            "document 5, line 14, column 39: job.semaphores.running: is the word for all running jobs: give the \
             semaphore another name",
        ],
    );
}

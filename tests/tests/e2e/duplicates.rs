//! Nothing is accepted twice: the same ranges mined by overlapping jobs, and values on either side of a rounding boundary.

use serde_json::{Value, json};

use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, project, records, zeros};

/// The example's contract and queue, with this range instead of its own.
fn zeta(from: i64, to: i64, step: i64) -> String {
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let range = "range: {from: -1, to: 99999, step: 1000, as: [a, b]}";
    assert!(example.contains(range));
    example.replace(range, &format!("range: {{from: {from}, to: {to}, step: {step}, as: [a, b]}}"))
}

#[test]
fn ranges_mined_twice_by_overlapping_jobs_give_every_zero_once() {
    let cluster = Cluster::start();
    cluster.submit(&zeta(-1, 3999, 500));
    // The same zeros again, in ranges that are shifted by half a step, from another queue under the same contract.
    let again = "---\nqueue: again\ncontract: zeta-zeros@1\nkind: zeta-zeros\n";
    let ends = "\
---
jobs:
  - {queue: again, payload: {eps_root: 1e-8, a: -1, b: 249}}
  - {queue: again, payload: {eps_root: 1e-8, a: 3749, b: 3999}}
---
jobs:
  queue: again
  payload: {eps_root: 1e-8}
  range: {from: 249, to: 3749, step: 500, as: [a, b]}
";
    let jobs = cluster.submit(&format!("{again}{ends}"));
    assert_eq!(jobs.len(), 9);
    let _workers = [cluster.worker("one", 1), cluster.worker("two", 1)];
    cluster.drain();
    let stats = cluster.stats();
    assert_eq!(stats["candidates"], json!({"accepted": 4000, "duplicate": 4000, "rejected": 0}));
    assert_eq!((&stats["jobs"]["done"], &stats["jobs"]["failed"]), (&json!(17), &json!(0)));
    assert_eq!(records::check_accepted_once(&cluster.data()), 4000);
    cluster.compact("zeros.jsonl");
    zeros::check(&cluster.folder().join("zeros.jsonl"), 1, 4000);

    // And once more, by the same file under another key: the jobs are new, the zeros are not.
    let third = cluster.submit(&zeta(-1, 999, 500).replace("jobs:\n", "jobs:\n  key: third\n"));
    assert_eq!(third.len(), 2);
    let known = cluster.submit(&zeta(-1, 3999, 500));
    assert_eq!(known.len(), 8);
    cluster.drain();
    assert_eq!(cluster.stats()["candidates"], json!({"accepted": 4000, "duplicate": 5000, "rejected": 0}));
    // What a duplicate is a duplicate of stands in the ledger.
    let batches = records::events(&cluster.data(), "batch_judged");
    let duplicates: Vec<&Value> = batches.iter().filter_map(|batch| batch["duplicates"].as_array()).flatten().collect();
    assert_eq!(duplicates.len(), 5000);
    let accepted: Vec<u64> = records::records(&cluster.data())
        .into_iter()
        .filter_map(|(seq, name, _)| (name == "candidate_accepted").then_some(seq))
        .collect();
    assert!(duplicates.iter().all(|seq| accepted.binary_search(&seq.as_u64().unwrap()).is_ok()));
}

/// Values under a quantum of 1e-6, in the order in which they come, and which of them are new.
const VALUES_IN_ORDER: [(&str, bool); 20] = [
    // They round apart, and are the same.
    ("0.4999999", true),
    ("0.5000001", false),
    // On a boundary, and the doubles beside it.
    ("3e-6", true),
    ("3.0000000000000005e-6", false),
    ("2.9999999999999993e-6", false),
    // A quantum apart is another value, a bit less is not.
    ("4e-6", true),
    ("4.9999999e-6", false),
    // Within a quantum of a duplicate, but not of what was accepted.
    ("5.5e-6", true),
    // About zero, from both sides, with both zeros.
    ("0", true),
    ("-0.0", false),
    ("-9e-7", false),
    ("9.99999e-7", false),
    ("-1e-6", true),
    // Negative boundaries.
    ("-7.0000004", true),
    ("-6.9999996", false),
    ("-7.0000015", true),
    // Large ones, where a double has few digits left behind the point.
    ("123456789.123456", true),
    ("123456789.1234565", false),
    ("123456789.123457", true),
    // The same number, written otherwise.
    ("1.23456789123456e8", false),
];

#[test]
fn values_that_round_apart_are_the_same_candidate_in_either_order() {
    let cluster = Cluster::start();
    let line = |(value, _): &(&str, bool)| format!("{{\"v\":{value}}}\n");
    let text: String = VALUES_IN_ORDER.iter().map(line).collect();
    let fresh = VALUES_IN_ORDER.iter().filter(|(_, fresh)| *fresh).count();
    let file = cluster.file("values", &text);
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "") + &job("q", &file, "")));
    let _worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "done");
    let first = records::events(&cluster.data(), "candidate_accepted");
    let accepted: Vec<f64> = first.iter().map(|event| event["candidate"]["v"].as_f64().unwrap()).collect();
    let expected = VALUES_IN_ORDER.iter().filter(|(_, fresh)| *fresh).map(|(value, _)| value.parse::<f64>().unwrap());
    assert_eq!(accepted, expected.collect::<Vec<_>>());

    // Backwards, in a job each: every value is within a quantum of one that is there.
    let mut manifest = String::new();
    for (i, value) in VALUES_IN_ORDER.iter().enumerate().rev() {
        let file = cluster.file(&format!("value-{i}"), line(value));
        manifest += &job("q", &file, "");
    }
    cluster.submit(&manifest);
    cluster.drain();
    let all = VALUES_IN_ORDER.len();
    let counts = json!({"accepted": fresh, "duplicate": all - fresh + all, "rejected": 0});
    assert_eq!(cluster.stats()["candidates"], counts);
    assert_eq!(records::check_accepted_once(&cluster.data()), fresh);
}

#[test]
fn a_job_is_complete_by_what_it_delivers_not_by_what_is_new() {
    let cluster = Cluster::start();
    let counted = VALUES.to_owned() + "complete: {count: {payload: wanted}}\n";
    let file = cluster.file("two", "{\"v\":1}\n{\"v\":2}\n{\"v\":2.0000001}\n");
    let more = |wanted: u32| {
        format!("---\njob: {{queue: q, payload: {{file: {file}, wanted: {wanted}}}, retry: {{max_attempts: 1}}}}\n")
    };
    let manifest = counted + &queue("q", "emit", "") + &more(2) + &more(2) + &more(3) + &more(1);
    let jobs = cluster.submit(&manifest);
    let _worker = cluster.worker("w", 1);
    cluster.ctl(&["run", "--drain", "--timeout", "100s"]).ended(4);
    // The second job found nothing new, but all that it had to.
    for done in &jobs[..2] {
        assert_eq!(cluster.job(*done)["state"], "done");
    }
    for (failed, wanted) in jobs[2..].iter().zip([3, 1]) {
        let failed = cluster.job(*failed);
        assert_eq!((&failed["state"], &failed["failure_class"]), (&json!("failed"), &json!("incomplete")), "{failed}");
        let message = failed["message"].as_str().unwrap();
        assert!(message.contains(&wanted.to_string()) && message.contains('2'), "{message}");
    }
}

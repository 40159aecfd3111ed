//! Jobs and older results in bulk.

use std::fmt::Write as _;

use serde_json::json;

use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, Process, records, until};

#[test]
fn bad_lines_are_named_and_the_good_ones_go_in_once() {
    let cluster = Cluster::start();
    cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "")));
    let deep = format!("{{\"queue\":\"q\",\"payload\":{}{}}}", "[".repeat(10_000), "]".repeat(10_000));
    let large = format!("{{\"queue\":\"q\",\"payload\":\"{}\"}}", "x".repeat(10 << 20));
    // Each line, and what is said of it; nothing of a good one.
    let lines: [(&str, Option<&str>); 17] = [
        ("{\"queue\":\"q\",\"payload\":1}", None),
        ("{\"queue\":\"q\",\"payload\":", Some("not JSON: EOF while parsing a value")),
        ("", None),
        ("{\"payload\":2}", Some("queue: is missing, and no default was given")),
        ("{\"queue\":\"q\",\"prioritty\":1}", Some("prioritty: is not a field: did you mean priority?")),
        ("{\"queue\":\"none\",\"payload\":3}", Some("none")),
        ("[1,2]", Some("a line must be a JSON object with the fields of a job")),
        ("{\"queue\":\"q\",\"queue\":\"q\"}", Some("key \"queue\" stands twice in one object")),
        ("{\"queue\":\"q\",\"payload\":1e400}", Some("cannot be held by a double")),
        ("{\"queue\":\"q\",\"payload\":NaN}", Some("not JSON")),
        (&deep, Some("nested")),
        (&large, Some("bytes")),
        ("{\"queue\":\"q\",\"timeout\":\"soon\"}", Some("timeout: ")),
        ("{\"queue\":\"q\",\"retry\":{\"max_attempts\":0}}", Some("retry.max_attempts: 0 would never run the job")),
        ("{\"queue\":\"q\",\"kind\":7}", Some("kind: ")),
        ("\u{0}\u{1b}[2J", Some("not JSON")),
        ("{\"queue\":\"q\",\"payload\":2,\"priority\":3}", None),
    ];
    let mut text = String::new();
    lines.iter().for_each(|(line, _)| writeln!(text, "{line}").unwrap());
    let file = cluster.file("jobs.jsonl", &text);
    let import = cluster.ctl(&["import", &file, "-o", "json"]).ended(1);
    for (number, (line, fault)) in (1..).zip(&lines) {
        let named = format!("error: {file} line {number}: ");
        let said = import.err.lines().find(|said| said.starts_with(&named));
        let shown: String = line.chars().take(60).collect();
        match (fault, said) {
            (None, None) => {}
            (Some(fault), Some(said)) => {
                assert!(said.contains(fault), "line {number}, {shown}: expected {fault:?}, found {said:?}");
                assert!(said.len() < 700 && !said.contains('\u{1b}'), "{said:?}");
            }
            (None, Some(said)) => panic!("line {number}, {shown}, is good: {said}"),
            (Some(fault), None) => panic!("line {number}, {shown}: nothing says {fault:?}: {import}"),
        }
    }
    let counts = import.json();
    assert_eq!((&counts["submitted"], &counts["existed"], &counts["refused"]), (&json!(2), &json!(0), &json!(14)));
    assert_eq!(cluster.stats()["jobs"]["ready"], 2);

    // The same file again adds nothing; mended, it adds what was mended.
    let again = cluster.ctl(&["import", &file, "-o", "json"]).ended(1).json();
    assert_eq!((&again["submitted"], &again["existed"], &again["refused"]), (&json!(0), &json!(2), &json!(14)));
    let mended = cluster.file("mended.jsonl", "{\"payload\":1,\"queue\":\"q\"}\n{\"payload\":2}\n");
    let third = cluster.ctl(&["import", &mended, "--queue", "q", "-o", "json"]).ok().json();
    assert_eq!((&third["submitted"], &third["existed"], &third["refused"]), (&json!(1), &json!(1), &json!(0)));
    let once_more = cluster.ctl(&["import", &mended, "--queue", "q", "--again", "two", "-o", "json"]).ok().json();
    assert_eq!(once_more["submitted"], 2);
    cluster.ctl(&["import", "/nonexistent.jsonl"]).ended(2).says("cannot open /nonexistent.jsonl");
}

#[test]
fn twenty_thousand_jobs_come_in_and_survive_a_kill() {
    const JOBS: usize = 20_000;
    let mut cluster = Cluster::start();
    cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "")));
    let mut text = String::new();
    for i in 0..JOBS {
        writeln!(text, "{{\"queue\":\"q\",\"payload\":{{\"i\":{i},\"file\":\"none\"}},\"priority\":{}}}", i % 7)
            .unwrap();
    }
    let file = cluster.file("jobs.jsonl", &text);
    // The orchestrator dies in the middle; the import rides it out, and no job comes in twice.
    let importing = Process::start(cluster.ctl_command(&["import", &file, "--chunk", "500", "-o", "json"]));
    let submitted = || records::events(&cluster.data(), "job_submitted").len();
    until("the first thousands", || (submitted() >= 2_000).then_some(()));
    cluster.kill9();
    cluster.restart();
    let import = importing.wait().ok().json();
    let (submitted, existed) = (import["submitted"].as_u64().unwrap(), import["existed"].as_u64().unwrap());
    assert_eq!((submitted + existed, &import["refused"]), (JOBS as u64, &json!(0)), "{import}");
    assert_eq!(cluster.stats()["jobs"]["ready"], JOBS);
    let known = cluster.ctl(&["import", &file, "-o", "json"]).ok().json();
    assert_eq!((&known["submitted"], &known["existed"]), (&json!(0), &json!(JOBS)));
    assert_eq!(records::events(&cluster.data(), "job_submitted").len(), JOBS);
    cluster.verify();

    // Listings page through all of them.
    let names = cluster.ctl(&["job", "list", "--limit", "0", "-o", "name"]).ok().out;
    assert_eq!(names.lines().count(), JOBS);
    // The highest priority goes first, and equal ones in their order.
    cluster.ctl(&["job", "cancel", "--queue", "q", "--state", "ready", "--dry-run"]).ok().prints("20000 jobs would be");
    let cancelled = cluster.ctl(&["job", "cancel", "--queue", "q", "-o", "json"]).ok().json();
    assert_eq!(cancelled["count"], JOBS);
    cluster.ctl(&["run", "--drain"]).ok();
}

#[test]
fn older_results_pass_every_gate_once() {
    let mut cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "") + &job("q", &emit, "")));
    let _worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "done");
    let legacy = "{\"v\":2}\n{\"v\":1.0000001}\n{\"v\":\"x\"}\n\n{\"v\":3}\n{\"v\":1e400}\n";
    let file = cluster.file("old.jsonl", legacy);
    let import = || cluster.ctl(&["import-legacy", &file, "--contract", "values@1", "-o", "json"]);
    let first = import().ended(1);
    let counts = first.json();
    assert_eq!(
        (&counts["accepted"], &counts["duplicate"], &counts["rejected"], &counts["finished_before"]),
        (&json!(2), &json!(1), &json!(2), &json!(false)),
        "{counts}"
    );
    let rejected = counts["rejections"].as_array().unwrap();
    assert_eq!((&rejected[0]["line"], &rejected[0]["rule"]), (&json!(3), &json!("schema")), "{counts}");
    assert_eq!((&rejected[1]["line"], &rejected[1]["rule"]), (&json!(6), &json!("json")), "{counts}");
    assert!(first.err.contains("line 3"), "{first}");

    // The same bytes again are not judged again, under whatever name.
    let seq = cluster.stats()["ledger"]["seq"].clone();
    let again = import().ok().json();
    assert_eq!(again["finished_before"], true, "{again}");
    std::fs::rename(&file, cluster.path("renamed.jsonl")).unwrap();
    let renamed = cluster.path("renamed.jsonl");
    let renamed = cluster.ctl(&["import-legacy", &renamed, "--contract", "values@1", "-o", "json"]).ok().json();
    assert_eq!(renamed["finished_before"], true);
    assert_eq!(cluster.stats()["ledger"]["seq"], seq);
    cluster.ctl(&["import-legacy", &emit, "--contract", "none@1"]).ended(3).says("none@1");

    // They are tagged, and in the data set like any other.
    let out = cluster.path("provenance.jsonl");
    cluster.ctl(&["compact", "--out", &out, "--provenance"]).ok();
    let text = std::fs::read_to_string(&out).unwrap();
    let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.iter().map(|line| line["v"].as_f64().unwrap()).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
    assert_eq!(lines[0]["_orch"]["worker"], "w");
    assert!(lines[1]["_orch"]["worker"].is_null() && lines[1]["_orch"]["import"].is_u64(), "{}", lines[1]);
    cluster.kill9();
    cluster.restart();
    assert_eq!(cluster.stats()["candidates"], json!({"accepted": 3, "duplicate": 1, "rejected": 2}));
}

//! The example of jobs that need devices: what is set apart is never used twice, and what fits nowhere says why.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::support::{Cluster, project, until};

fn folder() -> std::path::PathBuf {
    project().join("examples/resources")
}

/// Ten-thousandths of an amount.
fn parts(text: &str) -> i64 {
    (text.parse::<f64>().unwrap() * 10_000.0).round() as i64
}

/// Follows the notes of the jobs: what each has from its start to its end, per device.
fn check(log: &str, most: &mut BTreeMap<String, i64>) {
    let mut used: BTreeMap<String, i64> = BTreeMap::new();
    for line in log.lines() {
        let note: Value = serde_json::from_str(line).unwrap();
        let sign = if note["what"] == "start" { 1 } else { -1 };
        let mut left = parts(note["of_gpus"].as_str().unwrap());
        for gpu in note["gpus"].as_str().unwrap().split(',').filter(|gpu| !gpu.is_empty()) {
            *used.entry(format!("gpu {gpu}")).or_default() += sign * left.min(10_000);
            left -= 10_000;
        }
        for cpu in note["cpus"].as_str().unwrap().split(',').filter(|cpu| !cpu.is_empty()) {
            *used.entry(format!("cpu {cpu}")).or_default() += sign * 10_000;
        }
        for (device, used) in &used {
            assert!(*used <= 10_000, "{device} has {used} ten-thousandths in use:\n{log}");
            let most = most.entry(device.clone()).or_default();
            *most = (*most).max(*used);
        }
    }
}

#[test]
fn devices_are_shared_and_never_used_twice() {
    let mut cluster = Cluster::start();
    cluster.ctl(&["submit", "-f", folder().join("submit.yaml").to_str().unwrap()]).ok();
    let log = cluster.path("usage.jsonl");
    let payload = json!({"log": log, "seconds": 0.02});
    let needs = [json!({"gpus": 0.5}), json!({"gpus": "1"}), json!({"gpus": 1.5}), json!([{"gpus": 2}, {"cpus": 3}])];
    let needs = needs.into_iter().chain([json!({"gpus": "0.25", "cpus": 1}), json!({"cpus": "all"})]);
    let needs: Vec<Value> = needs.collect();
    let line = |n: usize| {
        let job = json!({"queue": "devices", "payload": payload, "resources": needs[n % needs.len()]});
        job.to_string() + "\n"
    };
    let file = cluster.file("jobs.jsonl", (0..60).map(line).collect::<String>());
    cluster.ctl(&["import", &file]).ok();
    let config = folder().join("worker.yaml");
    let _worker = cluster.worker_with("w", 8, config.to_str().unwrap());
    until("some jobs to be done", || (cluster.stats()["jobs"]["done"].as_u64() > Some(10)).then_some(()));
    // What is set apart is the worker's to know: it survives the orchestrator.
    cluster.kill9();
    cluster.restart();
    cluster.drain();
    let mut most = BTreeMap::new();
    check(&std::fs::read_to_string(log).unwrap(), &mut most);
    for device in ["gpu 0", "gpu 1", "cpu 0", "cpu 3"] {
        assert_eq!(most.get(device), Some(&10_000), "{device} was never fully used: {most:?}");
    }
    let shown = cluster.ctl(&["worker", "show", "w", "-o", "json"]).ok().json();
    for resource in shown["resources"].as_array().unwrap() {
        assert_eq!(resource["free"], resource["size"], "everything is free again: {shown}");
    }
}

#[test]
fn a_job_that_fits_nowhere_says_what_is_missing() {
    let cluster = Cluster::start();
    cluster.ctl(&["submit", "-f", folder().join("submit.yaml").to_str().unwrap()]).ok();
    let config = folder().join("worker.yaml");
    let _worker = cluster.worker_with("w", 2, config.to_str().unwrap());
    cluster.drain();
    let enqueue = |more: &[&str]| {
        let args: Vec<&str> = ["enqueue", "devices", "-o", "name"].into_iter().chain(more.iter().copied()).collect();
        cluster.ctl(&args).ok().out.trim().to_owned()
    };
    let why = |job: &str| cluster.ctl(&["job", "explain", job]).ok().out;
    let large = enqueue(&["--resource", "gpus=1@24GiB,cpus=2", "--or", "cpus=5"]);
    assert!(why(&large).contains("needs 5 cpus: 1 worker has cpus, the most is 4"), "{}", why(&large));
    let elsewhere = enqueue(&["--resource", "cpus=1", "--label", "zone=south"]);
    assert!(why(&elsewhere).contains("no worker has the label zone=south"), "{}", why(&elsewhere));
    let stats = cluster.stats();
    assert_eq!(stats["unoffered"].as_array().unwrap().len(), 2, "{stats}");
    // A job that fits goes its way beside them.
    let fits = enqueue(&["--resource", "fpga=2", "--prefer", "zone=north:5", "--min-time", "1h"]);
    cluster.until_job(fits.parse().unwrap(), "done");
}

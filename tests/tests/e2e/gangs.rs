//! Gangs over real processes: the example, a member that is killed in the middle, and one that is larger than the cluster.

use std::collections::BTreeMap;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Cluster, Worker, is_gone, project, until};

fn example(name: &str) -> String {
    project().join("examples/gang").join(name).to_str().unwrap().to_owned()
}

fn worker(cluster: &Cluster, name: &str) -> Worker {
    cluster.worker_with(name, 1, &example("worker.yaml"))
}

/// A queue like the example's, whose leases are short.
fn queue(cluster: &Cluster) {
    let manifest = std::fs::read_to_string(example("submit.yaml")).unwrap();
    let documents: Vec<&str> = manifest.split("\n---\n").take(2).collect();
    let brief = documents.join("\n---\n").replace("{ttl: 30s, heartbeat: 5s}", "{ttl: 2s, heartbeat: 200ms}");
    assert!(brief.contains("ttl: 2s"));
    cluster.submit(&brief);
}

fn enqueue(cluster: &Cluster, workers: u32, payload: &Value) -> u64 {
    let (payload, workers) = (payload.to_string(), workers.to_string());
    let args = ["enqueue", "sums", "-o", "name", "--payload", &payload, "--gang", &workers];
    cluster.ctl(&args).ok().out.trim().parse().unwrap()
}

fn sums(cluster: &Cluster) -> Vec<Value> {
    let out = cluster.path("out.jsonl");
    cluster.ctl(&["compact", "--out", &out]).ok();
    std::fs::read_to_string(out).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The processes of a job's attempt, by worker, once all of them have said who they are.
fn processes(cluster: &Cluster, job: u64, attempt: u64, size: usize) -> BTreeMap<String, i32> {
    let (job, attempt) = (job.to_string(), attempt.to_string());
    until("every member to start", || {
        let log = cluster.ctl(&["job", "logs", &job, "--attempt", &attempt]).out;
        let said = log.lines().filter_map(|line| {
            let (who, pid) = line.strip_prefix("rank ")?.split_once(", pid ")?;
            Some((who.split_once(" on ")?.1.split_once(':')?.0.to_owned(), pid.parse().ok()?))
        });
        let said: BTreeMap<String, i32> = said.collect();
        (said.len() == size).then_some(said)
    })
}

#[test]
fn the_example_of_a_gang() {
    let mut cluster = Cluster::start();
    let manifest = std::fs::read_to_string(example("submit.yaml")).unwrap();
    let meet = cluster.folder().to_str().unwrap().to_owned();
    let job = cluster.submit(&manifest.replace("/tmp", &meet))[0];
    let (a, b) = (worker(&cluster, "a"), worker(&cluster, "b"));
    let explained = || cluster.ctl(&["job", "explain", &job.to_string()]).ok().out;
    until("both to be known", || explained().contains("needs 3 workers at once: 2 registered fit").then_some(()));
    let why = cluster.ctl(&["job", "explain", &job.to_string(), "-o", "json"]).ok().json();
    let codes: Vec<&str> = why["why"].as_array().unwrap().iter().filter_map(|why| why["code"].as_str()).collect();
    assert!(codes.contains(&"gang_too_few"), "{why}");
    let cannot = cluster.stats()["unoffered"].clone();
    assert!(cannot.to_string().contains("needs 3 workers at once: 2 registered fit"), "{cannot}");
    // What waits survives a crash; those who wait ask again.
    cluster.kill9();
    cluster.restart();
    let c = worker(&cluster, "c");
    let done = cluster.until_job(job, "done");
    assert_eq!((&done["attempts"], &done["accepted"]), (&json!(1), &json!(1)), "{done}");
    assert_eq!(sums(&cluster), [json!({"to": 3000, "sum": 4_501_500, "members": ["a", "b", "c"]})]);
    let log = cluster.ctl(&["job", "logs", &job.to_string()]).ok().out;
    for rank in 1..3 {
        assert!(log.contains(&format!("rank {rank} is done")), "what other members print is logged:\n{log}");
    }
    for member in ["a", "b", "c"] {
        let listed = cluster.ctl(&["job", "list", "--worker", member, "-o", "json"]).ok().json();
        assert_eq!(listed["jobs"][0]["job"], json!(job), "{member}: {listed}");
    }
    drop((a, b, c));
    cluster.verify();
}

#[test]
fn a_member_that_is_killed_ends_the_attempt_for_all_and_the_job_is_tried_again() {
    let cluster = Cluster::start();
    queue(&cluster);
    let mut workers: BTreeMap<String, Worker> =
        ["a", "b", "c"].map(|name| (name.to_owned(), worker(&cluster, name))).into();
    let gate = cluster.path("gate");
    let job = enqueue(&cluster, 2, &json!({"to": 10, "meet": cluster.folder(), "gate": gate}));
    let first = processes(&cluster, job, 1, 2);
    let shown = cluster.job(job);
    assert_eq!(shown["members"], json!(first.keys().collect::<Vec<_>>()), "{shown}");
    // The second member is lost; the first one's process ends, and its worker is free for another attempt.
    let lost = first.keys().nth(1).unwrap();
    let mut killed = workers.remove(lost).unwrap();
    killed.process.signal(Signal::KILL);
    until("the worker's end", || killed.process.has_ended());
    until("the end of every member's process", || first.values().all(|pid| is_gone(*pid)).then_some(()));
    let second = processes(&cluster, job, 2, 2);
    assert!(!second.contains_key(lost), "{second:?}");
    assert_eq!(cluster.job(job)["crashes"], json!(1));
    std::fs::write(&gate, "").unwrap();
    let done = cluster.until_job(job, "done");
    assert_eq!((&done["attempts"], &done["failures"]), (&json!(2), &json!(0)), "{done}");
    assert_eq!(sums(&cluster)[0]["sum"], json!(55));
    cluster.verify();
}

#[test]
fn a_gang_goes_on_over_a_restart_and_a_cancel_ends_all_of_it() {
    let mut cluster = Cluster::start();
    queue(&cluster);
    let _workers = ["a", "b"].map(|name| worker(&cluster, name));
    let gate = cluster.path("gate");
    let payload = json!({"to": 10, "meet": cluster.folder(), "gate": gate});
    let job = enqueue(&cluster, 2, &payload);
    let before = processes(&cluster, job, 1, 2);
    cluster.kill9();
    cluster.restart();
    std::fs::write(&gate, "").unwrap();
    let done = cluster.until_job(job, "done");
    assert_eq!(done["attempts"], json!(1), "its members kept it: {done}");
    assert!(before.values().all(|pid| is_gone(*pid)));
    std::fs::remove_file(&gate).unwrap();
    let job = enqueue(&cluster, 2, &payload);
    let running = processes(&cluster, job, 1, 2);
    cluster.ctl(&["job", "cancel", &job.to_string()]).ok();
    until("the end of every member's process", || running.values().all(|pid| is_gone(*pid)).then_some(()));
    // And one that fails fails for all.
    let job = enqueue(&cluster, 2, &json!({"to": "many", "meet": cluster.folder()}));
    until("a failure", || (cluster.job(job)["failures"].as_u64() > Some(0)).then_some(()));
    cluster.verify();
}

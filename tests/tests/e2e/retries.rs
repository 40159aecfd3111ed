//! The example of jobs that fail: each rule does what it says, over real processes.

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Cluster, project, until};

fn example(name: &str) -> String {
    project().join("examples/retries").join(name).to_str().unwrap().to_owned()
}

/// The jobs of the example, by name.
fn submit(cluster: &Cluster) -> impl Fn(&str) -> u64 + use<> {
    let submitted = cluster.ctl(&["submit", "-f", &example("submit.yaml"), "-o", "name"]).ok();
    let ids: Vec<u64> = submitted.out.lines().map(|id| id.parse().unwrap()).collect();
    let names = ["fine", "usage", "memory", "too much", "slow"];
    move |name| ids[names.iter().position(|known| *known == name).unwrap()]
}

/// How a job ended: attempts, class of its failure, and the last failure in words.
fn ended(job: &Value) -> (u64, &str, &str) {
    let text = |field: &str| job[field].as_str().unwrap_or_default().lines().last().unwrap_or_default();
    (job["attempts"].as_u64().unwrap(), job["failure_class"].as_str().unwrap_or_default(), text("message"))
}

fn enqueue(cluster: &Cluster, queue: &str, payload: &Value, more: &[&str]) -> u64 {
    let payload = payload.to_string();
    let args = ["enqueue", queue, "-o", "name", "--payload", &payload];
    let args: Vec<&str> = args.into_iter().chain(more.iter().copied()).collect();
    cluster.ctl(&args).ok().out.trim().parse().unwrap()
}

#[test]
fn rules_by_exit_code_message_and_class() {
    let cluster = Cluster::start();
    let job = submit(&cluster);
    let _worker = cluster.worker_with("w", 2, &example("worker.yaml"));
    let done = cluster.until_job(job("fine"), "done");
    assert_eq!(ended(&done).0, 1);
    let usage = cluster.until_job(job("usage"), "failed");
    let (attempts, class, message) = ended(&usage);
    assert_eq!((attempts, class), (1, "error"), "an exit code that no retry helps: {usage}");
    assert!(message.contains("there is no such option"), "{message}");
    // 16, 32 and then not 64 but the cap.
    let memory = cluster.until_job(job("memory"), "done");
    assert_eq!(ended(&memory).0, 3);
    let out = cluster.path("out.jsonl");
    cluster.ctl(&["compact", "--out", &out]).ok();
    let found = std::fs::read_to_string(out).unwrap();
    assert!(found.contains(&json!({"job": job("memory"), "attempt": 3, "mem": "48"}).to_string()), "{found}");
    let too_much = cluster.until_job(job("too much"), "failed");
    let (attempts, class, message) = ended(&too_much);
    assert_eq!((attempts, class), (3, "error"));
    assert!(message.contains("Out of memory with 48 MiB"), "{message}");
    let slow = cluster.until_job(job("slow"), "failed");
    assert_eq!((ended(&slow).0, ended(&slow).1), (1, "timeout"));
    // A person may put it back, and its counts start anew.
    cluster.ctl(&["retry-failed", "--class", "timeout"]).ok();
    until("another failure", || (cluster.job(job("slow"))["attempts"] == 2).then_some(()));
    cluster.until_job(job("slow"), "failed");
}

#[test]
fn a_job_keeps_away_from_a_worker_and_a_worker_that_fails_everything_is_set_aside() {
    let cluster = Cluster::start();
    let _jobs = submit(&cluster);
    let status = |name: &str| {
        let listed = cluster.ctl(&["worker", "list", "-o", "json"]).ok().json();
        let mut workers = listed["workers"].as_array().unwrap().iter();
        workers.find(|worker| worker["worker"] == name).cloned().unwrap_or_default()
    };
    let well = json!({"how": "well"});
    // With nobody else there, its first job waits for somebody else.
    let broken = cluster.worker_with("broken", 1, &example("broken-worker.yaml"));
    let first = enqueue(&cluster, "work", &well, &["--priority", "9"]);
    until("the first failure", || (cluster.job(first)["failures"] == 1).then_some(()));
    let good = cluster.worker_with("good", 1, &example("worker.yaml"));
    let done = cluster.until_job(first, "done");
    assert_eq!((&done["attempts"], &done["worker"]), (&json!(2), &json!("good")), "{done}");
    let jobs: Vec<u64> = (0..30).map(|_| enqueue(&cluster, "work", &well, &["--priority", "9"])).collect();
    until("the broken worker to be set aside", || (status("broken")["status"] == "set aside").then_some(()));
    for job in &jobs {
        let done = cluster.until_job(*job, "done");
        assert_eq!(done["worker"], "good", "{done}");
    }
    let aside = status("broken")["set_aside"].as_str().unwrap().to_owned();
    assert!(aside.contains("different jobs failed on it in a row"), "{aside}");
    cluster.ctl(&["worker", "resume", "broken"]).ok();
    assert_eq!(status("broken")["set_aside"], Value::Null);
    drop((broken, good));
}

#[test]
fn a_job_that_loses_worker_after_worker_is_quarantined() {
    let cluster = Cluster::start();
    let _jobs = submit(&cluster);
    // What the example brought besides is not what this is about.
    cluster.ctl(&["job", "cancel", "--queue", "work"]).ok();
    let wait = json!({"how": "wait", "file": cluster.path("never")});
    let job = enqueue(&cluster, "frail", &wait, &[]);
    for round in 1..=2 {
        let mut worker = cluster.worker_with(&format!("w{round}"), 1, &example("worker.yaml"));
        cluster.until_job(job, "leased");
        worker.process.signal(Signal::KILL);
        until("the worker's end", || worker.process.has_ended());
        until("the loss to be noticed", || (cluster.job(job)["crashes"] == round).then_some(()));
    }
    let lost = cluster.until_job(job, "failed");
    assert_eq!((ended(&lost).0, ended(&lost).1), (2, "quarantined"), "{lost}");
    assert_eq!(lost["failures"], 0, "a lost worker costs no attempt");
    cluster.ctl(&["job", "wait", &job.to_string(), "--timeout", "9s"]).ended(4);
}

#[test]
fn every_retry_waits_while_they_are_paused() {
    let mut cluster = Cluster::start();
    let _jobs = submit(&cluster);
    cluster.ctl(&["retries", "pause", "--reason", "the file server is down"]).ok();
    let _worker = cluster.worker_with("w", 1, &example("worker.yaml"));
    let job = enqueue(&cluster, "work", &json!({"how": "memory", "needs": 30}), &["--resource", "mem=16"]);
    cluster.until_job(job, "delayed");
    cluster.ctl(&["job", "explain", &job.to_string()]).ok().prints("retries are paused: the file server is down");
    // The switch is in the ledger.
    cluster.kill9();
    cluster.restart();
    assert_eq!(cluster.stats()["retries_paused"], "the file server is down");
    assert_eq!(cluster.job(job)["state"], "delayed");
    cluster.ctl(&["retries", "resume"]).ok();
    assert_eq!(ended(&cluster.until_job(job, "done")).0, 2);
}

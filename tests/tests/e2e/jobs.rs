//! What becomes of jobs: failures and retries, time-outs, cancellation, dependencies, delays, pauses, drained workers.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, Process, is_gone, records, until};

/// The ids of one line each.
fn ids(text: &str) -> Vec<u64> {
    text.lines().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn failed_jobs_are_put_back_as_the_filters_say() {
    let cluster = Cluster::start();
    let flag = cluster.path("flag");
    let gate = cluster.path("gate");
    let retry = "retry: {max_attempts: 2, backoff: 1ms, jitter: 0s}";
    let mut manifest = VALUES.to_owned() + &queue("flags", "flag", retry) + &queue("gates", "gate", "timeout: 1500ms");
    for _ in 0..3 {
        manifest += &job("flags", &flag, "");
    }
    manifest += &job("gates", &gate, "");
    let jobs = cluster.submit(&manifest);
    assert_eq!(jobs.len(), 4);
    let _worker = cluster.worker("w", 2);

    cluster
        .ctl(&["run", "--drain", "--timeout", "100s"])
        .ended(4)
        .says("error: 4 jobs failed")
        .says("fix: `orchctl job list --state failed` says why, `orchctl retry-failed` puts them back");
    let failed = |more: &[&str]| {
        let args = [&["job", "list", "--state", "failed", "-o", "name"], more].concat();
        ids(&cluster.ctl(&args).ok().out)
    };
    assert_eq!(failed(&[]), jobs);
    assert_eq!(failed(&["--queue", "flags"]), jobs[..3]);
    assert_eq!(failed(&["--class", "timeout"]), jobs[3..]);

    let first = cluster.job(jobs[0]);
    assert_eq!((&first["attempts"], &first["failures"]), (&json!(2), &json!(2)), "{first}");
    assert_eq!(first["failure_class"], "error");
    let message = first["message"].as_str().unwrap();
    assert!(message.starts_with("the command exited with code 3") && message.contains("no flag yet"), "{message}");
    let late = cluster.job(jobs[3]);
    assert_eq!(late["failure_class"], "timeout");
    let logs = |more: &[&str]| {
        let id = jobs[0].to_string();
        cluster.ctl(&[&["job", "logs", id.as_str()], more].concat()).ok().out
    };
    assert_eq!(logs(&[]), format!("attempt 2 of job {}: no flag yet\n", jobs[0]));
    assert_eq!(logs(&["--attempt", "1"]), format!("attempt 1 of job {}: no flag yet\n", jobs[0]));

    // Only asking changes nothing.
    let before = cluster.stats();
    let dry = cluster.ctl(&["retry-failed", "--queue", "flags", "--dry-run", "-o", "json"]).ok().json();
    assert_eq!(dry, json!({"action": "retried", "dry_run": true, "count": 3, "jobs": jobs[..3]}));
    assert_eq!(cluster.stats()["ledger"], before["ledger"]);

    // Now the flag is there, and what is retried is done; the others stay as they are.
    std::fs::write(&flag, "{\"v\":1}\n").unwrap();
    let retry = |more: &[&str]| ids(&cluster.ctl(&[&["retry-failed", "-o", "name"], more].concat()).ok().out);
    assert_eq!(retry(&["--queue", "flags", "--limit", "1"]), jobs[..1]);
    assert_eq!(retry(&["--job", &jobs[2].to_string()]), jobs[2..3]);
    assert_eq!(retry(&["--kind", "no-such-kind"]), [0_u64; 0]);
    cluster.ctl(&["job", "wait", &jobs[0].to_string(), &jobs[2].to_string(), "--timeout", "100s"]).ok();
    assert_eq!(failed(&[]), [jobs[1], jobs[3]]);
    assert_eq!(retry(&["--class", "timeout"]), jobs[3..]);
    cluster.until_job(jobs[3], "failed");

    std::fs::write(&gate, "{\"v\":2}\n").unwrap();
    assert_eq!(retry(&[]), [jobs[1], jobs[3]]);
    cluster.drain();
    let stats = cluster.stats();
    assert_eq!(stats["jobs"]["done"], 4);
    assert_eq!(stats["jobs"]["failed"], 0);
    // Three jobs found the same value: accepted once.
    assert_eq!(stats["candidates"], json!({"accepted": 2, "duplicate": 2, "rejected": 0}));
    // What the failed attempts wrote is still to be read.
    assert!(logs(&["--attempt", "1"]).contains("attempt 1"), "{}", logs(&["--attempt", "1"]));
}

#[test]
fn a_cancelled_job_stops_with_everything_it_started() {
    let cluster = Cluster::start();
    let pids = cluster.path("pids");
    let quick = cluster.file("quick", "{\"v\":1}\n");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "family", "") + &job("q", &pids, "")));
    let worker = cluster.worker("w", 1);
    let pids: Vec<i32> = until("the processes of the job", || std::fs::read_to_string(&pids).ok())
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect();
    assert!(pids.len() == 2 && !pids.iter().any(|pid| is_gone(*pid)));

    let id = jobs[0].to_string();
    let cancelled = Instant::now();
    cluster.ctl(&["job", "cancel", &id, "--reason", "wrong payload"]).ok().prints(&format!("1 job cancelled: {id}"));
    until("the end of the job's processes", || pids.iter().all(|pid| is_gone(*pid)).then_some(()));
    let took = cancelled.elapsed();
    // A heartbeat (200 ms), and the grace of the program (1 s), were it deaf to SIGTERM; the rest is for slow machines.
    assert!(took < Duration::from_secs(8), "{took:?}");
    let job = cluster.job(jobs[0]);
    assert_eq!((&job["state"], &job["message"]), (&json!("cancelled"), &json!("wrong payload")), "{job}");
    cluster.ctl(&["job", "wait", &id]).ended(5);
    cluster.ctl(&["job", "cancel", &id]).ok().prints("no job cancelled");
    // The worker is free again.
    let more = cluster.submit(&(queue("q2", "emit", "") + &crate::support::manifests::job("q2", &quick, "")));
    cluster.ctl(&["job", "wait", &more[0].to_string(), "--timeout", "100s"]).ok();
    assert_eq!(cluster.job(more[0])["worker"], worker.name);
}

#[test]
fn a_job_that_runs_too_long_is_stopped_and_tried_again() {
    let cluster = Cluster::start();
    let pids = cluster.path("pids");
    let retry = "timeout: 900ms\nretry: {max_attempts: 2, backoff: 1ms, jitter: 0s}";
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "family", retry) + &job("q", &pids, "")));
    let _worker = cluster.worker("w", 1);
    let failed = cluster.until_job(jobs[0], "failed");
    assert_eq!((&failed["failure_class"], &failed["failures"]), (&json!("timeout"), &json!(2)), "{failed}");
    let message = failed["message"].as_str().unwrap();
    assert!(message.contains("900ms"), "{message}");
    let pids = std::fs::read_to_string(&pids).unwrap();
    for pid in pids.split_whitespace() {
        until("the end of the job's processes", || is_gone(pid.parse().unwrap()).then_some(()));
    }
}

#[test]
fn a_job_waits_for_those_that_it_depends_on() {
    let cluster = Cluster::start();
    let (good, bad) = (cluster.path("good"), cluster.path("bad"));
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let manifest = VALUES.to_owned()
        + &queue("gates", "gate", "")
        + &queue("flags", "flag", "")
        + &queue("emits", "emit", "")
        + &job("gates", &good, "name: good")
        + &job("flags", &bad, "name: bad")
        + &job("emits", &emit, "name: after-good, depends_on: [good]")
        + &job("emits", &emit, "name: after-bad, depends_on: [good, bad]")
        + &job("emits", &emit, "name: after-after-bad, depends_on: [after-bad]")
        + &job("emits", &emit, "name: in-spite, depends_on: [bad, good], on_dependency_failure: continue");
    let jobs = cluster.submit(&manifest);
    let states = || -> Vec<String> {
        let listed = cluster.ctl(&["job", "list", "-o", "json"]).ok().json();
        let state = |job: &Value| job["state"].as_str().unwrap().to_owned();
        listed["jobs"].as_array().unwrap().iter().map(state).collect()
    };
    assert_eq!(states(), ["ready", "ready", "blocked", "blocked", "blocked", "blocked"]);
    let _worker = cluster.worker("w", 2);
    cluster.until_job(jobs[1], "failed");
    assert_eq!(states(), ["leased", "failed", "blocked", "cancelled", "cancelled", "blocked"]);
    let cancelled = cluster.job(jobs[3]);
    assert!(cancelled["message"].as_str().unwrap().contains(&jobs[1].to_string()), "{cancelled}");
    std::fs::write(&good, "").unwrap();
    cluster.ctl(&["run", "--drain", "--timeout", "100s"]).ended(4);
    assert_eq!(states(), ["done", "failed", "done", "cancelled", "cancelled", "done"]);
}

#[test]
fn a_delayed_job_starts_when_its_time_has_come() {
    let cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let manifest = VALUES.to_owned()
        + &queue("q", "emit", "")
        + &job("q", &emit, "delay: 1200ms")
        + &job("q", &emit, "delay: 1h")
        + &job("q", &emit, "");
    let jobs = cluster.submit(&manifest);
    let _worker = cluster.worker("w", 1);
    cluster.until_job(jobs[2], "done");
    assert_eq!(cluster.job(jobs[1])["state"], "delayed");
    cluster.until_job(jobs[0], "done");
    let at = |name: &str| -> Vec<(u64, i64)> {
        let lines = records::lines(&cluster.data());
        let parsed = lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap());
        let wanted = parsed.filter(|line| line["event"].get(name).is_some());
        wanted
            .map(|line| {
                let job = line["event"][name]["job"].as_u64().or(line["seq"].as_u64()).unwrap();
                (job, millis(line["at"].as_str().unwrap()))
            })
            .collect()
    };
    let of = |events: &[(u64, i64)]| events.iter().find(|(job, _)| *job == jobs[0]).unwrap().1;
    let waited = of(&at("lease_granted")) - of(&at("job_submitted"));
    assert!(waited >= 1200, "{waited} ms");
    // Nobody waits an hour for the other one: a change of mind takes it out.
    cluster.ctl(&["job", "wait", &jobs[1].to_string(), "--timeout", "100ms"]).ended(124).says("not all jobs ended");
    cluster.ctl(&["job", "cancel", "--state", "delayed"]).ok();
    cluster.ctl(&["job", "wait", "--queue", "q", "--timeout", "100s"]).ended(5);
}

/// Milliseconds since midnight of a time in RFC 3339; the test does not run for a day.
fn millis(time: &str) -> i64 {
    let (_, clock) = time.trim_end_matches('Z').split_once('T').unwrap();
    let parts: Vec<f64> = clock.split(':').map(|part| part.parse().unwrap()).collect();
    ((parts[0] * 60.0 + parts[1]) * 60_000.0 + parts[2] * 1000.0).round() as i64
}

#[test]
fn a_paused_queue_waits_while_others_go_on() {
    let cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let manifest = VALUES.to_owned() + &queue("paused", "emit", "") + &queue("open", "emit", "");
    cluster.submit(&manifest);
    cluster.ctl(&["queue", "pause", "paused", "--reason", "under review"]).ok();
    let waiting = cluster.submit(&job("paused", &emit, ""));
    let _worker = cluster.worker("w", 1);
    let going = cluster.submit(&job("open", &emit, ""));
    cluster.until_job(going[0], "done");
    assert_eq!(cluster.job(waiting[0])["state"], "ready");
    let listed = cluster.ctl(&["queue", "list", "-o", "json"]).ok();
    assert!(listed.out.contains("under review"), "{listed}");
    cluster.ctl(&["queue", "resume", "paused"]).ok();
    cluster.until_job(waiting[0], "done");
    cluster.ctl(&["queue", "pause", "no-such-queue"]).ended(3).says("no-such-queue");
}

#[test]
fn a_drained_worker_finishes_what_it_has_and_leaves() {
    let cluster = Cluster::start();
    let (gate, emit) = (cluster.path("gate"), cluster.file("emit", "{\"v\":1}\n"));
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue("q", "gate", "") + &job("q", &gate, "")));
    let mut first = cluster.worker("first", 1);
    cluster.until_job(jobs[0], "leased");
    cluster.ctl(&["worker", "drain", "first"]).ok().prints("first");
    // It takes nothing more, although it is the only worker and a slot could be free soon.
    let more = cluster.submit(&job("q", &emit, ""));
    until("the order to reach the worker", || first.process.err().contains("orders to drain").then_some(()));
    std::fs::write(&gate, "{\"v\":2}\n").unwrap();
    let status = until("the worker's end", || first.process.has_ended());
    assert_eq!(status.code(), Some(0));
    assert_eq!(cluster.job(jobs[0])["state"], "done");
    assert_eq!(cluster.job(more[0])["state"], "ready");
    assert_eq!(cluster.stats()["workers"]["live"], 0);

    // With --terminate a job is given back instead, and no attempt is charged.
    let pids = cluster.path("pids");
    let long = cluster.submit(&(queue("family", "family", "") + &job("family", &pids, "")));
    let mut second = cluster.worker("second", 2);
    until("the processes of the job", || std::fs::read_to_string(&pids).ok());
    cluster.ctl(&["worker", "drain", "--all", "--terminate"]).ok();
    let status = until("the worker's end", || second.process.has_ended());
    assert_eq!(status.code(), Some(0));
    let given_back = cluster.job(long[0]);
    assert_eq!((&given_back["state"], &given_back["failures"]), (&json!("ready"), &json!(0)), "{given_back}");
    assert_eq!(given_back["crashes"], 0);
    assert_eq!(cluster.stats()["attempts"]["released"], 1);
}

#[test]
fn a_lost_workers_jobs_go_to_another_one() {
    let cluster = Cluster::start();
    let gate = cluster.path("gate");
    let queue = queue("q", "gate", "").replace("ttl: 10s", "ttl: 2s");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue + &job("q", &gate, "")));
    let lost = cluster.worker("lost", 1);
    cluster.until_job(jobs[0], "leased");
    lost.process.signal(rustix::process::Signal::KILL);
    let _heir = cluster.worker("heir", 1);
    until("the lease to pass on", || (cluster.job(jobs[0])["worker"] == "heir").then_some(()));
    std::fs::write(&gate, "{\"v\":2}\n").unwrap();
    let done = cluster.until_job(jobs[0], "done");
    assert_eq!((&done["crashes"], &done["failures"], &done["attempts"]), (&json!(1), &json!(0), &json!(2)), "{done}");
}

#[test]
fn a_worker_that_slept_too_long_counts_for_nothing() {
    let cluster = Cluster::start();
    let gate = cluster.path("gate");
    let queue = queue("q", "gate", "").replace("ttl: 10s", "ttl: 2s");
    let jobs = cluster.submit(&(VALUES.to_owned() + &queue + &job("q", &gate, "")));
    let mut sleeper = cluster.worker("sleeper", 1);
    cluster.until_job(jobs[0], "leased");
    // Its program goes on and writes its results, which the worker holds when it wakes up, with a lease that is over.
    sleeper.process.signal(rustix::process::Signal::STOP);
    let _heir = cluster.worker("heir", 1);
    until("the lease to pass on", || (cluster.job(jobs[0])["worker"] == "heir").then_some(()));
    std::fs::write(&gate, "{\"v\":1}\n{\"v\":2}\n").unwrap();
    let done = cluster.until_job(jobs[0], "done");
    let seq = cluster.stats()["ledger"]["seq"].clone();
    sleeper.process.signal(rustix::process::Signal::CONT);
    // A refused batch tells it, or a heartbeat, whichever comes first.
    sleeper.process.until("a word about the lost lease", |sleeper| {
        let err = sleeper.err();
        (err.contains("LEASE_LOST") || err.contains("the lease is lost")).then_some(())
    });
    assert_eq!((&done["accepted"], &done["duplicate"], &done["crashes"]), (&json!(2), &json!(0), &json!(1)), "{done}");
    assert_eq!(cluster.job(jobs[0]), done);
    assert_eq!(cluster.stats()["ledger"]["seq"], seq);
    assert_eq!(cluster.stats()["candidates"], json!({"accepted": 2, "duplicate": 0, "rejected": 0}));
}

#[test]
fn waiting_ends_as_the_jobs_ended() {
    let cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let missing = cluster.path("missing");
    let manifest = VALUES.to_owned()
        + &queue("good", "emit", "")
        + &queue("bad", "flag", "")
        + &job("good", &emit, "")
        + &job("bad", &missing, "");
    let jobs = cluster.submit(&manifest);
    let (good, bad) = (jobs[0].to_string(), jobs[1].to_string());
    // Waiting begins before there is anything to wait for, and rides out a restart.
    let waiting = Process::start(cluster.ctl_command(&["job", "wait", &good, &bad, "--timeout", "100s"]));
    let _worker = cluster.worker("w", 1);
    waiting.wait().ended(4);
    cluster.ctl(&["job", "wait", &good]).ok();
    cluster.ctl(&["job", "wait", "999999"]).ended(3).says("999999");
    cluster.ctl(&["run", "--drain", "--queue", "good"]).ok();
    cluster.ctl(&["run", "--drain", "--queue", "bad"]).ended(4).says("1 jobs failed");
    cluster.ctl(&["run", "--drain", "--queue", "none"]).ended(3).says("queue none does not exist");
    cluster.ctl(&["job", "show", "999999"]).ended(3).says("999999");
}

#[test]
fn a_key_gives_the_same_job_and_refuses_another() {
    let cluster = Cluster::start();
    cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "")));
    let enqueue = |payload: &str| cluster.ctl(&["enqueue", "q", "--payload", payload, "--key", "k", "-o", "json"]);
    let first = enqueue("{\"a\":1}").ok().json();
    let again = enqueue("{\"a\":1.0}").ok().json();
    assert_eq!((&first["existed"], &again["existed"]), (&json!(false), &json!(true)));
    assert_eq!(first["job"], again["job"]);
    enqueue("{\"a\":2}").ended(1).says("payload").says(&first["job"].to_string());
    assert_eq!(cluster.stats()["jobs"]["ready"], 1);
}

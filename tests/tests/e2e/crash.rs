//! Three processes and a bad day: whatever is killed, whenever, the work finishes with the bytes of a good day.

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Cluster, Options, Worker, project, records, until, zeros};

/// 8,000 zeros in 80 jobs.
const ZEROS: usize = 8_000;

fn manifest() -> String {
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let example = example.replace("to: 99999, step: 1000", &format!("to: {}, step: 100", ZEROS - 1));
    // What a killed worker held must not wait a minute for its heir.
    let example = example.replace("ttl: 60s, heartbeat: 5s", "ttl: 2s, heartbeat: 200ms");
    assert!(example.contains("step: 100,") && example.contains("ttl: 2s"));
    example
}

/// The clean data set of a day on which nothing happens.
fn undisturbed() -> Vec<u8> {
    let cluster = Cluster::start();
    cluster.submit(&manifest());
    let _workers = [cluster.worker("one", 1), cluster.worker("two", 1)];
    cluster.drain();
    cluster.compact("merged.jsonl")
}

fn until_accepted(cluster: &Cluster, count: usize) {
    until(&format!("{count} accepted zeros"), || (records::accepted_count(&cluster.data()) >= count).then_some(()));
}

/// Everything that must hold when it is over.
fn check(cluster: &Cluster) {
    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["done"], &stats["jobs"]["failed"]), (&json!(80), &json!(0)), "{stats}");
    assert_eq!(stats["candidates"]["accepted"], ZEROS);
    assert_eq!(stats["candidates"]["rejected"], 0);
    cluster.verify();
    assert_eq!(records::check_accepted_once(&cluster.data()), ZEROS);
    let merged = cluster.compact("merged.jsonl");
    zeros::check(&cluster.folder().join("merged.jsonl"), 1, ZEROS);
    assert!(merged == undisturbed(), "the clean data set is not that of an undisturbed run");
}

#[test]
fn the_orchestrator_is_killed_again_and_again() {
    // Small segments, so that kills fall on their seams too.
    let options = Options { args: vec!["--segment-bytes=1048576".into()], ..Options::default() };
    let mut cluster = Cluster::with(options);
    cluster.submit(&manifest());
    let _workers = [cluster.worker("one", 1), cluster.worker("two", 1)];
    for count in [1, 1500, 3000, 4500, 6000, 7500] {
        until_accepted(&cluster, count);
        cluster.kill9();
        // What was acknowledged is in the ledger, and the ledger is whole, before anybody mends it.
        cluster.verify();
        cluster.restart();
    }
    cluster.drain();
    check(&cluster);
    let boots = records::events(&cluster.data(), "booted");
    assert_eq!(boots.len(), 7);
    // Workers kept what they had: nobody was lost by the restarts.
    assert_eq!(cluster.stats()["attempts"]["failures"], 0);
}

#[test]
fn workers_and_the_orchestrator_are_killed_at_the_same_time() {
    let mut cluster = Cluster::start();
    cluster.submit(&manifest());
    let mut workers: Vec<Worker> = vec![cluster.worker("one", 2), cluster.worker("two", 1)];
    for (round, count) in [500, 2500, 4500, 6500].into_iter().enumerate() {
        until_accepted(&cluster, count);
        let killed = workers.remove(0);
        killed.process.signal(Signal::KILL);
        if round % 2 == 1 {
            cluster.kill9();
            cluster.restart();
        }
        // Every second time a worker of the same name comes back, otherwise another one.
        let name = if round < 2 { killed.name.clone() } else { format!("{}-{round}", killed.name) };
        drop(killed);
        workers.push(cluster.worker(&name, 1));
    }
    cluster.drain();
    check(&cluster);
    // A worker that is killed costs the job a crash and no attempt.
    let stats = cluster.stats();
    assert_eq!(stats["attempts"]["failures"], 0, "{stats}");
}

#[test]
fn finished_work_survives_an_orchestrator_that_is_away() {
    let mut cluster = Cluster::start();
    let gate = cluster.path("gate");
    let jobs = cluster.submit(
        &(crate::support::manifests::VALUES.to_owned()
            + &crate::support::manifests::queue("q", "gate", "")
            + &crate::support::manifests::job("q", &gate, "")),
    );
    let mut worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "leased");
    cluster.kill9();
    // The job ends while nobody is there to be told.
    std::fs::write(&gate, "{\"v\":1}\n{\"v\":2}\n").unwrap();
    worker.process.until("a word about the lost orchestrator", |worker| {
        (worker.err().contains("orchestrator") && worker.err().contains("WARN")).then_some(())
    });
    cluster.restart();
    let done = cluster.until_job(jobs[0], "done");
    // The same attempt, under the same lease.
    assert_eq!((&done["attempts"], &done["accepted"], &done["crashes"]), (&json!(1), &json!(2), &json!(0)), "{done}");
    cluster.verify();
}

#[test]
fn a_stopped_orchestrator_leaves_a_ledger_that_starts_at_once() {
    let mut cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let (values, queue) = (crate::support::manifests::VALUES, crate::support::manifests::queue("q", "emit", ""));
    let jobs = cluster.submit(&(values.to_owned() + &queue + &crate::support::manifests::job("q", &emit, "")));
    let worker = cluster.worker("w", 1);
    cluster.until_job(jobs[0], "done");
    drop(worker);
    let mut before = cluster.stats();
    cluster.stop();
    cluster.verify();
    cluster.restart();
    let mut after = cluster.stats();
    // How long jobs waited is told since the start.
    for stats in [&mut before, &mut after] {
        stats["queues"][0]["waits"].take();
    }
    for part in ["candidates", "queues"] {
        assert_eq!(before[part], after[part]);
    }
    assert_eq!(after["jobs"], before["jobs"]);
    assert_eq!(after["ledger"]["epoch"], 2);
    // The index is a cache: without it, everything is found again.
    let listed = cluster.ctl(&["job", "list", "-o", "json"]).ok().out;
    cluster.stop();
    std::fs::remove_dir_all(cluster.data().join("index")).unwrap();
    cluster.restart();
    until("the index to be rebuilt", || (cluster.ctl(&["job", "list", "-o", "json"]).ok().out == listed).then_some(()));
}

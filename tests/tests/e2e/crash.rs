//! Three processes and a bad day: whatever is killed, whenever, the work finishes with the bytes of a good day.

use rustix::process::Signal;
use serde_json::json;

use crate::support::main_job;
use crate::support::{Cluster, Options, Worker, records, until};

/// In 80 jobs.
const ZEROS: usize = 8_000;

fn manifest() -> String {
    // What a killed worker held must not wait a minute for its heir.
    let manifest = main_job::manifest(0, ZEROS).replace("ttl: 60s, heartbeat: 5s", "ttl: 2s, heartbeat: 200ms");
    assert!(manifest.contains("ttl: 2s"));
    manifest
}

fn until_accepted(cluster: &Cluster, count: usize) {
    main_job::until_accepted(&cluster.data(), count);
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
    main_job::check(&cluster, ZEROS);
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
    main_job::check(&cluster, ZEROS);
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

//! A disk without space. The limit on the size of files stands in for it: the system refuses writes beyond it, and the
//! test can raise it again while the orchestrator runs, as an operator frees space.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};
use serde_json::json;

use crate::support::manifests::{VALUES, job, queue};
use crate::support::{Cluster, Process, records, until};

/// The largest size of a file of this process from now on; None: as large as it was allowed to be.
fn limit_file_size(process: &Process, bytes: Option<u64>) {
    let limit = Rlimit { current: bytes, maximum: getrlimit(Resource::Fsize).maximum };
    prlimit(Some(process.pid()), Resource::Fsize, limit).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_loses_nothing_and_goes_on_when_there_is_space() {
    let mut cluster = Cluster::start();
    let gate = cluster.path("gate");
    let emit = cluster.file("emit", "{\"v\":1}\n");
    let manifest = VALUES.to_owned() + &queue("gates", "gate", "") + &queue("q", "emit", "") + &job("gates", &gate, "");
    let jobs = cluster.submit(&manifest);
    let _worker = cluster.worker("w", 2);
    cluster.until_job(jobs[0], "leased");
    let before = cluster.stats();

    // As if the disk were full a little behind what is written.
    limit_file_size(cluster.server(), Some(512 << 10));
    let mut last = 0;
    let refused = until("the disk to be full", || {
        let payload = format!("{{\"file\":\"{emit}\",\"filler\":\"{}\"}}", "x".repeat(50_000));
        let file = cluster.file("payload.json", payload);
        let enqueued = cluster.ctl(&["enqueue", "q", "--payload", &format!("@{file}"), "-o", "name"]);
        if enqueued.code == 0 {
            last = enqueued.out.trim().parse().unwrap();
            None
        } else {
            Some(enqueued)
        }
    });
    refused.ended(1).says("read-only").says("fix: free space on the orchestrator's disk");
    let full = cluster.stats();
    let reason = full["ledger"]["read_only_reason"].as_str().unwrap_or_default();
    assert!(reason.contains("space"), "{full}");
    // Asking goes on, and the doctor names the cure.
    cluster.ctl(&["doctor"]).ended(1).prints("read only").prints("free space");
    assert_eq!(cluster.job(jobs[0])["state"], "leased");

    // The worker computes on, and its results wait with it.
    std::fs::write(&gate, "{\"v\":5}\n{\"v\":6}\n").unwrap();
    assert_eq!(cluster.job(jobs[0])["state"], "leased");
    let accepted = records::check_accepted_once(&cluster.data());
    assert_eq!(full["candidates"]["accepted"], accepted);
    cluster.verify();

    limit_file_size(cluster.server(), None);
    let done = cluster.until_job(jobs[0], "done");
    assert_eq!((&done["accepted"], &done["attempts"]), (&json!(2), &json!(1)), "{done}");
    cluster.drain();
    let after = cluster.stats();
    assert!(after["ledger"]["read_only_reason"].is_null(), "{after}");
    assert_eq!(after["jobs"]["failed"], 0);
    // What was acknowledged last, just before the end of the disk, is there.
    assert_eq!(cluster.job(last)["state"], "done");
    assert!(after["ledger"]["seq"].as_u64() > before["ledger"]["seq"].as_u64());
    cluster.stop();
    cluster.verify();
    cluster.restart();
    assert_eq!(cluster.stats()["candidates"], after["candidates"]);
    records::check_accepted_once(&cluster.data());
}

#[test]
fn an_orchestrator_that_dies_on_a_full_disk_starts_again_without_loss() {
    let mut cluster = Cluster::start();
    let emit = cluster.file("emit", "{\"v\":1}\n");
    cluster.submit(&(VALUES.to_owned() + &queue("q", "emit", "") + &job("q", &emit, "")));
    limit_file_size(cluster.server(), Some(16 << 10));
    until("the disk to be full", || {
        let enqueued = cluster.ctl(&["enqueue", "q", "--payload", &format!("{{\"file\":\"{emit}\"}}")]);
        (enqueued.code != 0).then_some(())
    });
    let acknowledged = cluster.stats()["jobs"]["ready"].clone();
    cluster.kill9();
    cluster.verify();
    cluster.restart();
    assert_eq!(cluster.stats()["jobs"]["ready"], acknowledged);
    let _worker = cluster.worker("w", 1);
    cluster.drain();
    assert_eq!(cluster.stats()["jobs"]["done"], acknowledged);
}

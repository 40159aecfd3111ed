//! The main job, cut down: zeros of the zeta function as in the example, on good days and on bad ones.

use std::path::Path;

use serde_json::json;

use super::{Cluster, project, records, until, zeros};

/// Zeros of one job.
pub const STEP: usize = 100;

/// The example, for the zeros of these places, the first of which is 0, and everything else as it stands there.
pub fn manifest(from: usize, to: usize) -> String {
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let range = format!("from: {}, to: {}, step: {STEP}", i64::try_from(from).unwrap() - 1, to - 1);
    let manifest = example.replace("from: -1, to: 99999, step: 1000", &range);
    assert!(manifest.contains(&range));
    manifest
}

/// The clean data set of a day on which nothing happens.
pub fn undisturbed(count: usize) -> Vec<u8> {
    let cluster = Cluster::start();
    cluster.submit(&manifest(0, count));
    let _workers = [cluster.worker("one", 1), cluster.worker("two", 1)];
    cluster.drain();
    cluster.compact("merged.jsonl")
}

/// Waits until so many zeros are accepted.
#[track_caller]
pub fn until_accepted(data: &Path, count: usize) {
    until(&format!("{count} accepted zeros"), || (records::accepted_count(data) >= count).then_some(()));
}

/// Everything that must hold when it is over, whatever happened.
#[track_caller]
pub fn check(cluster: &Cluster, count: usize) {
    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["done"], &stats["jobs"]["failed"]), (&json!(count / STEP), &json!(0)), "{stats}");
    assert_eq!(stats["candidates"]["accepted"], count);
    assert_eq!(stats["candidates"]["rejected"], 0);
    assert_eq!(records::check_accepted_once(&cluster.data()), count);
    check_zeros(cluster, count);
}

/// All zeros are there, once, and with the bytes of a good day.
#[track_caller]
pub fn check_zeros(cluster: &Cluster, count: usize) {
    cluster.verify();
    let merged = cluster.compact("merged.jsonl");
    zeros::check(&cluster.folder().join("merged.jsonl"), 1, count);
    assert!(merged == undisturbed(count), "the clean data set is not that of an undisturbed run");
}

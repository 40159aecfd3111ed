//! The example of arrays: a million tasks at once, tasks that know which they are, a job that waits for all of them.

use serde_json::{Value, json};

use crate::support::{Cluster, project, records, until};

fn folder() -> std::path::PathBuf {
    project().join("examples/arrays")
}

/// A job of a listing, by its name.
fn named(cluster: &Cluster, name: &str) -> u64 {
    let list = cluster.ctl(&["job", "list", "--name", name, "--limit", "0", "-o", "json"]).ok().json();
    list["jobs"].as_array().unwrap().iter().find(|job| job["array"].is_null()).unwrap()["job"].as_u64().unwrap()
}

#[test]
fn the_example_of_arrays() {
    let mut cluster = Cluster::start();
    let manifest = folder().join("submit.yaml");
    let manifest = manifest.to_str().unwrap();
    let preview = cluster.ctl(&["submit", "-f", manifest, "--dry-run", "-o", "json"]).ok().json();
    assert_eq!(preview["jobs"], json!(1_000_016));
    cluster.ctl(&["submit", "-f", manifest]).ok();
    // A million jobs are ready, and the ledger has a few records.
    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["ready"], &stats["jobs"]["blocked"]), (&json!(1_000_012), &json!(4)), "{stats}");
    assert!(stats["ledger"]["seq"].as_u64().unwrap() < 20, "{stats}");
    let later = named(&cluster, "a million");
    cluster
        .ctl(&["job", "explain", &later.to_string()])
        .ok()
        .prints("of its 1000000 tasks 1000000 wait, 0 are under way");

    let config = folder().join("worker.yaml");
    let worker = cluster.worker_with("w", 4, config.to_str().unwrap());
    until("a frame", || (cluster.stats()["jobs"]["done"].as_u64() > Some(0)).then_some(()));
    cluster.kill9();
    cluster.restart();
    cluster.ctl(&["run", "--drain", "--queue", "frames", "--timeout", "300s"]).ok();

    let (odd, last) = (named(&cluster, "odd frames"), named(&cluster, "the last ones"));
    let out = cluster.path("out.jsonl");
    cluster.ctl(&["compact", "--out", &out]).ok();
    let text = std::fs::read_to_string(out).unwrap();
    let mut frames: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    frames.sort_by_key(|frame| frame["frame"].as_u64());
    let expected = (1..24).step_by(2).map(|frame| json!({"frame": frame, "array": odd}));
    let expected = expected.chain([100, 102, 103, 104].map(|frame| json!({"frame": frame, "array": last})));
    assert_eq!(frames, expected.collect::<Vec<_>>());
    assert_eq!(records::check_accepted_once(&cluster.data()), 16);

    // The array's line sums up its tasks; each task is a job of its own.
    let array = cluster.job(odd);
    let counts = json!({"left": 0, "open": 0, "done": 12, "failed": 0, "cancelled": 0});
    assert_eq!(
        (&array["state"], &array["tasks"], &array["accepted"]),
        (&json!("done"), &counts, &json!(12)),
        "{array}"
    );
    let list = cluster.ctl(&["job", "list", "--array", &odd.to_string(), "-o", "json"]).ok().json();
    let tasks: Vec<i64> = list["jobs"].as_array().unwrap().iter().map(|job| job["task"].as_i64().unwrap()).collect();
    assert_eq!(tasks, (1..24).step_by(2).collect::<Vec<_>>(), "in the order of their numbers");
    let task = &list["jobs"][3];
    let shown = cluster.job(task["job"].as_u64().unwrap());
    assert_eq!(shown["spec"]["payload"], json!({"frame": 7, "scene": 7}), "{shown}");
    assert_eq!(shown["spec"]["keys"]["array"], json!(odd.to_string()), "{shown}");
    let text = cluster.ctl(&["job", "list", "--queue", "frames"]).ok().out;
    assert!(text.contains("12 tasks: 12 done") && text.contains("odd frames[7]"), "{text}");
    drop(worker);

    // The same array again is the same array; cancelled, all of its tasks go at once.
    let again =
        cluster.ctl(&["enqueue", "later", "--array", "1-1000000%50", "--name", "a million", "--key", "a-million"]);
    again.ok().prints(&format!("array {later} of 1000000 tasks in queue later, known before"));
    let other = cluster.ctl(&["enqueue", "later", "--array", "1-1000001", "--key", "a-million"]);
    other.ended(1).says("they differ in array, name");
    cluster.ctl(&["job", "cancel", &later.to_string()]).ok();
    let stats = cluster.stats();
    assert_eq!((&stats["jobs"]["ready"], &stats["jobs"]["cancelled"]), (&json!(0), &json!(1_000_000)), "{stats}");
    cluster.ctl(&["job", "explain", &later.to_string()]).ok().prints("it is cancelled");
    cluster.stop();
    cluster.verify();
}

//! Backups of a cluster at work: whenever they are taken, and whatever ends them, what is restored is the ledger up to
//! the record that was told, and the work goes on from there.

use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::process::command;
use crate::support::{Cluster, Options, Process, orchctl, project, records, until};

fn manifest() -> String {
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let example = example.replace("to: 99999, step: 1000", "to: 7999, step: 100");
    assert!(example.contains("step: 100,"));
    example
}

/// A second queue, which two clients fill while the first is worked on.
const SECOND: &str = "queue: side\nkind: nobody-does-this\n";

fn cluster() -> Cluster {
    let cluster = Cluster::with(Options { args: vec!["--segment-bytes=1048576".into()], ..Options::default() });
    cluster.submit(SECOND);
    cluster.submit(&manifest());
    cluster
}

fn restore(cluster: &Cluster, backup: &str, to: &str) -> Value {
    orchctl(["restore", backup, "--to", &cluster.path(to), "-o", "json"]).ok().json()
}

/// The restored ledger is the original up to the record that was told.
#[track_caller]
fn check(cluster: &Cluster, restored: &Value) {
    let dir = restored["dir"].as_str().unwrap();
    orchctl(["ledger", "verify", dir]).ok();
    let (copy, original) = (records::lines(Path::new(dir)), records::lines(&cluster.data()));
    assert_eq!(Some(copy.len() as u64), restored["seq"].as_u64());
    assert!(copy[..] == original[..copy.len()], "another ledger was restored");
    let chain = format!("\"chain\":{}", restored["chain"]);
    assert!(copy.last().unwrap().contains(&chain), "{chain}");
}

#[test]
fn it_is_backed_up_at_work_and_goes_on_from_any_backup() {
    let cluster = cluster();
    let workers = [cluster.worker("one", 1), cluster.worker("two", 1)];
    let done = AtomicBool::new(false);
    let (files, wire) = (cluster.path("by-files"), cluster.path("by-wire"));
    let mut told = Vec::new();
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    cluster.ctl(&["enqueue", "side", "--payload", "{\"x\":1}"]).ok();
                }
            });
        }
        let data = cluster.data();
        for count in [200, 1500, 3000, 4500] {
            until("more accepted zeros", || (records::accepted_count(&data) >= count).then_some(()));
            let by_files = orchctl(["backup", data.to_str().unwrap(), "--to", &files, "-o", "json"]).ok().json();
            let by_wire = cluster.ctl(&["backup", "--to", &wire, "-o", "json"]).ok().json();
            // One while it is still the newest: an older one is restored from a copy that nothing extends.
            let restored = restore(&cluster, &files, &format!("restored-{count}"));
            assert_eq!((&restored["seq"], &restored["chain"]), (&by_files["seq"], &by_files["chain"]));
            told.extend([restored, restore(&cluster, &wire, &format!("restored-by-wire-{count}"))]);
            assert!(by_wire["seq"].as_u64() >= by_files["seq"].as_u64());
        }
        done.store(true, Ordering::Relaxed);
    });
    for restored in &told {
        check(&cluster, restored);
    }
    drop(workers);
    let (files, wire) = (Path::new(&files).to_owned(), Path::new(&wire).to_owned());
    let (by_files, by_wire) = (records::lines(&files), records::lines(&wire));
    assert!(by_wire[..by_files.len()] == by_files[..], "both ways give the same lines");

    // A middle one is taken into use: what was lost is computed again, and nothing is accepted twice.
    let middle = told[2]["dir"].as_str().unwrap();
    let mut again = Cluster::with(Options::default());
    again.stop();
    std::fs::remove_dir_all(again.data()).unwrap();
    std::fs::rename(middle, again.data()).unwrap();
    again.restart();
    let _worker = again.worker("three", 2);
    until("every zero", || (again.stats()["candidates"]["accepted"] == 8000).then_some(()));
    again.verify();
    assert_eq!(records::check_accepted_once(&again.data()), 8000);
    let failed = &again.stats()["jobs"]["failed"];
    assert_eq!(failed, &json!(0));
}

#[test]
fn a_backup_that_is_killed_is_no_backup_or_is_gone_on_with() {
    let cluster = cluster();
    let worker = cluster.worker("one", 2);
    until("some records", || (records::accepted_count(&cluster.data()) >= 4000).then_some(()));
    drop(worker);
    cluster.settle();
    for (round, wire) in [false, true, false, true, false, true, false, true].into_iter().enumerate() {
        let to = cluster.path(&format!("backup-{round}"));
        let data = cluster.data();
        let mut backup = if wire { cluster.ctl_command(&["backup"]) } else { command("orchctl") };
        if !wire {
            backup.args(["backup", data.to_str().unwrap()]);
        }
        backup.args(["--to", &to]);
        let mut process = Process::start(backup);
        // Killed when there are so many segments, or in the first moments.
        let segments = round / 2;
        until("so many segments", || {
            let there = Path::new(&to).exists() && records::segments(Path::new(&to)).len() >= segments;
            (there || process.has_ended().is_some()).then_some(())
        });
        process.signal(Signal::KILL);
        process.end_within(std::time::Duration::from_secs(20));
        let restored = orchctl(["restore", &to, "--to", &cluster.path(&format!("early-{round}")), "-o", "json"]);
        match restored.code {
            0 => check(&cluster, &restored.json()),
            1 | 3 => {
                assert!(restored.err.contains("never finished") || restored.err.contains("no backup"), "{restored:?}")
            }
            code => panic!("{code}: {restored:?}"),
        }
        cluster.ctl(&["backup", "--to", &to]).ok();
        check(&cluster, &restore(&cluster, &to, &format!("late-{round}")));
    }
}

//! The one command: a whole cluster, from a manifest to a clean data set, interrupted or not.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use rustix::process::Signal;

use crate::support::process::command;
use crate::support::{Process, folder, project, records, run, until, zeros};

fn local_run(manifest: &Path, folder: &Path, more: &[&str]) -> Command {
    let mut orchctl = command("orchctl");
    orchctl.args(["local", "run"]).arg(manifest).current_dir(folder);
    orchctl.args(["--data", "data", "--allow-any-filesystem"]).args(more);
    orchctl
}

#[test]
fn the_one_command_finds_the_first_100_000_zeros() {
    let folder = folder();
    let manifest = project().join("examples/zeta-zeros.yaml");
    let first = run(local_run(&manifest, folder.path(), &[])).ok();
    for text in ["100 done, 0 failed", "100000 accepted", "0 duplicate, 0 rejected", "whole", "merged_clean.jsonl"] {
        assert!(first.out.contains(text), "{text}: {first}");
    }
    let out = folder.path().join("merged_clean.jsonl");
    zeros::check(&out, 1, 100_000);
    let bytes = std::fs::read(&out).unwrap();
    assert_eq!(records::check_accepted_once(&folder.path().join("data")), 100_000);

    // Once more there is nothing to mine, and the same bytes come out.
    let before = Instant::now();
    let again = run(local_run(&manifest, folder.path(), &["--out", "again.jsonl", "-o", "json"])).ok().json();
    let took = before.elapsed();
    assert!(std::fs::read(folder.path().join("again.jsonl")).unwrap() == bytes);
    assert_eq!(records::events(&folder.path().join("data"), "job_submitted").len(), 100);
    assert_eq!(records::events(&folder.path().join("data"), "lease_granted").len(), 100);
    assert!(again.to_string().contains("100000"), "{again}");
    eprintln!("the second run took {took:?}");
}

/// 4,000 zeros in 400 jobs: short, but with many points at which to be interrupted.
fn many_jobs(folder: &Path) -> std::path::PathBuf {
    let example = std::fs::read_to_string(project().join("examples/zeta-zeros.yaml")).unwrap();
    let path = folder.join("many.yaml");
    std::fs::write(&path, example.replace("to: 99999, step: 1000", "to: 3999, step: 10")).unwrap();
    path
}

#[test]
fn an_interrupted_run_goes_on_where_it_was() {
    let folder = folder();
    let manifest = many_jobs(folder.path());
    let undisturbed = folder.path().join("undisturbed");
    std::fs::create_dir(&undisturbed).unwrap();
    run(local_run(&manifest, &undisturbed, &["--workers", "2"])).ok();
    let expected = std::fs::read(undisturbed.join("merged_clean.jsonl")).unwrap();
    zeros::check(&undisturbed.join("merged_clean.jsonl"), 1, 4000);

    let data = folder.path().join("data");
    // Ctrl-C, a second Ctrl-C, and a power cut, each at another point.
    let mut interrupted = 0;
    for (round, count) in [100, 600, 1200].into_iter().enumerate() {
        let running = Process::start(local_run(&manifest, folder.path(), &["--workers", "2"]));
        until("zeros in the ledger", || (records::accepted_count(&data) >= count).then_some(()));
        let ended = match round {
            0 => {
                running.signal(Signal::INT);
                running.wait()
            }
            1 => {
                running.signal(Signal::INT);
                running.signal(Signal::INT);
                running.wait()
            }
            _ => running.kill9(),
        };
        // It may have been at its end already, on a very fast machine.
        assert!([0, 130, 137].contains(&ended.code), "{ended}");
        interrupted += u32::from(ended.code != 0);
        if round == 0 && ended.code == 130 {
            assert!(!folder.path().join("merged_clean.jsonl").exists());
            assert!(ended.err.contains("again") || ended.out.contains("again"), "says how to go on: {ended}");
        }
    }
    assert!(interrupted > 0, "no run was interrupted");
    let last = run(local_run(&manifest, folder.path(), &["-o", "json"])).ok().json();
    assert!(std::fs::read(folder.path().join("merged_clean.jsonl")).unwrap() == expected);
    assert_eq!(records::check_accepted_once(&data), 4000);
    assert_eq!(records::events(&data, "job_submitted").len(), 400);
    assert!(last.to_string().contains("4000"), "{last}");
}

#[test]
fn a_run_whose_jobs_fail_says_so() {
    let folder = folder();
    let manifest = folder.path().join("bad.yaml");
    // The miner cannot do ranges at this height.
    let text = "\
contract: z
version: 1
schema: true
identity: [{field: n}]
---
queue: z
contract: z@1
kind: zeta-zeros
retry: {max_attempts: 1}
---
job: {queue: z, payload: {a: 5, b: 3}}
";
    std::fs::write(&manifest, text).unwrap();
    let failed = run(local_run(&manifest, folder.path(), &[])).ended(4);
    assert!(failed.out.contains("1 failed"), "{failed}");
    let missing = run(local_run(Path::new("none.yaml"), folder.path(), &[])).ended(2);
    assert!(missing.err.contains("none.yaml"), "{missing}");
    std::fs::write(&manifest, "job: [").unwrap();
    run(local_run(&manifest, folder.path(), &[])).ended(2).says("line 1");

    // Another orchestrator has the directory.
    let mut orchestrator = command("orchestrator");
    orchestrator.current_dir(folder.path());
    orchestrator.args(["--data", "data", "--listen", "127.0.0.1:0", "--allow-any-filesystem"]);
    let mut holder = Process::start(orchestrator);
    holder.until("listening", |holder| holder.err().contains("listening on").then_some(()));
    run(local_run(&many_jobs(folder.path()), folder.path(), &[])).ended(1).says("is in use by process");
}

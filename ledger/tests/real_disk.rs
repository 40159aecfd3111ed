//! On the real file system: a writer and its followers at the same time, the lock, a kill in between.

mod support;

use std::sync::mpsc;

use orch_core::id::Seq;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::disk::real::RealDir;
use orch_ledger::disk::{Dir, FileSystem};
use orch_ledger::{ChainChecker, Follower, Ledger, OpenError, OpenOptions, Tail, durable_head, verify};
use support::{T0, judged, open, options};

/// Tests may run in a container or in memory.
fn anywhere() -> OpenOptions {
    OpenOptions { allow_any_filesystem: true, segment_bytes: 20_000, claim_bytes: 8192, zero_bytes: 4096, ..options() }
}

#[test]
fn followers_keep_up_with_a_writer() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("data");
    let (said, durable) = mpsc::channel();
    let writer = std::thread::spawn({
        let data = data.clone();
        move || {
            let mut ledger = Ledger::open(&data, anywhere(), &mut |_, _| Ok(())).unwrap().ledger;
            for n in 0..300 {
                ledger.maybe_roll(T0).unwrap();
                for event in judged(n, u32::try_from(n % 7).unwrap()) {
                    ledger.stage(T0, &event).unwrap();
                }
                let committed = ledger.commit().unwrap();
                said.send(committed.last).unwrap();
            }
            let link = ledger.head().link();
            ledger.close().unwrap();
            link
        }
    });
    let first = durable.recv().unwrap();
    // One is told what is durable, the other asks HEAD.
    let watcher = std::thread::spawn({
        let data = data.clone();
        move || {
            let dir = RealDir::new(&data);
            let mut follower = Follower::new(&data, Seq(1));
            let mut checker = ChainChecker::new();
            while checker.link().batch < 300 {
                let until = durable_head(&dir).unwrap().seq;
                while let Some(line) = follower.next_line(until).unwrap() {
                    checker.check_line(&line).unwrap();
                }
            }
        }
    });
    let mut follower = Follower::new(&data, Seq(1));
    let mut checker = ChainChecker::new();
    for until in std::iter::once(first).chain(durable.iter()) {
        while let Some(line) = follower.next_line(until).unwrap() {
            checker.check_line(&line).unwrap();
        }
        assert_eq!(checker.link().seq, until);
    }
    let link = writer.join().unwrap();
    watcher.join().unwrap();
    assert_eq!(checker.link(), link);
    let report = verify(&data, 2, &|_, _| {}).unwrap();
    assert_eq!((report.findings, report.link, report.tail), (vec![], link, Tail::Clean));
    assert!(report.segments > 5);
}

#[test]
fn the_lock_is_the_kernels_and_a_drop_is_a_crash() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("a/b/data");
    let mut opened = Ledger::open(&data, anywhere(), &mut |_, _| Ok(())).unwrap();
    support::commit(&mut opened.ledger, &judged(1, 3));
    let error = Ledger::open(&data, anywhere(), &mut |_, _| Ok(())).unwrap_err();
    assert!(error.to_string().contains("in use by process 42 on host-1, epoch 1"), "{error}");
    let report = verify(&data, 1, &|_, _| {}).unwrap();
    assert_eq!((report.findings, report.tail), (vec![], Tail::InUse));
    // Without a close: claimed space stays behind, and the next boot gives it back.
    drop(opened);
    let segment = data.join("ledger/00000000000000000001.jsonl");
    assert!(std::fs::read(&segment).unwrap().ends_with(&[0; 100]));
    let opened = Ledger::open(&data, anywhere(), &mut |_, _| Ok(())).unwrap();
    assert_eq!(opened.epoch, 2);
    assert!(std::fs::read(&segment).unwrap().ends_with(b"\"}\n"));
    opened.ledger.close().unwrap();
    for entry in std::fs::read_dir(data.join("ledger")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for line in text.lines() {
            serde_json::from_str::<serde_json::Value>(line).unwrap();
        }
    }
}

#[test]
fn file_systems_without_a_disk_are_refused_by_name() {
    let dir = MemoryDir::new();
    dir.set_file_system(FileSystem::of_magic(0x0102_1994));
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, OpenError::FileSystem { .. }));
    let text = error.to_string();
    assert!(text.contains("lies on tmpfs") && text.contains("--allow-any-filesystem"), "{text}");
    assert!(dir.files().is_empty());
    let allowed = OpenOptions { allow_any_filesystem: true, ..options() };
    support::open_with(&dir, allowed).unwrap();
    // This very machine has one, or another file system that a name is known of.
    let here = RealDir::new(&std::env::temp_dir()).file_system().unwrap();
    assert!(!here.to_string().is_empty());
}

#[test]
fn a_folder_without_a_ledger_is_not_verified() {
    let folder = tempfile::tempdir().unwrap();
    let error = verify(folder.path(), 1, &|_, _| {}).unwrap_err();
    assert!(error.to_string().starts_with("there is no ledger in /"), "{error}");
}

#[test]
fn a_directory_is_made_with_its_parents() {
    let folder = tempfile::tempdir().unwrap();
    let dir = RealDir::new(&folder.path().join("a/b/data"));
    for _ in 0..2 {
        dir.create_dir("").unwrap();
        dir.create_dir("ledger").unwrap();
    }
    dir.create_new("ledger/x").unwrap();
    assert_eq!(dir.list("ledger").unwrap(), ["x"]);
    let not_a_directory = RealDir::new(&folder.path().join("a/b/data/ledger/x/y"));
    assert!(not_a_directory.create_dir("").is_err());
}

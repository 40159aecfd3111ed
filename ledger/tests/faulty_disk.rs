//! The disk in memory goes wrong as a disk does, and in no other way.

use std::collections::BTreeSet;

use orch_ledger::disk::memory::errno::EIO;
use orch_ledger::disk::memory::{Call, Lasting, MemoryDir, Mishap, Random};
use orch_ledger::disk::{Access, Dir, File, read_file};

/// A file with 1,024 durable bytes `a`.
fn with_file() -> (MemoryDir, std::sync::Arc<dyn File>) {
    let dir = MemoryDir::new();
    dir.put("f", &[b'a'; 1024]);
    let file = dir.open("f", Access::Write).unwrap();
    (dir, file)
}

/// Every content of `f` that a loss of power may leave; `-` for no file.
fn left(dir: &MemoryDir) -> BTreeSet<String> {
    let summary = |dir: &MemoryDir| match read_file(dir, "f", 1 << 20) {
        Ok(bytes) => {
            bytes.chunks(512).map(|sector| format!("{}{}", char::from(sector[0].max(b'0')), sector.len())).collect()
        }
        Err(_) => "-".to_owned(),
    };
    let all: BTreeSet<String> = dir.power_losses(5000).unwrap().iter().map(summary).collect();
    let mut random = Random::new(1);
    let drawn: BTreeSet<String> = (0..400).map(|_| summary(&dir.power_loss(&mut random))).collect();
    assert_eq!(all, drawn, "chance finds what counting finds");
    all
}

fn set<const N: usize>(expected: [&str; N]) -> BTreeSet<String> {
    expected.map(str::to_owned).into()
}

#[test]
fn what_is_synced_stays_and_the_rest_fares_sector_by_sector() {
    let (dir, file) = with_file();
    assert_eq!(left(&dir), set(["a512a512"]));
    file.write_at(&[b'b'; 1024], 0).unwrap();
    assert_eq!(left(&dir), set(["a512a512", "a512b512", "b512a512", "b512b512"]));
    file.write_at(&[b'c'; 1], 0).unwrap();
    assert_eq!(left(&dir), set(["a512a512", "a512b512", "b512a512", "b512b512", "c512a512", "c512b512"]));
    assert_eq!(left(&dir.kill()), left(&dir), "a kill changes nothing of that");
    file.sync_data().unwrap();
    assert_eq!(left(&dir), set(["c512b512"]));
    assert_eq!(left(&dir.copy()), left(&dir));
}

#[test]
fn a_length_is_lost_apart_from_its_bytes() {
    let (dir, file) = with_file();
    file.write_at(&[b'b'; 700], 1024).unwrap();
    assert_eq!(
        left(&dir),
        set([
            "a512a512",
            "a512a512b512",
            "a512a5120512",
            "a512a512b512b188",
            "a512a512b5120188",
            "a512a5120512b188",
            "a512a51205120188"
        ])
    );
    file.sync_all().unwrap();
    file.set_len(512).unwrap();
    file.set_len(1024).unwrap();
    let found = left(&dir);
    for expected in ["a512a512b512b188", "a512", "a5120512", "a512a512"] {
        assert!(found.contains(expected), "{expected}: {found:?}");
    }
    file.sync_all().unwrap();
    assert_eq!(left(&dir), set(["a5120512"]));
}

#[test]
fn a_name_is_lost_until_its_directory_is_synced() {
    let dir = MemoryDir::new();
    let file = dir.create_new("f").unwrap();
    file.write_at(b"x", 0).unwrap();
    file.sync_all().unwrap();
    assert_eq!(left(&dir), set(["-", "x1"]));
    dir.sync_dir("").unwrap();
    assert_eq!(left(&dir), set(["x1"]));
    let other = dir.create_new("g").unwrap();
    other.write_at(b"y", 0).unwrap();
    other.sync_all().unwrap();
    dir.rename("g", "f").unwrap();
    assert_eq!(left(&dir), set(["x1", "y1"]), "the old file or the new one, never none");
    dir.sync_dir("").unwrap();
    dir.remove("f").unwrap();
    assert_eq!(left(&dir), set(["-", "y1"]));
}

#[test]
fn a_directory_takes_its_files_along() {
    let dir = MemoryDir::new();
    dir.fail(0, Lasting::Once, Mishap::Error(EIO), |call, _| call == Call::SyncDir);
    assert!(dir.create_new("sub/f").is_err());
    assert!(dir.create_dir("sub").is_err(), "its entry is synced, which fails");
    dir.clear_hook();
    dir.create_new("sub/f").unwrap().sync_all().unwrap();
    dir.sync_dir("sub").unwrap();
    let files: BTreeSet<usize> = dir.power_losses(100).unwrap().iter().map(|left| left.files().len()).collect();
    assert_eq!(files, [0, 1].into());
    dir.sync_dir("").unwrap();
    assert_eq!(dir.power_losses(100).unwrap().len(), 1);
}

#[test]
fn after_a_failed_sync_a_second_one_makes_nothing_durable() {
    let (dir, file) = with_file();
    file.write_at(&[b'b'; 512], 0).unwrap();
    dir.fail(0, Lasting::Once, Mishap::Error(EIO), |call, _| call.is_sync());
    assert_eq!(file.sync_data().unwrap_err().raw_os_error(), Some(EIO));
    file.sync_data().unwrap();
    assert_eq!(left(&dir), set(["a512a512", "b512a512"]));
    assert_eq!(left(&dir.kill()), set(["a512a512", "b512a512"]));
    assert_eq!(dir.files()["f"][0], b'b', "the page cache has it");
    file.write_at(&[b'b'; 512], 0).unwrap();
    file.sync_data().unwrap();
    assert_eq!(left(&dir), set(["b512a512"]), "written again, it is");
}

#[test]
fn a_kill_frees_the_lock_and_shares_nothing() {
    let (dir, file) = with_file();
    assert!(file.try_lock().unwrap());
    assert!(!dir.open("f", Access::Read).unwrap().try_lock().unwrap());
    let killed = dir.kill();
    let again = killed.open("f", Access::Write).unwrap();
    assert!(again.try_lock().unwrap());
    again.write_at(b"z", 0).unwrap();
    assert_eq!((dir.files()["f"][0], killed.files()["f"][0]), (b'a', b'z'));
}

#[test]
fn the_watch_sees_every_change() {
    let (dir, file) = with_file();
    let (sender, seen) = std::sync::mpsc::channel();
    dir.set_watch(move |dir| sender.send((dir.files()["f"].len(), dir.power_losses(100).unwrap().len())).unwrap());
    file.write_at(b"x", 1024).unwrap();
    file.sync_data().unwrap();
    dir.fail(0, Lasting::ForGood, Mishap::Short(3), |call, _| matches!(call, Call::Write { .. } | Call::Read { .. }));
    assert_eq!(file.write_at(b"12345", 1025).unwrap(), 3);
    assert_eq!(file.read_at(&mut [0; 10], 0).unwrap(), 3);
    dir.clear_watch();
    file.sync_data().unwrap();
    assert_eq!(seen.iter().collect::<Vec<_>>(), [(1025, 3), (1025, 1), (1028, 4)]);
}

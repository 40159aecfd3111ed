//! Backup and restore: byte for byte the ledger up to a durable batch, extended or refused, never half there.

mod support;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use orch_core::digest::Digest;
use orch_ledger::backup::{BackedUp, Backup, BackupError, RestoreError, Restored, copy_in, restore_in};
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::{Call, MemoryDir, Mishap, Random};
use orch_ledger::verify::verify_in;
use orch_ledger::{ChainChecker, Ledger, OpenError, OpenOptions, durable_head};
use support::{Seen, T0, commit, judged, open, open_with, options, paused};

/// Small segments, so that a backup has several.
fn small() -> OpenOptions {
    OpenOptions { segment_bytes: 3000, ..options() }
}

fn boot(dir: &MemoryDir) -> Ledger {
    open_with(dir, small()).unwrap().0.ledger
}

/// Some batches, and a new segment where one is due.
fn work(ledger: &mut Ledger, from: u64, batches: u64) {
    for n in from..from + batches {
        ledger.maybe_roll(T0).unwrap();
        commit(ledger, &judged(n, u32::try_from(n % 4).unwrap()));
    }
    ledger.level_head().unwrap();
}

fn back_up(from: &MemoryDir, to: &MemoryDir) -> Result<BackedUp, BackupError> {
    copy_in(Arc::new(from.clone()), Arc::new(to.clone()), &mut |_, _| {})
}

fn restored(from: &MemoryDir, expect: Option<Digest>) -> Result<(MemoryDir, Restored), RestoreError> {
    let to = MemoryDir::new();
    let restored = restore_in(Arc::new(from.clone()), Arc::new(to.clone()), expect, &mut |_, _| {})?;
    Ok((to, restored))
}

/// The lines of all segments, end to end.
fn lines(dir: &MemoryDir) -> String {
    let files = dir.files();
    let segments = files.iter().filter(|(name, _)| name.starts_with("ledger/") && name.ends_with(".jsonl"));
    segments.map(|(_, bytes)| String::from_utf8_lossy(bytes).trim_end_matches('\0').to_owned()).collect()
}

fn segments(dir: &MemoryDir) -> BTreeMap<String, usize> {
    let is_segment = |name: &String| name.ends_with(".jsonl");
    dir.files().into_iter().filter(|(name, _)| is_segment(name)).map(|(name, bytes)| (name, bytes.len())).collect()
}

#[test]
fn a_backup_beside_a_writer_is_the_ledger_up_to_its_head_and_grows_with_it() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    let mut before = 0;
    for round in 0..6 {
        work(&mut ledger, round * 5 + 1, 5);
        // On its way, or durable and not named yet: not part of the backup.
        commit(&mut ledger, &[paused("not named by HEAD yet")]);
        let head = durable_head(&dir).unwrap();
        let done = back_up(&dir, &backup).unwrap();
        assert_eq!(done.link, head.link());
        assert_eq!(done.added, head.seq.0 - before);
        before = head.seq.0;
        assert!(lines(&dir).starts_with(&lines(&backup)), "byte for byte");
        assert_eq!(segments(&backup).keys().collect::<Vec<_>>(), segments(&dir).keys().collect::<Vec<_>>());
        let named = durable_head(&backup).unwrap();
        assert_eq!(
            (named.link(), named.epoch, named.segment, named.offset),
            (head.link(), head.epoch, head.segment, head.offset)
        );
        let report = verify_in(&backup, 1, &|_, _| {}).unwrap();
        assert_eq!((report.findings, report.link), (vec![], head.link()));
        // Nothing new: nothing added.
        assert_eq!(back_up(&dir, &backup).unwrap(), BackedUp { added: 0, ..done });
        if round % 2 == 1 {
            drop(ledger);
            ledger = boot(&dir);
        }
        ledger.level_head().unwrap();
    }
    assert!(segments(&backup).len() > 4);
}

#[test]
fn a_restored_ledger_is_replayed_and_goes_on() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 12);
    let done = back_up(&dir, &backup).unwrap();
    work(&mut ledger, 13, 3);
    drop(ledger);
    let (_, all) = open(&dir).unwrap();

    let (to, there) = restored(&backup, Some(done.link.chain)).unwrap();
    assert_eq!((there.link, there.segments), (done.link, done.segments));
    assert_eq!(lines(&to), lines(&backup));
    let (mut opened, seen) = open(&to).unwrap();
    let kept = usize::try_from(done.link.seq.0).unwrap();
    assert_eq!(seen.records[..kept], all.records[..kept]);
    commit(&mut opened.ledger, &[paused("it goes on")]);
    opened.ledger.close().unwrap();

    // The two have parted: neither is the other's backup any more.
    let refused = back_up(&to, &dir.copy());
    assert!(matches!(refused, Err(BackupError::Behind { .. } | BackupError::Diverged { .. })), "{refused:?}");
    back_up(&dir, &backup).unwrap();
    let text = back_up(&to, &backup).unwrap_err().to_string();
    assert!(text.contains("part: at seq") || text.contains("older state"), "{text}");
}

#[test]
fn another_history_another_ledger_and_other_things_are_refused() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 4);
    drop(ledger);
    let older = dir.copy();
    let mut ledger = boot(&dir);
    work(&mut ledger, 5, 4);
    drop(ledger);
    let done = back_up(&dir, &backup).unwrap();
    let kept = backup.files();

    // Put back to an older state.
    assert!(matches!(back_up(&older, &backup), Err(BackupError::Behind { backup, .. }) if backup == done.link.seq));
    // And then gone on with differently.
    let mut ledger = boot(&older);
    work(&mut ledger, 100, 8);
    drop(ledger);
    assert!(matches!(back_up(&older, &backup), Err(BackupError::Diverged { seq, .. }) if seq == done.link.seq));

    let other = MemoryDir::new();
    let id = "0190b5a4-3c00-7000-8000-000000000002".to_owned();
    drop(open_with(&other, OpenOptions { new_ledger_id: Some(id), ..small() }).unwrap());
    assert!(matches!(back_up(&other, &backup), Err(BackupError::OtherLedger { .. })));

    let mine = MemoryDir::new();
    mine.put("notes.txt", b"mine");
    assert!(matches!(back_up(&dir, &mine), Err(BackupError::NotABackup { found, .. }) if found == "notes.txt"));
    assert_eq!(mine.files().len(), 1);
    assert!(matches!(back_up(&MemoryDir::new(), &backup), Err(BackupError::NoLedger { .. })));

    let held = boot(&backup.copy());
    drop(held);
    let in_use = backup.copy();
    let lock = in_use.open("LOCK", orch_ledger::disk::Access::Create).unwrap();
    assert!(lock.try_lock().unwrap());
    assert!(matches!(back_up(&dir, &in_use), Err(BackupError::Locked { .. })));
    assert!(matches!(restored(&in_use, None), Err(RestoreError::InUse { .. })));
    drop(lock);
    assert_eq!(backup.files()["HEAD"], kept["HEAD"], "a refusal leaves the backup as it is");
    assert_eq!(lines(&backup), lines(&dir));
}

#[test]
fn what_is_damaged_is_neither_backed_up_nor_restored() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 12);
    drop(ledger);
    let done = back_up(&dir, &backup).unwrap();
    let names: Vec<String> = segments(&dir).into_keys().collect();
    for name in &names {
        let damaged = dir.copy();
        let mut bytes = damaged.files()[name].clone();
        bytes[200] ^= 4;
        damaged.put(name, &bytes);
        let to = MemoryDir::new();
        assert!(back_up(&damaged, &to).is_err(), "{name}");
        assert!(to.files().is_empty(), "nothing is written");

        let rotten = backup.copy();
        let mut bytes = rotten.files()[name].clone();
        bytes[200] ^= 4;
        rotten.put(name, &bytes);
        assert!(matches!(back_up(&dir, &rotten), Err(BackupError::Damaged { .. })), "{name}");
        assert!(matches!(restored(&rotten, None), Err(RestoreError::Damaged { .. })), "{name}");
    }
    let wrong = restored(&backup, Some(Digest::of(b"another"))).unwrap_err().to_string();
    assert!(wrong.contains(&format!("ends at seq {}", done.link.seq)), "{wrong}");
    assert!(matches!(restored(&MemoryDir::new(), None), Err(RestoreError::NoBackup { .. })));
    let full = MemoryDir::new();
    full.put("HEAD", b"x");
    let refused = restore_in(Arc::new(backup.clone()), Arc::new(full.clone()), None, &mut |_, _| {});
    assert!(matches!(refused, Err(RestoreError::NotEmpty { .. })));
}

#[test]
fn lines_that_came_over_the_wire_make_the_same_backup() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 12);
    drop(ledger);
    let text = lines(&dir);
    let target = durable_head(&dir).unwrap().link();
    let to: Arc<dyn Dir> = Arc::new(backup.clone());
    let mut taking = Backup::begin(Arc::clone(&to), support::ID, target).unwrap();
    for line in text.lines().take(9) {
        taking.take(line.as_bytes()).unwrap();
    }
    // The connection was lost for good.
    assert!(matches!(taking.finish(), Err(BackupError::Short { .. })));
    let mut taking = Backup::begin(Arc::clone(&to), support::ID, target).unwrap();
    let start = usize::try_from(taking.start().0).unwrap();
    for line in text.lines().skip(start - 1) {
        taking.take(line.as_bytes()).unwrap();
    }
    // Half a batch more.
    let mut checker = ChainChecker::after(target);
    assert!(checker.check(b"{}").is_err());
    assert_eq!(taking.finish().unwrap().link, target);
    assert_eq!(lines(&backup), text);
    // A server that tells another link than its lines have.
    let lied = orch_ledger::Link { chain: Digest::of(b"lie"), ..target };
    let mut taking = Backup::begin(Arc::new(MemoryDir::new()), support::ID, lied).unwrap();
    let last = text.lines().map(|line| taking.take(line.as_bytes())).find_map(Result::err);
    assert!(matches!(last, Some(BackupError::Diverged { .. })), "{last:?}");
}

/// Whatever call of a backup is the last one: there is no backup, or the one from before, or the new one; nothing that
/// looks whole and is not; and the next backup makes it whole.
#[test]
fn an_interrupted_backup_is_none_or_can_be_gone_on_with() {
    let dir = MemoryDir::new();
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 9);
    let old = MemoryDir::new();
    let first = back_up(&dir, &old).unwrap();
    work(&mut ledger, 10, 9);
    drop(ledger);
    let (_, all) = open(&dir.copy()).unwrap();
    let head = durable_head(&dir).unwrap().link();
    for (name, begun) in [("new", None), ("extended", Some(old))] {
        let mut interrupted = 0;
        for fail_at in 0.. {
            let to = begun.as_ref().map_or_else(MemoryDir::new, MemoryDir::copy);
            let mut n = 0;
            to.set_hook(move |_: Call, _: &str| {
                n += 1;
                (n > fail_at).then_some(Mishap::Error(5))
            });
            let done = back_up(&dir, &to);
            to.clear_hook();
            let place = format!("{name}, call {fail_at}");
            if done.is_ok() {
                break;
            }
            interrupted += 1;
            match restored(&to, None) {
                Ok((whole, there)) => {
                    assert!(begun.is_some() || to.files().contains_key("LEDGER_ID"), "{place}");
                    assert!(there.link.seq >= first.link.seq, "{place}");
                    is_prefix(&whole, &all, there.link.seq.0, &place);
                }
                Err(RestoreError::Unfinished { .. } | RestoreError::NoBackup { .. }) => {
                    assert!(begun.is_none(), "{place}");
                    if !segments(&to).is_empty() {
                        assert!(matches!(open(&to.copy()), Err(OpenError::Refused { .. })), "{place}");
                    }
                }
                Err(error) => panic!("{place}: {error}"),
            }
            let again = back_up(&dir, &to).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(again.link, head, "{place}");
            assert!(lines(&dir).starts_with(&lines(&to)), "{place}");
        }
        assert!(interrupted > 12, "{name}: {interrupted}");
    }
}

fn is_prefix(dir: &MemoryDir, all: &Seen, seq: u64, place: &str) {
    let (_, seen) = open(dir).unwrap_or_else(|error| panic!("{place}: {error}"));
    let kept = usize::try_from(seq).unwrap();
    assert_eq!(seen.records.len(), kept + 2, "{place}");
    assert_eq!(seen.records[..kept], all.records[..kept], "{place}");
}

/// The same for a loss of power after any change: what was not synced is lost, reordered or torn.
#[test]
fn a_loss_of_power_leaves_no_backup_or_one_that_can_be_gone_on_with() {
    let dir = MemoryDir::new();
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 9);
    let old = MemoryDir::new();
    let first = back_up(&dir, &old).unwrap();
    work(&mut ledger, 10, 9);
    drop(ledger);
    let (_, all) = open(&dir.copy()).unwrap();
    let head = durable_head(&dir).unwrap().link();
    for begun in [None, Some(old)] {
        let to = begun.as_ref().map_or_else(MemoryDir::new, MemoryDir::copy);
        let images = Arc::new(Mutex::new(Vec::new()));
        let (kept, mut random) = (Arc::clone(&images), Random::new(7));
        to.set_watch(move |dir| kept.lock().unwrap().extend((0..8).map(|_| dir.power_loss(&mut random))));
        back_up(&dir, &to).unwrap();
        to.clear_watch();
        let images = std::mem::take(&mut *images.lock().unwrap());
        assert!(images.len() > 100, "{}", images.len());
        for (n, image) in images.into_iter().enumerate() {
            let place = format!("image {n}, {}", begun.is_some());
            match restored(&image, None) {
                Ok((whole, there)) => {
                    assert!(there.link.seq >= first.link.seq, "{place}");
                    is_prefix(&whole, &all, there.link.seq.0, &place);
                }
                Err(RestoreError::Unfinished { .. } | RestoreError::NoBackup { .. }) => {
                    assert!(begun.is_none(), "{place}");
                }
                Err(error) => panic!("{place}: {error}"),
            }
            let again = back_up(&dir, &image).unwrap_or_else(|error| panic!("{place}: {error}"));
            assert_eq!(again.link, head, "{place}");
        }
    }
}

#[test]
fn a_killed_orchestrator_leaves_a_batch_that_head_does_not_name_and_the_backup_has_it() {
    let (dir, backup) = (MemoryDir::new(), MemoryDir::new());
    let mut ledger = boot(&dir);
    work(&mut ledger, 1, 3);
    let last = commit(&mut ledger, &[paused("acknowledged, but HEAD lags")]);
    drop(ledger);
    assert!(durable_head(&dir).unwrap().batch < last.batch);
    let mut bytes = dir.files()["ledger/00000000000000000001.jsonl"].clone();
    bytes.extend_from_slice(b"{\"seq\":99,\"torn");
    dir.put("ledger/00000000000000000001.jsonl", &bytes);
    let done = back_up(&dir, &backup).unwrap();
    assert_eq!((done.link.seq, done.link.chain), (last.last, last.chain));
    assert!(restored(&backup, Some(last.chain)).is_ok());
}

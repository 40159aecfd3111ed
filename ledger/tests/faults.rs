//! Calls that fail: at every call of a fixed run, once and for good. What was acknowledged is there afterwards.

mod support;

use std::sync::{Arc, Mutex};

use orch_core::id::Seq;
use orch_ledger::disk::memory::errno::{EDQUOT, EFBIG, EINTR, EIO, ENOSPC};
use orch_ledger::disk::memory::{Call, Lasting, MemoryDir, Mishap};
use orch_ledger::verify::verify_in;
use orch_ledger::{CommitError, Ledger, OpenError, OpenOptions, Tail};
use support::{Seen, T0, judged, open};

/// How a run ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    Whole,
    /// A batch found no space, once or more; the run went on.
    WithoutSpace,
    /// The process must end.
    Fatal,
    NotOpened,
}

/// Some batches over several segments. `acknowledged` is what the callers know.
fn run(dir: &MemoryDir, acknowledged: &mut Seen) -> End {
    let (mut opened, seen) = match open(dir) {
        Ok(opened) => opened,
        Err(OpenError::Io { .. } | OpenError::NoSpace { .. }) => return End::NotOpened,
        Err(error) => panic!("{error}"),
    };
    *acknowledged = seen;
    let mut end = End::Whole;
    for n in 0..14 {
        match batch(&mut opened.ledger, n, acknowledged) {
            Ok(()) => {}
            Err(CommitError::Fatal { .. }) => {
                assert!(matches!(opened.ledger.commit(), Err(CommitError::Fatal { .. })), "dead stays dead");
                return End::Fatal;
            }
            Err(CommitError::NoSpace(_)) => {
                end = End::WithoutSpace;
                opened.ledger.discard_staged();
                let mut again = Seen::default();
                opened.ledger.replay_all(&mut |record, position| again.take(record, position)).unwrap();
                assert_eq!(again.records[..acknowledged.records.len()], acknowledged.records);
                // The seal of a segment whose successor had no space.
                let more = &again.records[acknowledged.records.len()..];
                assert!(more.len() < 2 && more.iter().all(|record| record.2.contains("segment_sealed")), "{more:?}");
                *acknowledged = again;
            }
        }
    }
    match opened.ledger.close() {
        Ok(()) => end,
        Err(_) => End::Fatal,
    }
}

fn batch(ledger: &mut Ledger, n: u64, acknowledged: &mut Seen) -> Result<(), CommitError> {
    if let Some(rolled) = ledger.maybe_roll(T0)? {
        for (record, position) in &rolled.records {
            acknowledged.take(record, position).unwrap();
        }
    }
    ledger.reserve(1000)?;
    let mut staged = Vec::new();
    for event in judged(n, 4) {
        let seq = ledger.stage(T0, &event).unwrap();
        staged.push((seq, T0, serde_json::to_string(&event).unwrap()));
    }
    let committed = ledger.commit()?;
    acknowledged.records.extend(staged);
    acknowledged.chains.insert(committed.batch, committed.chain);
    assert_eq!(acknowledged.last(), committed.last);
    Ok(())
}

/// How many calls the run makes that change something.
fn count_calls() -> usize {
    let dir = MemoryDir::new();
    let count = Arc::new(Mutex::new(0));
    let counter = Arc::clone(&count);
    dir.set_hook(move |call, _| {
        *counter.lock().unwrap() += usize::from(!call.is_read());
        None
    });
    assert_eq!(run(&dir, &mut Seen::default()), End::Whole);
    let count = *count.lock().unwrap();
    assert!(count > 60, "{count}");
    count
}

fn fails_at(dir: &MemoryDir, at: usize, lasting: Lasting, mishap: Mishap) {
    dir.fail(at, lasting, mishap, |call, _| !call.is_read());
}

#[test]
fn whatever_fails_nothing_acknowledged_is_lost() {
    let calls = count_calls();
    let mut ends = std::collections::BTreeMap::<String, u32>::new();
    for at in 0..calls {
        for lasting in [Lasting::Once, Lasting::ForGood] {
            for number in [EIO, ENOSPC, EDQUOT, EFBIG] {
                let dir = MemoryDir::new();
                fails_at(&dir, at, lasting, Mishap::Error(number));
                let mut acknowledged = Seen::default();
                let end = run(&dir, &mut acknowledged);
                // What is only claimed ahead, or only information, may fail once.
                assert!(lasting == Lasting::Once || end != End::Whole, "call {at}");
                assert!(number != EIO || end != End::WithoutSpace, "an unknown error is not a lack of space");
                *ends.entry(format!("{end:?}")).or_default() += 1;
                dir.clear_hook();
                let (opened, found) = open(&dir).unwrap_or_else(|error| panic!("call {at}, {number}: {error}"));
                assert!(found.records.len() >= acknowledged.records.len(), "call {at}, error {number}");
                assert_eq!(found.records[..acknowledged.records.len()], acknowledged.records);
                opened.ledger.close().unwrap();
                let report = verify_in(&dir, 1, &|_, _| {}).unwrap();
                assert_eq!((report.findings, report.tail), (vec![], Tail::Clean));
            }
        }
    }
    assert_eq!(ends.len(), 4, "{ends:?}");
}

#[test]
fn short_writes_are_continued() {
    let calls = count_calls();
    for at in 0..calls {
        for lasting in [Lasting::Once, Lasting::ForGood] {
            let dir = MemoryDir::new();
            fails_at(&dir, at, lasting, Mishap::Short(if lasting == Lasting::ForGood { 100 } else { 1 }));
            let mut acknowledged = Seen::default();
            assert_eq!(run(&dir, &mut acknowledged), End::Whole);
            assert_eq!(open(&dir).unwrap().1.records[..acknowledged.records.len()], acknowledged.records);
        }
    }
}

#[test]
fn interrupted_writes_are_repeated() {
    let dir = MemoryDir::new();
    let mut n = 0;
    dir.set_hook(move |call, _| {
        n += 1;
        let again = matches!(call, Call::Write { .. } | Call::Allocate);
        (again && n % 2 == 0).then_some(Mishap::Error(EINTR))
    });
    assert_eq!(run(&dir, &mut Seen::default()), End::Whole);
}

#[test]
fn a_full_disk_is_waited_out() {
    // From no space at all to enough for everything.
    for capacity in (9_000..60_000).step_by(331) {
        let dir = MemoryDir::new();
        dir.set_capacity(Some(capacity));
        let mut acknowledged = Seen::default();
        let end = run(&dir, &mut acknowledged);
        assert!(matches!(end, End::Whole | End::WithoutSpace | End::NotOpened), "{capacity}: {end:?}");
        dir.set_capacity(None);
        let (_, found) = open(&dir).unwrap();
        assert_eq!(found.records[..acknowledged.records.len()], acknowledged.records, "{capacity}");
    }
}

#[test]
fn space_ahead_that_cannot_be_had_is_left_to_others() {
    let dir = MemoryDir::new();
    dir.set_capacity(Some(100_000));
    let (mut opened, _) = support::open_with(&dir, OpenOptions { claim_bytes: 1 << 20, ..support::options() }).unwrap();
    support::commit(&mut opened.ledger, &judged(1, 2));
    let used = || dir.files().values().map(Vec::len).sum::<usize>();
    assert!(used() < 50_000, "{}", used());
    // Nor does a claim that fails for good keep anything.
    let before = used();
    assert!(matches!(opened.ledger.reserve(200_000), Err(CommitError::NoSpace(_))));
    assert_eq!(used(), before);
    support::commit(&mut opened.ledger, &judged(2, 2));
}

#[test]
fn a_batch_without_space_leaves_no_trace() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    support::commit(&mut opened.ledger, &judged(1, 2));
    opened.ledger.level_head().unwrap();
    let head = opened.ledger.head();
    let used: usize = dir.files().values().map(Vec::len).sum();
    dir.set_capacity(Some(used as u64 + 100));
    for event in judged(2, 90) {
        opened.ledger.stage(T0, &event).unwrap();
    }
    let no_space = match opened.ledger.commit() {
        Err(CommitError::NoSpace(no_space)) => no_space,
        other => panic!("{other:?}"),
    };
    assert!(no_space.to_string().starts_with("no space for 3"), "{no_space}");
    assert_eq!((opened.ledger.head(), opened.ledger.staged_records()), (head, 0));
    assert_eq!(opened.ledger.next_seq(), head.seq.next());
    assert_eq!(dir.files()["ledger/00000000000000000001.jsonl"].len() as u64, head.offset, "cut back");
    assert!(opened.ledger.read(head.seq).is_ok());
    assert!(matches!(opened.ledger.reserve(30_000), Err(CommitError::NoSpace(_))));
    dir.set_capacity(None);
    opened.ledger.reserve(30_000).unwrap();
    let committed = support::commit(&mut opened.ledger, &judged(2, 90));
    assert_eq!((committed.batch, committed.first), (head.batch + 1, head.seq.next()));
}

#[test]
fn a_sync_that_fails_is_the_end() {
    for call in [Call::SyncData, Call::SyncAll, Call::SyncDir] {
        let dir = MemoryDir::new();
        let (mut opened, mut seen) = open(&dir).unwrap();
        dir.set_hook(move |now, _| (now == call).then_some(Mishap::Error(ENOSPC)));
        let mut failed = None;
        for n in 0..14 {
            if let Err(error) = batch(&mut opened.ledger, n, &mut seen) {
                failed = Some(error);
                break;
            }
        }
        let Some(error @ CommitError::Fatal { .. }) = failed else { panic!("{call:?} was not noticed: {failed:?}") };
        assert!(error.to_string().contains("the process must end"), "{error}");
        assert!(opened.ledger.read(Seq(1)).is_ok(), "reading goes on");
    }
}

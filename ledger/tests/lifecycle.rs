//! A ledger's life without accidents: commits, reads, rolls, boots.

mod support;

use orch_core::id::Seq;
use orch_core::record::Event;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::{Follower, Ledger, OpenError, StageError, Tail, durable_head};
use support::{ID, Seen, T0, commit, judged, line, open, options, paused};

#[test]
fn a_new_ledger_begins_with_its_header_and_the_boot() {
    let dir = MemoryDir::new();
    let (opened, seen) = open(&dir).unwrap();
    assert!(opened.recovered.created);
    assert_eq!(opened.epoch, 1);
    assert_eq!(opened.ledger.id(), ID);
    assert_eq!(opened.ledger.next_seq(), Seq(3));
    assert!(seen.records[0].2.starts_with("{\"segment_opened\":"), "{:?}", seen.records);
    assert_eq!(seen.records[1].2, "{\"booted\":{\"epoch\":1,\"version\":\"0.1.0\",\"host\":\"host-1\",\"pid\":42}}");
    assert_eq!(seen.chains[&1], opened.ledger.head().chain);
}

#[test]
fn everything_is_there_after_many_boots_and_segments() {
    let dir = MemoryDir::new();
    let mut written = Seen::default();
    for boot in 1..=4 {
        let (mut opened, seen) = open(&dir).unwrap();
        assert_eq!(opened.epoch, boot);
        assert_eq!(&seen.records[..written.records.len()], &written.records[..], "boot {boot}");
        written = seen;
        let ledger = &mut opened.ledger;
        for n in 0..12 {
            if let Some(rolled) = ledger.maybe_roll(T0).unwrap() {
                for (record, position) in &rolled.records {
                    written.take(record, position).unwrap();
                }
            }
            for event in judged(n, 5) {
                let seq = ledger.stage(T0, &event).unwrap();
                written.records.push((seq, T0, serde_json::to_string(&event).unwrap()));
            }
            // Staged records are read like durable ones.
            for (i, expected) in written.records.iter().enumerate() {
                assert_eq!(&line(&ledger.read(Seq(i as u64 + 1)).unwrap()), expected);
            }
            let committed = ledger.commit().unwrap();
            written.chains.insert(committed.batch, committed.chain);
        }
        for (i, expected) in written.records.iter().enumerate().rev() {
            assert_eq!(&line(&ledger.read(Seq(i as u64 + 1)).unwrap()), expected);
        }
        assert!(ledger.read(Seq(0)).is_err());
        assert!(ledger.read(ledger.next_seq()).unwrap_err().to_string().contains("there is no record"));
        let mut again = Seen::default();
        ledger.replay_all(&mut |record, position| again.take(record, position)).unwrap();
        assert_eq!(again, written);
        if boot % 2 == 0 {
            opened.ledger.close().unwrap();
        }
    }
    let report = orch_ledger::verify::verify_in(&dir, 3, &|_, _| {}).unwrap();
    assert_eq!(report.findings, []);
    assert_eq!(report.records, written.records.len() as u64);
    assert_eq!(report.link.chain, *written.chains.values().last().unwrap());
    assert_eq!(report.tail, Tail::Clean);
    assert_eq!(report.boots, 4);
    assert!(report.segments > 8, "{}", report.segments);
}

#[test]
fn a_clean_stop_leaves_plain_lines_and_a_level_head() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    let committed = commit(&mut opened.ledger, &judged(1, 3));
    assert_eq!(durable_head(&dir).unwrap().batch, committed.batch - 1, "HEAD lags by one batch");
    opened.ledger.close().unwrap();
    let head = durable_head(&dir).unwrap();
    assert_eq!((head.batch, head.seq, head.chain), (committed.batch, committed.last, committed.chain));
    let segment = &dir.files()["ledger/00000000000000000001.jsonl"];
    assert_eq!(head.offset, segment.len() as u64);
    for line in segment.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
        serde_json::from_slice::<serde_json::Value>(line).unwrap();
    }
}

#[test]
fn one_process_at_a_time() {
    let dir = MemoryDir::new();
    let (opened, _) = open(&dir).unwrap();
    let error = open(&dir).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    let text = error.to_string();
    assert!(text.contains("in use by process 42 on host-1, epoch 1"), "{text}");
    drop(opened);
    assert_eq!(open(&dir).unwrap().0.epoch, 2);
}

#[test]
fn what_could_not_be_read_again_is_not_staged() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    let ledger = &mut opened.ledger;
    let long = "x".repeat(orch_ledger::line::MAX_LINE_BYTES);
    assert!(matches!(ledger.stage(T0, &paused(&long)), Err(StageError::TooLong { .. })));
    let mut event = judged(1, 1).pop().unwrap();
    let Event::CandidateAccepted(accepted) = &mut event else { unreachable!() };
    accepted.candidate = serde_json::value::RawValue::from_string("{\"a\":\n1}".into()).unwrap();
    assert!(matches!(ledger.stage(T0, &event), Err(StageError::Unreadable { .. })));
    let deep = format!("{}{}", "[".repeat(5000), "]".repeat(5000));
    let Event::CandidateAccepted(accepted) = &mut event else { unreachable!() };
    accepted.candidate = serde_json::value::RawValue::from_string(deep).unwrap();
    assert!(matches!(ledger.stage(T0, &event), Err(StageError::Unreadable { .. })));
    let Event::CandidateAccepted(accepted) = &mut event else { unreachable!() };
    accepted.candidate = serde_json::value::RawValue::from_string("1".into()).unwrap();
    accepted.contract.version = 0;
    assert!(matches!(ledger.stage(T0, &event), Err(StageError::Unreadable { .. })));
    let never = orch_core::time::Timestamp(i64::MAX);
    assert!(matches!(ledger.stage(never, &paused("x")), Err(StageError::Time { .. })));
    assert_eq!((ledger.staged_records(), ledger.staged_bytes(), ledger.next_seq()), (0, 0, Seq(3)));
    // The longest that fits is written and read.
    ledger.stage(T0, &paused(&"x".repeat(orch_ledger::line::MAX_EVENT_BYTES - 42))).unwrap();
    let committed = ledger.commit().unwrap();
    assert_eq!(line(&ledger.read(committed.first).unwrap()).2.len(), orch_ledger::line::MAX_EVENT_BYTES);
    drop(opened);
    open(&dir).unwrap();
}

#[test]
fn nothing_staged_writes_nothing() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    let before = dir.files();
    let nothing = opened.ledger.commit().unwrap();
    assert_eq!((nothing.batch, nothing.bytes, nothing.last), (1, 0, Seq(2)));
    opened.ledger.stage(T0, &paused("x")).unwrap();
    opened.ledger.discard_staged();
    assert_eq!(opened.ledger.commit().unwrap(), nothing);
    assert_eq!(dir.files(), before);
}

#[test]
fn a_replay_may_refuse() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(1, 3));
    drop(opened);
    let before = dir.files();
    let dir2: std::sync::Arc<dyn orch_ledger::disk::Dir> = std::sync::Arc::new(dir.clone());
    let error = Ledger::open_in(dir2, options(), &mut |record, _| {
        if record.seq == Seq(5) { Err("no such lease".into()) } else { Ok(()) }
    })
    .unwrap_err();
    let text = error.to_string();
    assert!(text.contains("line 5 (byte ") && text.contains("seq 5 refused: no such lease"), "{text}");
    assert_eq!(dir.files(), before, "nothing was changed");
}

#[test]
fn a_follower_sees_what_is_durable_and_nothing_else() {
    let dir = MemoryDir::new();
    let (mut opened, mut seen) = open(&dir).unwrap();
    let shared: std::sync::Arc<dyn orch_ledger::disk::Dir> = std::sync::Arc::new(dir.clone());
    let mut follower = Follower::new_in(shared.clone(), Seq(1));
    let mut followed = Vec::new();
    for n in 0..40 {
        if let Some(rolled) = opened.ledger.maybe_roll(T0).unwrap() {
            for (record, position) in &rolled.records {
                seen.take(record, position).unwrap();
            }
        }
        for event in judged(n, u32::try_from(n % 4).unwrap()) {
            let seq = opened.ledger.stage(T0, &event).unwrap();
            seen.records.push((seq, T0, serde_json::to_string(&event).unwrap()));
        }
        let committed = opened.ledger.commit().unwrap();
        // It may know less than everything.
        let until = if n % 3 == 0 { committed.last } else { durable_head(&dir).unwrap().seq };
        while let Some(line) = follower.next_line(until).unwrap() {
            followed.push((line.seq, line.at, line.event_json.to_owned()));
        }
        assert_eq!(follower.next_seq(), until.next());
        assert_eq!(followed, seen.records[..followed.len()]);
    }
    assert!(followed.len() > 80);
    let last = opened.ledger.head().seq;
    for from in 1..=last.0 {
        let mut follower = Follower::new_in(shared.clone(), Seq(from));
        assert_eq!(follower.next_line(last).unwrap().unwrap().seq, Seq(from));
    }
    let mut beyond = Follower::new_in(shared, last.next());
    assert!(beyond.next_line(last).unwrap().is_none());
    assert!(beyond.next_line(last.next()).is_err(), "a durable line that is not there");
}

//! Any records, in any batches, are read as they were written; any bytes are read without a panic.

mod support;

use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::id::{ContractName, ContractRef, ImportId, JobId, LeaseId, Seq};
use orch_core::record::{CandidateAccepted, Event, Origin};
use orch_core::time::Timestamp;
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::line::{self, LineFault};
use orch_ledger::verify::verify_in;
use orch_ledger::{ChainChecker, Follower, OpenOptions, Tail};
use proptest::collection::vec;
use proptest::prelude::*;
use support::{open, open_with, options, paused};

fn origin() -> impl Strategy<Value = Origin> {
    prop_oneof![
        (any::<u64>(), any::<u64>())
            .prop_map(|(job, lease)| Origin::Lease { job: JobId::new(job), lease: LeaseId::new(lease) }),
        any::<u64>().prop_map(|import| Origin::Legacy { import: ImportId::new(import) }),
    ]
}

fn json() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(Into::into),
        any::<f64>().prop_map(Into::into),
        any::<i64>().prop_map(Into::into),
        ".{0,20}".prop_map(Into::into),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..5).prop_map(Into::into),
            vec((".{0,6}", inner), 0..5).prop_map(|map| serde_json::Value::Object(map.into_iter().collect())),
        ]
    })
}

prop_compose! {
    fn candidate()(
        origin in origin(),
        name in "[a-z0-9][a-zA-Z0-9._/-]{0,127}",
        version in 1u32..,
        digest in any::<[u8; 32]>(),
        offsets in vec(any::<u32>(), 0..4),
        candidate in json(),
    ) -> Event {
        Event::CandidateAccepted(Box::new(CandidateAccepted {
            origin,
            contract: ContractRef { name: ContractName::new(&name).unwrap(), version },
            digest: Digest(digest),
            offsets,
            candidate: serde_json::value::to_raw_value(&candidate).unwrap(),
        }))
    }
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![candidate(), ".{0,300}".prop_map(|reason| paused(&reason))]
}

fn batches() -> impl Strategy<Value = Vec<(i64, Vec<Event>)>> {
    vec((-62_167_219_200_000i64..253_402_300_800_000, vec(event(), 1..12)), 0..12)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_is_written_is_read(
        batches in batches(),
        segment_bytes in 1u64..20_000,
        claim_bytes in 0u64..9_000,
        zero_bytes in 0u64..9_000,
        boots in 1usize..4,
    ) {
        let dir = MemoryDir::new();
        let options = OpenOptions { segment_bytes, claim_bytes, zero_bytes, ..options() };
        let mut expected = Vec::new();
        for part in batches.chunks(batches.len().div_ceil(boots).max(1)) {
            let (mut opened, seen) = open_with(&dir, options.clone()).unwrap();
            expected = seen.records;
            for (at, events) in part {
                if let Some(rolled) = opened.ledger.maybe_roll(Timestamp(*at)).unwrap() {
                    expected.extend(rolled.records.iter().map(|(record, _)| support::line(record)));
                }
                for event in events {
                    let seq = opened.ledger.stage(Timestamp(*at), event).unwrap();
                    expected.push((seq, Timestamp(*at), serde_json::to_string(event).unwrap()));
                }
                opened.ledger.commit().unwrap();
            }
        }
        let (opened, seen) = open(&dir).unwrap();
        prop_assert_eq!(&seen.records[..expected.len()], &expected[..]);
        for (i, expected) in seen.records.iter().enumerate() {
            prop_assert_eq!(&support::line(&opened.ledger.read(Seq(i as u64 + 1)).unwrap()), expected);
        }
        let shared: Arc<dyn Dir> = Arc::new(dir.clone());
        let mut follower = Follower::new_in(shared, Seq(1));
        let mut checker = ChainChecker::new();
        while let Some(line) = follower.next_line(opened.ledger.head().seq).unwrap() {
            checker.check_line(&line).unwrap();
        }
        prop_assert_eq!(checker.link(), opened.ledger.head().link());
        drop(opened);
        let report = verify_in(&dir, 2, &|_, _| {}).unwrap();
        prop_assert_eq!((report.findings, report.tail), (vec![], Tail::Clean));
    }

    /// The writer does not read these back before it writes them; see `reads_back`.
    #[test]
    fn a_candidate_is_read_back_as_it_was_written(event in candidate()) {
        let text = serde_json::to_string(&event).unwrap();
        let read: Event = serde_json::from_str(&text).unwrap();
        prop_assert_eq!(serde_json::to_string(&read).unwrap(), text);
    }

    #[test]
    fn any_bytes_are_a_line_or_a_fault(bytes in vec(any::<u8>(), 0..300), cut in 0usize..300, flip in any::<u8>()) {
        prop_assert!(line::decode(&bytes).is_err());
        prop_assert!(line::decode_prefix(&bytes).is_none());
        prop_assert!(ChainChecker::new().check(&bytes).is_err());
        let dir = MemoryDir::new();
        drop(open(&dir).unwrap());
        let segment = dir.files()["ledger/00000000000000000001.jsonl"].clone();
        let good = segment.split(|byte| *byte == b'\n').next().unwrap();
        let mut bad = good.to_vec();
        let at = cut % bad.len();
        bad[at] ^= flip | 1;
        prop_assert!(line::decode(&bad).is_err());
        prop_assert!(line::decode(&good[..at]).is_err());
        // With garbage for a tail a start says something, whatever it is.
        dir.put("ledger/00000000000000000001.jsonl", &[&segment[..at], &bytes[..]].concat());
        let _ = open(&dir);
    }
}

/// A line whose checksum is right but whose form is not.
fn with_crc(body: &str) -> String {
    format!("{body},\"crc\":\"{:08x}\"}}", crc32c::crc32c(body.as_bytes()))
}

#[test]
fn only_the_one_form_is_a_line() {
    let at = "\"at\":\"2026-11-21T08:00:00.000Z\"";
    let good = with_crc(&format!("{{\"seq\":1,\"batch\":1,\"left\":1,{at},\"event\":{{}}"));
    let line = line::decode(good.as_bytes()).unwrap();
    assert_eq!((line.seq, line.batch, line.left, line.chain, line.event_json), (Seq(1), 1, 1, None, "{}"));
    assert!(matches!(line.event(), Err(LineFault::Event { .. })));
    let zeros = "0".repeat(64);
    for (body, expected) in [
        (format!("{{\"seq\":01,\"batch\":1,\"left\":1,{at},\"event\":{{}}"), "a seq from 1 at byte 7"),
        (format!("{{\"seq\":0,\"batch\":1,\"left\":1,{at},\"event\":{{}}"), "a seq from 1 at byte 7"),
        (format!("{{\"seq\":+1,\"batch\":1,\"left\":1,{at},\"event\":{{}}"), "a seq from 1"),
        (format!("{{\"seq\":18446744073709551616,\"batch\":1,\"left\":1,{at},\"event\":{{}}"), "a seq from 1"),
        (format!("{{\"seq\":1, \"batch\":1,\"left\":1,{at},\"event\":{{}}"), "`,\"batch\":` at byte 8"),
        (format!("{{\"batch\":1,\"seq\":1,\"left\":1,{at},\"event\":{{}}"), "`{\"seq\":`"),
        (format!("{{\"seq\":1,\"batch\":1,\"left\":5000000000,{at},\"event\":{{}}"), "a smaller count"),
        ("{\"seq\":1,\"batch\":1,\"left\":1,\"at\":\"2026-11-21T08:00:00Z\",\"event\":{}".into(), "a time like"),
        ("{\"seq\":1,\"batch\":1,\"left\":1,\"at\":\"2026-02-30T08:00:00.000Z\",\"event\":{}".into(), "a time like"),
        (format!("{{\"seq\":1,\"batch\":1,\"left\":1,{at},\"event\":1"), "an event in braces"),
        (format!("{{\"seq\":1,\"batch\":1,\"left\":1,{at}"), "`\",\"event\":`"),
        (format!("{{\"seq\":1,\"batch\":1,\"left\":0,{at},\"event\":{{}}"), "64 hex digits"),
        (
            format!("{{\"seq\":1,\"batch\":1,\"left\":0,{at},\"event\":{{}},\"chain\":\"{}A\"", &zeros[1..]),
            "64 hex digits",
        ),
    ] {
        let text = with_crc(&body);
        let fault = line::decode(text.as_bytes()).unwrap_err();
        assert!(matches!(fault, LineFault::Form { .. }), "{body}: {fault}");
        assert!(fault.to_string().contains(expected), "{body}: {fault}");
    }
    // The event's own keys: twice the same, unknown, two events in one.
    for event in [
        r#"{"queue_resumed":{"queue":"q","queue":"q"}}"#,
        r#"{"queue_resumed":{"queue":"q","x":1}}"#,
        r#"{"queue_resumed":{"queue":"q"},"queue_resumed":{"queue":"q"}}"#,
        r#"{"queue_exploded":{"queue":"q"}}"#,
    ] {
        let text = with_crc(&format!("{{\"seq\":1,\"batch\":1,\"left\":1,{at},\"event\":{event}"));
        let fault = line::decode(text.as_bytes()).unwrap().record().unwrap_err();
        assert!(matches!(fault, LineFault::Event { .. }), "{event}: {fault}");
    }
    let long = format!("{{\"seq\":1{}", " ".repeat(line::MAX_LINE_BYTES));
    assert!(matches!(line::decode(long.as_bytes()), Err(LineFault::TooLong { .. })));
}

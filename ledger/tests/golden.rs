//! A ledger of format 1 that every later version must replay, byte for byte as it lies in `tests/golden/v1`.
//!
//! It has every event, two boots, a segment that was sealed, and one that was left by a crash. If the format changes,
//! this ledger stays and another one is added. `ORCH_BLESS=1 cargo test -p orch-ledger --test golden` writes it anew.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use orch_core::record::{Event, Record};
use orch_core::state::State;
use orch_core::time::Timestamp;
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::verify::verify_in;
use orch_ledger::{ChainChecker, Ledger, OpenOptions, Position, Tail, durable_head};
use support::{T0, open_with, options};

/// The chain link of its last batch.
const LAST_CHAIN: &str = "af7720bcf91d7c1cde3616288f9b2609f5f97b60b9179dc73fcffa7a8474773d";

/// Batches of events, all kinds of them, as they stand in the ledger.
const BATCHES: &[&[&str]] = &[
    &[
        r#"{"contract_registered":{"contract":"zeta-zeros","version":1,"description":"Zeros of ζ on the critical line.","limits":{"max_bytes":4096,"max_depth":4},"schema":{"properties":{"n":{"minimum":1,"type":"integer"},"t":{"type":"number"}},"required":["n","t"],"type":"object"},"tolerance":[{"field":"root_val","abs_lt":1e-8}],"identity":[{"field":"t","quantum":1e-6}],"complete":{"count":7}}}"#,
        r#"{"queue_defined":{"queue":"zeta","contract":"zeta-zeros@1","kind":"zeta-zeros","retry":{"max_attempts":5,"factor":2.5},"lease":{"ttl":"1m"},"timeout":"1h"}}"#,
    ],
    &[
        r#"{"job_submitted":{"spec":{"queue":"zeta","name":"first","payload":{"a":-1,"b":6,"eps_root":1e-8},"priority":3,"retry":{"backoff":"10s"},"idempotency_key":"k-1"},"kind":"zeta-zeros"}}"#,
        r#"{"job_submitted":{"spec":{"queue":"zeta","name":"second","payload":null,"not_before":"2026-11-21T09:00:00.000Z","depends_on":["first"],"on_dependency_failure":"continue"},"kind":"zeta-zeros","depends_on":[5],"not_before":"2026-11-21T09:00:00.000Z"}}"#,
        r#"{"job_submitted":{"spec":{"queue":"zeta","kind":"echo","payload":["é",1.5],"depends_on":["second"]},"kind":"echo","depends_on":[6]}}"#,
    ],
    &[r#"{"lease_granted":{"job":5,"attempt":1,"worker":"host-2/1","contract":"zeta-zeros@1"}}"#],
    &[
        r#"{"batch_judged":{"origin":{"lease":{"job":5,"lease":8}},"number":1,"accepted":2}}"#,
        r#"{"candidate_accepted":{"origin":{"lease":{"job":5,"lease":8}},"contract":"zeta-zeros@1","digest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","offsets":[4294967295],"candidate":{"meta":{"iters":7,"method":"brent"},"n":1,"root_val":1.3e-12,"t":14.134725141734694}}}"#,
        r#"{"candidate_accepted":{"origin":{"lease":{"job":5,"lease":8}},"contract":"zeta-zeros@1","digest":"cb8379ac2098aa165029e3938a51da0bcecfc008fd6795f401178647f96c5b34","candidate":"text, \"seq\": \\u00e9 é \u0007"}}"#,
    ],
    &[
        r#"{"batch_judged":{"origin":{"lease":{"job":5,"lease":8}},"number":2,"accepted":0,"duplicates":[10],"rejected":1,"rejections":[{"index":1,"rule":"tolerance","message":"root_val is 0.1, must be less than 1e-8 in magnitude"}]}}"#,
    ],
    &[
        r#"{"attempt_failed":{"job":5,"lease":8,"class":"incomplete","message":"2 of 7","next":{"delayed":"2026-11-21T08:01:00.000Z"}}}"#,
    ],
    &[r#"{"job_readied":{"job":5}}"#, r#"{"lease_granted":{"job":5,"attempt":2,"worker":"w"}}"#],
    &[r#"{"lease_released":{"job":5,"lease":17}}"#, r#"{"lease_granted":{"job":5,"attempt":2,"worker":"w"}}"#],
    &[
        r#"{"lease_expired":{"job":5,"lease":21,"cause":"worker_stale","next":"ready"}}"#,
        r#"{"lease_granted":{"job":5,"attempt":3,"worker":"w"}}"#,
        r#"{"attempt_failed":{"job":5,"lease":23,"class":"error","message":"","next":{"failed":"error"}}}"#,
    ],
    &[
        r#"{"job_retried":{"job":5}}"#,
        r#"{"lease_granted":{"job":5,"attempt":1,"worker":"w"}}"#,
        r#"{"job_completed":{"job":5,"lease":26}}"#,
    ],
    &[
        r#"{"job_cancelled":{"job":6,"cause":"request","reason":"no longer needed"}}"#,
        r#"{"job_cancelled":{"job":7,"cause":{"dependency":6}}}"#,
    ],
    &[r#"{"queue_paused":{"queue":"zeta","reason":"over night"}}"#, r#"{"queue_resumed":{"queue":"zeta"}}"#],
    &[
        r#"{"legacy_import_started":{"file":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","name":"old.jsonl","contract":"zeta-zeros@1","payload":{}}}"#,
        r#"{"batch_judged":{"origin":{"legacy":{"import":32}},"number":1,"accepted":0}}"#,
        r#"{"legacy_import_finished":{"import":32}}"#,
    ],
];

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn small_segments(boot: i64) -> OpenOptions {
    OpenOptions {
        now: Timestamp(T0.0 + boot * 3_600_000),
        segment_bytes: 2800,
        claim_bytes: 0,
        zero_bytes: 0,
        ..options()
    }
}

/// Writes the golden ledger.
fn write() -> MemoryDir {
    let dir = MemoryDir::new();
    for boot in 0..2 {
        let (mut opened, _) = open_with(&dir, small_segments(boot)).unwrap();
        let ledger = &mut opened.ledger;
        for (n, batch) in BATCHES.iter().enumerate().filter(|(n, _)| (*n < 7) == (boot == 0)) {
            let at = Timestamp(T0.0 + boot * 3_600_000 + n as i64 * 1_001);
            ledger.maybe_roll(at).unwrap();
            for json in *batch {
                let event: Event = serde_json::from_str(json).unwrap();
                assert_eq!(&serde_json::to_string(&event).unwrap(), json, "the event's one form");
                ledger.stage(at, &event).unwrap();
            }
            ledger.commit().unwrap();
        }
    }
    dir
}

fn files(dir: &MemoryDir) -> BTreeMap<String, Vec<u8>> {
    dir.files().into_iter().filter(|(name, _)| name != "LOCK").collect()
}

fn golden() -> MemoryDir {
    let dir = MemoryDir::new();
    let put = |name: &str| dir.put(name, &std::fs::read(folder().join(name)).unwrap());
    put("HEAD");
    put("LEDGER_ID");
    for entry in std::fs::read_dir(folder().join("ledger")).unwrap() {
        put(&format!("ledger/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    dir
}

#[test]
fn this_version_writes_the_same_bytes() {
    let written = files(&write());
    if std::env::var_os("ORCH_BLESS").is_some() {
        for (name, bytes) in &written {
            let path = folder().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let golden = files(&golden());
    assert_eq!(written.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    for (name, bytes) in &golden {
        assert_eq!(String::from_utf8_lossy(&written[name]), String::from_utf8_lossy(bytes), "{name}");
    }
}

#[test]
fn this_version_replays_it() {
    let dir = golden();
    let mut state = State::default();
    let shared: Arc<dyn Dir> = Arc::new(dir.clone());
    let mut apply = |record: &Record, _: &Position| state.apply(record).map_err(|error| error.to_string());
    drop(Ledger::open_in(shared, small_segments(9), &mut apply).unwrap());
    assert_eq!((state.last_seq().0, state.epoch()), (36, 3));
    assert_eq!(state.accepted().len(), 2);

    let dir = golden();
    let (opened, seen) = open_with(&dir, small_segments(9)).unwrap();
    assert_eq!(opened.epoch, 3);
    let expected: Vec<&str> = BATCHES.iter().copied().flatten().copied().collect();
    let own = ["{\"segment_opened\"", "{\"segment_sealed\"", "{\"booted\""];
    let found: Vec<&str> = seen.records.iter().map(|record| record.2.as_str()).collect();
    let found: Vec<&str> = found.into_iter().filter(|json| !own.iter().any(|own| json.starts_with(own))).collect();
    assert_eq!(found, expected);
    let last = seen.chains[&(opened.ledger.head().batch - 1)];
    assert_eq!(last.to_string(), LAST_CHAIN);
}

#[test]
fn verification_and_the_bare_chain_agree_with_it() {
    let dir = golden();
    let report = verify_in(&dir, 2, &|_, _| {}).unwrap();
    assert_eq!((report.findings, report.tail, report.boots), (vec![], Tail::Clean, 2));
    assert_eq!(report.events.len(), 20, "every event: {:?}", report.events);
    assert_eq!(durable_head(&dir).unwrap().batch, report.link.batch - 1);
    // The lines alone, as they come over the wire.
    let mut checker = ChainChecker::new();
    let files = dir.files();
    for bytes in files.iter().filter(|(name, _)| name.starts_with("ledger/")).map(|(_, bytes)| bytes) {
        for line in bytes.strip_suffix(b"\n").unwrap().split(|byte| *byte == b'\n') {
            checker.check(line).unwrap();
        }
    }
    assert_eq!(checker.link(), report.link);
    assert_eq!(checker.link().chain.to_string(), LAST_CHAIN);
}

//! A ledger of format 2 that every later version must replay, byte for byte as it lies in `tests/golden/v2`.
//!
//! It is the golden ledger of format 1 after an accident: its end was lost, `orchctl ledger repair` cut it and recorded
//! that, and an orchestrator went on, with the events and fields that came after the other golden ledger was laid down.
//! `ORCH_BLESS=1 cargo test -p orch-ledger --test golden_v2` writes it anew.

mod support;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use orch_core::record::{Event, Record};
use orch_core::state::State;
use orch_core::time::Timestamp;
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::repair::{Repair, Signature};
use orch_ledger::verify::verify_in;
use orch_ledger::{Ledger, OpenOptions, Position, Tail};
use support::{T0, open_with, options, paused};

/// The chain link of its last batch.
const LAST_CHAIN: &str = "45a6b11b27efa2290c279436f2342171bfdbe2fd89c62d1f9c64561c451858b9";

/// Events and fields that the golden ledger of format 1 lacks, in batches. `$1` is the first job, token or lease
/// of these.
const LATER: &[&[&str]] = &[
    &[
        r#"{"queue_defined":{"queue":"train","kind":"command","weight":300,"max_running":2}}"#,
        r#"{"limit_set":{"limit":"host=*","max":4,"rate":{"tokens":2,"per":"1s","burst":5}}}"#,
        r#"{"limit_set":{"limit":"resolver=crossref","max":1,"at_limit":"cancel_oldest"}}"#,
        r#"{"limit_set":{"limit":"gpu_slots","max":4}}"#,
    ],
    &[
        r#"{"job_submitted":{"spec":{"queue":"train","payload":{"n":1},"keys":{"host":"api.example.org","resolver":"crossref"},"semaphores":{"gpu_slots":2},"resources":{"cpus":"4","gpus":"1@24GiB","mem":"16384","min_time":"1h"},"labels":{"zone":"north"},"prefer":[{"label":"disk","value":"ssd","weight":5}]},"kind":"command"}}"#,
        r#"{"job_submitted":{"spec":{"queue":"train","payload":{"n":2},"keys":{"resolver":"crossref"},"resources":[{"gpus":"0.5"},{"cpus":"8"}]},"kind":"command"}}"#,
        r#"{"job_cancelled":{"job":$1,"cause":{"limit":"resolver=crossref"}}}"#,
    ],
    &[
        r#"{"token_created":{"name":"pool","role":"worker","queues":["train"],"expires":"2027-11-21T09:00:00.000Z","digest":"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad","by":"bootstrap"}}"#,
        r#"{"audited":{"actor":"bootstrap","from":"127.0.0.1","call":"AdminService/CreateToken","verdict":"allowed","target":"pool","records":[$3,$3]}}"#,
    ],
    &[
        r#"{"lease_granted":{"job":$2,"attempt":1,"worker":"w","variant":1,"session":"000102030405060708090a0b0c0d0e0f"}}"#,
    ],
    &[
        r#"{"token_revoked":{"token":$3,"by":"token root"}}"#,
        r#"{"audited":{"actor":"anonymous","call":"WorkerService/LeaseJob","verdict":"denied","reason":"NO_TOKEN","count":12}}"#,
    ],
    &[r#"{"limit_unset":{"limit":"host=*"}}"#],
    &[
        r#"{"queue_defined":{"queue":"train","kind":"command","retry":{"rules":[{"class":["error"],"exit_code":[137],"message":"(?i)out of memory","backoff":"1s","max_attempts":5,"memory":{"factor":"1.5","cap":"65536"},"avoid_worker":true},{"class":["timeout"],"then":"fail"}]},"weight":300,"max_running":2}}"#,
        r#"{"attempt_failed":{"job":$2,"lease":$4,"class":"error","message":"out of memory","next":{"delayed":"2026-11-21T12:00:00.000Z"},"exit_code":137,"needs":[{"gpus":"1"},{"cpus":"8"}],"avoid_worker":true}}"#,
        r#"{"worker_set_aside":{"worker":"w","reason":"everything fails"}}"#,
        r#"{"worker_resumed":{"worker":"w"}}"#,
    ],
    &[r#"{"retries_paused":{"reason":"a disk is full"}}"#, r#"{"retries_resumed":{}}"#],
    &[
        r#"{"queue_defined":{"queue":"timely","kind":"command","queue_timeout":"1h","fair_weights":{"ada":300}}}"#,
        r#"{"job_submitted":{"spec":{"queue":"timely","payload":{"n":3},"fair_key":"ada","queue_timeout":"10m","idempotency_key":"k-2","unique":"until_done"},"kind":"command"}}"#,
        r#"{"job_cancelled":{"job":$5,"cause":{"queue_timeout":"10m"}}}"#,
        r#"{"job_submitted":{"spec":{"queue":"timely","payload":{"n":4},"idempotency_key":"k-2","unique":"1day"},"kind":"command"}}"#,
    ],
    &[
        r#"{"job_submitted":{"spec":{"queue":"train","payload":{"x":1},"array":{"tasks":"3","as":"n","max_running":2}},"kind":"command"}}"#,
        r#"{"limit_set":{"limit":"array=$7","max":2}}"#,
    ],
    &[r#"{"task_made":{"array":$7,"index":3}}"#, r#"{"lease_granted":{"job":$8,"attempt":1,"worker":"w"}}"#],
    &[
        r#"{"job_completed":{"job":$8,"lease":$9}}"#,
        r#"{"array_ended":{"array":$7,"done":1}}"#,
        r#"{"limit_unset":{"limit":"array=$7"}}"#,
    ],
    &[
        r#"{"schedule_set":{"schedule":"nightly","cron":"30 2 * * mon-fri","zone":"Europe/Berlin","missed":"once","overlap":"skip","job":{"queue":"timely","payload":{"n":5}}}}"#,
        r#"{"job_submitted":{"spec":{"queue":"timely","name":"nightly","payload":{"n":5},"idempotency_key":"schedule/nightly/2026-11-21T01:30:00.000Z"},"kind":"command"}}"#,
        r#"{"schedule_fired":{"schedule":"nightly","due":"2026-11-21T01:30:00.000Z","outcome":{"submitted":$10}}}"#,
        r#"{"schedule_fired":{"schedule":"nightly","due":"2026-11-22T01:30:00.000Z","outcome":{"overlapped":$10}}}"#,
        r#"{"schedule_fired":{"schedule":"nightly","due":"2026-11-23T01:30:00.000Z","outcome":"missed"}}"#,
        r#"{"schedule_paused":{"schedule":"nightly","reason":"holidays"}}"#,
        r#"{"schedule_resumed":{"schedule":"nightly"}}"#,
        r#"{"schedule_fired":{"schedule":"nightly","due":"2026-11-24T01:30:00.000Z","outcome":{"refused":"queue timely does not exist"}}}"#,
        r#"{"schedule_removed":{"schedule":"nightly"}}"#,
    ],
];

fn folder(version: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(version)
}

fn golden(version: &str) -> MemoryDir {
    let dir = MemoryDir::new();
    let put = |name: &str| dir.put(name, &std::fs::read(folder(version).join(name)).unwrap());
    put("HEAD");
    put("LEDGER_ID");
    for entry in std::fs::read_dir(folder(version).join("ledger")).unwrap() {
        put(&format!("ledger/{}", entry.unwrap().file_name().to_str().unwrap()));
    }
    dir
}

fn boot_options(boot: i64) -> OpenOptions {
    OpenOptions { now: Timestamp(T0.0 + boot * 3_600_000), claim_bytes: 0, zero_bytes: 0, ..options() }
}

/// Writes the golden ledger.
fn write() -> MemoryDir {
    let damaged = golden("v1");
    let last = "ledger/00000000000000000018.jsonl";
    let mut bytes = damaged.files()[last].clone();
    bytes.truncate(bytes.len() - 1500);
    damaged.put(last, &bytes);
    let repair = Repair::plan(&damaged, &mut |_, _| Ok(())).unwrap();
    let dir = MemoryDir::new();
    let signature = Signature { at: Timestamp(T0.0 + 7_000_000), by: "operator on host-1, orchctl 0.1.0".into() };
    repair.carry_out(Arc::new(dir.clone()), signature).unwrap();
    let (mut opened, _) = open_with(&dir, boot_options(2)).unwrap();
    support::commit(
        &mut opened.ledger,
        &[Event::QueuePaused { queue: "zeta".parse().unwrap(), reason: "checks".into() }],
    );
    let mut made = Vec::new();
    for batch in LATER {
        for json in *batch {
            // The last first: $10 begins like $1.
            let number = |text: String, (n, id): (usize, &u64)| text.replace(&format!("${}", n + 1), &id.to_string());
            let json = made.iter().enumerate().rev().fold((*json).to_owned(), number);
            let event: Event = serde_json::from_str(&json).unwrap();
            assert_eq!(serde_json::to_string(&event).unwrap(), json, "the event's one form");
            let seq = opened.ledger.stage(Timestamp(T0.0 + 7_300_000), &event).unwrap();
            made.extend(
                matches!(
                    event,
                    Event::JobSubmitted(_)
                        | Event::TaskMade { .. }
                        | Event::TokenCreated(_)
                        | Event::LeaseGranted { .. }
                )
                .then_some(seq.0),
            );
        }
        opened.ledger.commit().unwrap();
    }
    opened.ledger.close().unwrap();
    dir
}

fn files(dir: &MemoryDir) -> BTreeMap<String, Vec<u8>> {
    let kept = |name: &String| name != "LOCK" && !name.starts_with("quarantine/");
    dir.files().into_iter().filter(|(name, _)| kept(name)).collect()
}

#[test]
fn this_version_writes_the_same_bytes() {
    let written = files(&write());
    if std::env::var_os("ORCH_BLESS").is_some() {
        for (name, bytes) in &written {
            let path = folder("v2").join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
    }
    let golden = files(&golden("v2"));
    assert_eq!(written.keys().collect::<Vec<_>>(), golden.keys().collect::<Vec<_>>());
    for (name, bytes) in &golden {
        assert_eq!(String::from_utf8_lossy(&written[name]), String::from_utf8_lossy(bytes), "{name}");
    }
}

#[test]
fn this_version_replays_it_and_goes_on_in_its_format() {
    let dir = golden("v2");
    let report = verify_in(&dir, 2, &|_, _| {}).unwrap();
    assert_eq!((report.findings, report.tail, report.boots), (vec![], Tail::Clean, 3));
    assert_eq!(report.events["ledger_repaired"], 1);
    assert_eq!(report.link.chain.to_string(), LAST_CHAIN);
    let mut state = State::default();
    let shared: Arc<dyn Dir> = Arc::new(dir.clone());
    let mut apply = |record: &Record, _: &Position| state.apply(record).map_err(|error| error.to_string());
    drop(Ledger::open_in(shared, boot_options(9), &mut apply).unwrap());
    assert_eq!(state.epoch(), 4);
    let newest = dir.files().into_iter().rfind(|(name, _)| name.starts_with("ledger/")).unwrap().1;
    assert!(String::from_utf8_lossy(&newest).contains("\"format\":2"), "a ledger keeps its format");
}

#[test]
fn the_record_of_a_repair_is_no_event_of_format_1() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open_with(&dir, boot_options(0)).unwrap();
    let event = Event::LedgerRepaired {
        lost_from: orch_core::id::Seq(3),
        lost_to: None,
        reason: String::new(),
        by: String::new(),
    };
    support::commit(&mut opened.ledger, &[paused("before"), event]);
    drop(opened);
    let text = support::refusal(&dir);
    assert!(text.contains("expected an event of format 1, as the segment says, found ledger_repaired"), "{text}");
    assert!(verify_in(&dir, 1, &|_, _| {}).unwrap().findings[0].to_string().contains("format 2"), "{text}");
}

#[test]
fn the_golden_ledgers_have_every_event_between_them() {
    let mut events = verify_in(&golden("v1"), 2, &|_, _| {}).unwrap().events;
    events.append(&mut verify_in(&golden("v2"), 2, &|_, _| {}).unwrap().events);
    // As `Event::name` has them, so that an event cannot be added without one.
    let source = include_str!("../../core/src/record.rs");
    let names = source.split("=> \"").skip(1).filter_map(|rest| rest.split('"').next());
    for name in names {
        assert!(events.contains_key(name), "{name} is in no golden ledger: add it to LATER");
    }
}

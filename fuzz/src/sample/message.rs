//! Messages of the wire, one by one and in sequences.

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use prost::Message;

use super::{contract, json, json_candidate, number, small, text, time};
use crate::Random;
use crate::commands::{ANY, KINDS};
use crate::edge::CALL_COUNT;
use crate::wire::MESSAGES;

fn job(random: &mut Random) -> v1::JobSpec {
    v1::JobSpec {
        queue: ["q", "q", "other", "none"][random.below(4)].into(),
        kind: ["", "k", "zeta"][random.below(3)].into(),
        name: if random.flip() { String::new() } else { text(random) },
        payload_json: json(random),
        priority: i32::from_ne_bytes(small(random).to_ne_bytes()),
        retry: random.flip().then(|| retry(random)),
        lease: random.flip().then(|| lease(random)),
        timeout_ms: random.flip().then(|| number(random)),
        delay_ms: (random.below(4) == 0).then(|| number(random)),
        not_before_unix_ms: (random.below(4) == 0).then(|| time(random)),
        depends_on: if random.below(6) == 0 { vec!["name".into(), text(random)] } else { Vec::new() },
        continue_on_dependency_failure: random.flip(),
        idempotency_key: if random.below(4) == 0 { text(random) } else { String::new() },
        keys: (0..random.below(8) / 6).map(|_| ("host".into(), ["a", "a", "b", "*"][random.below(4)].into())).collect(),
        semaphores: (0..random.below(12) / 11).map(|_| ("slots".into(), small(random))).collect(),
        resources: (0..random.below(8) / 6).map(|_| variant(random)).collect(),
        labels: (0..random.below(12) / 11).map(|_| ("zone".into(), text(random))).collect(),
        prefer: (0..random.below(8) / 7)
            .map(|_| v1::Preference { label: "zone".into(), value: "a".into(), weight: small(random) })
            .collect(),
        queue_timeout_ms: (random.below(6) == 0).then(|| number(random)),
        fair_key: ["", "", "ada", "bob", "*"][random.below(5)].into(),
        unique: (random.below(4) == 0).then(|| v1::Unique {
            until: random.flip().then(|| match random.flip() {
                true => v1::unique::Until::Done(random.flip()),
                false => v1::unique::Until::PeriodMs(number(random)),
            }),
        }),
        gang: (random.below(6) == 0).then(|| v1::GangSpec {
            workers: random.below(5) as u32,
            timeout_ms: random.flip().then(|| number(random)),
        }),
        array: (random.below(6) == 0).then(|| v1::ArraySpec {
            tasks: ["1-3", "1-9:4", "-2--1,5", "1-1000000", "7", "3-1", "1-4,2"][random.below(7)].into(),
            r#as: [&["n"][..], &["a", "b"], &[], &[]][random.below(4)].iter().map(|name| (*name).to_owned()).collect(),
            max_running: random.flip().then(|| small(random)),
        }),
    }
}

fn variant(random: &mut Random) -> v1::ResourceVariant {
    let need = |random: &mut Random| v1::ResourceNeed {
        name: ["gpus", "gpus/nvidia", "cpus", "mem", "-"][random.below(5)].into(),
        amount: [5_000, 10_000, 25_000, number(random)][random.below(4)],
        all: random.below(5) == 0,
        min_memory_mib: if random.flip() { 0 } else { number(random) },
    };
    v1::ResourceVariant {
        needs: (0..random.below(3)).map(|_| need(random)).collect(),
        min_time_ms: (random.below(4) == 0).then(|| number(random)),
    }
}

/// What a worker has.
fn pools(random: &mut Random) -> Vec<v1::ResourcePool> {
    let item = |random: &mut Random| v1::ResourceItem {
        label: text(random),
        memory_mib: number(random),
        free: [0, 5_000, 10_000, number(random)][random.below(4)],
    };
    let (size, free) = (number(random), number(random));
    let items = (0..random.below(4)).map(|_| item(random)).collect();
    vec![
        v1::ResourcePool { name: "gpus".into(), items, ..v1::ResourcePool::default() },
        v1::ResourcePool { name: "mem".into(), size, free, items: Vec::new() },
    ]
}

fn limit(random: &mut Random) -> v1::Limit {
    let about = ["running", "host=*", "host=a", "slots", "=", ""];
    let rate = |random: &mut Random| v1::Rate { tokens: small(random), per_ms: number(random), burst: small(random) };
    v1::Limit {
        limit: about[random.below(about.len())].into(),
        max: random.flip().then(|| small(random)),
        rate: (random.below(4) == 0).then(|| rate(random)),
        at_limit: i32::try_from(random.below(5)).unwrap_or(0),
    }
}

fn rule(random: &mut Random) -> v1::RetryRule {
    let patterns = ["", "", "went", "(", "(a*)*$"];
    v1::RetryRule {
        classes: (0..random.below(3)).map(|_| i32::try_from(random.below(7)).unwrap_or(0)).collect(),
        exit_codes: (0..random.below(2)).map(|_| 1).collect(),
        message: patterns[random.below(patterns.len())].into(),
        fail: random.below(4) == 0,
        backoff_ms: (random.below(4) == 0).then(|| number(random)),
        max_attempts: (random.below(4) == 0).then(|| small(random)),
        memory: (random.below(4) == 0).then(|| v1::MoreMemory { factor: 20_000, cap: number(random) }),
        avoid_worker: random.below(4) == 0,
    }
}

fn retry(random: &mut Random) -> v1::RetryPatch {
    let factors = [0.0, 1.0, 2.5, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX];
    v1::RetryPatch {
        max_attempts: random.flip().then(|| small(random)),
        backoff_ms: random.flip().then(|| number(random)),
        factor: random.flip().then(|| factors[random.below(factors.len())]),
        cap_ms: random.flip().then(|| number(random)),
        jitter_ms: random.flip().then(|| number(random)),
        crash_limit: random.flip().then(|| small(random)),
        rules: (random.below(6) == 0)
            .then(|| v1::RetryRules { rules: (0..random.below(3)).map(|_| rule(random)).collect() }),
    }
}

fn lease(random: &mut Random) -> v1::LeasePatch {
    v1::LeasePatch {
        ttl_ms: random.flip().then(|| number(random)),
        heartbeat_ms: random.flip().then(|| number(random)),
    }
}

fn queue(random: &mut Random) -> v1::QueueSpec {
    v1::QueueSpec {
        queue: ["q", "other"][random.below(2)].into(),
        contract: ["c@1", "c@1", "", "c@9"][random.below(4)].into(),
        kind: "k".into(),
        retry: (random.below(4) == 0).then(|| retry(random)),
        lease: (random.below(4) == 0).then(|| lease(random)),
        timeout_ms: (random.below(4) == 0).then(|| number(random)),
        weight: (random.below(20) == 0).then(|| small(random)),
        max_running: (random.below(20) == 0).then(|| small(random)),
        queue_timeout_ms: (random.below(20) == 0).then(|| number(random)),
        fair_weights: (0..random.below(12) / 10).map(|_| ("ada".into(), small(random))).collect(),
    }
}

fn submit(random: &mut Random) -> v1::SubmitRequest {
    let known = r#"{"contract":"c","version":1,"schema":true,"identity":[{"field":"k"}],"limits":{"max_bytes":65536,"max_depth":64}}"#;
    v1::SubmitRequest {
        contracts_json: match random.below(4) {
            0 => Vec::new(),
            1 => vec![String::from_utf8(contract(random)).unwrap_or_default()],
            _ => vec![known.into()],
        },
        queues: if random.below(4) == 0 { Vec::new() } else { vec![queue(random)] },
        jobs: (0..random.below(4)).map(|_| job(random)).collect(),
        limits: (0..random.below(12) / 11).map(|_| limit(random)).collect(),
        ..v1::SubmitRequest::default()
    }
}

/// A submission that is accepted: work for the messages that follow.
fn work(random: &mut Random) -> v1::SubmitRequest {
    let contract = r#"{"contract":"c","version":1,"schema":true,"identity":[{"field":"k"}]}"#;
    let queue = v1::QueueSpec {
        queue: "q".into(),
        contract: "c@1".into(),
        kind: "k".into(),
        retry: random.flip().then(|| v1::RetryPatch { max_attempts: Some(1), ..v1::RetryPatch::default() }),
        ..v1::QueueSpec::default()
    };
    let job = |random: &mut Random| v1::JobSpec {
        queue: "q".into(),
        payload_json: "{\"eps\":0.5}".into(),
        delay_ms: (random.below(5) == 0).then_some(1000),
        ..v1::JobSpec::default()
    };
    let jobs = (0..1 + random.below(4)).map(|_| job(random)).collect();
    v1::SubmitRequest {
        contracts_json: vec![contract.into()],
        queues: vec![queue],
        jobs,
        ..v1::SubmitRequest::default()
    }
}

fn results(random: &mut Random) -> v1::SubmitResultsRequest {
    let classes = [v1::FailureClass::Error, v1::FailureClass::Timeout, v1::FailureClass::Incomplete];
    let action = match random.below(6) {
        0 => Action::Complete(v1::Complete { batches: random.below(3) as u64 }),
        1 => Action::Fail(v1::Fail {
            class: classes[random.below(3)].into(),
            message: text(random),
            exit_code: random.flip().then(|| i32::from_ne_bytes(small(random).to_ne_bytes())),
        }),
        _ => Action::Batch(v1::Batch {
            number: if random.below(5) == 0 { number(random) } else { ANY },
            candidates: (0..random.below(6)).map(|_| json_candidate(random).into()).collect(),
        }),
    };
    let lease = if random.below(6) == 0 { number(random) } else { ANY + random.below(4) as u64 };
    v1::SubmitResultsRequest { worker: ["", "w"][random.below(2)].into(), lease, action: Some(action) }
}

fn filter(random: &mut Random) -> v1::JobFilter {
    v1::JobFilter {
        queue: text(random),
        jobs: (0..1 + random.below(3))
            .map(|_| if random.flip() { ANY + random.below(9) as u64 } else { number(random) })
            .collect(),
        since_unix_ms: random.flip().then(|| time(random)),
        ..v1::JobFilter::default()
    }
}

fn legacy(random: &mut Random) -> v1::ImportLegacyRequest {
    use v1::import_legacy_request::Part;
    let part = match random.below(4) {
        0 => Part::Start(v1::LegacyStart {
            file_sha256: random.bytes(32).into(),
            name: text(random),
            contract: "c@1".into(),
            payload_json: json(random),
        }),
        1 => Part::Finish(v1::LegacyFinish { batches: random.below(3) as u64 }),
        _ => Part::Batch(v1::Batch {
            number: 1 + random.below(2) as u64,
            candidates: (0..random.below(4)).map(|_| json_candidate(random).into()).collect(),
        }),
    };
    v1::ImportLegacyRequest { part: Some(part) }
}

/// A token, of few names, so that some are taken.
fn token(random: &mut Random) -> v1::CreateTokenRequest {
    let role = i32::try_from(random.below(7)).unwrap_or(0);
    let queues = if random.flip() { vec![text(random)] } else { Vec::new() };
    let expires_in_ms = if random.flip() { number(random) } else { 0 };
    v1::CreateTokenRequest { name: format!("t{}", random.below(3)), role, queues, expires_in_ms }
}

/// A message of one kind, as [`crate::commands()`] numbers them.
fn message(kind: u8, random: &mut Random) -> Vec<u8> {
    let worker = || "w".to_owned();
    match kind {
        0 if random.flip() => work(random).encode_to_vec(),
        0 => submit(random).encode_to_vec(),
        1 => v1::ImportJobsRequest { chunk: 1, jobs: (0..random.below(4)).map(|_| job(random)).collect() }
            .encode_to_vec(),
        2 => v1::RegisterWorkerRequest {
            worker: worker(),
            kinds: vec!["k".into(), "zeta".into()],
            slots: small(random),
            version: text(random),
            uptime_ms: number(random),
            labels: [("zone".to_owned(), "a".to_owned())].into(),
            resources: pools(random),
            time_limit_ms: random.flip().then(|| number(random)),
            ..v1::RegisterWorkerRequest::default()
        }
        .encode_to_vec(),
        3 => v1::LeaseJobRequest {
            worker: worker(),
            max: 1 + small(random) % 9,
            resources: pools(random),
            remaining_ms: random.flip().then(|| number(random)),
            ..v1::LeaseJobRequest::default()
        }
        .encode_to_vec(),
        4 => {
            let lease = v1::LeaseProgress {
                lease: ANY + random.below(3) as u64,
                fraction: f64::NAN,
                note: text(random),
                step: random.below(4) as i32,
            };
            v1::HeartbeatRequest { worker: worker(), leases: vec![lease], last_receipt: None }.encode_to_vec()
        }
        5 => results(random).encode_to_vec(),
        6 => v1::ReleaseLeasesRequest { worker: worker(), leases: vec![ANY, number(random)] }.encode_to_vec(),
        7 => v1::DeregisterWorkerRequest { worker: worker() }.encode_to_vec(),
        8 => {
            v1::CancelJobsRequest { filter: Some(filter(random)), reason: text(random), dry_run: false }.encode_to_vec()
        }
        9 => v1::RetryFailedRequest { limit: number(random), ..v1::RetryFailedRequest::default() }.encode_to_vec(),
        10 => v1::PauseQueueRequest { queue: "q".into(), reason: text(random) }.encode_to_vec(),
        11 => v1::ResumeQueueRequest { queue: "q".into() }.encode_to_vec(),
        12 => legacy(random).encode_to_vec(),
        15 => number(random).to_le_bytes().to_vec(),
        17 => token(random).encode_to_vec(),
        18 => v1::RevokeTokenRequest { name: token(random).name }.encode_to_vec(),
        19 => v1::AuditEntry {
            actor: text(random),
            target: text(random),
            count: number(random),
            ..v1::AuditEntry::default()
        }
        .encode_to_vec(),
        _ => Vec::new(),
    }
}

/// A sequence of messages: something to work on, then anything.
pub(crate) fn commands(random: &mut Random) -> Vec<u8> {
    let mut input = Vec::new();
    put(&mut input, 0, &work(random).encode_to_vec());
    let mut kinds = vec![2, 0, 3, 5];
    let often = [0, 1, 2, 2, 3, 3, 3, 5, 5, 5, 5, 5, 5, 8, 9, 10, 11, 12, 12, 15, 16, 17, 17, 18];
    for _ in 0..random.below(30) {
        kinds.push(if random.below(5) > 0 {
            often[random.below(often.len())]
        } else {
            u8::try_from(random.below(KINDS.into())).unwrap_or(0)
        });
    }
    for kind in kinds {
        let message = message(kind, random);
        put(&mut input, kind, &message);
    }
    input
}

/// A sequence of messages for the calls of an orchestrator.
pub(crate) fn edge(random: &mut Random) -> Vec<u8> {
    let mut input = Vec::new();
    if random.flip() {
        put(&mut input, 0, &work(random).encode_to_vec());
    }
    for _ in 0..1 + random.below(8) {
        let calls = if random.below(3) > 0 { 13 } else { CALL_COUNT };
        let call = u8::try_from(random.below(calls)).unwrap_or(0);
        for _ in 0..1 + random.below(2) {
            let message = match call {
                // The first have the numbers of messages; the others have few fields, which chance finds.
                0..=12 => message(call, random),
                _ => {
                    let len = random.below(12);
                    random.bytes(len)
                }
            };
            put(&mut input, call, &message);
        }
    }
    input
}

fn put(input: &mut Vec<u8>, kind: u8, message: &[u8]) {
    input.push(kind);
    // A vector has room for every length.
    let _ = prost::encode_length_delimiter(message.len(), input);
    input.extend_from_slice(message);
}

/// A message's number and its bytes, as [`crate::wire()`] numbers them.
pub(crate) fn wire(random: &mut Random) -> Vec<u8> {
    let which = u8::try_from(random.below(MESSAGES.into())).unwrap_or(0);
    let bytes = match which {
        0 => submit(random).encode_to_vec(),
        1 => job(random).encode_to_vec(),
        2 => queue(random).encode_to_vec(),
        3 => message(2, random),
        4 => message(3, random),
        5 => message(4, random),
        6 => results(random).encode_to_vec(),
        7 => message(6, random),
        8 => v1::PushLogsRequest { worker: text(random), lease: number(random), text: text(random).into() }
            .encode_to_vec(),
        9 => filter(random).encode_to_vec(),
        10 => legacy(random).encode_to_vec(),
        11 => message(1, random),
        13 => v1::ListJobsRequest { filter: Some(filter(random)), limit: small(random), after_job: number(random) }
            .encode_to_vec(),
        15 => message(8, random),
        32 => token(random).encode_to_vec(),
        33 => v1::ListAuditRequest { actor: text(random), verdict: text(random), ..v1::ListAuditRequest::default() }
            .encode_to_vec(),
        30 => {
            let len = random.below(40);
            v1::Receipt { seq: number(random), chain: random.bytes(len).into(), mac: random.bytes(16).into() }
                .encode_to_vec()
        }
        _ => {
            let len = random.below(60);
            random.bytes(len)
        }
    };
    let mut input = vec![which];
    input.extend(bytes);
    input
}

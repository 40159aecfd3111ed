//! Results arrive once, in order, whatever happens to the stream.

use orch_proto::v1;

use crate::server::{Ended, Server, lease};
use crate::support::{Running, config, sh};

/// A runner that writes the numbers up to the payload.
const COUNT: &str = "read n; i=1; while [ $i -le $n ]; do echo \"{\\\"i\\\":$i}\"; i=$((i+1)); done";

fn numbers(n: u32) -> Vec<String> {
    (1..=n).map(|i| format!("{{\"i\":{i}}}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn built_in_zeros_are_delivered() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[]));
    server.offer(lease(1, "zeta-zeros", r#"{"a":-1,"b":599,"eps_root":1e-8}"#));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    let candidates = server.candidates(1);
    assert_eq!(candidates.len(), 600);
    let first: serde_json::Value = serde_json::from_str(&candidates[0]).unwrap();
    assert_eq!(first["n"], 1);
    assert!((first["t"].as_f64().unwrap() - 14.134_725_141_734_69).abs() < 1e-9);
    assert!(first["root_val"].as_f64().unwrap().abs() < 1e-8 && first["meta"]["iters"].is_u64());
    let report = worker.drained().await;
    assert_eq!((report.leased, report.done, report.accepted), (1, 1, 600));
    assert!(server.with(|state| state.deregistered));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_payload_fails_for_good_with_a_clear_text() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[]));
    server.offer(lease(1, "zeta-zeros", r#"{"a":5}"#));
    let Ended::Fail { class, message, exit_code: None } = server.end_of(1).await else { panic!("it must fail") };
    assert_eq!(class, v1::FailureClass::Permanent);
    assert!(message.starts_with("the payload is no range of Gram indices: missing field `b`"), "{message}");
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kind_that_is_not_listed_is_never_run() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("count", sh(COUNT))]));
    server.offer(lease(1, "sh", "1"));
    server.offer(lease(2, "no name", "1"));
    let message = |kind: &str| format!("this worker does not run jobs of kind {kind:?}, only: count, zeta-zeros");
    for (lease, kind) in [(1, "sh"), (2, "no name")] {
        let expected = Ended::Fail { class: v1::FailureClass::Permanent, message: message(kind), exit_code: None };
        assert_eq!(server.end_of(lease).await, expected);
    }
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn after_every_break_the_unanswered_batches_come_again() {
    let server = Server::new();
    server.with(|state| {
        state.settings.batch_candidates = 10;
        state.break_after = Some(3);
        state.hold_answers = true;
    });
    let worker = Running::start(config(&server, 1, &[("count", sh(COUNT))]));
    server.offer(lease(1, "count", "95"));
    // Three batches were taken and no answer came: the stream breaks, and the same three come again.
    server
        .until("a resend", |state| (state.arrived.iter().filter(|(_, what)| what == "#1").count() > 1).then_some(()))
        .await;
    server.with(|state| state.break_after = Some(7));
    server.until("the second break", |state| state.break_after.is_none().then_some(())).await;
    server.with(|state| state.hold_answers = false);
    let Ended::Complete { batches } = server.end_of(1).await else { panic!("it must complete") };
    assert_eq!(server.with(|state| state.batches[&1].len() as u64), batches);
    assert_eq!(server.candidates(1), numbers(95));
    let report = worker.drained().await;
    assert_eq!((report.done, report.lost, report.failed), (1, 0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn finished_work_survives_a_restart_of_the_orchestrator() {
    let mut server = Server::new();
    server.with(|state| state.read_only = usize::MAX);
    let worker = Running::start(config(&server, 2, &[("count", sh(COUNT))]));
    server.offer(lease(1, "count", "20"));
    server.offer(lease(2, "count", "30"));
    server
        .until("refused ends", |state| {
            let ends = |lease| state.arrived.iter().any(|(of, what)| *of == lease && what == "complete");
            (ends(1) && ends(2)).then_some(())
        })
        .await;
    server.stop();
    server.with(|state| {
        state.read_only = 0;
        state.registrations.clear();
    });
    server.start();
    for (lease, count) in [(1, 20), (2, 30)] {
        assert!(matches!(server.end_of(lease).await, Ended::Complete { .. }));
        assert_eq!(server.candidates(lease), numbers(count));
    }
    let presented = server.with(|state| state.registrations[0].leases.clone());
    assert_eq!(presented, [1, 2], "the worker presents the leases that it still holds");
    assert_eq!(worker.drained().await.done, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_orchestrator_gets_the_results_when_it_has_room() {
    let server = Server::new();
    server.with(|state| {
        state.read_only = 5;
        state.settings.batch_candidates = 7;
    });
    let worker = Running::start(config(&server, 1, &[("count", sh(COUNT))]));
    server.offer(lease(1, "count", "40"));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    assert_eq!(server.candidates(1), numbers(40));
    assert_eq!(worker.drained().await.failed, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_bytes_stay_within_the_window_and_hold_the_runner_back() {
    let server = Server::new();
    let window = 4_000;
    server.with(|state| {
        state.settings.batch_bytes = 1_000;
        state.settings.unacked_bytes = window;
        state.hold_answers = true;
    });
    let mut settings = config(&server, 1, &[("count", sh(COUNT))]);
    settings.keep_bytes = 10_000;
    let worker = Running::start(settings);
    server.offer(lease(1, "count", "20000"));
    server.until("a filled window", |state| (state.held_bytes > window as usize / 2).then_some(())).await;
    // Some heartbeats later the runner, which could have written everything long ago, is still held back.
    let beats = server.with(|state| state.heartbeats);
    server.until("heartbeats", |state| (state.heartbeats > beats + 10).then_some(())).await;
    server.with(|state| assert!(!state.ended.contains_key(&1)));
    server.with(|state| state.hold_answers = false);
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    assert_eq!(server.candidates(1), numbers(20_000));
    assert!(server.with(|state| state.held_bytes) <= window as usize);
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_server_of_the_list_is_tried() {
    let mut away = Server::new();
    let server = Server::new();
    let mut settings = config(&away, 1, &[("count", sh(COUNT))]);
    settings.servers.push(server.url().parse().unwrap());
    away.stop();
    let worker = Running::start(settings);
    server.offer(lease(1, "count", "3"));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn leases_of_one_ledger_are_not_shown_to_another() {
    let mut server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sleep", sh("exec sleep 1000"))]));
    server.offer(lease(1, "sleep", "null"));
    server.until("a heartbeat of it", |state| state.progress.contains_key(&1).then_some(())).await;
    server.stop();
    server.with(|state| {
        state.ledger = "another".into();
        state.registrations.clear();
        state.granted.clear();
    });
    server.start();
    server.until("a second registration", |state| (state.registrations.len() >= 2).then_some(())).await;
    // The first one finds out, the second is the one that counts.
    assert!(server.with(|state| state.registrations.pop().unwrap().leases).is_empty());
    let report = worker.drained().await;
    assert_eq!(report.lost, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_small_jobs_share_the_slots() {
    let server = Server::new();
    let worker = Running::start(config(&server, 4, &[("count", sh(COUNT))]));
    for number in 1..=60 {
        server.offer(lease(number, "count", "2"));
    }
    server.until("all ends", |state| (state.ended.len() == 60).then_some(())).await;
    assert!(server.with(|state| state.ended.values().all(|end| matches!(end, Ended::Complete { .. }))));
    assert_eq!(worker.drained().await.accepted, 120);
}

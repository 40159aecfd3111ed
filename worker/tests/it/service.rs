//! The named properties of the service that this one succeeds (S2-40), as far as they are a worker's: defaults and own
//! settings, start and stop of its parts, leasing, heartbeats, back-pressure. Those of limits and statistics are the
//! orchestrator's.

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Duration;

use orch_core::id::{Kind, WorkerId};
use orch_worker::WorkerConfig;
use orch_worker::config::file;
use orch_worker::config::merge::{Settings, merge};

use crate::server::{Ended, Server, lease};
use crate::support::{Running, config, sh};

#[test]
fn config_defaults() {
    let server = "127.0.0.1:50051".parse().unwrap();
    let config = WorkerConfig::new(vec![server], WorkerId::new("w").unwrap(), NonZeroUsize::MIN);
    assert_eq!(config.grace, Duration::from_secs(30));
    assert_eq!(config.keep_bytes, 64 << 20);
    assert_eq!(config.give_up_after, None);
    assert_eq!(config.kinds.keys().map(Kind::as_str).collect::<Vec<_>>(), ["zeta-zeros"]);
}

#[test]
fn config_custom() {
    let text = "{server: 'a:1', slots: 3, grace: 5s, keep_bytes: 1MiB, kinds: {x: {runner: command, argv: [x]}}}";
    let file = file::parse(Path::new("w.yaml"), text).unwrap();
    let worker = merge(Settings::default(), file, None).unwrap().worker;
    assert_eq!((worker.slots.get(), worker.grace, worker.keep_bytes), (3, Duration::from_secs(5), 1 << 20));
    assert_eq!(worker.kinds.keys().map(Kind::as_str).collect::<Vec<_>>(), ["x"], "what is listed, and nothing else");
}

#[tokio::test(flavor = "multi_thread")]
async fn initialization() {
    let server = Server::new();
    let worker = Running::start(config(&server, 2, &[]));
    server.until("a registration", |state| (state.registrations.len() == 1).then_some(())).await;
    assert_eq!(worker.drained().await, orch_worker::WorkerReport::default());
}

#[tokio::test(flavor = "multi_thread")]
async fn start_threads() {
    // All three loops run: leasing grants, the heartbeat beats, the delivery delivers.
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("say", sh("echo 1"))]));
    server.offer(lease(1, "say", "null"));
    assert!(matches!(server.end_of(1).await, Ended::Complete { .. }));
    server.until("a heartbeat", |state| (state.heartbeats > 0).then_some(())).await;
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn graceful_shutdown() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("say", sh("echo 1; sleep 0.2; echo 2"))]));
    server.offer(lease(1, "say", "null"));
    server.until("a grant", |state| state.granted.contains_key(&1).then_some(())).await;
    server.until("its heartbeat", |state| state.progress.contains_key(&1).then_some(())).await;
    assert_eq!(worker.drained().await.done, 1);
    assert_eq!(server.candidates(1), ["1", "2"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn dispatcher_leases_jobs() {
    let server = Server::new();
    for number in 1..=5 {
        server.offer(lease(number, "sleep", "null"));
    }
    let worker = Running::start(config(&server, 3, &[("sleep", sh("exec sleep 1000"))]));
    server.until("three grants", |state| (state.granted.len() == 3).then_some(())).await;
    let beats = server.with(|state| state.heartbeats);
    server.until("heartbeats", |state| (state.heartbeats > beats + 3).then_some(())).await;
    server
        .with(|state| assert_eq!((state.granted.len(), state.queue.len()), (3, 2), "never more than there are slots"));
    worker.kill.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn heartbeat_extends_leases() {
    let server = Server::new();
    let worker = Running::start(config(&server, 2, &[("sleep", sh("exec sleep 1000"))]));
    server.offer(lease(1, "sleep", "null"));
    server.offer(lease(2, "sleep", "null"));
    for lease in [1, 2] {
        server.until("a heartbeat of it", |state| state.progress.contains_key(&lease).then_some(())).await;
    }
    worker.kill.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn queue_backpressure() {
    // The slot of a job is free once its runner ended, but not for ever more jobs whose ends nobody acknowledges.
    let server = Server::new();
    server.with(|state| state.hold_answers = true);
    let worker = Running::start(config(&server, 2, &[("say", sh("echo 1"))]));
    for number in 1..=10 {
        server.offer(lease(number, "say", "null"));
    }
    // Two that run, two that were leased ahead since the jobs are short, two whose ends wait for their answers.
    let most = 6;
    server.until("ends", |state| (state.ended.len() >= 4).then_some(())).await;
    let beats = server.with(|state| state.heartbeats);
    server.until("heartbeats", |state| (state.heartbeats > beats + 5).then_some(())).await;
    server.with(|state| assert!(state.ended.len() <= most && state.queue.len() >= 10 - most, "{state:#?}"));
    server.with(|state| state.hold_answers = false);
    server.until("all ends", |state| (state.ended.len() == 10).then_some(())).await;
    assert_eq!(worker.drained().await.done, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn config_passed_to_workers() {
    // The orchestrator's settings rule: batches of at most three candidates, a heartbeat every 20 ms.
    let server = Server::new();
    server.with(|state| state.settings.batch_candidates = 3);
    let worker = Running::start(config(&server, 1, &[("say", sh("seq 10"))]));
    server.offer(lease(1, "say", "null"));
    server.end_of(1).await;
    let sizes: Vec<usize> = server.with(|state| state.batches[&1].iter().map(Vec::len).collect());
    assert!(sizes.iter().all(|&size| size <= 3) && sizes.iter().sum::<usize>() == 10, "{sizes:?}");
    worker.drained().await;
}

//! Stopping: lost and cancelled leases, drain, orders, and the second signal.

use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_worker::WorkerError;
use orch_worker::config::RunnerConfig;

use crate::server::{Ended, Server, lease};
use crate::support::{Fifo, Running, config, sh};

/// A job with a child and a grandchild that never end and hold the pipe.
const FAMILY: &str = "exec 9>$FIFO; sh -c 'sleep 1000 & sleep 1000' & echo here >&9; sleep 1000";

/// Waits until a heartbeat told of the lease, so that the job runs for sure.
async fn heard_of(server: &Server, lease: u64) {
    server.until("a heartbeat of the lease", |state| state.progress.contains_key(&lease).then_some(())).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_lease_stops_the_job_with_all_its_processes() {
    let server = Server::new();
    let fifo = Fifo::new();
    // Deaf to SIGTERM: it takes so long to stop that several heartbeats say that the lease is lost.
    let mut family = fifo.sh(&format!("trap '' TERM; {FAMILY}"));
    family.stop_grace = Duration::from_millis(300);
    let family = RunnerConfig::Command(family);
    let worker = Running::start(config(&server, 1, &[("family", family), ("say", sh("echo 1"))]));
    let mut processes = fifo.processes();
    server.offer(lease(1, "family", "null"));
    processes.up().await;
    server.with(|state| state.granted.remove(&1));
    assert_eq!(processes.gone().await, "here\n");
    // The slot is free again, and nothing was sent for the lost lease.
    server.offer(lease(2, "say", "null"));
    server.end_of(2).await;
    server.with(|state| assert!(state.arrived.iter().all(|(lease, _)| *lease == 2), "{:?}", state.arrived));
    assert_eq!(worker.drained().await.lost, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_job_is_stopped_and_given_back() {
    let server = Server::new();
    let fifo = Fifo::new();
    let worker = Running::start(config(&server, 1, &[("family", RunnerConfig::Command(fifo.sh(FAMILY)))]));
    let mut processes = fifo.processes();
    server.offer(lease(1, "family", "null"));
    processes.up().await;
    server.with(|state| state.lease_orders.insert(1, v1::LeaseOrder::Cancel));
    assert_eq!(server.end_of(1).await, Ended::Released);
    processes.gone().await;
    assert_eq!(worker.drained().await.released, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_built_in_job_stops_too() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[]));
    server.offer(lease(1, "zeta-zeros", r#"{"a":10000000,"b":20000000}"#));
    heard_of(&server, 1).await;
    server.with(|state| state.lease_orders.insert(1, v1::LeaseOrder::Cancel));
    assert_eq!(server.end_of(1).await, Ended::Released);
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn draining_finishes_what_runs_and_leases_nothing_more() {
    let server = Server::new();
    let fifo = Fifo::new();
    // The job ends when the test has read the pipe, which it does after the drain began.
    let worker =
        Running::start(config(&server, 1, &[("wait", RunnerConfig::Command(fifo.sh("echo 1; echo x >$FIFO")))]));
    server.offer(lease(1, "wait", "null"));
    heard_of(&server, 1).await;
    worker.drain.cancel();
    server.offer(lease(2, "wait", "null"));
    fifo.processes().up().await;
    let report = worker.ended().await.unwrap();
    assert_eq!((report.leased, report.done, report.released), (1, 1, 0));
    server.with(|state| {
        assert!(state.deregistered);
        assert_eq!(state.queue.len(), 1);
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_with_nothing_to_do_leaves_and_one_that_works_does_not() {
    let server = Server::new();
    let fifo = Fifo::new();
    let mut settings = config(&server, 1, &[("wait", RunnerConfig::Command(fifo.sh("echo 1; echo x >$FIFO")))]);
    settings.idle_timeout = Some(Duration::from_secs(2));
    server.offer(lease(1, "wait", "null"));
    let worker = Running::start(settings);
    heard_of(&server, 1).await;
    // The job runs for longer than the worker may be idle, and is not given back.
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    fifo.processes().up().await;
    let report = worker.ended().await.unwrap();
    assert_eq!((report.leased, report.done, report.released), (1, 1, 0));
    assert!(server.with(|state| state.deregistered));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_finish_within_the_grace_time_is_given_back() {
    let server = Server::new();
    let fifo = Fifo::new();
    let mut settings = config(&server, 1, &[("family", RunnerConfig::Command(fifo.sh(FAMILY)))]);
    settings.grace = Duration::from_millis(50);
    let worker = Running::start(settings);
    let mut processes = fifo.processes();
    server.offer(lease(1, "family", "null"));
    processes.up().await;
    let report = worker.drained().await;
    assert_eq!((report.released, report.failed, report.done), (1, 0, 0));
    assert_eq!(server.end_of(1).await, Ended::Released);
    processes.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_second_signal_does_not_wait_for_stubborn_processes() {
    let server = Server::new();
    let fifo = Fifo::new();
    // Deaf to SIGTERM, with a patience that the test would not survive.
    let mut deaf = fifo.sh("trap '' TERM; exec 9>$FIFO; echo here >&9; while :; do sleep 1000; done");
    deaf.stop_grace = Duration::from_secs(1000);
    let worker = Running::start(config(&server, 1, &[("deaf", RunnerConfig::Command(deaf))]));
    let mut processes = fifo.processes();
    server.offer(lease(1, "deaf", "null"));
    processes.up().await;
    worker.drain.cancel();
    worker.kill.cancel();
    worker.ended().await.unwrap();
    processes.gone().await;
    assert!(server.with(|state| state.deregistered), "so that the lease need not expire");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_dropped_takes_its_processes_along() {
    let server = Server::new();
    let fifo = Fifo::new();
    let settings = config(&server, 1, &[("family", RunnerConfig::Command(fifo.sh(FAMILY)))]);
    let tokens = (Default::default(), Default::default());
    let worker = tokio::spawn(orch_worker::run(settings, tokens.0, tokens.1));
    let mut processes = fifo.processes();
    server.offer(lease(1, "family", "null"));
    processes.up().await;
    worker.abort();
    processes.gone().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_orchestrator_may_order_to_drain_or_to_end() {
    for (order, done, released) in [(v1::WorkerOrder::Drain, 1, 0), (v1::WorkerOrder::Terminate, 0, 1)] {
        let server = Server::new();
        let fifo = Fifo::new();
        let script = "echo 1; echo x >$FIFO";
        let worker = Running::start(config(&server, 1, &[("wait", RunnerConfig::Command(fifo.sh(script)))]));
        server.offer(lease(1, "wait", "null"));
        heard_of(&server, 1).await;
        server.with(|state| state.order = order);
        if order == v1::WorkerOrder::Drain {
            let beats = server.with(|state| state.heartbeats);
            server.until("the order heard", |state| (state.heartbeats > beats + 1).then_some(())).await;
            fifo.processes().up().await;
        }
        let report = worker.ended().await.unwrap();
        assert_eq!((report.done, report.released), (done, released), "{order:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orchestrator_that_forgot_the_worker_is_told_again() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("sleep", sh("exec sleep 1000"))]));
    server.offer(lease(1, "sleep", "null"));
    heard_of(&server, 1).await;
    server.with(|state| {
        state.registrations.clear();
        state.order = v1::WorkerOrder::Register;
    });
    let again = server.until("another registration", |state| state.registrations.pop()).await;
    assert_eq!((again.worker.as_str(), again.leases), ("tester", vec![1]));
    // A heartbeat of a worker that is not known at all is refused, which means the same.
    let again = server.until("a third registration", |state| state.registrations.pop()).await;
    assert_eq!(again.leases, [1]);
    worker.kill.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn registrations_and_calls_for_jobs_are_numbered_as_they_come() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("say", sh("echo 1"))]));
    server.offer(lease(1, "say", "null"));
    server.end_of(1).await;
    server.with(|state| {
        state.registrations.clear();
        state.order = v1::WorkerOrder::Register;
    });
    server.until("another registration", |state| state.registrations.pop()).await;
    server.offer(lease(2, "say", "null"));
    server.end_of(2).await;
    let calls = server.with(|state| state.calls.clone());
    // Two registrations and a call for each job at least.
    assert!(calls.len() >= 4, "{calls:?}");
    assert!(calls.is_sorted_by(|a, b| a.process == b.process && a.number < b.number), "{calls:?}");
    let other = Running::start(config(&server, 1, &[("say", sh("echo 1"))]));
    // Its name is the same, and it begins anew.
    let process = calls[0].process;
    let first = server.until("it", |state| state.calls.iter().find(|call| call.process != process).copied()).await;
    assert_eq!(first.number, 1);
    other.drained().await;
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_to_register_again_and_again_takes_its_time() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("say", sh("echo 1"))]));
    server.until("a registration", |state| state.registrations.pop()).await;
    let since = Instant::now();
    for _ in 0..3 {
        server.with(|state| state.order = v1::WorkerOrder::Register);
        server.until("another registration", |state| state.registrations.pop()).await;
    }
    // Each wait is at least twice the one before: 100 ms, 200 ms, 400 ms.
    assert!(since.elapsed() >= Duration::from_millis(700), "{:?}", since.elapsed());
    worker.kill.cancel();
    worker.ended().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn registration_tells_what_the_worker_is() {
    let server = Server::new();
    let mut settings = config(&server, 3, &[("say", sh("echo 1"))]);
    settings.labels.insert("zone".into(), "eu".into());
    let worker = Running::start(settings);
    let told = server.until("a registration", |state| state.registrations.first().cloned()).await;
    assert_eq!((told.slots, told.kinds), (3, vec!["say".to_owned(), "zeta-zeros".to_owned()]));
    assert_eq!(told.labels["zone"], "eu");
    assert!(told.hardware.unwrap().cpus > 0);
    // The newest receipt comes along with later calls.
    server.offer(lease(1, "say", "null"));
    server.end_of(1).await;
    server.with(|state| {
        state.registrations.clear();
        state.order = v1::WorkerOrder::Register;
    });
    let again = server.until("another registration", |state| state.registrations.pop()).await;
    assert_eq!(again.last_receipt.unwrap().chain.len(), 32);
    worker.drained().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unwanted_worker_and_a_lost_one_end_with_a_reason() {
    let mut server = Server::new();
    let mut settings = config(&server, 1, &[]);
    settings.name = orch_core::id::WorkerId::new("unwanted").unwrap();
    let error = Running::start(settings).ended().await.unwrap_err();
    assert!(error.to_string().ends_with("refuses this worker: the name is not wanted here"), "{error}");
    let mut settings = config(&server, 1, &[]);
    settings.give_up_after = Some(Duration::ZERO);
    server.stop();
    let error = Running::start(settings).ended().await.unwrap_err();
    assert!(matches!(error, WorkerError::Unreachable { .. }), "{error}");
    assert!(error.to_string().starts_with("no orchestrator answered for 0s (http://127.0.0.1:"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_that_was_leased_ahead_does_not_wait_behind_a_long_one() {
    let server = Server::new();
    let worker = Running::start(config(&server, 1, &[("say", sh("echo 1")), ("sleep", sh("exec sleep 1000"))]));
    // Short jobs make the worker lease ahead; then a long one comes, with another behind it.
    for number in 1..=4 {
        server.offer(lease(number, "say", "null"));
    }
    server.until("short jobs", |state| (state.ended.len() == 4).then_some(())).await;
    server.offer(lease(5, "sleep", "null"));
    server.until("the long job", |state| state.granted.contains_key(&5).then_some(())).await;
    server.offer(lease(6, "say", "null"));
    assert_eq!(server.end_of(6).await, Ended::Released, "given back, for another worker");
    // From now on nothing is leased ahead.
    server.offer(lease(7, "say", "null"));
    let beats = server.with(|state| state.heartbeats);
    server.until("heartbeats", |state| (state.heartbeats > beats + 5).then_some(())).await;
    server.with(|state| assert_eq!(state.queue.len(), 1));
    worker.kill.cancel();
    worker.ended().await.unwrap();
}

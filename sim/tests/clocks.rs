//! The wall clock jumps: no lease ends for it.

use std::sync::Arc;

use orch_core::id::{LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::state::{LeaseRequest, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::OpenOptions;
use orch_ledger::disk::memory::MemoryDir;
use orch_orchestrator::engine::commands::admin::Submit;
use orch_orchestrator::engine::commands::worker::{Heartbeat, LeaseAnswer, LeaseJobs, RegisterWorker};
use orch_orchestrator::engine::{Command, Engine, WorkerRegistration, envelope};

const HOUR: i64 = 3_600_000;

fn ask<C: Command>(engine: &mut Engine, now: Now, command: C) -> C::Answer {
    let (pending, mut begun) = envelope(command);
    engine.run_batch(vec![pending], now).unwrap();
    begun.try_answer().unwrap().unwrap().answer
}

fn at(wall: i64, tick: u64) -> Now {
    Now { wall: Timestamp(wall), tick: Tick(tick) }
}

/// An engine with one lease, granted at hour 100 and tick 1000, whose worker has not heard of it yet.
fn granted() -> (Engine, WorkerId, LeaseId) {
    let options = OpenOptions { claim_bytes: 0, ..OpenOptions::new(Timestamp(0), "test", "test", 1) };
    let dir = Arc::new(MemoryDir::new());
    let mut engine = Engine::open_in(dir, options, Span::seconds(120), at(100 * HOUR, 0)).unwrap().engine;
    let worker = WorkerId::new("w").unwrap();
    let mut queue = QueueSpec::new("q".parse().unwrap());
    queue.kind = Some("k".parse().unwrap());
    let jobs = vec![JobSpec::new(queue.name.clone(), Payload::default())];
    let now = at(100 * HOUR, 1_000);
    ask(&mut engine, now, Submit(Submission { queues: vec![queue], jobs, ..Submission::default() })).unwrap();
    let registration = WorkerRegistration { kinds: vec!["k".parse().unwrap()], ..WorkerRegistration::default() };
    let (leases, uptime) = (Vec::new(), Span::seconds(60));
    let command = RegisterWorker { worker: worker.clone(), registration, leases, last_receipt: None, uptime };
    ask(&mut engine, now, command).unwrap();
    let request = LeaseRequest::new(worker.clone(), Vec::new(), 1);
    let answer = ask(&mut engine, now, LeaseJobs::new(request, Span(0)));
    let LeaseAnswer::Granted { leases, .. } = answer else { panic!("the worker is registered") };
    let lease = leases[0].0.lease;
    (engine, worker, lease)
}

fn silent_heartbeat(engine: &mut Engine, worker: &WorkerId, now: Now) {
    ask(engine, now, Heartbeat { worker: worker.clone(), leases: Vec::new(), last_receipt: None }).unwrap();
}

#[test]
fn a_grant_on_its_way_is_not_taken_back_by_a_jump_of_the_wall_clock() {
    for jump in [HOUR, -HOUR, 87_600 * HOUR, -87_600 * HOUR] {
        let (mut engine, worker, lease) = granted();
        // The worker's heartbeat crosses the grant on its way, one second later by every other clock.
        silent_heartbeat(&mut engine, &worker, at(100 * HOUR + jump, 2_000));
        assert!(engine.state().leases().contains_key(&lease), "{jump} ms");
    }
}

#[test]
fn a_grant_that_never_arrived_is_taken_back_whatever_the_wall_clock_says() {
    for jump in [0, HOUR, -HOUR] {
        let (mut engine, worker, lease) = granted();
        silent_heartbeat(&mut engine, &worker, at(100 * HOUR + jump, 25_000));
        assert!(!engine.state().leases().contains_key(&lease), "{jump} ms");
    }
}

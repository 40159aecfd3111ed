//! What time brings in a batch: the end of leases and of waits, and the times of schedules; and what goes before it.

use std::sync::Arc;

use orch_core::cron::Zone;
use orch_core::id::{Kind, LeaseId, QueueName, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::liveness::{Progress, Registration};
use orch_core::policy::LeasePatch;
use orch_core::queue::QueueSpec;
use orch_core::state::{LeaseRequest, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_core::timetable::{Missed, Overlap, ScheduleSpec};
use orch_ledger::OpenOptions;
use orch_ledger::disk::memory::MemoryDir;
use orch_orchestrator::engine::commands::admin::Submit;
use orch_orchestrator::engine::commands::worker::{Heartbeat, LeaseAnswer, LeaseJobs, LeaseStanding, RegisterWorker};
use orch_orchestrator::engine::{Command, Engine, envelope};

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + i64::try_from(ms).unwrap()), tick: Tick(ms) }
}

fn run<C: Command>(engine: &mut Engine, command: C, now: Now) -> C::Answer {
    let (command, answer) = envelope(command);
    engine.run_batch(vec![command], now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(answer.answer()).unwrap().answer
}

fn open(dir: &MemoryDir, now: Now) -> Engine {
    let options = OpenOptions::new(now.wall, "test", "host", 1);
    Engine::open_in(Arc::new(dir.clone()), options, Span::seconds(120), now).unwrap().engine
}

/// An engine with one lease that lives for two seconds.
fn leased() -> (Engine, WorkerId, LeaseId) {
    let mut engine = open(&MemoryDir::new(), at(0));
    let (queue, kind) = (QueueName::new("q").unwrap(), Kind::new("k").unwrap());
    let lease = LeasePatch { ttl: Some(Span(2000)), heartbeat: Some(Span(500)) };
    let spec = QueueSpec { kind: Some(kind.clone()), lease, ..QueueSpec::new(queue.clone()) };
    let jobs = vec![JobSpec::new(queue, Payload::parse(b"null").unwrap())];
    run(&mut engine, Submit(Submission { queues: vec![spec], jobs, ..Submission::default() }), at(1)).unwrap();
    let worker = WorkerId::new("w").unwrap();
    let registration = Registration { kinds: vec![kind], slots: 1, ..Registration::default() };
    let (leases, last_receipt, uptime) = (Vec::new(), None, Span(0));
    let register = RegisterWorker { worker: worker.clone(), registration, leases, last_receipt, uptime };
    run(&mut engine, register, at(2)).unwrap();
    let request = LeaseRequest::new(worker.clone(), Vec::new(), 1);
    let granted = match run(&mut engine, LeaseJobs::new(request, Span(0)), at(3)) {
        LeaseAnswer::Granted { leases, .. } => leases[0].0.lease,
        LeaseAnswer::Unregistered => panic!("the worker is registered"),
    };
    (engine, worker, granted)
}

#[test]
fn a_heartbeat_that_waited_for_a_long_batch_keeps_its_lease() {
    let (mut engine, worker, lease) = leased();
    let beat = Heartbeat { worker: worker.clone(), leases: vec![(lease, Progress::default())], last_receipt: None };
    let (standings, _) = run(&mut engine, beat, at(2500)).unwrap();
    assert_eq!(standings, [(lease, LeaseStanding::Extended)]);
    assert!(engine.state().leases().contains_key(&lease));
    // Without one it ends.
    engine.run_batch(Vec::new(), at(4400)).unwrap();
    assert!(engine.state().leases().contains_key(&lease));
    engine.run_batch(Vec::new(), at(4600)).unwrap();
    assert!(!engine.state().leases().contains_key(&lease));
}

#[test]
fn a_schedule_comes_once_and_what_nobody_takes_is_given_up() {
    let dir = MemoryDir::new();
    let mut engine = open(&dir, at(0));
    let mut job = JobSpec::new(QueueName::new("q").unwrap(), Payload::default());
    (job.kind, job.queue_timeout) = (Some(Kind::new("k").unwrap()), Some(Span(150_000)));
    // The first whole minute is 20 s away.
    let schedule = ScheduleSpec {
        name: "often".parse().unwrap(),
        cron: "* * * * *".parse().unwrap(),
        zone: Zone::default(),
        missed: Missed::Skip,
        overlap: Overlap::Allow,
        job,
    };
    let queues = vec![QueueSpec::new(QueueName::new("q").unwrap())];
    run(&mut engine, Submit(Submission { queues, schedules: vec![schedule], ..Submission::default() }), at(1)).unwrap();
    let counts = |engine: &mut Engine, now: Now| {
        engine.run_batch(Vec::new(), now).unwrap();
        let jobs = engine.state().counts().jobs;
        (jobs.ready, jobs.cancelled)
    };
    assert_eq!(counts(&mut engine, at(19_999)), (0, 0));
    assert!(engine.idle_for(at(19_999)) <= Span(1), "it wakes up for the next one");
    assert_eq!(counts(&mut engine, at(20_000)), (1, 0));
    engine.close().unwrap();
    let mut engine = open(&dir, at(20_001));
    assert_eq!(counts(&mut engine, at(20_002)), (1, 0), "a restart repeats nothing");
    let back = Now { wall: Timestamp(at(0).wall.0 - 3_600_000), tick: at(20_003).tick };
    assert_eq!(counts(&mut engine, back), (1, 0), "nor does a clock that jumps back");
    assert_eq!(counts(&mut engine, at(80_000)), (2, 0));
    assert_eq!(counts(&mut engine, at(140_000)), (3, 0));
    assert_eq!(counts(&mut engine, at(169_999)), (3, 0));
    assert_eq!(counts(&mut engine, at(170_000)), (2, 1), "nobody took the first");
}

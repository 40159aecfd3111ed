//! The engine without its thread: what a batch does with the commands that wait.

use orch_core::id::{Kind, QueueName, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::state::{LeaseRequest, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::OpenOptions;

use super::commands::admin::{ImportJobs, Submit};
use super::commands::worker::{LeaseAnswer, LeaseJobs, RegisterWorker};
use super::{Engine, WorkerRegistration, envelope};

const NOW: Now = Now { wall: Timestamp(1_000_000), tick: Tick(0) };

#[test]
fn a_batch_that_is_committed_half_way_wakes_who_waits() {
    let data = tempfile::tempdir().unwrap();
    let options = OpenOptions { allow_any_filesystem: true, ..OpenOptions::new(NOW.wall, "0", "host", 1) };
    let mut engine = Engine::open(data.path(), options, Span::seconds(120), NOW).unwrap().engine;
    let (queue, kind): (QueueName, Kind) = ("q".parse().unwrap(), "k".parse().unwrap());
    let worker: WorkerId = "w".parse().unwrap();

    let queues = vec![QueueSpec { kind: Some(kind.clone()), ..QueueSpec::new(queue.clone()) }];
    let define = Submit(Submission { queues, ..Submission::default() });
    let registration = WorkerRegistration { kinds: vec![kind.clone()], ..WorkerRegistration::default() };
    let register = RegisterWorker {
        worker: worker.clone(),
        registration,
        leases: Vec::new(),
        last_receipt: None,
        uptime: Span(0),
    };
    let lease = LeaseJobs::new(LeaseRequest::new(worker, vec![kind], 1), Span::seconds(30));
    let (lease, mut leased) = envelope(lease);
    engine.run_batch(vec![envelope(define).0, envelope(register).0, lease], NOW).unwrap();
    assert!(leased.try_answer().is_none(), "there is nothing to lease yet");

    // More than one commit takes: it is made durable before the waiting call is looked at.
    let large = Payload::from_value(&serde_json::Value::String("x".repeat(512 << 10)));
    let jobs = vec![JobSpec::new(queue, large); 40];
    let (import, mut imported) = envelope(ImportJobs(jobs));
    engine.run_batch(vec![import], NOW).unwrap();
    assert!(imported.try_answer().unwrap().unwrap().answer.iter().all(Result::is_ok));
    let LeaseAnswer::Granted { leases, .. } = leased.try_answer().expect("it was woken").unwrap().answer else {
        panic!("the worker is known")
    };
    assert_eq!(leases.len(), 1);
    engine.close().unwrap();
}

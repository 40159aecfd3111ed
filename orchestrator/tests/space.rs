//! Want of space that only a write can tell of: what was reserved is not there.

use std::sync::Arc;

use orch_core::id::{QueueName, WorkerId};
use orch_core::queue::QueueSpec;
use orch_core::state::Submission;
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::OpenOptions;
use orch_ledger::disk::memory::{Call, MemoryDir, Mishap, errno};
use orch_orchestrator::engine::commands::admin::{Submit, WaitJobs};
use orch_orchestrator::engine::commands::worker::Heartbeat;
use orch_orchestrator::engine::{CallError, Engine, envelope};

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + i64::try_from(ms).unwrap()), tick: Tick(ms) }
}

/// Defines a queue; whether that was refused for want of space.
fn is_refused(engine: &mut Engine, queue: &str, now: Now) -> bool {
    let queues = vec![QueueSpec::new(QueueName::new(queue).unwrap())];
    let (command, answer) = envelope(Submit(Submission { queues, ..Submission::default() }));
    engine.run_batch(vec![command], now).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    match runtime.block_on(answer.answer()) {
        Ok(submitted) => {
            submitted.answer.unwrap();
            false
        }
        Err(CallError::ReadOnly(_)) => true,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn a_write_without_space_keeps_the_engine_read_only_until_the_next_try() {
    let disk = MemoryDir::new();
    let options = OpenOptions::new(at(0).wall, "test", "host", 1);
    let opened = Engine::open_in(Arc::new(disk.clone()), options, Span::seconds(120), at(0)).unwrap();
    let mut engine = opened.engine;
    assert!(!is_refused(&mut engine, "before", at(1)));

    disk.set_hook(|call, name| {
        let is_write = matches!(call, Call::Write { .. }) && name.starts_with("ledger/");
        is_write.then_some(Mishap::Error(errno::ENOSPC))
    });
    assert!(is_refused(&mut engine, "during", at(10)));
    // Whoever looks sees it, and looking does not change it.
    for look in [20, 500, 1009] {
        engine.run_batch(Vec::new(), at(look)).unwrap();
        assert!(engine.read_only().is_some_and(|reason| reason.contains("space")), "{look}");
    }
    // The next try fails as well.
    assert!(is_refused(&mut engine, "during", at(1010)));
    assert!(engine.read_only().is_some());

    disk.clear_hook();
    assert!(is_refused(&mut engine, "after", at(2009)));
    assert!(!is_refused(&mut engine, "after", at(2010)));
    assert!(engine.read_only().is_none());
    let queues: Vec<&str> = engine.state().queues().keys().map(QueueName::as_str).collect();
    assert_eq!(queues, ["after", "before"]);
}

#[test]
fn who_only_looks_is_answered_beside_a_write_that_is_refused() {
    let disk = MemoryDir::new();
    let options = OpenOptions::new(at(0).wall, "test", "host", 1);
    let opened = Engine::open_in(Arc::new(disk.clone()), options, Span::seconds(120), at(0)).unwrap();
    let mut engine = opened.engine;
    disk.set_hook(|call, _| matches!(call, Call::Write { .. }).then_some(Mishap::Error(errno::ENOSPC)));

    let queues = vec![QueueSpec::new(QueueName::new("q").unwrap())];
    let (submit, refused) = envelope(Submit(Submission { queues, ..Submission::default() }));
    let (wait, waited) = envelope(WaitJobs { jobs: Vec::new(), queue: None, wait: Span(0), until: None });
    let worker = WorkerId::new("w").unwrap();
    let (heartbeat, beaten) = envelope(Heartbeat { worker, leases: Vec::new(), last_receipt: None });
    engine.run_batch(vec![wait, submit, heartbeat], at(10)).unwrap();

    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        assert!(matches!(refused.answer().await, Err(CallError::ReadOnly(_))));
        assert_eq!(waited.answer().await.unwrap().answer, 0);
        assert_eq!(beaten.answer().await.unwrap().answer, None);
    });
}

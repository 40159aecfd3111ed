//! What an array of a million tasks costs: time, bytes of the ledger and memory, submitted and leased.
//! `cargo run --release -p orch-ledger --example array_rate -- [TASKS] [DIR]`.
//!
//! The engine's way without the wire: decide, stage, apply, and one write and one sync for each batch.

use std::path::{Path, PathBuf};
use std::time::Instant;

use orch_core::array::{ArraySpec, Tasks};
use orch_core::id::WorkerId;
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, LeaseRequest, State, Submission};
use orch_core::time::Timestamp;
use orch_ledger::{Ledger, OpenOptions};

const NOW: Timestamp = Timestamp(1_795_248_000_000);

/// Tasks that one batch leases, and ends.
const BATCH: u64 = 1000;

struct Run {
    state: State,
    ledger: Ledger,
}

impl Run {
    fn open(dir: &Path) -> Self {
        let options =
            OpenOptions { allow_any_filesystem: true, ..OpenOptions::new(NOW, "bench", "bench", std::process::id()) };
        let mut state = State::default();
        let mut apply = |record: &Record, _: &_| state.apply(record).map_err(|error| error.to_string());
        let opened = Ledger::open(dir, options, &mut apply).expect("a ledger");
        Self { state, ledger: opened.ledger }
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let seq = self.ledger.stage(NOW, &event).expect("a good event");
            self.state.apply(&Record { seq, at: NOW, event }).expect("the state applies what it decided");
        }
        decision.answer
    }

    /// Submits, and makes it durable; the bytes that were written.
    fn submit(&mut self, submission: &Submission) -> u64 {
        let decision = self.state.submit(submission, NOW).expect("it is in order");
        self.record(decision);
        self.ledger.commit().expect("space").bytes
    }

    /// Leases so many tasks and completes them; the bytes that were written.
    fn work(&mut self, request: &LeaseRequest, tasks: u64) -> u64 {
        self.ledger.maybe_roll(NOW).expect("space");
        for _ in 0..tasks {
            let ledger = &self.ledger;
            let decision = self.state.lease(request, &mut |job| match ledger.read(job.0) {
                Ok(Record { event: Event::JobSubmitted(submitted), .. }) => submitted.spec.payload,
                Ok(_) | Err(_) => Payload::default(),
            });
            let Some(granted) = self.record(decision) else { break };
            let ended = self.state.complete(&request.worker, granted.lease, 0, NOW).expect("it is current");
            self.record(ended);
        }
        self.ledger.commit().expect("space").bytes
    }
}

fn resident_kib() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4
}

fn main() {
    let tasks: i64 = std::env::args().nth(1).map_or(1_000_000, |n| n.parse().expect("a number of tasks"));
    let dir = std::env::args().nth(2).map_or_else(|| PathBuf::from("target/array_rate"), PathBuf::from);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("an old run removed");
    }
    let mut run = Run::open(&dir);
    let queue = QueueSpec { kind: Some("k".parse().expect("a name")), ..QueueSpec::new("q".parse().expect("a name")) };
    let mut job = JobSpec::new(queue.name.clone(), Payload::parse(b"{\"scene\":7}").expect("JSON"));
    job.array = Some(ArraySpec::new(Tasks::range(1, tasks, 1).expect("tasks")));
    run.submit(&Submission { queues: vec![queue], ..Submission::default() });

    let before = resident_kib();
    let started = Instant::now();
    let bytes = run.submit(&Submission { jobs: vec![job], ..Submission::default() });
    let ready = run.state.counts().jobs.ready;
    println!(
        "submitted {ready} tasks in {:.2} ms, durable: {bytes} bytes of ledger, {} KiB more memory",
        started.elapsed().as_secs_f64() * 1e3,
        resident_kib().saturating_sub(before)
    );

    let worker: WorkerId = "w".parse().expect("a name");
    let request = LeaseRequest::new(worker, vec!["k".parse().expect("a name")], 1);
    let (mut done, mut bytes) = (0, 0);
    let started = Instant::now();
    while run.state.counts().jobs.ready > 0 {
        bytes += run.work(&request, BATCH);
        done = run.state.counts().jobs.done;
    }
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "leased and done: {done} tasks in {seconds:.1} s, {:.0} a second, {} bytes of ledger each, {} KiB more memory",
        done as f64 / seconds,
        bytes / done.max(1),
        resident_kib().saturating_sub(before)
    );
    run.ledger.close().expect("a clean stop");
    let started = Instant::now();
    let run = Run::open(&dir);
    println!("replayed {} records in {:.1} s", run.state.last_seq(), started.elapsed().as_secs_f64());
    drop(run);
    std::fs::remove_dir_all(&dir).expect("the folder removed");
}

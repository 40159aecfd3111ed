//! Who is served how often: queues by weight, fair keys within a queue, priorities.
//! Counts grants of the pure state, so that the figures are the same on every machine.
//! Run with `cargo run --release -p orch-core --example fairness`.

#![allow(clippy::print_stdout, clippy::expect_used)]

use std::collections::BTreeMap;

use orch_core::id::{Kind, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::record::Record;
use orch_core::state::{Decision, LeaseRequest, State, Submission};
use orch_core::time::Timestamp;

const NOW: Timestamp = Timestamp(1_795_250_400_000);

/// A state, the worker that asks it, and whose each job is.
struct Run {
    state: State,
    request: LeaseRequest,
    owners: BTreeMap<u64, String>,
}

impl Run {
    fn new(queues: &[QueueSpec]) -> Self {
        let kind: Kind = "k".parse().expect("a name");
        let worker: WorkerId = "w".parse().expect("a name");
        let request = LeaseRequest::new(worker, vec![kind], 1);
        let mut run = Self { state: State::default(), request, owners: BTreeMap::new() };
        run.submit(Submission { queues: queues.to_vec(), ..Submission::default() });
        run
    }

    fn submit(&mut self, submission: Submission) -> Vec<u64> {
        let decision = self.state.submit(&submission, NOW).expect("it is in order");
        let first = self.state.next_seq().0;
        self.record(decision);
        (first..self.state.next_seq().0).collect()
    }

    fn add(&mut self, owner: &str, jobs: usize, job: &JobSpec) {
        let jobs = vec![job.clone(); jobs];
        for id in self.submit(Submission { jobs, ..Submission::default() }) {
            self.owners.insert(id, owner.to_owned());
        }
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let record = Record { seq: self.state.next_seq(), at: NOW, event };
            self.state.apply(&record).expect("the state applies what it decided");
        }
        decision.answer
    }

    /// Whose job is granted; it is done at once. None: there is no job.
    fn grant(&mut self) -> Option<String> {
        let decision = self.state.lease(&self.request, &mut |_| Payload::default());
        let granted = self.record(decision)?;
        let decision = self.state.complete(&self.request.worker, granted.lease, 0, NOW).expect("it is current");
        self.record(decision);
        self.owners.get(&granted.job.get()).cloned()
    }
}

fn queue(name: &str, weight: u32) -> QueueSpec {
    let kind = "k".parse().ok();
    QueueSpec { kind, weight: Some(weight), ..QueueSpec::new(name.parse().expect("a name")) }
}

fn job(queue: &str) -> JobSpec {
    JobSpec::new(queue.parse().expect("a name"), Payload::default())
}

/// Grants `count` times and prints each owner's share beside what its weight says, and its longest wait in grants of others.
fn shares(run: &mut Run, count: usize, weights: &[(&str, u32)]) {
    let all: u32 = weights.iter().map(|(_, weight)| weight).sum();
    let mut served: BTreeMap<String, (usize, usize, usize)> = BTreeMap::new();
    for turn in 1..=count {
        let Some(owner) = run.grant() else { break };
        let (grants, last, longest) = served.entry(owner).or_default();
        *longest = (*longest).max(turn - *last - 1);
        *grants += 1;
        *last = turn;
    }
    for (name, weight) in weights {
        let (grants, _, longest) = served.get(*name).copied().unwrap_or_default();
        let share = grants as f64 / count as f64;
        let due = f64::from(*weight) / f64::from(all);
        // Of each other one at most v / w + 2 grants come before one's own.
        let others = weights.iter().filter(|(other, _)| other != name);
        let bound: f64 = others.map(|(_, other)| f64::from(*other) / f64::from(*weight) + 2.0).sum();
        println!(
            "  {name:<10} weight {weight:>4}  {grants:>5} grants  share {share:.4}, due {due:.4}  longest wait {longest:>3} grants, bound {bound:.1}"
        );
    }
}

fn main() {
    println!("Three queues with jobs enough, 9,000 grants:");
    let weights = [("nightly", 100), ("team", 300), ("urgent", 500)];
    let mut run = Run::new(&weights.map(|(name, weight)| queue(name, weight)));
    for (name, _) in weights {
        run.add(name, 9000, &job(name));
    }
    shares(&mut run, 9000, &weights);

    println!("A queue that sleeps for 3,000 grants and comes back, the next 1,000 grants:");
    let mut run = Run::new(&[queue("a", 100), queue("b", 100)]);
    run.add("a", 9000, &job("a"));
    (0..3000).for_each(|_| drop(run.grant()));
    run.add("b", 9000, &job("b"));
    shares(&mut run, 1000, &[("a", 100), ("b", 100)]);

    println!("Fair keys in one queue: ada brings 5,000 jobs, then bob and eve 500 each, 1,500 grants:");
    let mut run = Run::new(&[queue("q", 100)]);
    for (name, jobs) in [("ada", 5000), ("bob", 500), ("eve", 500)] {
        run.add(name, jobs, &JobSpec { fair_key: name.parse().ok(), ..job("q") });
    }
    shares(&mut run, 1500, &[("ada", 100), ("bob", 100), ("eve", 100)]);

    println!("Priorities in one queue, the lowest submitted first: who is served, in order of grants:");
    let mut run = Run::new(&[queue("q", 100)]);
    for (name, priority) in [("low", -5), ("normal", 0), ("high", 7)] {
        run.add(name, 100, &JobSpec { priority, ..job("q") });
    }
    let mut served: Vec<(String, usize)> = Vec::new();
    while let Some(owner) = run.grant() {
        match served.last_mut() {
            Some((last, grants)) if *last == owner => *grants += 1,
            Some(_) | None => served.push((owner, 1)),
        }
    }
    let served: Vec<String> = served.iter().map(|(name, grants)| format!("{grants} {name}")).collect();
    println!("  {}", served.join(", then "));
}

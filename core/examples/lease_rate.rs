//! What choosing a job costs, with a few jobs and with very many: grants a second of the pure state, without disk and
//! wire. Run with `cargo run --release -p orch-core --example lease_rate`.

#![allow(clippy::print_stdout, clippy::disallowed_methods, clippy::expect_used)]

use std::time::Instant;

use orch_core::id::{JobId, Kind, LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::limit::LimitSpec;
use orch_core::queue::QueueSpec;
use orch_core::record::Record;
use orch_core::state::{Decision, LeaseRequest, State, Submission};
use orch_core::time::Timestamp;

const NOW: Timestamp = Timestamp(1_795_250_400_000);

/// Leases that are open at a time.
const RUNNING: usize = 500;

struct Run {
    state: State,
    request: LeaseRequest,
    leases: std::collections::VecDeque<(JobId, LeaseId)>,
}

impl Run {
    fn new(jobs: usize, queues: usize, hosts: usize, limits: bool) -> Self {
        let kind: Kind = "k".parse().expect("a name");
        let worker: WorkerId = "w".parse().expect("a name");
        let request = LeaseRequest::new(worker, vec![kind.clone()], 1);
        let mut run = Self { state: State::default(), request, leases: std::collections::VecDeque::new() };
        let queue = |n: usize| format!("q{n}").parse().expect("a name");
        let limit = |text: &str, max| LimitSpec::max(text.parse().expect("a limit"), max);
        let all = [("host=*", 4), ("resolver=r0", 40), ("resolver=r1", 50), ("gpu_slots", 10)];
        let limits = if limits { all.map(|(text, max)| limit(text, max)).to_vec() } else { Vec::new() };
        let queues_of = |n| QueueSpec { kind: Some(kind.clone()), ..QueueSpec::new(queue(n)) };
        run.submit(Submission { queues: (0..queues).map(queues_of).collect(), limits, ..Submission::default() });
        // Some order in which queues and hosts mix; the same in every run.
        let mut random: u64 = 1;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(random >> 33).unwrap_or(0) % below
        };
        let mut left = jobs;
        while left > 0 {
            let some = left.min(1000);
            let job = |_| {
                let mut spec = JobSpec::new(queue(next(queues)), Payload::default());
                if hosts > 0 {
                    let host = format!("h{}", next(hosts));
                    spec.keys.insert("host".parse().expect("a name"), host.parse().expect("a value"));
                    let resolver = format!("r{}", next(4));
                    spec.keys.insert("resolver".parse().expect("a name"), resolver.parse().expect("a value"));
                }
                spec
            };
            run.submit(Submission { jobs: (0..some).map(job).collect(), ..Submission::default() });
            left -= some;
        }
        run
    }

    fn submit(&mut self, submission: Submission) {
        let decision = self.state.submit(&submission, NOW).expect("it is in order");
        self.record(decision);
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let record = Record { seq: self.state.next_seq(), at: NOW, event };
            self.state.apply(&record).expect("the state applies what it decided");
        }
        decision.answer
    }

    /// Grants until as many leases are open as the run has, or nothing may run; ends the oldest; `count` times.
    fn turns(&mut self, count: usize) -> usize {
        let mut grants = 0;
        while grants < count {
            while self.leases.len() < RUNNING && grants < count {
                let decision = self.state.lease(&self.request, &mut |_| Payload::default());
                let Some(granted) = self.record(decision) else { break };
                self.leases.push_back((granted.job, granted.lease));
                grants += 1;
            }
            let Some((_, lease)) = self.leases.pop_front() else { break };
            let decision = self.state.complete(&self.request.worker, lease, 0, NOW).expect("it is current");
            self.record(decision);
        }
        grants
    }
}

fn resident_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    text.split(' ').nth(1).and_then(|pages| pages.parse::<u64>().ok()).unwrap_or(0) * 4096
}

fn measure(name: &str, jobs: usize, queues: usize, hosts: usize, limits: bool, turns: usize) -> f64 {
    let before = resident_bytes();
    // Small runs are over at once: many of them.
    let rounds = (200_000 / turns).max(1);
    let mut runs: Vec<Run> = Vec::new();
    let (mut grants, mut time) = (0, 0.0);
    let mut bytes = 0;
    for _ in 0..rounds {
        let mut run = Run::new(jobs, queues, hosts, limits);
        bytes = resident_bytes().saturating_sub(before);
        let started = Instant::now();
        grants += run.turns(turns);
        time += started.elapsed().as_secs_f64();
        runs.clear();
        runs.push(run);
    }
    let rate = grants as f64 / time;
    println!("{name:<58} {rate:>9.0} grants/s   {:>5} bytes a job", bytes / jobs as u64);
    rate
}

fn main() {
    let base = measure("1,000 jobs, 1 queue", 1000, 1, 0, false, 1000);
    let rates = [
        measure("1,000,000 jobs, 1 queue", 1_000_000, 1, 0, false, 200_000),
        measure("1,000,000 jobs, 1,000 queues", 1_000_000, 1000, 0, false, 200_000),
        measure("1,000,000 jobs, 1,000 queues, 10,000 hosts, no limits", 1_000_000, 1000, 10_000, false, 200_000),
        measure("1,000,000 jobs, 1,000 queues, 10,000 hosts, limits", 1_000_000, 1000, 10_000, true, 200_000),
    ];
    for rate in rates {
        println!("{:.2} of the rate with 1,000 jobs in one queue", rate / base);
    }
}

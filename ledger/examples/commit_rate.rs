//! How fast the ledger commits and replays on this disk: `cargo run --release -p orch-ledger --example commit_rate -- [DIR]`.
//!
//! Every commit is one write and one fdatasync of the segment, and one of HEAD; both are in the times.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use orch_core::digest::Digest;
use orch_core::id::{JobId, LeaseId, Seq};
use orch_core::record::{CandidateAccepted, Event, Origin};
use orch_core::time::Timestamp;
use orch_ledger::{Follower, Ledger, OpenOptions, durable_head};

const NOW: Timestamp = Timestamp(1_795_248_000_000);

fn event(i: u64) -> Event {
    let candidate = format!(
        "{{\"meta\":{{\"iters\":7,\"method\":\"brent\"}},\"n\":{i},\"root_val\":1.3e-12,\"t\":{:.12}}}",
        14.134_725_141_7 + i as f64
    );
    Event::CandidateAccepted(Box::new(CandidateAccepted {
        origin: Origin::Lease { job: JobId::new(1000), lease: LeaseId::new(1001) },
        contract: "zeta-zeros@1".parse().expect("a contract"),
        digest: Digest::of(candidate.as_bytes()),
        offsets: vec![u32::try_from(i % 4_000_000_000).unwrap_or(0)],
        candidate: serde_json::value::RawValue::from_string(candidate).expect("JSON"),
    }))
}

fn options() -> OpenOptions {
    OpenOptions { allow_any_filesystem: true, ..OpenOptions::new(NOW, "bench", "bench", std::process::id()) }
}

/// A commit writes the HEAD of the batch before, unless it is level already: so levelling it apart tells its share.
fn head_cost(ledger: &mut Ledger) {
    let (mut alone, mut head) = (Duration::ZERO, Duration::ZERO);
    let commits = 1000;
    for i in 0..commits {
        ledger.stage(NOW, &event(i)).expect("a good event");
        let start = Instant::now();
        ledger.commit().expect("space");
        alone += start.elapsed();
        let start = Instant::now();
        ledger.level_head().expect("a sync");
        head += start.elapsed();
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6 / commits as f64;
    println!("a commit of one record: {:.0} us for the segment, {:.0} us for HEAD", us(alone), us(head));
}

fn main() {
    let dir = std::env::args().nth(1).map_or_else(|| PathBuf::from("target/commit_rate"), PathBuf::from);
    if dir.exists() {
        std::fs::remove_dir_all(&dir).expect("an old run removed");
    }
    let opened = Ledger::open(&dir, options(), &mut |_, _| Ok(())).expect("a ledger");
    let mut ledger = opened.ledger;
    println!(
        "{:>8} {:>9} {:>12} {:>10} {:>11} {:>11} {:>11}",
        "batch", "commits", "records/s", "MB/s", "stage us/r", "commit us", "commit ns/r"
    );
    for (batch, commits) in [(1u64, 1000u64), (10, 1000), (100, 500), (1000, 200), (10_000, 60), (50_000, 10)] {
        let events: Vec<Event> = (0..batch.min(1000)).map(event).collect();
        let (mut staging, mut committing, mut bytes) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..commits {
            ledger.maybe_roll(NOW).expect("space");
            let start = Instant::now();
            for i in 0..batch {
                ledger.stage(NOW, &events[usize::try_from(i % 1000).unwrap_or(0)]).expect("a good event");
            }
            staging += start.elapsed();
            let start = Instant::now();
            bytes += ledger.commit().expect("space").bytes;
            committing += start.elapsed();
        }
        let records = (batch * commits) as f64;
        let total = (staging + committing).as_secs_f64();
        println!(
            "{batch:>8} {commits:>9} {:>12.0} {:>10.1} {:>11.3} {:>11.0} {:>11.0}",
            records / total,
            bytes as f64 / total / 1e6,
            staging.as_secs_f64() * 1e6 / records,
            committing.as_secs_f64() * 1e6 / commits as f64,
            committing.as_secs_f64() * 1e9 / records,
        );
    }
    head_cost(&mut ledger);
    let last = ledger.head().seq;
    let start = Instant::now();
    let reads = 200_000;
    for i in 0..reads {
        ledger.read(Seq(1 + i * 7_919 % last.0)).expect("a record");
    }
    println!("read, scattered:  {:.2} us", start.elapsed().as_secs_f64() * 1e6 / reads as f64);
    let start = Instant::now();
    for i in 0..reads {
        ledger.read(Seq(1 + i % last.0)).expect("a record");
    }
    println!("read, in order:   {:.2} us", start.elapsed().as_secs_f64() * 1e6 / reads as f64);
    ledger.close().expect("a clean stop");

    let start = Instant::now();
    let mut records = 0u64;
    let opened = Ledger::open(&dir, options(), &mut |_, _| {
        records += 1;
        Ok(())
    });
    drop(opened.expect("the same ledger"));
    let seconds = start.elapsed().as_secs_f64();
    println!("open and replay:  {:.0} records/s ({records} in {seconds:.2} s)", records as f64 / seconds);
    for threads in [1, 2] {
        let start = Instant::now();
        let report = orch_ledger::verify(&dir, threads, &|_, _| {}).expect("a ledger");
        let seconds = start.elapsed().as_secs_f64();
        println!(
            "verify, {threads} threads: {:.0} records/s, {:.0} MB/s, {} findings",
            report.records as f64 / seconds,
            report.bytes as f64 / seconds / 1e6,
            report.findings.len()
        );
    }
    let start = Instant::now();
    let until = durable_head(&orch_ledger::disk::real::RealDir::new(&dir)).expect("HEAD").seq;
    let mut follower = Follower::new(&dir, Seq(1));
    while follower.next_line(until).expect("a line").is_some() {}
    println!("follow:           {:.0} lines/s", until.0 as f64 / start.elapsed().as_secs_f64());
    std::fs::remove_dir_all(&dir).expect("the folder removed");
}

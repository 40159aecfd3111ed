//! How fast a ledger of many candidates is compacted, and in how much memory:
//! `cargo run --release -p orch-compactor --example compact_rate -- [CANDIDATES] [MEMORY_MIB] [DIR]`.
//!
//! The ledger looks like one of zeta zeros found by several workers: jobs of 1,000 candidates in an order that is
//! none. It stays in DIR, if that is given, and is used again.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use orch_compactor::{Options, compact};
use orch_core::contract::Contract;
use orch_core::id::{JobId, LeaseId, QueueName, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::record::{BatchJudged, CandidateAccepted, Event, JobSubmitted, Origin};
use orch_core::time::Timestamp;
use orch_ledger::{Ledger, OpenOptions};
use serde_json::json;

const JOB: u64 = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let candidates: u64 = args.next().map_or(Ok(1_000_000), |n| n.parse())?;
    let memory: usize = args.next().map_or(Ok(256), |n| n.parse())?;
    let kept = args.next().map(PathBuf::from);
    let scratch = tempfile::tempdir()?;
    let data = kept.unwrap_or_else(|| scratch.path().join("data"));
    if !data.exists() {
        let started = Instant::now();
        write_ledger(&data, candidates)?;
        println!("wrote the ledger in {:.1} s", started.elapsed().as_secs_f64());
    }
    let before = peak_kib();
    for provenance in [false, true] {
        let started = Instant::now();
        let options = Options { memory: memory << 20, provenance, ..Options::default() };
        let out = scratch.path().join("out.jsonl");
        let summary = compact(&data, &out, &options, &mut |_| {})?;
        let seconds = started.elapsed().as_secs_f64();
        println!(
            "{} candidates, provenance {provenance}, memory {memory} MiB: {seconds:.2} s, {:.0} candidates/s, {} runs, {} bytes, peak {} KiB (before: {before} KiB)",
            summary.written,
            summary.written as f64 / seconds,
            summary.spilled_runs,
            summary.bytes,
            peak_kib(),
        );
    }
    Ok(())
}

fn write_ledger(data: &Path, candidates: u64) -> Result<(), Box<dyn std::error::Error>> {
    let at = Timestamp(1_795_248_000_000);
    let options = OpenOptions { allow_any_filesystem: true, ..OpenOptions::new(at, "0.1.0", "bench", 1) };
    let mut ledger = Ledger::open(data, options, &mut |_, _| Ok(()))?.ledger;
    let contract = Arc::new(Contract::compile(serde_json::from_value(json!({
        "contract": "zeta-zeros", "version": 1, "schema": {"type": "object"},
        "identity": [{"field": "t", "quantum": 1e-6}]
    }))?)?);
    ledger.stage(at, &Event::ContractRegistered(Box::new(contract.spec().clone())))?;
    let screen = contract.bind(&Payload::default())?;
    let jobs = candidates.div_ceil(JOB);
    for n in 0..jobs {
        // A step that has no divisor in common with the number of jobs visits each once.
        let job = n * 7_919 % jobs;
        write_job(&mut ledger, &screen, at, job * JOB..((job + 1) * JOB).min(candidates))?;
    }
    ledger.close()?;
    Ok(())
}

fn write_job(
    ledger: &mut Ledger,
    screen: &orch_core::contract::Screen,
    at: Timestamp,
    range: std::ops::Range<u64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let spec = JobSpec::new(QueueName::new("zeta")?, Payload::default());
    let kind = orch_core::id::Kind::new("zeta-zeros")?;
    let submitted = JobSubmitted { spec, kind, depends_on: Vec::new(), not_before: None };
    let job = JobId(ledger.stage(at, &Event::JobSubmitted(Box::new(submitted)))?);
    let worker = WorkerId::new(&format!("worker-{}", range.start / JOB % 16))?;
    let granted = Event::LeaseGranted {
        job,
        attempt: 1,
        worker,
        contract: None,
        expected: None,
        variant: 0,
        session: None,
        members: Vec::new(),
    };
    let lease = LeaseId(ledger.stage(at, &granted)?);
    let origin = Origin::Lease { job, lease };
    let accepted = u32::try_from(range.end - range.start)?;
    let (duplicates, rejections) = (Vec::new(), Vec::new());
    let judged = BatchJudged { origin, number: 1, accepted, duplicates, rejected: 0, rejections };
    ledger.stage(at, &Event::BatchJudged(Box::new(judged)))?;
    for n in range {
        let t = n as f64 * 0.612_345_678_9 + 14.134_725_141_734_693;
        let text = json!({"n": n, "t": t, "root_val": t.sin() * 1e-12, "meta": {"method": "secant", "iters": n % 9}});
        let screened = screen.judge(text.to_string().as_bytes())?;
        let accepted = CandidateAccepted {
            origin,
            contract: screened.contract().clone(),
            digest: screened.digest(),
            offsets: screened.offsets().to_vec(),
            candidate: screened.into_candidate(),
        };
        ledger.stage(at, &Event::CandidateAccepted(Box::new(accepted)))?;
    }
    ledger.stage(at, &Event::JobCompleted { job, lease })?;
    ledger.commit()?;
    ledger.maybe_roll(at)?;
    Ok(())
}

/// The most memory that this process had at one time, as Linux counts it.
fn peak_kib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

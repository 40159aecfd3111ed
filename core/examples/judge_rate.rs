//! How many candidates one core judges in a second: `cargo run --release -p orch-core --example judge_rate`.
//!
//! The candidate is about 200 bytes: four properties, one tolerance rule, one numeric identity field.

#![allow(clippy::disallowed_methods, reason = "a benchmark reads a clock")]

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use orch_core::contract::{AcceptedSet, Contract, ContractSpec, Screened};
use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::job::Payload;
use serde_json::json;

const CANDIDATES: u32 = 400_000;

/// Candidates are judged in batches, as a stream brings them. On a shared machine the best batches say what the code
/// costs, and the median what it gets.
const BATCH: usize = 1000;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let spec: ContractSpec = serde_json::from_value(json!({
        "contract": "zeta-zeros",
        "version": 1,
        "schema": {
            "type": "object",
            "additionalProperties": false,
            "required": ["n", "t", "root_val", "meta"],
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "t": {"type": "number", "exclusiveMinimum": 0},
                "root_val": {"type": "number"},
                "meta": {"type": "object"},
            },
        },
        "tolerance": [{"field": "root_val", "abs_lt": {"payload": "eps_root"}}],
        "identity": [{"field": "t", "quantum": 1e-6}],
    }))?;
    let screen = Arc::new(Contract::compile(spec)?).bind(&Payload::from_value(&json!({"eps_root": 1e-8})))?;
    let texts: Vec<String> = (0..CANDIDATES).map(candidate).collect();
    println!("candidate: {} bytes, {}", texts[0].len(), texts[0]);
    let mut accepted = AcceptedSet::new();
    let (mut judging, mut comparing, mut plain) = (Vec::new(), Vec::new(), Vec::new());
    for (number, batch) in (0..).zip(texts.chunks(BATCH)) {
        let start = Instant::now();
        let screened: Vec<Screened> =
            batch.iter().map(|text| screen.judge(text.as_bytes())).collect::<Result<_, _>>()?;
        judging.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
        let start = Instant::now();
        for (seq, candidate) in (number * BATCH as u64..).zip(&screened) {
            if black_box(accepted.find(candidate)).is_none() {
                accepted.insert(candidate.digest(), candidate.offsets(), Seq(seq));
            }
        }
        comparing.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
        let start = Instant::now();
        for text in batch {
            let value: serde_json::Value = serde_json::from_str(text)?;
            black_box(Digest::of(value.to_string().as_bytes()));
        }
        plain.push(start.elapsed().as_nanos() as f64 / BATCH as f64);
    }
    report("judge", judging);
    report("find and insert", comparing);
    report("for comparison, serde_json from text to text and one SHA-256 of it", plain);
    let bytes = accepted.heap_bytes() as f64 / accepted.len() as f64;
    println!("{} distinct candidates, {bytes:.1} bytes of memory each", accepted.len());
    Ok(())
}

fn report(what: &str, mut batches: Vec<f64>) {
    batches.sort_by(f64::total_cmp);
    let at = |part: f64| batches[(part * (batches.len() - 1) as f64) as usize];
    println!("{what}: {:.0} ns a candidate at best, {:.0} ns in the median", at(0.02), at(0.5));
}

fn candidate(n: u32) -> String {
    let t = 14.134_725_141_734_695 + f64::from(n) * 0.618_033_988_749_894_8;
    let root_val = 1e-9 / f64::from(n + 3);
    format!(
        "{{\"n\": {}, \"t\": {t}, \"root_val\": {root_val:e}, \"meta\": {{\"method\": \"riemann-siegel C0-C4, Gram point bisection\", \"iters\": {}, \"host\": \"worker-{}\", \"phase\": 0.25}}}}",
        n + 1,
        n % 17,
        n % 64,
    )
}

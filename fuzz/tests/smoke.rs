//! The short form of fuzzing, in every test run: 50,000 malformed inputs for all targets together.

#[path = "../../sim/src/cores.rs"]
#[allow(dead_code)]
mod cores;

use orch_fuzz::{TARGETS, run};

const CASES: u64 = 50_000;

#[test]
fn no_input_breaks_a_promise() {
    let failures = std::env::temp_dir().join(format!("orch-fuzz-{}", std::process::id()));
    let shares: Vec<_> = run::shares(CASES).collect();
    let summaries = cores::for_each(&shares, |(target, share)| {
        run::target(target, *share, 1, &failures).unwrap_or_else(|failure| panic!("{failure}"))
    });
    let cases: u64 = summaries.iter().map(|summary| summary.cases).sum();
    assert!(cases + TARGETS.len() as u64 >= CASES);
}

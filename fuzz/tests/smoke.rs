//! The short form of fuzzing, in every test run: 50,000 malformed inputs for all targets together.

use orch_fuzz::{TARGETS, run};

const CASES: u64 = 50_000;

#[test]
fn no_input_breaks_a_promise() {
    let failures = std::env::temp_dir().join(format!("orch-fuzz-{}", std::process::id()));
    let mut cases = 0;
    for (target, share) in run::shares(CASES) {
        match run::target(target, share, 1, &failures) {
            Ok(summary) => cases += summary.cases,
            Err(failure) => panic!("{failure}"),
        }
    }
    assert!(cases + TARGETS.len() as u64 >= CASES);
}

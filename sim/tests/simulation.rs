//! Seeds of the simulation: the committed ones, then the first three hundred.

use orch_sim::checker::describe;
use orch_sim::cores;
use orch_sim::seeds;
use orch_sim::world::{self, FaultKind, Options, Outcome};

/// Runs a seed; a failure says how to replay it.
fn holds(options: &Options) -> Outcome {
    let outcome = world::run(options).unwrap();
    let violations = describe(&outcome.violations);
    assert!(outcome.violations.is_empty(), "{violations}replay it: {}", seeds::command(options));
    outcome
}

#[test]
fn the_invariants_hold_under_races_and_faults() {
    let all: Vec<u64> = seeds::known().into_iter().chain(1..=300).collect();
    let outcomes = cores::for_each(&all, |seed| holds(&Options::new(*seed)));
    let starts: u64 = outcomes.iter().map(|outcome| outcome.starts).sum();
    let told: usize = outcomes.iter().map(|outcome| outcome.told).sum();
    // The faults do strike: the orchestrator dies more than twice a run.
    assert!(starts > 600 && told > 30_000, "{starts} starts, {told} answers");
}

#[test]
fn no_clock_ends_a_lease_early_or_keeps_one_for_ever() {
    for seed in 1..=60 {
        holds(&Options { faults: vec![FaultKind::Clock, FaultKind::Stall], ..Options::new(seed) });
    }
}

#[test]
fn a_seed_is_a_run() {
    for seed in 1..=12 {
        let options = Options::new(seed);
        let first = holds(&options);
        assert_eq!(first, holds(&options), "seed {seed} is not the same run twice");
        assert_ne!(first.hash, holds(&Options::new(seed + 1000)).hash);
    }
}

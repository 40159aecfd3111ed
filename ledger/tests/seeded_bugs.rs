//! The faulty disk proves itself: with one rule of the ledger broken on purpose, these tests fail.
//!
//! `cargo test -p orch-ledger --features seeded-bugs --test seeded_bugs`
#![cfg(feature = "seeded-bugs")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use orch_core::seeded::{self, Bug};
use support::damage::cuts;
use support::power_loss::round;

/// Runs cases with the bug until one fails, and says which and how.
fn caught_by(bug: Bug, cases: impl Fn(u64)) -> (u64, String) {
    for seed in 0..200 {
        let case = || seeded::with(Some(bug), || cases(seed));
        if let Err(panic) = catch_unwind(AssertUnwindSafe(case)) {
            let text = panic.downcast::<String>().map_or_else(|_| "a panic".to_owned(), |text| *text);
            println!("{}: case {seed}: {text}", bug.name());
            return (seed, text);
        }
    }
    panic!("{} was not caught", bug.name());
}

#[test]
fn losses_of_power_catch_a_sync_that_is_missing() {
    let (_, text) = caught_by(Bug::FsyncRemoved, |seed| {
        round(seed);
    });
    assert!(text.contains("missing") || text.contains("damage") || text.contains("Refusal"), "{text}");
}

#[test]
fn losses_of_power_catch_a_sync_of_the_directory_that_is_missing() {
    let (_, text) = caught_by(Bug::DirectorySyncRemoved, |seed| {
        round(seed);
    });
    assert!(text.contains("missing") || text.contains("Refusal"), "{text}");
}

#[test]
fn losses_of_power_catch_a_torn_batch_that_stays() {
    caught_by(Bug::TornLineKept, |seed| {
        round(seed);
    });
}

#[test]
fn failed_syncs_catch_a_second_try() {
    let (_, text) = caught_by(Bug::RetryAfterFailedSync, |seed| {
        round(seed);
    });
    assert!(
        text.contains("a sync that fails is the end") || text.contains("missing") || text.contains("Refusal"),
        "{text}"
    );
}

#[test]
fn cuts_catch_a_head_that_is_not_asked() {
    let (_, text) = caught_by(Bug::HeadNotChecked, |seed| {
        cuts::all(seed);
    });
    assert!(text.contains("was not noticed"), "{text}");
}

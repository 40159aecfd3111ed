//! A fault at each step of each call, results sent again and again, and an acknowledged tail that is gone.

use orch_sim::checker::describe;
use orch_sim::scenario::{cut, resend, steps};

#[test]
fn a_fault_at_each_step_of_each_call_loses_and_doubles_nothing() {
    let report = steps::run(5, &mut |_| {}).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.struck, 16 * 5 * 5);
}

#[test]
fn results_that_are_sent_again_are_accepted_once_and_answered_alike() {
    let report = resend::run(1, 50_000).unwrap();
    assert!(report.violations.is_empty(), "{}", describe(&report.violations));
    assert!(report.candidates >= 50_000 && report.sent > 3 * report.candidates && report.crashes > 20, "{report:?}");
}

#[test]
fn a_start_refuses_a_ledger_whose_acknowledged_end_is_gone() {
    for keep in 1..=usize::try_from(cut::MOST).unwrap() {
        let violations = cut::run(keep).unwrap();
        assert!(violations.is_empty(), "{keep} batches kept: {}", describe(&violations));
    }
}

//! The engine on a disk that loses power, and whose calls fail. The long forms are
//! `cargo run --release -p orch-sim --example engine_disk`.

#[path = "../../../ledger/tests/support/replay.rs"]
mod replay;

mod client;
mod failing_calls;
mod machine;
mod power_loss;

use failing_calls::{Case, Kind};

#[test]
fn nothing_that_was_told_is_lost_with_the_power() {
    let mut tally = power_loss::Tally::default();
    let mut seed = 0;
    while tally.images < 1500 {
        tally.add(&replay::told(&power_loss::command(seed), || power_loss::round(seed)));
        seed += 1;
    }
    println!("{seed} rounds: {tally:?}");
    assert!(tally.torn > 20 && tally.second_accidents > 300 && tally.kills > 3 && tally.failed_syncs > 3, "{tally:?}");
}

#[test]
fn whatever_call_fails_nothing_that_was_told_is_lost() {
    let mut total = failing_calls::Tally::default();
    for (i, kind) in Kind::ALL.into_iter().enumerate() {
        // Every tenth; the long form takes every call.
        for case in Case::all(kind, 1).skip(i).step_by(10) {
            total.add(&replay::told(&case.command(), || case.run()));
        }
    }
    println!("{total:?}");
    assert!(total.read_only > 5 && total.ended > 5 && total.not_started > 5, "{total:?}");
}

#[test]
fn a_full_disk_is_waited_out() {
    let mut tally = failing_calls::Tally::default();
    for capacity in (8_500..40_000).step_by(900) {
        tally.add(&replay::told(&failing_calls::full_disk_command(capacity), || failing_calls::full_disk(capacity)));
    }
    println!("{tally:?}");
    assert!(tally.read_only > 10, "{tally:?}");
}

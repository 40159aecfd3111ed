//! The engine on a disk that loses power, and whose calls fail. The long forms are
//! `cargo run --release -p orch-sim --example engine_disk`.

#[path = "../../../ledger/tests/support/replay.rs"]
mod replay;

mod client;
mod failing_calls;
mod machine;
mod power_loss;

use std::sync::Mutex;

use failing_calls::{Case, Kind};
use orch_sim::cores;

#[test]
fn nothing_that_was_told_is_lost_with_the_power() {
    let total = Mutex::new(power_loss::Tally::default());
    cores::on_all(cores::count(), |seed| {
        let tally = replay::told(&power_loss::command(seed), || power_loss::round(seed));
        let mut total = total.lock().unwrap();
        total.add(&tally);
        total.images < 1500
    });
    let tally = total.into_inner().unwrap();
    println!("{tally:?}");
    assert!(tally.torn > 20 && tally.second_accidents > 300 && tally.kills > 3 && tally.failed_syncs > 3, "{tally:?}");
}

#[test]
fn whatever_call_fails_nothing_that_was_told_is_lost() {
    // Every tenth; the long form takes every call.
    let every_tenth = |(i, kind)| Case::all(kind, 1).skip(i).step_by(10);
    let cases: Vec<Case> = Kind::ALL.into_iter().enumerate().flat_map(every_tenth).collect();
    let mut total = failing_calls::Tally::default();
    for tally in cores::for_each(&cases, |case| replay::told(&case.command(), || case.run())) {
        total.add(&tally);
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

//! Power fails at every change of a run, and again during the recovery, after a kill and after a failed sync: nothing
//! acknowledged is lost, nothing is refused. `support/power_loss.rs` says how; the long form is
//! `cargo run --release -p orch-ledger --example power_loss`.

mod support;

use std::sync::Mutex;

use support::cores::{self, on_all};
use support::power_loss::{Tally, command, round};
use support::replay;

#[test]
fn nothing_acknowledged_is_lost_and_nothing_refused() {
    let total = Mutex::new(Tally::default());
    on_all(cores::count(), |seed| {
        let tally = replay::told(&command(seed), || round(seed));
        let mut total = total.lock().unwrap();
        total.add(&tally);
        total.images < 20_000
    });
    let tally = total.into_inner().unwrap();
    println!("{tally:?}");
    let Tally { of_complete_moments, torn, second_accidents, kills, failed_syncs, repeated, images: _ } = tally;
    assert!(of_complete_moments > 1000 && torn > 200 && second_accidents > 2000, "{tally:?}");
    assert!(kills > 20 && failed_syncs > 10 && repeated > 1000, "{tally:?}");
}

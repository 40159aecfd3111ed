//! Damages the index's directory thousands of times: the long form of `tests/index`.
//!
//! `cargo run --release -p orch-orchestrator --example index_damage -- --cases 2000 --seed 0`

#[path = "../../sim/src/cores.rs"]
#[allow(dead_code)]
mod cores;
#[path = "../../ledger/tests/support/long.rs"]
mod long;
#[path = "../../ledger/tests/support/replay.rs"]
mod replay;

#[path = "../tests/index/damage.rs"]
mod damage;
#[path = "../tests/index/world.rs"]
mod world;

use std::sync::Mutex;

use cores::on_all;
use damage::{Pool, Tally};
use long::{Flags, Progress};

fn main() {
    let flags =
        Flags::of_process("index_damage [--cases N] [--seed FIRST] [--threads N] [--seconds N]", &["cases", "seed"]);
    assert!(flags.words.is_empty(), "there is only one kind of damage: all of them");
    let cases = flags.get("cases").unwrap_or(2000);
    let first = flags.get("seed").unwrap_or(0);
    // sled's panics are expected, thousands of them; our own say what they found when a case ends.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        if panic.location().is_none_or(|location| !location.file().contains("sled")) {
            default(panic);
        }
    }));
    let pool = Pool::new();
    let progress = Progress::start(&flags);
    let total = Mutex::new(Tally::default());
    on_all(flags.threads(), |n| {
        if n >= cases || progress.is_over() {
            return false;
        }
        let seed = first + n;
        let tally = replay::told(&damage::command(seed), || damage::case(&pool, seed));
        let mut total = total.lock().expect("a thread that panicked ends them all");
        total.add(&tally);
        progress.tell(|| format!("{} of {cases}", total.cases));
        true
    });
    let tally = *total.lock().expect("no thread is left");
    println!("every answer is a fresh index's: from seed {first}, {} s, {tally:?}", progress.seconds());
}

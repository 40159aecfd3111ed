//! Loses power a million times, and checks what is left. The short form is `tests/power_loss.rs`.
//!
//! `cargo run --release -p orch-ledger --example power_loss -- --images 1000000 --seed 0`

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Mutex;

use support::cores::on_all;
use support::long::{Flags, Progress};
use support::power_loss::{Tally, command, round};
use support::replay;

const USAGE: &str = "power_loss [--images N] [--rounds N] [--seed FIRST] [--threads N] [--seconds N]";

fn main() {
    let flags = Flags::of_process(USAGE, &["images", "rounds", "seed"]);
    let seed = flags.get("seed").unwrap_or(0);
    let rounds = flags.get("rounds").unwrap_or(u64::MAX);
    let images = flags.get("images").unwrap_or(if rounds == u64::MAX { 1_000_000 } else { u64::MAX });
    let progress = Progress::start(&flags);
    let total = Mutex::new((0, Tally::default()));
    on_all(flags.threads(), |n| {
        if n >= rounds || progress.is_over() {
            return false;
        }
        let seed = seed.wrapping_add(n);
        let tally = replay::told(&command(seed), || round(seed));
        let mut total = total.lock().expect("a thread that panicked ends them all");
        total.0 += 1;
        total.1.add(&tally);
        progress.tell(|| format!("{} images of {} rounds", total.1.images, total.0));
        total.1.images < images
    });
    let (rounds, tally) = *total.lock().expect("no thread is left");
    println!("nothing lost, nothing refused: {rounds} rounds from seed {seed}, {} s, {tally:?}", progress.seconds());
}

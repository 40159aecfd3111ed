//! The engine on a disk that loses power, is full, or fails: the long forms of `tests/disk`.
//!
//! ```sh
//! cargo run --release -p orch-sim --example engine_disk -- power-loss --images 100000 --seed 0
//! cargo run --release -p orch-sim --example engine_disk -- failing-calls --seeds 5
//! cargo run --release -p orch-sim --example engine_disk -- full-disk
//! ```

#[path = "../../ledger/tests/support/long.rs"]
mod long;
#[path = "../../ledger/tests/support/replay.rs"]
mod replay;

#[path = "../tests/disk/client.rs"]
mod client;
#[path = "../tests/disk/failing_calls.rs"]
mod failing_calls;
#[path = "../tests/disk/machine.rs"]
mod machine;
#[path = "../tests/disk/power_loss.rs"]
mod power_loss;

use std::sync::Mutex;

use failing_calls::{Case, Kind};
use long::{Flags, Progress};
use orch_ledger::disk::memory::Lasting;
use orch_sim::cores::{self, on_all};

const USAGE: &str = "engine_disk power-loss [--images N] [--rounds N] [--seed FIRST]\n       \
                     engine_disk failing-calls [--seed FIRST] [--seeds N] [--kind K] [--call N] [--for-good 0|1]\n       \
                     engine_disk full-disk [--capacity BYTES]\n       \
                     each with [--threads N] [--seconds N]";

fn main() {
    let known = ["images", "rounds", "seed", "seeds", "kind", "call", "for-good", "capacity"];
    let flags = Flags::of_process(USAGE, &known);
    match flags.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["power-loss"] => power_loss(&flags),
        ["failing-calls"] => failing_calls(&flags),
        ["full-disk"] => full_disk(&flags),
        _ => {
            eprintln!("usage: {USAGE}");
            std::process::exit(2)
        }
    }
}

fn power_loss(flags: &Flags) {
    let first = flags.get("seed").unwrap_or(0);
    let rounds = flags.get("rounds").unwrap_or(u64::MAX);
    let images = flags.get("images").unwrap_or(if rounds == u64::MAX { 100_000 } else { u64::MAX });
    let progress = Progress::start(flags);
    let total = Mutex::new((0, power_loss::Tally::default()));
    on_all(flags.threads(), |n| {
        if n >= rounds || progress.is_over() {
            return false;
        }
        let seed = first.wrapping_add(n);
        let tally = replay::told(&power_loss::command(seed), || power_loss::round(seed));
        let mut total = total.lock().expect("a thread that panicked ends them all");
        total.0 += 1;
        total.1.add(&tally);
        progress.tell(|| format!("{} images of {} rounds", total.1.images, total.0));
        total.1.images < images
    });
    let (rounds, tally) = *total.lock().expect("no thread is left");
    println!("nothing lost, nothing refused: {rounds} rounds from seed {first}, {} s, {tally:?}", progress.seconds());
}

fn failing_calls(flags: &Flags) {
    let first = flags.get("seed").unwrap_or(0);
    let seeds = first..first + flags.get("seeds").unwrap_or(1);
    let kinds =
        Kind::ALL.into_iter().enumerate().filter(|(i, _)| flags.get("kind").is_none_or(|kind| kind == *i as u64));
    let kinds: Vec<Kind> = kinds.map(|(_, kind)| kind).collect();
    let cases = seeds.flat_map(|seed| kinds.iter().flat_map(move |kind| Case::all(*kind, seed)));
    let wanted = |case: &Case| {
        flags.get("call").is_none_or(|call| call == case.at as u64)
            && flags.get("for-good").is_none_or(|good| (good == 1) == (case.lasting == Lasting::ForGood))
    };
    let cases: Vec<Case> = cases.filter(wanted).collect();
    run_all(flags, cases.len(), |n| replay::told(&cases[n].command(), || cases[n].run()));
}

fn full_disk(flags: &Flags) {
    let capacities: Vec<u64> = match flags.get("capacity") {
        Some(capacity) => vec![capacity],
        None => (8_500..40_000).step_by(50).collect(),
    };
    run_all(flags, capacities.len(), |n| {
        replay::told(&failing_calls::full_disk_command(capacities[n]), || failing_calls::full_disk(capacities[n]))
    });
}

fn run_all(flags: &Flags, count: usize, case: impl Fn(usize) -> failing_calls::Tally + Sync) {
    let progress = Progress::start(flags);
    let total = Mutex::new(failing_calls::Tally::default());
    on_all(flags.threads(), |n| {
        let Some(n) = usize::try_from(n).ok().filter(|n| *n < count && !progress.is_over()) else { return false };
        let tally = case(n);
        let mut total = total.lock().expect("a thread that panicked ends them all");
        total.add(&tally);
        progress.tell(|| format!("{} of {count} cases", total.cases));
        true
    });
    let tally = *total.lock().expect("no thread is left");
    println!("nothing lost: {tally:?}, {} s", progress.seconds());
}

//! Damages ledgers in every way, and checks what a start and a verification make of it: the long forms of
//! `tests/damage.rs`.
//!
//! ```sh
//! cargo run --release -p orch-ledger --example damage -- flips --bytes 1MiB
//! cargo run --release -p orch-ledger --example damage -- truncate --bytes 1MiB
//! cargo run --release -p orch-ledger --example damage -- blocks --cases 1000000
//! ```

#[path = "../tests/support/mod.rs"]
mod support;

use std::sync::Mutex;

use support::cores::on_all;
use support::damage::{blocks, cuts, flips};
use support::long::{Flags, Progress};
use support::replay;

const USAGE: &str = "damage flips|truncate [--bytes SIZE] [--ledgers N] [--seed FIRST] [--threads N] [--seconds N]\n       \
                     damage blocks [--cases N] [--seed FIRST] [--threads N] [--seconds N]";

fn main() {
    let flags = Flags::of_process(USAGE, &["bytes", "ledgers", "cases", "seed"]);
    let ledgers = flags.get("ledgers").unwrap_or(u64::MAX);
    let bytes = flags.get("bytes").unwrap_or(if ledgers == u64::MAX { 1 << 20 } else { u64::MAX });
    match flags.words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["flips"] => many(
            &flags,
            ledgers,
            |seed| {
                // HEAD is the same in all of them.
                let head = if seed == 0 { flips::Head::Everything } else { flips::Head::Nothing };
                replay::told(&flips::command(seed), || flips::all(seed, head))
            },
            flips::Tally::add,
            |tally: &flips::Tally| (tally.bytes, bytes),
        ),
        ["truncate"] => many(
            &flags,
            ledgers,
            |seed| replay::told(&cuts::command(seed), || cuts::all(seed)),
            cuts::Tally::add,
            |tally: &cuts::Tally| (tally.bytes, bytes),
        ),
        ["blocks"] => {
            let cases = flags.get("cases").unwrap_or(1_000_000);
            let pool = blocks::Pool::new();
            many(
                &flags,
                cases,
                |seed| replay::told(&blocks::command(seed), || blocks::case(&pool, seed)),
                blocks::Tally::add,
                |tally: &blocks::Tally| (tally.cases, cases),
            );
        }
        _ => {
            eprintln!("usage: {USAGE}");
            std::process::exit(2)
        }
    }
}

/// Runs seeds until there are `most` of them or `far` says that it is enough.
fn many<T: Default + std::fmt::Debug + Send>(
    flags: &Flags,
    most: u64,
    case: impl Fn(u64) -> T + Sync,
    add: impl Fn(&mut T, &T) + Sync,
    far: impl Fn(&T) -> (u64, u64) + Sync,
) {
    let first = flags.get("seed").unwrap_or(0);
    let progress = Progress::start(flags);
    let total = Mutex::new(T::default());
    on_all(flags.threads(), |n| {
        if n >= most || progress.is_over() {
            return false;
        }
        let tally = case(first + n);
        let mut total = total.lock().expect("a thread that panicked ends them all");
        add(&mut total, &tally);
        let (done, of) = far(&total);
        progress.tell(|| format!("{done} of {of}"));
        done < of
    });
    let total = total.into_inner().expect("no thread is left");
    println!("all as the format says: from seed {first}, {} s, {total:?}", progress.seconds());
}

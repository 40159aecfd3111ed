//! `orch-sim`: runs seeds of the simulation, and checks ledgers against what clients were told.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::{Parser, Subcommand};
use orch_sim::checker::{self, AcknowledgedLog};
use orch_sim::scenario::{resend, steps};
use orch_sim::seeds;
use orch_sim::world::{self, FaultKind, Options, Target};

/// A seeded simulation of Orch: orchestrator, workers and clients over the real engine, with everything that can go
/// wrong around it.
///
/// A seed is a run: the same steps every time. A seed that fails prints the command that replays it.
#[derive(Parser)]
#[command(name = "orch-sim", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run seeds, the committed ones first.
    Run {
        /// How many seeds.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
        /// The first of them.
        #[arg(long, default_value_t = 1)]
        from: u64,
        /// Run this one seed, twice, and compare the hashes.
        #[arg(long, conflicts_with_all = ["seeds", "from"])]
        seed: Option<u64>,
        /// Only these kinds of faults: network, workers, kill, power, sync, space, clock, stall.
        #[arg(long, value_delimiter = ',')]
        only: Vec<FaultKind>,
        /// No faults but one, at a step of a call: for example `Results:0:ResponseLost`. See `steps`.
        #[arg(long, requires = "seed", conflicts_with = "only")]
        aim: Option<Target>,
        /// With this seeded bug, as `bugs` names it.
        #[cfg(feature = "seeded-bugs")]
        #[arg(long)]
        bug: Option<String>,
        /// Print every step.
        #[arg(long)]
        trace: bool,
    },
    /// A fault at each step of each call: lost requests and answers, crashes before and after the commit, duplicates.
    Steps {
        /// How often each of them strikes.
        #[arg(long, default_value_t = 5)]
        times: u64,
    },
    /// The same results sent 2 to 100 times: accepted once, answered alike, never before they are durable.
    Resend {
        /// How many different candidates.
        #[arg(long, default_value_t = 50_000)]
        candidates: u64,
        /// What chance decides.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Turn on each seeded bug in turn and say what catches it. Needs a build with `--features seeded-bugs`.
    Bugs {
        /// How many seeds may be needed.
        #[arg(long, default_value_t = 300)]
        seeds: u64,
    },
    /// Check the ledger of a data directory against a file of what clients were told.
    Check {
        /// The data directory.
        data: PathBuf,
        /// The answers, a JSON object on each line.
        told: PathBuf,
    },
}

fn main() -> ExitCode {
    match Args::parse().command {
        Command::Run {
            seeds,
            from,
            seed,
            only,
            aim,
            #[cfg(feature = "seeded-bugs")]
            bug,
            trace,
        } => {
            #[cfg(feature = "seeded-bugs")]
            let _bug = bug.map(|name| {
                let known = orch_core::seeded::Bug::ALL.into_iter().find(|bug| bug.name() == name);
                orch_core::seeded::turn_on(known)
            });
            let all = only.is_empty() && aim.is_none();
            let faults = if all { FaultKind::ALL.to_vec() } else { only };
            match seed {
                Some(seed) => replay(&Options { faults, target: aim, trace, ..Options::new(seed) }),
                None => run_many(from, seeds, &faults, trace),
            }
        }
        Command::Steps { times } => match steps::run(times, &mut |line| println!("{line}")) {
            Ok(report) => {
                println!("{} faults struck in {} runs, nothing wrong", report.struck, report.runs);
                ExitCode::SUCCESS
            }
            Err(error) => failed(&error),
        },
        Command::Resend { candidates, seed } => match resend::run(seed, candidates) {
            Ok(resend::Report { candidates, sent, crashes, violations }) => {
                print!("{}", checker::describe(&violations));
                println!("{candidates} candidates, {sent} sent, {crashes} crashes, {} violations", violations.len());
                if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
            }
            Err(error) => failed(&error),
        },
        Command::Bugs { seeds } => bugs(seeds),
        Command::Check { data, told } => check(&data, &told),
    }
}

fn failed(error: &str) -> ExitCode {
    eprintln!("{error}");
    ExitCode::FAILURE
}

#[cfg(feature = "seeded-bugs")]
fn bugs(seeds: u64) -> ExitCode {
    let mut missed = 0;
    // What a bug makes panic says so by itself in the list.
    std::panic::set_hook(Box::new(|_| {}));
    for bug in orch_core::seeded::Bug::ALL {
        match orch_sim::bugs::hunt(bug, seeds) {
            Ok(caught) => caught.iter().for_each(|caught| println!("{}: caught by {caught}", bug.name())),
            Err(error) => {
                missed += 1;
                println!("{}: MISSED: {error}", bug.name());
            }
        }
    }
    println!("{} of {} bugs caught", orch_core::seeded::Bug::ALL.len() - missed, orch_core::seeded::Bug::ALL.len());
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

#[cfg(not(feature = "seeded-bugs"))]
fn bugs(_seeds: u64) -> ExitCode {
    failed("this build has no bugs on purpose: cargo run --release -p orch-sim --features seeded-bugs -- bugs")
}

/// Runs one seed twice.
fn replay(options: &Options) -> ExitCode {
    let first = world::run(options);
    let second = world::run(&Options { trace: false, ..options.clone() });
    match (first, second) {
        (Ok(first), Ok(second)) => {
            println!(
                "seed {}: {} steps, {} starts, {} records, {} answers told, hash {}",
                options.seed, first.steps, first.starts, first.records, first.told, first.hash
            );
            print!("{}", checker::describe(&first.violations));
            if first.hash != second.hash {
                println!("the second run of the seed was another one: hash {}", second.hash);
                return ExitCode::FAILURE;
            }
            if first.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        (Err(error), _) | (_, Err(error)) => {
            eprintln!("{error}");
            ExitCode::from(2)
        }
    }
}

fn run_many(from: u64, count: u64, faults: &[FaultKind], trace: bool) -> ExitCode {
    let started = Instant::now();
    let (mut steps, mut records, mut told, mut starts, mut failed) = (0, 0, 0, 0, 0);
    let known = seeds::known();
    let all = known.iter().copied().chain(from..from.saturating_add(count));
    let total = known.len() as u64 + count;
    for (n, seed) in (1_u64..).zip(all) {
        let options = Options { faults: faults.to_vec(), trace, ..Options::new(seed) };
        match world::run(&options) {
            Ok(outcome) => {
                steps += outcome.steps;
                records += outcome.records;
                told += outcome.told;
                starts += outcome.starts;
                if !outcome.violations.is_empty() {
                    failed += 1;
                    println!("\nseed {seed} fails:\n{}", checker::describe(&outcome.violations));
                    println!("replay it: {}", seeds::command(&options));
                }
            }
            Err(error) => {
                eprintln!("seed {seed}: {error}");
                return ExitCode::from(2);
            }
        }
        if n.is_multiple_of(50) || n == total {
            print!("\r{n} of {total} seeds, {failed} failed, {:.0} s ", started.elapsed().as_secs_f64());
            let _ = std::io::stdout().flush();
        }
    }
    println!(
        "\n{total} seeds, {failed} failed: {steps} steps, {records} records, {told} answers told, {starts} starts of the \
         orchestrator in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn check(data: &std::path::Path, told: &std::path::Path) -> ExitCode {
    let told = match AcknowledgedLog::read(told) {
        Ok(told) => told,
        Err(error) => {
            eprintln!("failed to read {}: {error}", told.display());
            return ExitCode::from(2);
        }
    };
    let violations = checker::check_dir(data, &told);
    print!("{}", checker::describe(&violations));
    println!("{} answers checked, {} violations", told.len(), violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

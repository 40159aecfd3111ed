//! `orch-sim`: runs seeds of the simulation, and checks ledgers against what clients were told.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use clap::{Parser, Subcommand};
use orch_sim::checker::{self, AcknowledgedLog};
use orch_sim::cores;
use orch_sim::scenario::{resend, steps};
use orch_sim::seeds;
use orch_sim::world::{self, FaultKind, Options, Outcome, Target};

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
            let bug = bug.and_then(|name| orch_core::seeded::Bug::ALL.into_iter().find(|bug| bug.name() == name));
            let run = |options: &Options| {
                #[cfg(feature = "seeded-bugs")]
                let _bug = orch_core::seeded::turn_on(bug);
                world::run(options)
            };
            let all = only.is_empty() && aim.is_none();
            let faults = if all { FaultKind::ALL.to_vec() } else { only };
            match seed {
                Some(seed) => replay(&Options { faults, target: aim, trace, ..Options::new(seed) }, run),
                None => run_many(from, seeds, if trace { 1 } else { cores::count() }, |seed| {
                    let options = Options { faults: faults.clone(), trace, ..Options::new(seed) };
                    let outcome = run(&options);
                    (options, outcome)
                }),
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
fn replay(options: &Options, run: impl Fn(&Options) -> Result<Outcome, String>) -> ExitCode {
    let first = run(options);
    let second = run(&Options { trace: false, ..options.clone() });
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

/// Runs the committed seeds and then these, on so many threads.
fn run_many(
    from: u64,
    count: u64,
    threads: usize,
    run: impl Fn(u64) -> (Options, Result<Outcome, String>) + Sync,
) -> ExitCode {
    let started = Instant::now();
    let known = seeds::known();
    let (known_count, total) = (known.len() as u64, known.len() as u64 + count);
    let sum = Mutex::new(Sum::default());
    let in_all = || sum.lock().unwrap_or_else(PoisonError::into_inner);
    cores::on_all(threads, |n| {
        if n >= total || in_all().broken {
            return false;
        }
        let committed = usize::try_from(n).ok().and_then(|n| known.get(n).copied());
        let seed = committed.unwrap_or_else(|| from.saturating_add(n - known_count));
        let (options, outcome) = run(seed);
        let mut sum = in_all();
        sum.take(&options, outcome);
        if sum.seeds.is_multiple_of(50) || sum.seeds == total {
            let seconds = started.elapsed().as_secs_f64();
            print!("\r{} of {total} seeds, {} failed, {seconds:.0} s ", sum.seeds, sum.failed);
            let _ = std::io::stdout().flush();
        }
        true
    });
    let Sum { seeds, failed, broken, steps, records, told, starts } = sum.into_inner().unwrap_or_default();
    if broken {
        return ExitCode::from(2);
    }
    println!(
        "\n{seeds} seeds, {failed} failed: {steps} steps, {records} records, {told} answers told, {starts} starts of the \
         orchestrator in {:.1} s",
        started.elapsed().as_secs_f64()
    );
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// What many runs came to.
#[derive(Default)]
struct Sum {
    seeds: u64,
    failed: u64,
    /// One could not be run at all.
    broken: bool,
    steps: u64,
    records: u64,
    told: usize,
    starts: u64,
}

impl Sum {
    fn take(&mut self, options: &Options, outcome: Result<Outcome, String>) {
        let outcome = match outcome {
            Ok(outcome) => outcome,
            Err(error) => {
                eprintln!("seed {}: {error}", options.seed);
                self.broken = true;
                return;
            }
        };
        self.seeds += 1;
        self.steps += outcome.steps;
        self.records += outcome.records;
        self.told += outcome.told;
        self.starts += outcome.starts;
        if !outcome.violations.is_empty() {
            self.failed += 1;
            println!("\nseed {} fails:\n{}", options.seed, checker::describe(&outcome.violations));
            println!("replay it: {}", seeds::command(options));
        }
    }
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

//! Runs fuzz targets on seeded mutations, or on one input: `cargo run --release -p orch-fuzz -- --help`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use clap::Parser;
use orch_fuzz::{Random, TARGETS, Target, run, target};

/// Malformed and hostile input for every parser and call of Orch
#[derive(Debug, Parser)]
#[command(after_help = "Examples:\n  orch-fuzz --cases 1000000\n  orch-fuzz recovery --cases 200000 --seed 7\n  \
    orch-fuzz line --input fuzz/failures/line-1f2e3d4c")]
struct Args {
    /// One target; without it, all of them
    target: Option<String>,

    /// How many mutations, of all targets together
    #[arg(long, default_value_t = 50_000)]
    cases: u64,

    /// The same seed gives the same inputs
    #[arg(long, default_value_t = 1)]
    seed: u64,

    /// Runs this file only
    #[arg(long, value_name = "FILE", requires = "target")]
    input: Option<PathBuf>,

    /// Writes 64 samples of the target into this folder, for coverage-guided runs to begin with
    #[arg(long, value_name = "DIR", requires = "target", conflicts_with = "input")]
    samples: Option<PathBuf>,

    /// Where inputs that fail are put
    #[arg(long, value_name = "DIR", default_value = "fuzz/failures")]
    failures: PathBuf,
}

#[allow(clippy::print_stderr, clippy::print_stdout)]
fn main() -> ExitCode {
    let Args { target: name, cases, seed, input, samples, failures } = Args::parse();
    let chosen: Vec<(&'static Target, u64)> = match &name {
        None => run::shares(cases).collect(),
        Some(name) => match target(name) {
            Some(target) => vec![(target, cases)],
            None => {
                let names: Vec<&str> = TARGETS.iter().map(|target| target.name).collect();
                eprintln!("error: there is no target {name}; there are {}", names.join(", "));
                return ExitCode::from(2);
            }
        },
    };
    if let (Some(file), [(target, _)]) = (&input, chosen.as_slice()) {
        let bytes = match std::fs::read(file) {
            Ok(bytes) => bytes,
            Err(error) => {
                eprintln!("error: cannot read {}: {error}", file.display());
                return ExitCode::from(2);
            }
        };
        // Without a net: a debugger and a backtrace see the panic itself.
        (target.check)(&bytes);
        println!("{}: {} bytes, nothing wrong", target.name, bytes.len());
        return ExitCode::SUCCESS;
    }
    if let (Some(folder), [(target, _)]) = (&samples, chosen.as_slice()) {
        let mut random = Random::new(seed);
        let mut write = |n: u32| std::fs::write(folder.join(format!("sample-{n}")), (target.sample)(&mut random));
        return match std::fs::create_dir_all(folder).and_then(|()| (0..64).try_for_each(&mut write)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("error: cannot write to {}: {error}", folder.display());
                ExitCode::FAILURE
            }
        };
    }
    for (target, cases) in chosen {
        let started = Instant::now();
        match run::target(target, cases, seed, &failures) {
            Ok(run::Summary { kept, cases, slowest }) => println!(
                "{:<10} {kept:>4} kept, {cases:>8} mutations, {:>6.1} s, slowest {:.1} ms",
                target.name,
                started.elapsed().as_secs_f64(),
                slowest.as_secs_f64() * 1e3
            ),
            Err(failure) => {
                eprintln!("error: {failure}");
                return ExitCode::FAILURE;
            }
        }
    }
    ExitCode::SUCCESS
}

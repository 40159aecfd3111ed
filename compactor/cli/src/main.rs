//! The compactor command: ledger in, clean data set out.
//!
//! All the work is in `orch-compactor`; here are arguments, the progress bar, the counts, and Parquet.

mod args;
mod parquet;
mod progress;
mod report;
mod run;
mod size;

use std::process::ExitCode;

use clap::Parser as _;

use args::Args;
use run::Outcome;

fn main() -> ExitCode {
    let args = Args::parse();
    match run::run(&args) {
        Ok(Outcome::Done) => ExitCode::SUCCESS,
        // `compactor DATA - | head`: the reader has what it wanted.
        Ok(Outcome::ReaderLeft) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `orch-sim`: checks a ledger against what clients were told.

use std::path::PathBuf;
use std::process::ExitCode;

use orch_sim::checker::{self, AcknowledgedLog};

fn main() -> ExitCode {
    let mut args = std::env::args_os().skip(1).map(PathBuf::from);
    let (Some(data), Some(told), None) = (args.next(), args.next(), args.next()) else {
        eprintln!("usage: orch-sim DATA_DIRECTORY ACKNOWLEDGED.jsonl");
        return ExitCode::from(2);
    };
    let told = match AcknowledgedLog::read(&told) {
        Ok(told) => told,
        Err(error) => {
            eprintln!("failed to read {}: {error}", told.display());
            return ExitCode::from(2);
        }
    };
    let violations = checker::check_dir(&data, &told);
    print!("{}", checker::describe(&violations));
    println!("{} answers checked, {} violations", told.len(), violations.len());
    if violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

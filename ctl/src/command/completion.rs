//! `orchctl completion`.

use clap::CommandFactory as _;

use crate::args::{Cli, CompletionArgs};
use crate::exit::{Exit, Failure};
use crate::output;

/// Prints the script of a shell.
pub fn run(args: &CompletionArgs) -> Result<Exit, Failure> {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "orchctl", &mut script);
    output::emit(&String::from_utf8_lossy(&script))?;
    Ok(Exit::Done)
}

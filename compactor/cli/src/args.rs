//! The command line.

use std::path::PathBuf;

use clap::builder::styling::{AnsiColor, Styles};
use clap::{Parser, ValueEnum};
use orch_core::id::{ContractRef, Seq};

use crate::size;

const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

const EXAMPLES: &str = "\
Examples:
  compactor data merged_clean.jsonl              every accepted candidate, clean and sorted
  compactor data zeros.parquet --format parquet  the same as a table for pandas, DuckDB, Spark
  compactor data - | head                        to standard output
  compactor data out.jsonl --provenance          with who found it, in which job, at which record
  compactor data out.jsonl --until 120000        as the ledger was after record 120000: the same bytes for ever
  compactor data out.jsonl --contract zeros@2    one contract's candidates only
  compactor /big/data out.jsonl --memory 2GiB --tmp /scratch

Output:
  One candidate a line, in canonical JSON, sorted by contract, version and identity. Candidates of several contracts
  stand in the same file, one contract after the other; --contract takes one of them. The same ledger gives the same
  bytes, whoever found what and when, and whatever --memory is.

  OUT has its name only once it is whole and safe on the disk; until then, and after any error, an older OUT is as it
  was.

Exit codes:
  0  done     1  failed: the message names the place and what to do     2  wrong usage";

/// Takes a clean, sorted, reproducible data set out of a ledger.
///
/// Reads LEDGER, checks the whole chain while it reads, and writes every accepted candidate to OUT. It may be used
/// beside a running orchestrator: it takes no lock, changes nothing, and reads as far as the ledger is durable.
#[derive(Debug, Parser)]
#[command(name = "compactor", version, styles = STYLES, after_long_help = EXAMPLES, after_help = "See --help for examples.")]
pub struct Args {
    /// The data directory of an orchestrator, or the folder `ledger` in it
    pub ledger: PathBuf,

    /// The file to write; `-` is standard output
    pub out: PathBuf,

    /// Add seq, job, worker, attempt and digest to each candidate, under the key "_orch"
    ///
    /// Candidates that were imported from older files have no job, worker and attempt (null), but the number of
    /// their import.
    #[arg(long)]
    pub provenance: bool,

    /// Take records up to this one (its seq) only
    #[arg(long, value_name = "SEQ", value_parser = parse_seq)]
    pub until: Option<Seq>,

    /// Take this contract's candidates only
    #[arg(long, value_name = "NAME@VERSION")]
    pub contract: Option<ContractRef>,

    /// How OUT is written
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    pub format: Format,

    /// About how much memory to sort with; what does not fit goes to a temporary file
    #[arg(long, value_name = "SIZE", default_value = "256MiB", value_parser = parse_memory, env = "ORCH_COMPACTOR_MEMORY")]
    pub memory: usize,

    /// Where temporary files lie [default: beside OUT, or the system's place if OUT is `-`]
    ///
    /// They have no names, and are gone when the command ends, however it ends.
    #[arg(long, value_name = "DIR", env = "ORCH_COMPACTOR_TMP")]
    pub tmp: Option<PathBuf>,

    /// How the counts are printed
    #[arg(short, long, value_enum, default_value_t = Report::Table)]
    pub output: Report,

    /// Print neither progress nor counts
    #[arg(short, long)]
    pub quiet: bool,
}

/// How the data set is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// JSON lines
    Jsonl,
    /// Apache Parquet, with a column for each field
    Parquet,
}

/// How the counts are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// For people
    Table,
    /// One JSON object
    Json,
}

/// The least memory that makes sense: a longest line and a few windows to merge with.
const LEAST_MEMORY: usize = 4 << 20;

fn parse_memory(text: &str) -> Result<usize, String> {
    let bytes = size::parse(text)?;
    if bytes < LEAST_MEMORY {
        return Err(format!("{text} is too little to sort with: give at least {}", size::show(LEAST_MEMORY as u64)));
    }
    Ok(bytes)
}

fn parse_seq(text: &str) -> Result<Seq, String> {
    match text.parse() {
        Ok(seq) if seq > 0 => Ok(Seq(seq)),
        Ok(_) | Err(_) => Err(format!("{text:?} is not the seq of a record: write a whole number from 1")),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }
}

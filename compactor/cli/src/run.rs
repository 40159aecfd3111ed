//! From arguments to a data set.

use std::io::{self, BufWriter, IsTerminal as _, Write as _};
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};
use clap::CommandFactory as _;
use clap::error::ErrorKind;
use orch_compactor::{CompactError, Options, OutputError, Summary, compact, create_apart, locate, read};

use crate::args::{Args, Format};
use crate::parquet;
use crate::progress::Bar;
use crate::report::Told;

/// How it ended, if not in an error.
pub enum Outcome {
    /// The data set was written.
    Done,
    /// Whoever read standard output has gone.
    ReaderLeft,
}

/// Does what the arguments say.
///
/// # Errors
/// Whatever went wrong, with its causes.
pub fn run(args: &Args) -> Result<Outcome> {
    let to_stdout = args.out == Path::new("-");
    if to_stdout && args.format == Format::Parquet {
        usage("a Parquet file cannot go to standard output: name a file");
    }
    let started = Instant::now();
    // A bar and lines on the same terminal would only garble each other.
    let garbled = to_stdout && io::stdout().is_terminal();
    let mut bar = Bar::new(!args.quiet && !garbled);
    let options = Options {
        until: args.until,
        contract: args.contract.clone(),
        provenance: args.provenance,
        memory: args.memory,
        tmp: args.tmp.clone(),
    };
    let written = match args.format {
        Format::Jsonl if to_stdout => stream(&args.ledger, options, &mut bar),
        Format::Jsonl => compact(&args.ledger, &args.out, &options, &mut |p| bar.show(p)).map_err(Into::into),
        Format::Parquet => table(&args.ledger, &args.out, options, &mut bar),
    };
    bar.end();
    let summary = match written {
        Err(error) if to_stdout && is_broken_pipe(&error) => return Ok(Outcome::ReaderLeft),
        written => written?,
    };
    if !args.quiet {
        let seconds = (started.elapsed().as_secs_f64() * 1e3).round() / 1e3;
        let told = Told { summary: &summary, out: &args.out, format: args.format, seconds };
        tell(&told.text(args.output), to_stdout)?;
    }
    Ok(Outcome::Done)
}

/// The counts go where the data set does not.
fn tell(text: &str, to_stderr: bool) -> Result<()> {
    let told =
        if to_stderr { io::stderr().write_all(text.as_bytes()) } else { io::stdout().write_all(text.as_bytes()) };
    match told {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error).context("failed to print the counts"),
        Ok(()) | Err(_) => Ok(()),
    }
}

fn stream(ledger: &Path, options: Options, bar: &mut Bar) -> Result<Summary> {
    let sorted = read(ledger, options, &mut |p| bar.show(p))?.finish()?;
    let mut out = BufWriter::with_capacity(256 << 10, io::stdout().lock());
    Ok(sorted.write_jsonl(&mut out, Path::new("-"), &mut |p| bar.show(p))?)
}

fn table(ledger: &Path, out: &Path, options: Options, bar: &mut Bar) -> Result<Summary> {
    let data = locate(ledger)?;
    let mut file = create_apart(&data, out)?;
    let tmp = options.tmp.clone().unwrap_or_else(|| file.dir().to_owned());
    let sorted = read(&data, Options { tmp: Some(tmp.clone()), ..options }, &mut |p| bar.show(p))?.finish()?;
    let summary = parquet::write(sorted, &tmp, &mut file, &mut |p| bar.show(p))
        .with_context(|| format!("failed to write {}", out.display()))?;
    file.commit()?;
    Ok(summary)
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    match error.downcast_ref::<CompactError>() {
        Some(CompactError::Output(OutputError::Io { source, .. })) => source.kind() == io::ErrorKind::BrokenPipe,
        Some(_) | None => false,
    }
}

/// Ends the process as clap does for arguments that it refuses itself.
fn usage(message: &str) -> ! {
    Args::command().error(ErrorKind::ArgumentConflict, message).exit()
}

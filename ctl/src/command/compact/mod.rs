//! `orchctl compact`: the clean data set, from a ledger on disk or over the wire.

mod phases;
mod remote;

use std::io::BufWriter;
use std::path::{Path, PathBuf};
use std::time::Instant;

use orch_compactor::{AtomicFile, CompactError, Compactor, Options, OutputError, Summary};
use orch_core::id::Seq;

use crate::args::CompactArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::view::CompactView;

use phases::Phases;

/// Writes the data set and says what it came to.
pub async fn run(context: &Context, args: CompactArgs) -> Result<Exit, Failure> {
    let CompactArgs { out, dir, provenance, until, contract, memory, tmp } = args;
    let options = Options { until: until.map(Seq), contract, provenance, memory: memory.0, tmp };
    let started = Instant::now();
    let phases = Phases::new(context.bars.clone());
    let summary = match dir {
        Some(dir) => {
            blocking({
                let out = out.clone();
                move || from_dir(&dir, &out, options, phases)
            })
            .await?
        }
        None => remote::run(context, out.clone(), options, phases).await?,
    };
    let view = CompactView::new(out.display().to_string(), summary, started.elapsed().as_secs_f64());
    if is_stdout(&out) {
        // The counts go where the data set does not.
        context.note(output::render(&view, crate::args::Format::Table, &context.page())?.trim_end());
    } else {
        context.print(&view)?;
    }
    Ok(Exit::Done)
}

fn is_stdout(out: &Path) -> bool {
    out == Path::new("-")
}

/// Reads the files up to the durable head, beside a running orchestrator too.
fn from_dir(dir: &Path, out: &Path, options: Options, mut phases: Phases) -> Result<Summary, Failure> {
    let progress = &mut |progress| phases.show(progress);
    if is_stdout(out) {
        let compactor = orch_compactor::read(dir, options, progress).map_err(|error| failed(error, out))?;
        return write(compactor, out, None, &mut phases);
    }
    orch_compactor::compact(dir, out, &options, progress).map_err(|error| failed(error, out))
}

/// Where a data set goes: a file that gets its name at the end, or standard output.
fn begin(out: &Path) -> Result<Option<AtomicFile>, Failure> {
    if is_stdout(out) {
        return Ok(None);
    }
    AtomicFile::create(out).map(Some).map_err(|error| failed(error.into(), out))
}

/// Sorts what was read and writes it.
fn write(compactor: Compactor, out: &Path, file: Option<AtomicFile>, phases: &mut Phases) -> Result<Summary, Failure> {
    let progress = &mut |progress| phases.show(progress);
    let finish = || {
        let sorted = compactor.finish()?;
        match file {
            Some(mut file) => {
                let summary = sorted.write_jsonl(&mut file, out, progress)?;
                file.commit()?;
                Ok(summary)
            }
            None => {
                let mut stdout = BufWriter::with_capacity(256 << 10, std::io::stdout());
                sorted.write_jsonl(&mut stdout, out, progress)
            }
        }
    };
    finish().map_err(|error: CompactError| failed(error, out))
}

/// What a compaction that failed means here.
fn failed(error: CompactError, out: &Path) -> Failure {
    if let CompactError::Output(OutputError::Io { source, .. }) = &error
        && is_stdout(out)
        && source.kind() == std::io::ErrorKind::BrokenPipe
    {
        return Failure::silent(Exit::Done);
    }
    let (exit, fix) = match &error {
        CompactError::NotALedger(_) => (Exit::NotFound, "name an orchestrator's data directory"),
        CompactError::NoSuchContract { .. } => (Exit::NotFound, "name one of those with --contract"),
        CompactError::Until { .. } => (Exit::Usage, "leave --until out, or name a record that is there"),
        CompactError::Follow(_) | CompactError::Damaged { .. } | CompactError::Cut { .. } => {
            (Exit::Error, "verify the ledger where it lies: `orchctl ledger verify DIR`")
        }
        CompactError::Contract { .. }
        | CompactError::Unregistered { .. }
        | CompactError::NoSuchLease { .. }
        | CompactError::Twice { .. } => (Exit::Error, "use the orchctl of the version that wrote the ledger"),
        CompactError::ReservedKey { .. } => (Exit::Error, "leave --provenance out"),
        CompactError::Sort(_) => (Exit::Error, "give a directory with free space with --tmp"),
        CompactError::Output(_) => (Exit::Error, "name a file that can be written"),
    };
    Failure::new(exit, "no data set was written").fix(fix).because(error)
}

/// Work that blocks, off the runtime's threads.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T, Failure> + Send + 'static) -> Result<T, Failure> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(Failure::error("the compaction ended badly").because(error)))
}

/// The temporary files lie beside the output, which surely has room for them.
fn beside(out: &Path, file: Option<&AtomicFile>, tmp: Option<PathBuf>) -> Option<PathBuf> {
    let dir = file.map(|file| file.dir().to_owned()).filter(|_| !is_stdout(out));
    tmp.or(dir)
}

//! From a ledger's files to an output file.

use std::io;
use std::path::Path;

use orch_ledger::Fault;
use orch_ledger::disk::real::RealDir;
use orch_ledger::durable_head;
use orch_ledger::reader::{FollowError, Follower};
use orch_ledger::{Head, layout};

use orch_core::id::Seq;

use crate::compactor::Compactor;
use crate::error::CompactError;
use crate::options::Options;
use crate::output::{AtomicFile, OutputError};
use crate::source::{self, NotALedger};
use crate::summary::{Progress, Summary};

/// How many bytes are read between two reports of progress.
const REPORT_EVERY: u64 = 4 << 20;

/// Writes the data set of the ledger in `ledger` (a data directory, or the folder of segments in it) to `out`, as
/// JSON lines, atomically. An orchestrator may be running there.
///
/// # Errors
/// [`CompactError`]; what was at `out` before is there still.
pub fn compact(
    ledger: &Path,
    out: &Path,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Summary, CompactError> {
    let data = source::locate(ledger)?;
    // First, because an output that cannot be is better told before the ledger is read than after.
    let file = create_apart(&data, out)?;
    let tmp = options.tmp.clone().unwrap_or_else(|| file.dir().to_owned());
    read(&data, Options { tmp: Some(tmp), ..options.clone() }, progress)?.finish()?.save(file, progress)
}

/// Begins an output that is not among the files of the ledger in `data`.
///
/// # Errors
/// [`OutputError`].
pub fn create_apart(data: &Path, out: &Path) -> Result<AtomicFile, OutputError> {
    if source::is_of_ledger(data, out) {
        return Err(OutputError::OfLedger { path: out.to_owned() });
    }
    AtomicFile::create(out)
}

/// Reads the ledger in `ledger` into a compactor, up to what HEAD names as durable or to the end of the batch that
/// `options.until` lies in. It takes no lock and disturbs no orchestrator that is running there.
///
/// # Errors
/// [`CompactError`].
pub fn read(ledger: &Path, options: Options, progress: &mut dyn FnMut(Progress)) -> Result<Compactor, CompactError> {
    let data = &source::locate(ledger)?;
    let head = head(data)?;
    if let Some(until) = options.until.filter(|until| *until > head.seq) {
        return Err(CompactError::Until { until, last: head.seq });
    }
    let failed = |source| FollowError::Io { dir: data.clone(), file: layout::LEDGER.to_owned(), source };
    let total = source::bytes_until(data, options.until.unwrap_or(head.seq).min(head.seq)).map_err(failed)?;
    let mut compactor = Compactor::new(options);
    let mut follower = Follower::new(data, Seq(1));
    let (mut done, mut report_at) = (0, 0);
    while !compactor.has_enough()
        && let Some(line) = follower.next_line(head.seq)?
    {
        done += line.raw().len() as u64 + 1;
        compactor.push(&line).map_err(|error| error.in_dir(data))?;
        if done >= report_at {
            progress(Progress::Reading { done, total: total.max(done) });
            report_at = done + REPORT_EVERY;
        }
    }
    check_head(&compactor, &head).map_err(|error| error.in_dir(data))?;
    progress(Progress::Reading { done, total: done });
    Ok(compactor)
}

fn head(data: &Path) -> Result<Head, CompactError> {
    durable_head(&RealDir::new(data)).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => {
            NotALedger { path: data.to_owned(), found: "HEAD is gone, which says how far it is durable".to_owned() }
                .into()
        }
        io::ErrorKind::InvalidData => {
            CompactError::Damaged { seq: Seq(0), fault: Fault::HeadDamaged, dir: Some(data.to_owned()) }
        }
        _ => FollowError::Io { dir: data.to_owned(), file: layout::HEAD.to_owned(), source }.into(),
    })
}

/// The segments must lead to the very link that HEAD names.
fn check_head(compactor: &Compactor, head: &Head) -> Result<(), CompactError> {
    let link = compactor.link();
    if link.seq != head.seq || link == head.link() {
        return Ok(());
    }
    let (expected, found) = (head.chain.to_string(), link.chain.to_string());
    let fault = Fault::HeadDisagrees { batch: head.batch, what: "chain link", expected, found };
    Err(CompactError::Damaged { seq: head.seq, fault, dir: None })
}

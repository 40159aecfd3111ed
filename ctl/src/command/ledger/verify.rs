//! `orchctl ledger verify`.

use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use orch_ledger::{VerifyError, VerifyReport, verify};

use super::blocking;
use crate::args::LedgerVerifyArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::{Bar, Unit};
use crate::view::VerifyView;

/// Checks the ledger and prints what was found.
pub async fn run(context: &Context, args: LedgerVerifyArgs) -> Result<Exit, Failure> {
    let LedgerVerifyArgs { dir, threads } = args;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = threads.unwrap_or(cores).max(1);
    let bar = Arc::new(context.bars.start("verify", Some(0), Unit::Bytes));
    let started = Instant::now();
    let (shown, place) = (Arc::clone(&bar), dir.clone());
    let report = blocking(move || check(&place, threads, &shown)).await?;
    drop(bar);
    let view = VerifyView::new(dir.display().to_string(), report, started.elapsed().as_secs_f64());
    context.print(&view)?;
    if view.whole {
        return Ok(Exit::Done);
    }
    let places = view.findings.len();
    Err(Failure::error(format!("the ledger in {} is damaged in {places} places or more", dir.display())).fix(
        "keep the directory as it is, and restore a backup whose chain agrees (`orchctl restore`); without one, \
         `orchctl ledger repair` says what can be saved; docs/operating.md says more",
    ))
}

fn check(dir: &Path, threads: usize, bar: &Bar) -> Result<VerifyReport, Failure> {
    let progress = |done, total| {
        bar.set_total(total);
        bar.set(done);
    };
    verify(dir, threads, &progress).map_err(|error| {
        let exit = match &error {
            VerifyError::NoLedger { .. } => Exit::NotFound,
            VerifyError::Format { .. } | VerifyError::Io { .. } => Exit::Error,
        };
        let failure = Failure::new(exit, error.to_string());
        match error {
            VerifyError::NoLedger { .. } => {
                failure.fix("name an orchestrator's data directory, the one given as --data")
            }
            VerifyError::Format { .. } => failure.fix("use the orchctl of the version that wrote it"),
            VerifyError::Io { source, .. } => failure.because(source),
        }
    })
}

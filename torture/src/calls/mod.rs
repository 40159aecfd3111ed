//! Every system call of a fixed run fails or is the last: over the unmodified orchestrator, by strace.
//!
//! A plain trace of the run counts the calls on the data directory. Then, run by run, each of them kills the process or
//! gives an error, once or for good: in the making of a new directory and in the recovery of a crashed one ([`opening`]),
//! and in the engine's thread at work ([`working`]). Writes that the system cuts short are made by a limit on the size of
//! files ([`short`]): strace could only lie about them, for it cannot have a part of a write done.

mod opening;
mod plan;
mod scenario;
mod short;
pub mod strace;
mod working;

use std::path::Path;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::report::{Progress, Report};

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// Every so-manieth fault; 1: all.
    pub every: u64,
    /// How many short writes.
    pub short_writes: u64,
    /// Where to begin to count.
    pub seed: u64,
}

/// What every part needs.
struct Scene<'a> {
    binaries: &'a Binaries,
    folder: &'a Path,
    options: &'a Options,
    progress: &'a Progress,
}

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done, for example because there is no strace.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    strace::check()?;
    let mut report = Report::new("calls");
    let scene = Scene { binaries, folder, options, progress };
    working::run(&scene, &mut report).await?;
    opening::new_directory(&scene, &mut report).await?;
    opening::recovery(&scene, &mut report).await?;
    short::run(&scene, &mut report).await?;
    report.fact("every", options.every);
    report.fact("seed", options.seed);
    Ok(report)
}

/// Short forms, for tests.
///
/// # Errors
/// [`TortureError`].
pub async fn short_writes(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    let mut report = Report::new("short writes");
    short::run(&Scene { binaries, folder, options, progress }, &mut report).await?;
    Ok(report)
}

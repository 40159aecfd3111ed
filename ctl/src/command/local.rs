//! `orchctl local run`: a whole cluster in this process, from a manifest to its data set.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_local::{ClusterOptions, Ended, Kinds, LocalError, Progress, RunOptions};
use tokio_util::sync::CancellationToken;

use super::{input, submit};
use crate::args::{LocalCommand, LocalRunArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::{Bar, Unit};
use crate::view::{LocalRunView, span};

/// How often progress is shown on a terminal, and as a line elsewhere.
const EVERY: Duration = Duration::from_millis(250);
const LINE_EVERY: Duration = Duration::from_secs(10);

/// Runs the manifest and prints what it came to.
pub async fn run(context: &Context, command: LocalCommand) -> Result<Exit, Failure> {
    let LocalCommand::Run(LocalRunArgs { file, workers, data, out, worker_config, allow_any_filesystem }) = command;
    let manifest = input::text(&file)?;
    // Read here for the sake of errors that name the file and its lines, before anything is started.
    submit::parse_text(&file, &manifest)?;
    let workers = workers.or_else(|| std::thread::available_parallelism().ok()).unwrap_or(NonZeroUsize::MIN);
    let data = data.unwrap_or_else(|| default_data(&file));
    let kinds = worker_config.as_deref().map_or_else(|| Ok(Kinds::new()), worker_kinds)?;
    let cluster = ClusterOptions {
        data: data.clone(),
        workers,
        kinds,
        allow_any_filesystem,
        token: context.settings.token.value.clone(),
    };
    let options = RunOptions { cluster, manifest, out: out.clone(), every: EVERY };
    let interrupt = CancellationToken::new();
    let mut display = Display::new(context);
    let ran = orch_local::run(options, interrupt.clone(), |progress| display.show(progress));
    let summary = tokio::select! {
        ran = ran => ran,
        // A second signal ends the process where it is; what was acknowledged is in the ledger.
        exit = signals(context, &interrupt) => return exit,
    };
    drop(display);
    let summary = summary.map_err(|error| failed(error, &data))?;
    let ended = summary.ended;
    let texts = [&file, &data, &out].map(|path| path.display().to_string());
    let [file, data, out] = texts;
    context.print(&LocalRunView::new(file, data, out, workers.get(), summary))?;
    match ended {
        Ended::Done => Ok(Exit::Done),
        Ended::Failed => {
            context.complain("error: jobs failed; the data set holds what was accepted all the same");
            Ok(Exit::JobFailed)
        }
        Ended::Interrupted => {
            context.note("interrupted: the same command goes on from here");
            Ok(Exit::Interrupted)
        }
    }
}

/// What runs the kinds that are not built in.
fn worker_kinds(path: &Path) -> Result<Kinds, Failure> {
    orch_local::worker_kinds(path).map_err(|error| {
        Failure::usage("the worker's configuration has faults")
            .fix(format!("correct it; `worker config check --config {}` checks it again", path.display()))
            .because(error)
    })
}

/// A directory of its own for each manifest, the same at every run.
fn default_data(file: &Path) -> PathBuf {
    let name = file.file_stem().filter(|stem| *stem != "-").unwrap_or("stdin".as_ref());
    Path::new("orch-local").join(name)
}

/// The first signal interrupts the run, the second one ends it.
async fn signals(context: &Context, interrupt: &CancellationToken) -> Result<Exit, Failure> {
    use tokio::signal::unix::{SignalKind, signal};
    let cannot = |error| Failure::error("cannot listen for signals").because(error);
    let mut terminate = signal(SignalKind::terminate()).map_err(cannot)?;
    for first in [true, false] {
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = terminate.recv() => {}
        }
        interrupt.cancel();
        if first {
            context.note("stopping: what runs is given back (again to stop at once)");
        }
    }
    context.bars.clear();
    Ok(Exit::Interrupted)
}

/// How far it is: a bar on a terminal, a line now and then elsewhere.
struct Display<'a> {
    context: &'a Context,
    bar: Bar,
    last_line: Option<Instant>,
}

impl<'a> Display<'a> {
    fn new(context: &'a Context) -> Self {
        Self { context, bar: context.bars.start("jobs", Some(0), Unit::Told), last_line: None }
    }

    fn show(&mut self, progress: &Progress) {
        let Progress { open, leased: _, done, failed, cancelled, .. } = progress;
        let (ended, text) = (done + failed + cancelled, told(progress));
        self.bar.set_total(ended + open);
        self.bar.set(ended);
        self.bar.say(if *open == 0 { "verifying the ledger, writing the data set".to_owned() } else { text.clone() });
        if !self.context.bars.visible() && self.last_line.is_none_or(|last| last.elapsed() >= LINE_EVERY) {
            self.last_line = Some(Instant::now());
            self.context.note(&format!("{ended} of {} jobs, {text}", ended + open));
        }
    }
}

fn told(progress: &Progress) -> String {
    let Progress { failed, accepted, duplicate, rejected, accepted_per_second, remaining, .. } = progress;
    let failed = if *failed > 0 { format!(", {failed} jobs failed") } else { String::new() };
    // What is least missed stands last, where a narrow terminal cuts it off.
    let eta = remaining.map(|left| format!("eta {}, ", span(left.into()))).unwrap_or_default();
    format!("{eta}{accepted} accepted ({accepted_per_second:.0}/s){failed}, {duplicate} duplicate, {rejected} rejected")
}

/// What a run that could not go on means here.
fn failed(error: LocalError, data: &Path) -> Failure {
    let data = data.display();
    let (exit, fix) = match &error {
        LocalError::Manifest(_) => {
            (Exit::Usage, "correct these places; docs/manifests.md shows what a manifest looks like".to_owned())
        }
        LocalError::Start(_) => {
            (Exit::Error, format!("another run may be using {data}; wait for it, or give another --data DIR"))
        }
        LocalError::Refused(_) => {
            (Exit::Error, "what was accepted is kept; the same command goes on from here".to_owned())
        }
        LocalError::Stop(_) => {
            (Exit::Error, format!("nothing acknowledged is lost; `orchctl ledger verify {data}` checks it"))
        }
        LocalError::Verify(_) | LocalError::Damaged(_) => {
            (Exit::Error, format!("keep {data} as it is; `orchctl ledger verify {data}` lists every finding"))
        }
        LocalError::Compact(_) => {
            (Exit::Error, format!("the ledger is whole; try again with `orchctl compact {data} --out FILE`"))
        }
    };
    Failure::new(exit, "the local run did not end well").fix(fix).because(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_manifest_has_its_own_place() {
        assert_eq!(default_data(Path::new("examples/zeta-zeros.yaml")), Path::new("orch-local/zeta-zeros"));
        assert_eq!(default_data(Path::new("-")), Path::new("orch-local/stdin"));
    }

    #[test]
    fn progress_is_told_in_a_line() {
        let progress = Progress {
            accepted: 5000,
            accepted_per_second: 2500.4,
            remaining: Some(Duration::from_secs(61)),
            ..Progress::default()
        };
        assert_eq!(told(&progress), "eta 1m1s, 5000 accepted (2500/s), 0 duplicate, 0 rejected");
    }
}

//! `orchctl backup`: a verified copy of the ledger, from files or over the wire.

mod remote;

use std::path::Path;
use std::time::Instant;

use orch_ledger::backup::{BackedUp, BackupError, copy};

use super::ledger::blocking;
use crate::args::BackupArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::{Bar, Unit};
use crate::view::BackupView;

/// Makes or extends a backup and prints where it stands.
pub async fn run(context: &Context, args: BackupArgs) -> Result<Exit, Failure> {
    let BackupArgs { dir, to } = args;
    let started = Instant::now();
    let bar = context.bars.start("backup", Some(0), Unit::Things);
    let place = to.clone();
    let done = match dir {
        Some(dir) => blocking(move || from_dir(&dir, &place, &bar)).await?,
        None => remote::run(context, place, bar).await?,
    };
    context.print(&BackupView::new(to.display().to_string(), done, started.elapsed().as_secs_f64()))?;
    Ok(Exit::Done)
}

fn from_dir(dir: &Path, to: &Path, bar: &Bar) -> Result<BackedUp, Failure> {
    let same = dir.canonicalize().is_ok_and(|dir| to.canonicalize().is_ok_and(|to| dir == to));
    if same {
        return Err(Failure::usage(format!("{} cannot be its own backup", dir.display()))
            .fix("name another directory with --to, best on another disk"));
    }
    let mut progress = |done, total| {
        bar.set_total(total);
        bar.set(done);
    };
    copy(dir, to, &mut progress).map_err(|error| failed(error, to))
}

/// What a backup that failed means here.
fn failed(error: BackupError, to: &Path) -> Failure {
    const ANEW: &str = "make a new backup in an empty directory";
    let (exit, fix) = match &error {
        BackupError::NoLedger { .. } => {
            (Exit::NotFound, "name an orchestrator's data directory, the one given as --data".to_owned())
        }
        BackupError::Source { refusal } => (Exit::Error, format!("run next: {}", refusal.next_command())),
        BackupError::Follow(_) | BackupError::Line { .. } => {
            (Exit::Error, "verify the ledger where it lies: `orchctl ledger verify DIR`".to_owned())
        }
        BackupError::Locked { .. } => (Exit::Error, "wait for the other backup, or name another directory".to_owned()),
        BackupError::NotABackup { .. } | BackupError::OtherLedger { .. } => {
            (Exit::Error, "name an empty directory, or a backup of this ledger".to_owned())
        }
        BackupError::Format { .. } => (Exit::Error, "use the orchctl of the version that wrote it".to_owned()),
        BackupError::Behind { .. } | BackupError::Diverged { .. } => {
            (Exit::Error, format!("keep that backup: it may hold what the ledger lost; {ANEW}"))
        }
        BackupError::Short { .. } => (Exit::Error, "run the command again to go on".to_owned()),
        BackupError::Damaged { .. } => (Exit::Error, format!("the disk of the backup has lost something; {ANEW}")),
        BackupError::Io { .. } => (Exit::Error, "run the command again to go on".to_owned()),
    };
    Failure::new(exit, format!("no backup was made in {}", to.display())).fix(fix).because(error)
}

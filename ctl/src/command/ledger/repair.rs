//! `orchctl ledger repair`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::record::Record;
use orch_core::state::State;
use orch_ledger::Position;
use orch_ledger::disk::real::RealDir;
use orch_ledger::repair::{Repair, RepairError, Signature};

use super::blocking;
use crate::args::{Format, LedgerRepairArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::view::RepairView;

/// Says what a repair would lose, and carries it out if that is accepted.
pub async fn run(context: &Context, args: LedgerRepairArgs) -> Result<Exit, Failure> {
    let LedgerRepairArgs { dir, to, accept_loss, dry_run } = args;
    let source = Arc::new(RealDir::new(&dir));
    let planning = Arc::clone(&source);
    let view = blocking(move || {
        let repair = plan(&planning)?;
        Ok(RepairView::new(planning_dir(&planning), repair.the_plan()))
    })
    .await?;
    let Some(to) = to.filter(|_| !dry_run) else {
        context.print(&view)?;
        return Ok(Exit::Done);
    };
    apart(&dir, &to)?;
    if !accept_loss {
        context.print(&view)?;
        return Err(Failure::error(format!(
            "the ledger in {} was not repaired: a repair loses records",
            dir.display()
        ))
        .fix(
            "look for a backup that reaches further (`orchctl restore`); if there is none and the loss above is \
                 acceptable, run this again with --accept-loss",
        ));
    }
    // What is about to be lost is said before it is; the result comes after.
    context.note(output::render(&view, Format::Table, &context.page())?.trim_end());
    let signature = Signature { at: context.now(), by: who() };
    let done = blocking(move || {
        // Planned anew under one hold of the lock.
        let repair = plan(&source)?;
        let view = RepairView::new(planning_dir(&source), repair.the_plan());
        let target = Arc::new(RealDir::new(&to));
        let repaired = repair.carry_out(target, signature).map_err(|error| failed(error, &dir))?;
        orch_ledger::secret::take_along(&dir, &to)
            .map_err(|error| Failure::error("the directory's secret could not be taken along").because(error))?;
        Ok(view.done(to.display().to_string(), repaired))
    })
    .await?;
    context.print(&done)?;
    Ok(Exit::Done)
}

fn planning_dir(source: &RealDir) -> String {
    orch_ledger::disk::Dir::path(source).display().to_string()
}

/// A record counts as good if the state can take it, as at a start.
fn plan(source: &RealDir) -> Result<Repair<'_>, Failure> {
    let mut state = State::default();
    let mut replay = |record: &Record, _: &Position| state.apply(record).map_err(|error| error.to_string());
    Repair::plan(source, &mut replay).map_err(|error| failed(error, orch_ledger::disk::Dir::path(source)))
}

/// The damaged directory is never written to, not even below.
fn apart(dir: &Path, to: &Path) -> Result<(), Failure> {
    let there = to.ancestors().find_map(|place| place.canonicalize().ok());
    let inside = dir.canonicalize().is_ok_and(|dir| there.is_some_and(|there| there.starts_with(dir)));
    if inside {
        return Err(Failure::usage(format!("{} lies in {}, which is left as it is", to.display(), dir.display()))
            .fix("name another directory with --to"));
    }
    Ok(())
}

/// For the record of the repair.
fn who() -> String {
    let user = ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|user| !user.is_empty());
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    format!("{} on {host}, orchctl {}", user.unwrap_or_else(|| "somebody".into()), env!("CARGO_PKG_VERSION"))
}

/// What a repair that failed means here.
fn failed(error: RepairError, dir: &Path) -> Failure {
    let (exit, fix) = match &error {
        RepairError::NoLedger { .. } => {
            (Exit::NotFound, "name an orchestrator's data directory, the one given as --data".to_owned())
        }
        RepairError::Locked { .. } => {
            (Exit::Error, "stop the orchestrator that runs on it: a running ledger needs no repair".to_owned())
        }
        RepairError::Whole { .. } => {
            (Exit::Error, "start the orchestrator on it; to copy it use `orchctl backup`".to_owned())
        }
        RepairError::Format { .. } => (Exit::Error, "use the orchctl of the version that wrote it".to_owned()),
        RepairError::Nothing { .. } => (Exit::Error, "restore a backup: `orchctl restore`".to_owned()),
        RepairError::NotEmpty { .. } => (Exit::Error, "name an empty or a new directory with --to".to_owned()),
        RepairError::Copy { .. } | RepairError::Io { .. } => {
            (Exit::Error, "remove what was copied, see to the disk, and run this again".to_owned())
        }
    };
    let dir: PathBuf = dir.to_owned();
    Failure::new(exit, format!("the ledger in {} was not repaired", dir.display())).fix(fix).because(error)
}

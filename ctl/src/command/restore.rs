//! `orchctl restore`: a data directory from a backup.

use std::path::Path;
use std::time::Instant;

use orch_ledger::backup::{RestoreError, restore};

use super::ledger::blocking;
use crate::args::RestoreArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::Unit;
use crate::view::RestoreView;

/// Restores a backup and says what is lost with it.
pub async fn run(context: &Context, args: RestoreArgs) -> Result<Exit, Failure> {
    let RestoreArgs { backup, to, expect_chain } = args;
    let started = Instant::now();
    let bar = context.bars.start("restore", Some(0), Unit::Things);
    let (from, place) = (backup.clone(), to.clone());
    let restored = blocking(move || {
        let mut progress = |done, total| {
            bar.set_total(total);
            bar.set(done);
        };
        restore(&from, &place, expect_chain, &mut progress).map_err(|error| failed(error, &place))
    })
    .await?;
    let (from, to) = (backup.display().to_string(), to.display().to_string());
    context.print(&RestoreView::new(from, to, restored, started.elapsed().as_secs_f64()))?;
    Ok(Exit::Done)
}

/// What a restoration that failed means here.
fn failed(error: RestoreError, to: &Path) -> Failure {
    let (exit, fix) = match &error {
        RestoreError::NoBackup { .. } => (Exit::NotFound, "name a directory that `orchctl backup` made".to_owned()),
        RestoreError::Unfinished { .. } => {
            (Exit::Error, "finish it with `orchctl backup`, or restore an older one".to_owned())
        }
        RestoreError::InUse { .. } => (Exit::Error, "wait for the backup that is running".to_owned()),
        RestoreError::Damaged { refusal } => {
            let dir = refusal.dir.display();
            (Exit::Error, format!("restore an older one, or see what `orchctl ledger repair {dir}` can save"))
        }
        RestoreError::OtherChain { .. } => {
            (Exit::Error, "restore the backup that the link was noted for, or leave --expect-chain out".to_owned())
        }
        RestoreError::NotEmpty { .. } => {
            let away = "move what is there away, and keep it, or name another directory";
            (Exit::Error, format!("{away}; what an interrupted restore left can be removed"))
        }
        RestoreError::Format { .. } => (Exit::Error, "use the orchctl of the version that wrote it".to_owned()),
        RestoreError::Copy(_) | RestoreError::Io { .. } => {
            (Exit::Error, format!("remove what was copied to {} and run the command again", to.display()))
        }
    };
    Failure::new(exit, "nothing was restored").fix(fix).because(error)
}

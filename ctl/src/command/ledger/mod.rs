//! `orchctl ledger`.

mod cat;
mod filter;
mod head;
pub mod remote;
mod repair;
mod tail;
mod verify;
mod write;

use crate::args::LedgerCommand;
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// Runs one of the commands about the ledger.
pub async fn run(context: &Context, command: LedgerCommand) -> Result<Exit, Failure> {
    match command {
        LedgerCommand::Verify(args) => verify::run(context, args).await,
        LedgerCommand::Cat(args) => cat::run(context, args).await,
        LedgerCommand::Tail(args) => tail::run(context, args).await,
        LedgerCommand::Head(args) => head::run(context, args).await,
        LedgerCommand::Repair(args) => repair::run(context, args).await,
    }
}

/// What a failure to read the end of a ledger on disk means.
fn no_head(dir: &std::path::Path, error: std::io::Error) -> Failure {
    let exit = if error.kind() == std::io::ErrorKind::NotFound { Exit::NotFound } else { Exit::Error };
    Failure::new(exit, format!("cannot read the end of the ledger in {}", dir.display()))
        .fix(format!("name an orchestrator's data directory; `orchctl ledger verify {}` says more", dir.display()))
        .because(error)
}

/// Work that blocks on files, off the runtime's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let joined = tokio::task::spawn_blocking(work).await;
    joined.unwrap_or_else(|error| Err(Failure::error("reading the ledger ended badly").because(error)))
}

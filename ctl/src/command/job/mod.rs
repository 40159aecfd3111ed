//! `orchctl job`.

mod cancel;
mod explain;
mod list;
mod logs;
mod show;
mod wait;

use crate::args::JobCommand;
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// Runs one of the commands about jobs.
pub async fn run(context: &Context, command: JobCommand) -> Result<Exit, Failure> {
    match command {
        JobCommand::List(args) => list::run(context, args).await,
        JobCommand::Show(args) => show::run(context, &args).await,
        JobCommand::Explain(args) => explain::run(context, args).await,
        JobCommand::Cancel(args) => cancel::run(context, args).await,
        JobCommand::Wait(args) => wait::run(context, args).await,
        JobCommand::Logs(args) => logs::run(context, &args).await,
    }
}

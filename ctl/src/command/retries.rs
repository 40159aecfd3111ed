//! `orchctl retries`: the switch for every retry of the cluster.

use orch_proto::v1;

use crate::args::RetriesCommand;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::RetriesView;

/// Turns the switch.
pub async fn run(context: &Context, command: RetriesCommand) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let mut admin = client.admin();
    let view = match command {
        RetriesCommand::Pause { reason } => {
            let call = admin.pause_retries(v1::PauseRetriesRequest { reason });
            let v1::PauseRetriesResponse { changed, receipt } = client.unary("cannot pause retries", call).await?;
            RetriesView { paused: true, changed, seq: receipt.map(|receipt| receipt.seq) }
        }
        RetriesCommand::Resume => {
            let call = admin.resume_retries(v1::ResumeRetriesRequest {});
            let v1::ResumeRetriesResponse { changed, receipt } = client.unary("cannot resume retries", call).await?;
            RetriesView { paused: false, changed, seq: receipt.map(|receipt| receipt.seq) }
        }
    };
    context.print(&view)?;
    Ok(Exit::Done)
}

//! `orchctl ledger head`.

use orch_ledger::disk::real::RealDir;
use orch_ledger::durable_head;

use super::no_head;
use crate::args::LedgerHeadArgs;
use crate::command::stats;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::HeadView;

/// Prints where the ledger ends, on disk or at the server.
pub async fn run(context: &Context, args: LedgerHeadArgs) -> Result<Exit, Failure> {
    let view = match args.dir {
        Some(dir) => HeadView::from(durable_head(&RealDir::new(&dir)).map_err(|error| no_head(&dir, error))?),
        None => {
            let client = context.connect().await?;
            HeadView::from(stats::fetch(context, &client).await?.ledger)
        }
    };
    context.print(&view)?;
    Ok(Exit::Done)
}

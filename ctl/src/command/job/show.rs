//! `orchctl job show`.

use orch_proto::v1;

use crate::args::ShowArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::JobDetailView;

/// Prints everything about a job.
pub async fn run(context: &Context, args: &ShowArgs) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let mut admin = client.admin();
    let what = format!("cannot show job {}", args.job);
    let answer = client.unary(&what, admin.get_job(v1::GetJobRequest { job: args.job })).await?;
    context.print(&JobDetailView::try_from(answer).map_err(Failure::error)?)?;
    Ok(Exit::Done)
}

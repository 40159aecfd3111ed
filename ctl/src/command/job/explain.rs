//! `orchctl job explain`.

use orch_proto::v1;

use crate::args::ExplainArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::JobExplainedView;

/// Says why a job does not run.
pub async fn run(context: &Context, args: ExplainArgs) -> Result<Exit, Failure> {
    let ExplainArgs { job } = args;
    let client = context.connect().await?;
    let mut admin = client.admin();
    let call = admin.explain_job(v1::ExplainJobRequest { job });
    let answer = client.unary(&format!("cannot explain job {job}"), call).await?;
    context.print(&JobExplainedView::from(answer))?;
    Ok(Exit::Done)
}

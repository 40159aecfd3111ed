//! `orchctl retry-failed`.

use orch_proto::v1;

use crate::args::RetryFailedArgs;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::ActionView;

/// Puts failed jobs back, and prints which.
pub async fn run(context: &Context, args: RetryFailedArgs) -> Result<Exit, Failure> {
    let RetryFailedArgs { queue, kind, class, since, jobs, limit, dry_run } = args;
    let filter = v1::JobFilter {
        queue: queue.map(|queue| queue.to_string()).unwrap_or_default(),
        kind: kind.map(|kind| kind.to_string()).unwrap_or_default(),
        states: vec![v1::JobState::Failed.into()],
        jobs,
        failure_class: class.map(v1::FailureClass::from).unwrap_or_default().into(),
        since_unix_ms: since.map(|since| since.resolve(context.now()).0),
        ..v1::JobFilter::default()
    };
    let request = v1::RetryFailedRequest { filter: Some(filter), limit: limit.unwrap_or(0), dry_run };
    let client = context.connect().await?;
    let mut admin = client.admin();
    let answer = client.unary("cannot retry failed jobs", admin.retry_failed(request)).await?;
    let v1::RetryFailedResponse { retried, receipt: _ } = answer;
    context.print(&ActionView { action: "retried", dry_run, count: retried.len() as u64, jobs: retried })?;
    Ok(Exit::Done)
}

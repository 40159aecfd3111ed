//! `orchctl job wait`.

use std::time::Duration;

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;

use crate::args::WaitArgs;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::Unit;
use crate::view::{JobView, JobsView};

/// How long one call waits at the server.
const CALL: Duration = Duration::from_secs(20);

/// Waits, prints the jobs as they ended, and says how.
pub async fn run(context: &Context, args: WaitArgs) -> Result<Exit, Failure> {
    let WaitArgs { jobs, queue, timeout } = args;
    let client = context.connect().await?;
    let queue = queue.map(|queue| queue.to_string()).unwrap_or_default();
    let end = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout.duration()).await,
            None => std::future::pending().await,
        }
    };
    let ended = tokio::select! {
        ended = wait(context, &client, &jobs, &queue) => ended?,
        () = end => {
            let after = timeout.map(|timeout| timeout.to_string()).unwrap_or_default();
            return Err(Failure::new(Exit::Timeout, format!("not all jobs ended within {after}"))
                .fix("`orchctl job list` shows where they stand; wait again with a longer --timeout"));
        }
    };
    missing(&client, &jobs, &ended).await?;
    // A queue may have had millions of jobs: those that did not come to a good end are what is left to tell.
    let ended = if queue.is_empty() { ended } else { left_over(&client, queue).await? };
    let view = JobsView { jobs: ended.into_iter().map(JobView::from).collect(), next_after_job: None };
    context.print(&view)?;
    Ok(verdict(&view))
}

/// A job that is not among those that ended does not exist; the server says so in its own words.
async fn missing(client: &Client, wanted: &[u64], ended: &[v1::JobSummary]) -> Result<(), Failure> {
    let mut admin = client.admin();
    for job in wanted.iter().filter(|job| ended.iter().all(|found| found.job != **job)) {
        client.unary("cannot wait", admin.get_job(v1::GetJobRequest { job: *job })).await?;
    }
    Ok(())
}

/// The queue's failed jobs, then its cancelled ones, at most a page of each.
async fn left_over(client: &Client, queue: String) -> Result<Vec<v1::JobSummary>, Failure> {
    let mut jobs = Vec::new();
    for state in [v1::JobState::Failed, v1::JobState::Cancelled] {
        let filter = v1::JobFilter { queue: queue.clone(), states: vec![state.into()], ..v1::JobFilter::default() };
        let request = v1::ListJobsRequest { filter: Some(filter), limit: 0, after_job: 0 };
        let mut admin = client.admin();
        jobs.extend(client.unary("cannot list jobs", admin.list_jobs(request)).await?.jobs);
    }
    Ok(jobs)
}

/// A failed job outweighs a cancelled one.
fn verdict(view: &JobsView) -> Exit {
    let any = |state| view.jobs.iter().any(|job| job.state == state);
    match (any("failed"), any("cancelled")) {
        (true, _) => Exit::JobFailed,
        (false, true) => Exit::Cancelled,
        (false, false) => Exit::Done,
    }
}

async fn wait(context: &Context, client: &Client, jobs: &[u64], queue: &str) -> Result<Vec<v1::JobSummary>, Failure> {
    let bar = context.bars.start("open jobs", None, Unit::Things);
    let timeout = CALL.min(context.settings.call_timeout() / 2);
    let request = v1::WaitJobsRequest {
        jobs: jobs.to_vec(),
        queue: queue.to_owned(),
        timeout_ms: u64::try_from(timeout.as_millis()).unwrap_or(u64::MAX),
    };
    loop {
        let call = |mut admin: AdminServiceClient<_>| {
            let request = request.clone();
            async move { admin.wait_jobs(request).await }
        };
        let v1::WaitJobsResponse { ended, jobs, open } = client.patient("cannot wait", call).await?;
        if ended {
            return Ok(jobs);
        }
        bar.set(open);
    }
}

//! `orchctl job cancel`.

use orch_proto::convert::job_state_name;
use orch_proto::v1;

use super::list::wire_filter;
use crate::args::{CancelArgs, JobFilterArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::ActionView;

/// Cancels the jobs that are named or match.
pub async fn run(context: &Context, args: CancelArgs) -> Result<Exit, Failure> {
    let CancelArgs { jobs, filter, all, reason, dry_run } = args;
    if jobs.is_empty() && !all && is_empty(&filter) {
        return Err(Failure::usage("no job is named and no filter is given")
            .fix("name jobs, give a filter such as --queue, or say --all to cancel every open job"));
    }
    let named = jobs.clone();
    let filter = v1::JobFilter { jobs, ..wire_filter(filter, context.now()) };
    let client = context.connect().await?;
    let mut admin = client.admin();
    let request = v1::CancelJobsRequest { filter: Some(filter), reason, dry_run };
    let answer = client.unary("cannot cancel", admin.cancel_jobs(request)).await?;
    let v1::CancelJobsResponse { cancelled, receipt: _ } = answer;
    context.print(&ActionView {
        action: "cancelled",
        dry_run,
        count: cancelled.len() as u64,
        jobs: cancelled.clone(),
    })?;
    explain(context, &client, named.iter().filter(|job| !cancelled.contains(job))).await?;
    Ok(Exit::Done)
}

/// Says of jobs that were named and not cancelled where they stand; one that does not exist is an error.
async fn explain(context: &Context, client: &Client, jobs: impl Iterator<Item = &u64>) -> Result<(), Failure> {
    let mut admin = client.admin();
    for job in jobs {
        let answer = client.unary("cannot cancel", admin.get_job(v1::GetJobRequest { job: *job })).await?;
        let state = answer.summary.map_or("unknown", |summary| job_state_name(summary.state()));
        context.note(&format!("note: job {job} was not cancelled, its state is {state}"));
    }
    Ok(())
}

fn is_empty(filter: &JobFilterArgs) -> bool {
    let JobFilterArgs { queue, kind, states, worker, class, since, name, key, array } = filter;
    queue.is_none()
        && kind.is_none()
        && states.is_empty()
        && worker.is_none()
        && class.is_none()
        && since.is_none()
        && name.is_none()
        && key.is_none()
        && array.is_none()
}

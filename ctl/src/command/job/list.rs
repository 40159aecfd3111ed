//! `orchctl job list`.

use orch_core::time::Timestamp;
use orch_proto::v1;

use crate::args::{JobFilterArgs, ListArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{JobView, JobsView};

/// The most jobs of one page, as the server has it.
const PAGE: u64 = 10_000;

/// Prints the jobs that match.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let ListArgs { filter, limit, after } = args;
    let filter = wire_filter(filter, context.now());
    let wanted = if limit == 0 { u64::MAX } else { limit };
    let client = context.connect().await?;
    let mut admin = client.admin();
    let mut view = JobsView { jobs: Vec::new(), next_after_job: None };
    let mut after_job = after;
    loop {
        let page = PAGE.min(wanted - view.jobs.len() as u64);
        let request = v1::ListJobsRequest {
            filter: Some(filter.clone()),
            limit: u32::try_from(page).unwrap_or(u32::MAX),
            after_job,
        };
        let answer = client.unary("cannot list jobs", admin.list_jobs(request)).await?;
        view.jobs.extend(answer.jobs.into_iter().map(JobView::from));
        view.next_after_job = (answer.next_after_job != 0).then_some(answer.next_after_job);
        match view.next_after_job {
            Some(next) if (view.jobs.len() as u64) < wanted => after_job = next,
            Some(_) | None => break,
        }
    }
    context.print(&view)?;
    if let (Some(next), true) = (view.next_after_job, limit > 0) {
        context.note(&format!("note: there are more; --after {next} goes on, --limit 0 lists all"));
    }
    Ok(Exit::Done)
}

/// The filter that the arguments mean.
pub fn wire_filter(args: JobFilterArgs, now: Timestamp) -> v1::JobFilter {
    let JobFilterArgs { queue, kind, states, worker, class, since, name, key } = args;
    v1::JobFilter {
        queue: queue.map(|queue| queue.to_string()).unwrap_or_default(),
        kind: kind.map(|kind| kind.to_string()).unwrap_or_default(),
        states: states.into_iter().map(|state| v1::JobState::from(state).into()).collect(),
        worker: worker.map(|worker| worker.to_string()).unwrap_or_default(),
        jobs: Vec::new(),
        failure_class: class.map(v1::FailureClass::from).unwrap_or_default().into(),
        since_unix_ms: since.map(|since| since.resolve(now).0),
        name: name.unwrap_or_default(),
        idempotency_key: key.unwrap_or_default(),
    }
}

//! `orchctl job list`.

use orch_core::time::Timestamp;
use orch_proto::v1;

use crate::args::{Format, JobFilterArgs, ListArgs};
use crate::command::stats;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{JobView, JobsView, StatsView};

/// So many records behind the ledger the index is not just following it.
const MUCH_BEHIND: u64 = 100_000;

/// The most jobs of one page, as the server has it.
const PAGE: u64 = 10_000;

/// Prints the jobs that match.
pub async fn run(context: &Context, args: ListArgs) -> Result<Exit, Failure> {
    let ListArgs { filter, limit, after } = args;
    let filter = wire_filter(filter, context.now());
    let client = context.connect().await?;
    let mut admin = client.admin();
    // A line per job needs no end to begin with: pages go out as they come, and a million jobs take no memory.
    let streamed = matches!(context.format_or(Format::Table), Format::Jsonl | Format::Name);
    let mut view = JobsView { jobs: Vec::new(), next_after_job: None };
    let (mut after_job, mut left) = (after, if limit == 0 { u64::MAX } else { limit });
    loop {
        let request = v1::ListJobsRequest {
            filter: Some(filter.clone()),
            limit: u32::try_from(PAGE.min(left)).unwrap_or(u32::MAX),
            after_job,
        };
        let answer = client.unary("cannot list jobs", admin.list_jobs(request)).await?;
        left = left.saturating_sub(answer.jobs.len() as u64);
        view.jobs.extend(answer.jobs.into_iter().map(JobView::from));
        view.next_after_job = (answer.next_after_job != 0).then_some(answer.next_after_job);
        match view.next_after_job {
            Some(next) if left > 0 => after_job = next,
            Some(_) | None => break,
        }
        if streamed {
            context.print(&view)?;
            view.jobs.clear();
        }
    }
    context.print(&view)?;
    // Listings come from the index, which follows the ledger and may be on its way after a start.
    let stats = stats::fetch(context, &client).await?;
    if stats.index.applied_seq.saturating_add(MUCH_BEHIND) < stats.ledger.seq {
        let StatsView { index, ledger, .. } = &stats;
        context.complain(&format!(
            "warning: the index is at record {} of {}: jobs may be missing here; try again shortly",
            index.applied_seq, ledger.seq
        ));
    }
    if let (Some(next), true) = (view.next_after_job, limit > 0) {
        context.note(&format!("note: there are more; --after {next} goes on, --limit 0 lists all"));
    }
    Ok(Exit::Done)
}

/// The filter that the arguments mean.
pub fn wire_filter(args: JobFilterArgs, now: Timestamp) -> v1::JobFilter {
    let JobFilterArgs { queue, kind, states, worker, class, since, name, key, array } = args;
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
        array: array.unwrap_or_default(),
    }
}

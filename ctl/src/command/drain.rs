//! `orchctl run --drain`: waits until nothing is open.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::args::RunArgs;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::progress::Unit;
use crate::view::StatsView;

use super::stats;

/// How often the numbers are asked for: often at first, so that short work ends promptly.
const FIRST_WAIT: Duration = Duration::from_millis(50);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// How long jobs may wait without any live worker until a note says so.
const LONELY: Duration = Duration::from_secs(5);

/// Waits, then prints the numbers.
pub async fn run(context: &Context, args: &RunArgs) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    let queue = args.queue.as_ref().map(|queue| queue.as_str());
    let end = async {
        match args.timeout {
            Some(timeout) => sleep(timeout.duration()).await,
            None => std::future::pending().await,
        }
    };
    let last = tokio::select! {
        drained = wait(context, &client, queue) => drained?,
        () = end => return Err(timed_out(args)),
    };
    context.print(&last)?;
    let jobs = last.jobs_of(queue).unwrap_or_default();
    if jobs.failed == 0 {
        return Ok(Exit::Done);
    }
    let of_queue = queue.map(|queue| format!(" --queue {queue}")).unwrap_or_default();
    Err(Failure::new(Exit::JobFailed, format!("{} jobs failed", jobs.failed)).fix(format!(
        "`orchctl job list --state failed{of_queue}` says why, `orchctl retry-failed{of_queue}` puts them back"
    )))
}

/// The numbers once nothing is open any more.
async fn wait(context: &Context, client: &Client, queue: Option<&str>) -> Result<StatsView, Failure> {
    let bar = context.bars.start("jobs", Some(0), Unit::Things);
    let started = Instant::now();
    let (mut said_lonely, mut begun) = (false, false);
    let mut pause = FIRST_WAIT;
    loop {
        let stats = stats::fetch(context, client).await?;
        let Some(jobs) = stats.jobs_of(queue) else {
            let name = queue.unwrap_or_default();
            return Err(Failure::new(Exit::NotFound, format!("queue {name} does not exist"))
                .fix("`orchctl queue list` lists those that do"));
        };
        if jobs.open() == 0 {
            return Ok(stats);
        }
        bar.set_total(jobs.all());
        let ended = jobs.all() - jobs.open();
        if begun {
            bar.set(ended)
        } else {
            bar.begin_at(ended)
        }
        begun = true;
        bar.say(format!(
            "{} leased, {} failed, {} accepted, {} workers",
            jobs.leased, jobs.failed, stats.candidates.accepted, stats.workers.live
        ));
        if stats.workers.live == 0 && started.elapsed() > LONELY && !said_lonely {
            said_lonely = true;
            let server = &context.settings.server.value;
            context.note(&format!("note: no worker is live; start one with `worker --server {server}`"));
        }
        sleep(pause).await;
        pause = (pause * 2).min(LONGEST_WAIT);
    }
}

fn timed_out(args: &RunArgs) -> Failure {
    let after = args.timeout.map(|timeout| timeout.to_string()).unwrap_or_default();
    Failure::new(Exit::Timeout, format!("jobs are still open after {after}"))
        .fix("`orchctl stats` shows them; wait again with a longer --timeout")
}

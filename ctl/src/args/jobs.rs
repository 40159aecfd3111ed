//! Arguments of the commands about jobs.

use clap::{Args, Subcommand};
use orch_core::id::{Kind, QueueName, WorkerId};
use orch_core::time::Span;

use super::values::{Class, State, When};

/// Wait until the work is done
#[derive(Debug, Args)]
#[command(
    long_about = "Wait until the work is done: with --drain, until no job is blocked, ready, delayed or leased, \
        anywhere or in --queue.\n\nShows progress, rides out a restart of the orchestrator, and ends with 0 if no \
        failed job is left standing, with 4 if one is, and with 124 when --timeout is over first.",
    after_help = "Examples:\n  \
        orchctl run --drain\n  \
        orchctl run --drain --queue zeta --timeout 2h && orchctl stats"
)]
pub struct RunArgs {
    /// Wait until nothing is open
    #[arg(long, required = true)]
    pub drain: bool,

    /// Only this queue
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

/// Put failed jobs back into their queues
#[derive(Debug, Args)]
#[command(
    long_about = "Put failed jobs back into their queues, with their counts of attempts at zero. All failed jobs, \
        or those that every filter matches.",
    after_help = "Examples:\n  \
        orchctl retry-failed --queue sums --dry-run\n  \
        orchctl retry-failed --class timeout --since 2h --limit 100\n  \
        orchctl retry-failed --job 17 --job 42"
)]
pub struct RetryFailedArgs {
    /// Only of this queue
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Only of this kind
    #[arg(long)]
    pub kind: Option<Kind>,

    /// Only those that failed in this way
    #[arg(long)]
    pub class: Option<Class>,

    /// Only those that failed since then: 2h (ago), or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<When>,

    /// Only this job; may be given several times
    #[arg(long = "job", value_name = "JOB")]
    pub jobs: Vec<u64>,

    /// At most so many, the oldest first
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub limit: Option<u64>,

    /// Only say which it would be
    #[arg(long)]
    pub dry_run: bool,
}

/// What to do with jobs.
#[derive(Debug, Subcommand)]
pub enum JobCommand {
    List(ListArgs),
    Show(ShowArgs),
    Explain(ExplainArgs),
    Cancel(CancelArgs),
    Wait(WaitArgs),
    Logs(LogsArgs),
}

/// Which jobs: those that every filter matches.
#[derive(Debug, Default, Args)]
pub struct JobFilterArgs {
    /// Only of this queue
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Only of this kind
    #[arg(long)]
    pub kind: Option<Kind>,

    /// Only in this state; may be given several times
    #[arg(long = "state", value_name = "STATE")]
    pub states: Vec<State>,

    /// Only those that this worker holds or held last
    #[arg(long)]
    pub worker: Option<WorkerId>,

    /// Only those that failed in this way
    #[arg(long)]
    pub class: Option<Class>,

    /// Only those that changed since then: 2h (ago), or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "WHEN")]
    pub since: Option<When>,

    /// Only with this name
    #[arg(long)]
    pub name: Option<String>,

    /// Only with this idempotency key
    #[arg(long)]
    pub key: Option<String>,

    /// Only tasks of this array that were leased
    #[arg(long, value_name = "JOB")]
    pub array: Option<u64>,
}

/// List jobs, the oldest first
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        orchctl job list --state failed --since 1h\n  \
        orchctl job list --queue zeta --limit 0 -o jsonl > jobs.jsonl\n  \
        orchctl job list --state leased -o name | xargs -n1 orchctl job logs")]
pub struct ListArgs {
    #[command(flatten)]
    pub filter: JobFilterArgs,

    /// At most so many; 0: all
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub limit: u64,

    /// Only jobs with a greater id: the next page
    #[arg(long, value_name = "JOB", default_value_t = 0)]
    pub after: u64,
}

/// Show everything about a job: its spec, state and history
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orchctl job show 17\n  orchctl job show 17 -o json | jq .spec.payload")]
pub struct ShowArgs {
    /// The job's id
    #[arg(value_name = "JOB")]
    pub job: u64,
}

/// Say why a job does not run
#[derive(Debug, Args)]
#[command(
    long_about = "Say why a job does not run: every reason that holds, the one that can be helped most easily first. \
        It waits for jobs or for a time; no worker offers its kind, or all of them are full; its queue is paused; a \
        limit is reached; others go first; or it is the next.",
    after_help = "Examples:\n  orchctl job explain 17\n  orchctl job explain 17 -o json | jq -r '.why[].code'"
)]
pub struct ExplainArgs {
    /// The job's id
    #[arg(value_name = "JOB")]
    pub job: u64,
}

/// Cancel jobs
#[derive(Debug, Args)]
#[command(
    long_about = "Cancel jobs: those named, or those that every filter matches. A job that a worker holds is \
        stopped at its next heartbeat. Jobs that depend on a cancelled one are cancelled too, unless they say \
        otherwise.",
    after_help = "Examples:\n  \
        orchctl job cancel 17 18 --reason 'wrong payload'\n  \
        orchctl job cancel --queue sums --state ready --dry-run\n  \
        orchctl job cancel --all"
)]
pub struct CancelArgs {
    /// The jobs' ids
    #[arg(value_name = "JOB")]
    pub jobs: Vec<u64>,

    #[command(flatten)]
    pub filter: JobFilterArgs,

    /// Every open job of the cluster
    #[arg(long)]
    pub all: bool,

    /// Why, for the ledger
    #[arg(long, default_value = "")]
    pub reason: String,

    /// Only say which it would be
    #[arg(long)]
    pub dry_run: bool,
}

/// Wait until jobs have ended
#[derive(Debug, Args)]
#[command(
    long_about = "Wait until jobs have ended: those named, or all of --queue. Rides out a restart of the \
        orchestrator. Prints the jobs that were named; of a queue, those that failed or were cancelled. Ends with 0 \
        if all are done, 4 if one failed, 5 if one was cancelled, 124 if the time was over first.",
    after_help = "Examples:\n  \
        orchctl job wait 17 18 --timeout 10m\n  \
        orchctl job wait $(orchctl submit -f jobs.yaml -o name)"
)]
pub struct WaitArgs {
    /// The jobs' ids
    #[arg(value_name = "JOB", required_unless_present = "queue", conflicts_with = "queue")]
    pub jobs: Vec<u64>,

    /// Until this queue has nothing open
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Give up after this long, with exit code 124
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,
}

/// Print what a job's runner wrote to its standard error
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orchctl job logs 17\n  orchctl job logs 17 --attempt 1\n  orchctl job logs 17 -f")]
pub struct LogsArgs {
    /// The job's id
    #[arg(value_name = "JOB")]
    pub job: u64,

    /// Which attempt, from 1; without it, the newest
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    pub attempt: u32,

    /// Go on until the job ends
    #[arg(short, long)]
    pub follow: bool,
}

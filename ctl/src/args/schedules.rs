//! Arguments of `orchctl schedule`.

use clap::{Args, Subcommand, ValueEnum};
use orch_core::cron::{Cron, Zone};
use orch_core::id::{Kind, QueueName, ScheduleName};
use orch_core::limit::KeyValue;
use orch_core::time::Span;
use orch_core::timetable::{Missed, Overlap};

/// What to do with schedules.
#[derive(Debug, Subcommand)]
pub enum ScheduleCommand {
    Set(Box<ScheduleSetArgs>),
    /// List the schedules, when each comes next, and what came of the last time
    #[command(
        after_help = "Examples:\n  orchctl schedule list\n  orchctl schedule list -o json | jq '.schedules[].next'"
    )]
    List,
    /// Submit no jobs until it is resumed; times that come meanwhile are left out
    #[command(after_help = "Examples:\n  orchctl schedule pause nightly --reason 'the file server is down'")]
    Pause {
        /// The schedule
        schedule: ScheduleName,
        /// Why, for those who look later
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Submit jobs again
    #[command(after_help = "Examples:\n  orchctl schedule resume nightly")]
    Resume {
        /// The schedule
        schedule: ScheduleName,
    },
    /// Remove a schedule; jobs that it submitted stay
    #[command(after_help = "Examples:\n  orchctl schedule remove nightly")]
    Remove {
        /// The schedule
        schedule: ScheduleName,
    },
}

/// Set a schedule, or change it
#[derive(Debug, Args)]
#[command(
    long_about = "Set a schedule, or change it: a job that comes again and again, at times of the calendar.\n\nThe \
        expression has five fields: minute, hour, day of month, month, day of week; each is *, a number, a name \
        (mon, jan), a range 1-5, a list 1,15 or steps */10. Its calendar and clocks are those of the zone. No time \
        fires twice, whatever restarts or clocks do. A schedule in a YAML file (`orchctl submit -f`) has every field \
        of a job.",
    after_help = "Examples:\n  \
        orchctl schedule set nightly '30 2 * * *' --zone Europe/Berlin --queue reports --payload '{\"full\":true}'\n  \
        orchctl schedule set poll '*/10 * * * *' --queue polls --overlap skip\n  \
        orchctl schedule set monthly '0 6 1 * *' --queue reports --missed once"
)]
pub struct ScheduleSetArgs {
    /// Its name
    pub schedule: ScheduleName,

    /// When it comes, such as '30 2 * * mon-fri'
    pub cron: Cron,

    /// Whose calendar and clocks: a zone of the IANA database, such as Europe/Berlin
    #[arg(long, default_value = "UTC")]
    pub zone: Zone,

    /// The queue of its jobs
    #[arg(long)]
    pub queue: QueueName,

    /// What to compute, in JSON; @FILE reads it from a file, - from standard input
    #[arg(short, long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    pub payload: String,

    /// The jobs' kind; without it, the queue's
    #[arg(long)]
    pub kind: Option<Kind>,

    /// Higher goes first within the queue
    #[arg(long, default_value_t = 0, allow_negative_numbers = true)]
    pub priority: i32,

    /// Whose they are: jobs of a queue with the same priority take turns by this value
    #[arg(long, value_name = "VALUE")]
    pub fair_key: Option<KeyValue>,

    /// How long one attempt may run
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Span>,

    /// How long a job may stand ready without a worker until it is cancelled
    #[arg(long, value_name = "DURATION")]
    pub queue_timeout: Option<Span>,

    /// What happens to times that were missed by more than a minute, because the orchestrator was down
    #[arg(long, value_enum, default_value = "skip")]
    pub missed: MissedArg,

    /// What happens at a time at which the last job has not ended
    #[arg(long, value_enum, default_value = "allow")]
    pub overlap: OverlapArg,
}

/// What happens to missed times.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum MissedArg {
    /// Nothing
    Skip,
    /// One job for all of them
    Once,
    /// A job for each, up to the last hundred
    All,
}

/// What happens while the last job has not ended.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum OverlapArg {
    /// Another job
    Allow,
    /// Nothing
    Skip,
}

impl From<MissedArg> for Missed {
    fn from(missed: MissedArg) -> Self {
        match missed {
            MissedArg::Skip => Self::Skip,
            MissedArg::Once => Self::Once,
            MissedArg::All => Self::All,
        }
    }
}

impl From<OverlapArg> for Overlap {
    fn from(overlap: OverlapArg) -> Self {
        match overlap {
            OverlapArg::Allow => Self::Allow,
            OverlapArg::Skip => Self::Skip,
        }
    }
}

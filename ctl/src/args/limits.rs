//! Arguments of `orchctl limit`.

use clap::{Args, Subcommand, ValueEnum};
use orch_core::limit::{AtLimit, LimitSpec, LimitTarget, Rate};
use orch_core::time::Span;

/// What to do with limits.
#[derive(Debug, Subcommand)]
pub enum LimitCommand {
    Set(LimitSetArgs),
    /// List the limits that are set, and what is in use
    #[command(after_help = "Examples:\n  orchctl limit list\n  orchctl limit list -o json | jq '.usage[0]'")]
    List,
    /// Lift a limit
    #[command(after_help = "Examples:\n  orchctl limit unset resolver=crossref\n  orchctl limit unset 'host=*'")]
    Unset {
        /// What it is about, as it was set
        limit: LimitTarget,
    },
}

/// Set a limit, or change it
#[derive(Debug, Args)]
#[command(
    long_about = "Set a limit, or change it. It holds for the whole cluster at once, and across restarts.\n\nA limit is \
        about one value of a key that jobs carry (resolver=crossref), about each value of a key by itself (host=*), \
        about the units of a semaphore (gpu_slots), or about all running jobs (running). A limit that names a value \
        goes before the one for each value. Jobs that run already go on: a lower limit is reached as they end.",
    after_help = "Examples:\n  \
        orchctl limit set running 8                            at most 8 jobs at once\n  \
        orchctl limit set 'host=*' 4                           at most 4 on each host\n  \
        orchctl limit set resolver=crossref 3                  at most 3 with this value\n  \
        orchctl limit set gpu_slots 4                          a semaphore of 4 units\n  \
        orchctl limit set 'host=*' --rate 2/1s --burst 5       at most 2 starts a second, 5 after a pause\n  \
        orchctl limit set tenant=a 1 --at-limit cancel-oldest  a newer job takes the place of an older one"
)]
pub struct LimitSetArgs {
    /// What it is about: KEY=VALUE, KEY=*, a semaphore's name, or running
    pub limit: LimitTarget,

    /// How many jobs may run at once; for a semaphore, how many units there are
    #[arg(required_unless_present = "rate")]
    pub max: Option<u32>,

    /// How often jobs may start: 2/1s, 100/1m
    #[arg(long, value_name = "N/DURATION", value_parser = rate)]
    pub rate: Option<(u32, Span)>,

    /// How many may start at once after a pause, with --rate [default: 1]
    #[arg(long, value_name = "N", requires = "rate")]
    pub burst: Option<u32>,

    /// What happens to a job that the limit does not admit
    #[arg(long, value_enum, default_value = "wait")]
    pub at_limit: AtLimitArg,
}

/// What happens to a job that a limit does not admit.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum AtLimitArg {
    /// It waits until there is room
    Wait,
    /// Its submit is refused while so many unfinished jobs are there
    Reject,
    /// Its submit cancels the oldest unfinished job
    CancelOldest,
}

impl From<LimitSetArgs> for LimitSpec {
    fn from(args: LimitSetArgs) -> Self {
        let LimitSetArgs { limit, max, rate, burst, at_limit } = args;
        let at_limit = match at_limit {
            AtLimitArg::Wait => AtLimit::Wait,
            AtLimitArg::Reject => AtLimit::Reject,
            AtLimitArg::CancelOldest => AtLimit::CancelOldest,
        };
        let rate = rate.map(|(tokens, per)| Rate { tokens, per, burst: burst.unwrap_or(1) });
        Self { limit, max, rate, at_limit }
    }
}

fn rate(text: &str) -> Result<(u32, Span), String> {
    let wrong = || format!("{text:?} is not a rate: write it like 2/1s or 100/1m");
    let (tokens, per) = text.split_once('/').ok_or_else(wrong)?;
    Ok((tokens.trim().parse().map_err(|_| wrong())?, per.trim().parse()?))
}

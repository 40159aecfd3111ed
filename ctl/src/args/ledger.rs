//! Arguments of the commands about the ledger.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orch_core::id::QueueName;

/// What to do with the ledger.
#[derive(Debug, Subcommand)]
pub enum LedgerCommand {
    Verify(LedgerVerifyArgs),
    Cat(LedgerCatArgs),
    Tail(LedgerTailArgs),
    Head(LedgerHeadArgs),
    Repair(LedgerRepairArgs),
}

/// Save what is good of a damaged ledger into a new directory, at the price of the rest
#[derive(Debug, Args)]
#[command(
    long_about = "Save what is good of a damaged ledger into a new directory, at the price of the rest.\n\nKeeps every \
        batch up to the first fault, as far as the chain vouches for it, and loses everything after: which records, \
        jobs and accepted candidates that are is said first, and how many of them HEAD names as acknowledged. The \
        damaged directory is only read. Damaged ends are put into the copy's quarantine, HEAD and LEDGER_ID are made \
        anew, and the repair is recorded as the copy's first new record (ledger_repaired). The copy has format \
        version 2, which older versions of orch refuse.\n\nA backup that reaches further is better: see `orchctl \
        restore`.",
    after_help = "Examples:\n  \
        orchctl ledger repair /var/lib/orch --dry-run\n  \
        orchctl ledger repair /var/lib/orch --to /var/lib/orch-repaired --accept-loss"
)]
pub struct LedgerRepairArgs {
    /// The damaged data directory, which is left as it is
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// The repaired copy: an empty directory, or not there yet
    #[arg(long, value_name = "NEWDIR", required_unless_present = "dry_run")]
    pub to: Option<PathBuf>,

    /// Accept that records are lost; without it nothing is written
    #[arg(long)]
    pub accept_loss: bool,

    /// Only say what would be kept and lost
    #[arg(long)]
    pub dry_run: bool,
}

/// Check a ledger on disk: every byte, every line, the whole chain
#[derive(Debug, Args)]
#[command(
    long_about = "Check a ledger on disk: every byte, every line, the whole chain.\n\nReads only, takes no lock, \
        needs no server, and works beside a running orchestrator (it checks up to the durable head). Ends with 0 \
        if the ledger is whole, with 1 and the file, line and offset of the first fault if it is not.",
    after_help = "Examples:\n  orchctl ledger verify /var/lib/orch\n  orchctl ledger verify data -o json"
)]
pub struct LedgerVerifyArgs {
    /// The orchestrator's data directory
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,

    /// Threads to use [default: one per core]
    #[arg(long, value_name = "N")]
    pub threads: Option<usize>,
}

/// Which records.
#[derive(Debug, Default, Args)]
pub struct RecordFilterArgs {
    /// Only records that speak of this job
    #[arg(long)]
    pub job: Option<u64>,

    /// Only records that speak of this queue or of its jobs
    #[arg(long)]
    pub queue: Option<QueueName>,

    /// Only events of this type (job_submitted, candidate_accepted, ...); may be given several times
    #[arg(long = "type", value_name = "EVENT")]
    pub types: Vec<String>,

    /// From this seq on
    #[arg(long, value_name = "SEQ", default_value_t = 1)]
    pub from: u64,

    /// Up to this seq
    #[arg(long, value_name = "SEQ")]
    pub until: Option<u64>,
}

/// Print records of the ledger as JSON lines, byte for byte
#[derive(Debug, Args)]
#[command(
    long_about = "Print records of the ledger as JSON lines, byte for byte as they stand in it. From a directory \
        if one is given, from the server otherwise. -o table prints one readable line a record.",
    after_help = "Examples:\n  \
        orchctl ledger cat --job 17\n  \
        orchctl ledger cat data --type candidate_accepted | jq .event.candidate_accepted.candidate\n  \
        orchctl ledger cat --queue zeta --from 1000 --until 2000 -o table"
)]
pub struct LedgerCatArgs {
    /// The orchestrator's data directory; without it, the server's ledger
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    #[command(flatten)]
    pub filter: RecordFilterArgs,
}

/// Print the newest records, and with -f those that come
#[derive(Debug, Args)]
#[command(
    long_about = "Print the server's newest records as JSON lines, and with -f those that come. Every line that is \
        printed is durable.",
    after_help = "Examples:\n  orchctl ledger tail -n 20\n  orchctl ledger tail -f --type job_completed -o table"
)]
pub struct LedgerTailArgs {
    /// How many of the newest records to look at first
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub lines: u64,

    /// Go on with records as they become durable
    #[arg(short, long)]
    pub follow: bool,

    /// Only records that speak of this job
    #[arg(long)]
    pub job: Option<u64>,

    /// Only events of this type; may be given several times
    #[arg(long = "type", value_name = "EVENT")]
    pub types: Vec<String>,
}

/// Show where the ledger ends: its last seq, batch and chain link
#[derive(Debug, Args)]
#[command(
    long_about = "Show where the ledger ends: its last seq, batch and chain link. The link stands for everything \
        before it: keep it elsewhere, and a ledger that was cut or altered can be told later.",
    after_help = "Examples:\n  orchctl ledger head -o json\n  orchctl ledger head /var/lib/orch"
)]
pub struct LedgerHeadArgs {
    /// The orchestrator's data directory; without it, the server's ledger
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,
}

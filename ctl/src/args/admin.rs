//! Arguments of the commands about the cluster itself.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use orch_core::id::{ContractName, ContractRef, QueueName, WorkerId};
use orch_core::time::Span;

/// Show the cluster in numbers
#[derive(Debug, Args)]
#[command(
    long_about = "Show the cluster in numbers: jobs by state, candidates by verdict, workers, the ledger's head, \
        attempts, limits and what is in use of them, ready jobs that no worker could run, and each queue.",
    after_help = "Examples:\n  orchctl stats\n  orchctl stats --watch\n  orchctl stats -o json | jq .jobs.failed"
)]
pub struct StatsArgs {
    /// Show it again and again until Ctrl-C
    #[arg(short, long)]
    pub watch: bool,

    /// How often, with --watch
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub interval: Span,
}

/// Watch the cluster at work: queues, workers, rates, rejections
#[derive(Debug, Args)]
#[command(
    long_about = "Watch the cluster at work: jobs, candidates and records by the second, the busiest queues, and what each \
        worker works on. On a terminal it is drawn anew until q or Ctrl-C; elsewhere one look is printed after the other.",
    after_help = "Examples:\n  orchctl top\n  orchctl top --interval 500ms\n  orchctl top --count 2 -o json | tail -1 | jq .rates"
)]
pub struct TopArgs {
    /// How often it looks
    #[arg(long, value_name = "DURATION", default_value = "2s")]
    pub interval: Span,

    /// Print so many looks and end; the first has no rates
    #[arg(short = 'n', long, value_name = "N")]
    pub count: Option<u64>,
}

/// What to do with queues.
#[derive(Debug, Subcommand)]
pub enum QueueCommand {
    /// List queues with their jobs by state
    #[command(after_help = "Examples:\n  orchctl queue list\n  orchctl queue list -o json")]
    List,
    /// Stop leasing a queue's jobs; what runs goes on
    #[command(after_help = "Examples:\n  orchctl queue pause sums --reason 'contract under review'")]
    Pause {
        /// The queue
        queue: QueueName,
        /// Why, for whoever looks next
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Lease a paused queue's jobs again
    #[command(after_help = "Examples:\n  orchctl queue resume sums")]
    Resume {
        /// The queue
        queue: QueueName,
    },
}

/// What to do with retries, all of them.
#[derive(Debug, Subcommand)]
pub enum RetriesCommand {
    /// Hold back every retry of the cluster: what failed waits, and so does what fails from now on
    #[command(after_help = "Examples:\n  orchctl retries pause --reason 'the file server is down'")]
    Pause {
        /// Why, for whoever looks next
        #[arg(long, default_value = "")]
        reason: String,
    },
    /// Let retries go on; those that are due go first
    #[command(after_help = "Examples:\n  orchctl retries resume")]
    Resume,
}

/// What to do with workers.
#[derive(Debug, Subcommand)]
pub enum WorkerCommand {
    /// List workers
    #[command(after_help = "Examples:\n  orchctl worker list\n  orchctl worker list -o name")]
    List,
    /// Show a worker: hardware, labels, and what it works on
    #[command(after_help = "Examples:\n  orchctl worker show rack7-a -o yaml")]
    Show {
        /// The worker
        worker: WorkerId,
    },
    /// Say why a worker has no more to do than it has, or what it gets next
    #[command(after_help = "Examples:\n  orchctl worker explain rack7-a")]
    Explain {
        /// The worker
        worker: WorkerId,
    },
    /// Give jobs again to a worker that was set aside because everything failed there
    #[command(after_help = "Examples:\n  orchctl worker resume rack7-a")]
    Resume {
        /// The worker
        worker: WorkerId,
    },
    Drain(WorkerDrainArgs),
    Cleanup(WorkerCleanupArgs),
}

/// Tell workers to finish what runs, take nothing more, and exit
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orchctl worker drain rack7-a\n  orchctl worker drain --all --terminate")]
pub struct WorkerDrainArgs {
    /// The workers
    #[arg(value_name = "WORKER", required_unless_present = "all", conflicts_with = "all")]
    pub workers: Vec<WorkerId>,

    /// Every worker
    #[arg(long)]
    pub all: bool,

    /// Release what runs instead of finishing it; no attempt is charged
    #[arg(long)]
    pub terminate: bool,
}

/// Forget stale workers at once and put their jobs back
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orchctl worker cleanup\n  orchctl worker cleanup rack7-a")]
pub struct WorkerCleanupArgs {
    /// The workers; without any, every stale one
    #[arg(value_name = "WORKER")]
    pub workers: Vec<WorkerId>,
}

/// What to do with contracts.
#[derive(Debug, Subcommand)]
pub enum ContractCommand {
    /// List contracts, every version
    #[command(after_help = "Examples:\n  orchctl contract list")]
    List,
    /// Show a contract as it was registered
    #[command(after_help = "Examples:\n  orchctl contract show zeta-zeros@1\n  orchctl contract show zeta-zeros")]
    Show {
        /// The contract: name@version, or the name alone for its newest version
        #[arg(value_name = "CONTRACT", value_parser = contract_or_name)]
        contract: (ContractName, Option<u32>),
    },
    Test(ContractTestArgs),
}

/// Reads `name@version` or `name`.
fn contract_or_name(text: &str) -> Result<(ContractName, Option<u32>), String> {
    if text.contains('@') {
        let reference: ContractRef = text.parse().map_err(|error| format!("{error}"))?;
        return Ok((reference.name, Some(reference.version)));
    }
    Ok((ContractName::new(text).map_err(|error| error.to_string())?, None))
}

/// Check a contract file, and judge candidates by it, without a server
#[derive(Debug, Args)]
#[command(
    long_about = "Check a contract file, and judge candidates by it, without a server.\n\nThe same code judges here \
        as in the orchestrator: what this accepts, the cluster accepts. Ends with 1 if the contract has a fault or \
        a candidate is rejected.",
    after_help = "Examples:\n  \
        orchctl contract test zeta.yaml\n  \
        orchctl contract test zeta.yaml --candidates found.jsonl --payload '{\"eps_root\": 1e-8}'\n  \
        orchctl contract test zeta.yaml --candidates found.jsonl -o jsonl | jq 'select(.verdict == \"rejected\")'"
)]
pub struct ContractTestArgs {
    /// A YAML file that holds one contract (other documents are looked at, too)
    pub file: PathBuf,

    /// Which contract, if the file holds several: name@version
    #[arg(long, value_name = "CONTRACT")]
    pub contract: Option<ContractRef>,

    /// Candidates to judge, one JSON a line; - is standard input
    #[arg(long, value_name = "FILE")]
    pub candidates: Option<PathBuf>,

    /// The payload of the job that they would come from; @FILE reads it from a file
    #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    pub payload: String,
}

/// What to do with the state.
#[derive(Debug, Subcommand)]
pub enum StateCommand {
    Export(StateExportArgs),
}

/// Write the orchestrator's state as JSON: counts, queues, contracts, open jobs
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  orchctl state export state.json\n  orchctl state export | jq .jobs")]
pub struct StateExportArgs {
    /// The file, written as a whole or not at all; without it, or with -, standard output
    pub file: Option<PathBuf>,
}

/// Bring older results in, through every gate, once per file
#[derive(Debug, Args)]
#[command(
    long_about = "Bring older results in, through every gate, once per file.\n\nEach line is a candidate. It is \
        judged by the contract like any other, and recorded as legacy with the file's SHA-256. An interrupted \
        import goes on where it was; a finished one is not repeated. Rejections are printed with their line and \
        do not stop the import; the exit code is then 1.",
    after_help = "Examples:\n  \
        orchctl import-legacy zeros-2019.jsonl --contract zeta-zeros@1 --payload '{\"eps_root\": 1e-8}'"
)]
pub struct ImportLegacyArgs {
    /// A file of candidates, one JSON a line
    pub file: PathBuf,

    /// The contract that judges them: name@version
    #[arg(long)]
    pub contract: ContractRef,

    /// What stands in for a job's payload, where the contract refers to one; @FILE reads it from a file
    #[arg(long, value_name = "JSON", default_value = "null", allow_hyphen_values = true)]
    pub payload: String,

    /// The name to record [default: the file's name]
    #[arg(long)]
    pub name: Option<String>,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Show the settings in force and where each came from
    #[command(
        after_help = "Examples:\n  orchctl config show\n  ORCH_SERVER=http://orch:50051 orchctl config show -o json"
    )]
    Show,
    /// Check that the settings can be understood
    #[command(after_help = "Examples:\n  ORCH_CTL_CONFIG=new.yaml orchctl config check")]
    Check,
}

/// Print a completion script for a shell
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
        orchctl completion bash > /etc/bash_completion.d/orchctl\n  \
        orchctl completion zsh > \"${fpath[1]}/_orchctl\"\n  \
        orchctl completion fish > ~/.config/fish/completions/orchctl.fish")]
pub struct CompletionArgs {
    /// The shell
    pub shell: clap_complete::Shell,
}

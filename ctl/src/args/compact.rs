//! Arguments of `orchctl compact`.

use std::path::PathBuf;

use clap::Args;
use orch_core::id::ContractRef;

use super::values::Size;

/// Take the accepted candidates out as a clean, sorted data set
#[derive(Debug, Args)]
#[command(
    long_about = "Take the accepted candidates out as a clean, sorted data set: one candidate a line, in canonical \
        JSON, sorted by identity. The same ledger gives the same bytes.\n\nFrom the server's ledger, over the wire, \
        or from a data directory, beside a running orchestrator too. The whole chain is verified while it is \
        read. The file is there as a whole or not at all. For Parquet use `compactor --format parquet`.",
    after_help = "Examples:\n  \
        orchctl compact --out merged_clean.jsonl\n  \
        orchctl compact /var/lib/orch --out merged_clean.jsonl\n  \
        orchctl compact --out - --contract zeta-zeros@1 --provenance | head\n  \
        orchctl compact --out then.jsonl --until 120000       as the ledger was after record 120000"
)]
pub struct CompactArgs {
    /// An orchestrator's data directory; without it, the server's ledger
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// The file to write; - is standard output
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,

    /// Add seq, job, worker, attempt and digest to each candidate, under the key _orch
    #[arg(long)]
    pub provenance: bool,

    /// Only records up to this one
    #[arg(long, value_name = "SEQ", value_parser = clap::value_parser!(u64).range(1..))]
    pub until: Option<u64>,

    /// Only this contract's candidates: name@version
    #[arg(long)]
    pub contract: Option<ContractRef>,

    /// About how much memory to sort with; what does not fit goes to a temporary file
    #[arg(long, value_name = "SIZE", default_value = "256MiB")]
    pub memory: Size,

    /// Where that file lies [default: beside the output]
    #[arg(long, value_name = "DIR")]
    pub tmp: Option<PathBuf>,
}

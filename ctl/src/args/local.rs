//! Arguments of `orchctl local`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Args, Subcommand};

/// What to do on this machine alone.
#[derive(Debug, Subcommand)]
pub enum LocalCommand {
    Run(LocalRunArgs),
}

/// Run a manifest to its end on this machine: orchestrator, workers, data set
#[derive(Debug, Args)]
#[command(
    long_about = "Run a manifest to its end on this machine: orchestrator, workers, data set.\n\nStarts an \
        orchestrator and workers in this process, with the code and the wire of a real cluster; submits the \
        manifest; shows progress; when nothing is open any more, verifies the whole ledger and writes the accepted \
        candidates, clean and sorted.\n\nCtrl-C stops it cleanly; the same command goes on where it was. A second \
        Ctrl-C ends it at once, which loses no acknowledged result either. Ends with 0 if all jobs are done, 4 if \
        one failed.",
    after_help = "Examples:\n  \
        orchctl local run examples/zeta-zeros.yaml\n  \
        orchctl local run jobs.yaml --workers 8 --data /fast/disk/run7 --out run7.jsonl\n  \
        orchctl local run jobs.yaml -q -o json | jq .accepted"
)]
pub struct LocalRunArgs {
    /// The manifest to run; docs/manifests.md shows what it may hold
    pub file: PathBuf,

    /// Workers, of one slot each [default: one per core]
    #[arg(long, value_name = "N")]
    pub workers: Option<NonZeroUsize>,

    /// The data directory, where a run can be gone on with [default: orch-local/NAME-OF-FILE]
    #[arg(long, value_name = "DIR")]
    pub data: Option<PathBuf>,

    /// The file to write the accepted candidates to
    #[arg(long, value_name = "FILE", default_value = "merged_clean.jsonl")]
    pub out: PathBuf,

    /// A worker's configuration file: what runs the kinds that are not built in; docs/runners.md
    #[arg(long, value_name = "FILE")]
    pub worker_config: Option<PathBuf>,

    /// Go on even where the file system's locks and syncs are none (tmpfs, overlay, network)
    #[arg(long)]
    pub allow_any_filesystem: bool,
}

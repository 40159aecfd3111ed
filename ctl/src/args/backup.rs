//! Arguments of `orchctl backup` and `orchctl restore`.

use std::path::PathBuf;

use clap::Args;
use orch_core::digest::Digest;

/// Copy the ledger of a running orchestrator into a backup that is verified, or extend one
#[derive(Debug, Args)]
#[command(
    long_about = "Copy the ledger of a running orchestrator into a backup that is verified, or extend one.\n\nFrom a \
        data directory, beside its orchestrator and without its lock, or from the server over the wire. The backup \
        is a directory like a data directory and ends exactly with a durable batch; logs and the index are no part \
        of it. An existing backup of the same ledger is extended; one of another ledger, or of another history of \
        this one, is refused. An interrupted backup is gone on with by running the command again. Prints the \
        backup's last seq and chain link: keep them elsewhere, they prove the backup.",
    after_help = "Examples:\n  \
        orchctl backup /var/lib/orch --to /backup/orch\n  \
        orchctl --server http://orch:50051 backup --to /backup/orch\n  \
        orchctl backup --to /backup/orch -o json | jq -r .chain >> /elsewhere/chains"
)]
pub struct BackupArgs {
    /// The orchestrator's data directory; without it, the server's ledger
    #[arg(value_name = "DIR")]
    pub dir: Option<PathBuf>,

    /// The backup: a new directory, or a backup of this ledger
    #[arg(long, value_name = "BACKUP")]
    pub to: PathBuf,
}

/// Make a data directory of a backup
#[derive(Debug, Args)]
#[command(
    long_about = "Make a data directory of a backup.\n\nThe backup is verified, copied into an empty or new directory, \
        and the copy is verified. Everything that was acknowledged after the backup is lost. When a worker presents a \
        receipt for it, the orchestrator stops writing and names the record; started once with --accept-rollback \
        and that seq, it has what is missing computed again.",
    after_help = "Examples:\n  \
        orchctl restore /backup/orch --to /var/lib/orch\n  \
        orchctl restore /backup/orch --to data --expect-chain $(cat /elsewhere/chain)"
)]
pub struct RestoreArgs {
    /// The backup
    #[arg(value_name = "BACKUP")]
    pub backup: PathBuf,

    /// The data directory to make: empty, or not there yet
    #[arg(long, value_name = "DIR")]
    pub to: PathBuf,

    /// Refuse unless the backup ends with this chain link
    #[arg(long, value_name = "HEX")]
    pub expect_chain: Option<Digest>,
}

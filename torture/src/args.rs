//! The command line of `orch-torture`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

/// Cruelty to real processes of Orch: kills, failing system calls, full disks, paused and doubled processes, floods.
///
/// Each subcommand starts unmodified programs, does to them what bad days do, and holds what clients were told against
/// the ledger. It prints facts and, in its last line, a verdict; any violation ends it with 1, and its files are kept and
/// named. The defaults are the short forms; the long ones stand in docs/torture.md.
#[derive(Debug, Parser)]
#[command(name = "orch-torture", version, max_term_width = 120)]
pub struct Command {
    /// What all of them take.
    #[command(flatten)]
    pub common: Common,
    /// The cruelty.
    #[command(subcommand)]
    pub torture: Torture,
}

/// What every subcommand takes.
#[derive(Debug, Args)]
pub struct Common {
    /// Where orchestrator, worker and orchctl are [default: target/release; `cargo build --release --bins` makes them].
    #[arg(long, global = true, value_name = "DIR")]
    pub bin_dir: Option<PathBuf>,

    /// Where to keep files meanwhile, on the file system that is to be tortured [default: the system's temporary folder].
    #[arg(long, global = true, value_name = "DIR")]
    pub work_dir: Option<PathBuf>,

    /// Decides every random choice; the moment that a process has reached when it is hit, it cannot decide.
    #[arg(long, global = true, default_value_t = 1)]
    pub seed: u64,

    /// Keep the files also if all went well.
    #[arg(long, global = true)]
    pub keep: bool,
}

/// The cruelties.
#[derive(Debug, Subcommand)]
pub enum Torture {
    /// kill -9 of the orchestrator at random moments, under load of clients that keep their receipts.
    ///
    /// Promised: nothing acknowledged is lost, nothing is accepted twice, it starts by itself every time.
    Kill(Kill),

    /// Every system call of a fixed run fails or is the last, over the unmodified program: needs strace.
    ///
    /// The calls on the data directory are counted in a plain run. Then each of them kills the process (SIGKILL) or gives
    /// EIO, ENOSPC, EDQUOT, EFBIG or EINTR, once or for good: in the engine's thread at work, in the making of a new
    /// directory, in the recovery of a crashed one. Short writes are made by a limit on the size of files.
    ///
    /// Promised: nothing acknowledged is lost; a failed sync ends the process with no later answer and no second try; want
    /// of space is waited out; every start after it is by itself.
    Calls(Calls),

    /// Workers are stopped (SIGSTOP) for longer than their leases live, at eight points of a job's life, and wake.
    ///
    /// Promised: nothing of a lease that is over is accepted, its job's processes are gone soon after the worker woke.
    Pause(Pause),

    /// A data directory is replaced by an older copy of itself, while workers and clients hold newer receipts.
    ///
    /// Promised: it is noticed when one of them is presented; from then on nothing is leased to anybody, also after a
    /// restart, and everybody can see why, until the newer copy is back or the loss is accepted.
    Rollback(Rollback),

    /// A file system of 16 MiB on a loop device is filled by the load: needs root.
    ///
    /// Promised: read-only with a clear error, reads and heartbeats go on, a worker keeps its results, it goes on by itself
    /// when space returns, nothing acknowledged is lost. Unmounts and detaches whatever happens.
    Disk(Disk),

    /// Second orchestrators: on the same directory, while the first stands still, on a copy, after a move.
    ///
    /// Promised: one writer. A second one is refused and told who has the directory; one whose directory was taken over
    /// acknowledges nothing more and ends; a copy stops when it is shown what only the original can have given.
    Writers(Writers),

    /// Ten times the load that it sustains.
    ///
    /// Promised: what is too much is refused at once with a hint when to come back, memory is bounded, a worker's lease
    /// lives through it, nothing acknowledged is lost, and service is normal within seconds after.
    Overload(Overload),

    /// Thousands of connected workers that all come back at once after a restart.
    ///
    /// Promised: no lease ends by that. Reported: latencies of heartbeats, time until all are back.
    Stampede(Stampede),

    /// Rapid resets, a flood of connections, slow connections, no file descriptor left.
    ///
    /// Promised: a well-behaved client's calls over a standing connection all succeed, slow and abusive peers are cut, new
    /// clients are served as soon as it is over. Reported: latencies against those of quiet, time until recovery.
    HostileClients(HostileClients),
}

/// Sizes of `hostile-clients`.
#[derive(Debug, Args)]
pub struct HostileClients {
    /// Slow connections at once.
    #[arg(long, default_value_t = 200)]
    pub slow: usize,
    /// Connections of the flood at once; there is room for half of them.
    #[arg(long, default_value_t = 400)]
    pub flood: usize,
    /// How long each of the others lasts.
    #[arg(long, default_value = "3s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub time: Duration,
    /// Everything under TLS, with certificates on both sides.
    #[arg(long)]
    pub tls: bool,
}

/// Sizes of `disk`.
#[derive(Debug, Args)]
pub struct Disk {
    /// How many disks are filled.
    #[arg(long, default_value_t = 1)]
    pub cycles: u64,
    /// Clients that fill it.
    #[arg(long, default_value_t = 4)]
    pub clients: u64,
}

/// Sizes of `writers`.
#[derive(Debug, Args)]
pub struct Writers {
    /// How often a second writer is tried.
    #[arg(long, default_value_t = 50)]
    pub cycles: u64,
}

/// Sizes of `overload`.
#[derive(Debug, Args)]
pub struct Overload {
    /// How long the flood lasts.
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub flood: Duration,
    /// How many times what it sustains is offered.
    #[arg(long, default_value_t = 10)]
    pub times: u64,
    /// Jobs that wait from the beginning: they make questions dear to the orchestrator, and so the flood cheap to send. With
    /// too few, what was offered falls short of the multiple, and the report says so.
    #[arg(long, default_value_t = 200_000)]
    pub waiting: u64,
}

/// Sizes of `stampede`.
#[derive(Debug, Args)]
pub struct Stampede {
    /// How many workers.
    #[arg(long, default_value_t = 500)]
    pub workers: u64,
    /// How long it is quiet before and after, while heartbeats are measured.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub quiet: Duration,
    /// Between two heartbeats of a worker.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub heartbeat: Duration,
}

/// Sizes of `pause`.
#[derive(Debug, Args)]
pub struct Pause {
    /// How many workers are stopped, point after point.
    #[arg(long, default_value_t = 16)]
    pub runs: u64,
    /// How many at once, each with an orchestrator of its own.
    #[arg(long, default_value_t = 4)]
    pub parallel: usize,
}

/// Sizes of `rollback`.
#[derive(Debug, Args)]
pub struct Rollback {
    /// How often a directory is rolled back.
    #[arg(long, default_value_t = 3)]
    pub cycles: u64,
}

/// Sizes of `calls`.
#[derive(Debug, Args)]
pub struct Calls {
    /// Try every so-manieth fault; 1: all of them.
    #[arg(long, default_value_t = 10)]
    pub every: u64,
    /// Short writes.
    #[arg(long, default_value_t = 25)]
    pub short_writes: u64,
}

/// Sizes of `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// How often it is killed.
    #[arg(long, default_value_t = 50)]
    pub cycles: u64,
    /// Clients at once.
    #[arg(long, default_value_t = 8)]
    pub clients: u64,
    /// The longest time between a start and the next kill.
    #[arg(long, default_value = "600ms", value_parser = humantime::parse_duration, value_name = "TIME")]
    pub longest: Duration,
    /// After how many kills the whole ledger is checked, besides at the end.
    #[arg(long, default_value_t = 25)]
    pub check_every: u64,
}

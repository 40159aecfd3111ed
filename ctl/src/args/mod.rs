//! What can be asked on the command line. Texts here are `orchctl --help`, so they teach.

mod access;
mod admin;
mod backup;
mod cert;
mod compact;
mod global;
mod jobs;
mod ledger;
mod limits;
mod local;
mod schedules;
mod submit;
mod values;

pub use access::{AuditArgs, TokenCommand, TokenCreateArgs};
pub use admin::{
    CompletionArgs, ConfigCommand, ContractCommand, ContractTestArgs, ImportLegacyArgs, QueueCommand, RetriesCommand,
    StateCommand, StateExportArgs, StatsArgs, TopArgs, WorkerCleanupArgs, WorkerCommand, WorkerDrainArgs,
};
pub use backup::{BackupArgs, RestoreArgs};
pub use cert::{CertCommand, CertDevArgs};
pub use compact::CompactArgs;
pub use global::{Color, Format, GlobalArgs};
pub use jobs::{
    CancelArgs, ExplainArgs, JobCommand, JobFilterArgs, ListArgs, LogsArgs, RetryFailedArgs, RunArgs, ShowArgs,
    WaitArgs,
};
pub use ledger::{
    LedgerCatArgs, LedgerCommand, LedgerHeadArgs, LedgerRepairArgs, LedgerTailArgs, LedgerVerifyArgs, RecordFilterArgs,
};
pub use limits::LimitCommand;
pub use local::{LocalCommand, LocalRunArgs};
pub use schedules::{ScheduleCommand, ScheduleSetArgs};
pub use submit::{EnqueueArgs, ImportArgs, SubmitArgs};

use clap::{Parser, Subcommand};

/// The command line of an Orch cluster.
#[derive(Debug, Parser)]
#[command(
    name = "orchctl",
    version,
    about = "Drive an Orch cluster: submit work, watch it, and take the verified results out",
    long_about = "Drive an Orch cluster: submit work, watch it, and take the verified results out.\n\n\
        An orchestrator holds queues of jobs. Workers lease jobs, compute, and send candidates back; the \
        orchestrator judges each candidate by the queue's contract and writes what it accepts to an append-only \
        ledger. orchctl talks to the orchestrator over gRPC, and reads ledgers on disk without one.",
    after_help = EXIT_CODES,
    subcommand_required = true,
    arg_required_else_help = true,
    disable_help_subcommand = true,
    max_term_width = 110
)]
pub struct Cli {
    #[command(flatten)]
    pub global: GlobalArgs,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Examples:
  orchctl local run examples/zeta-zeros.yaml     a whole cluster on this machine, from job to data set
  orchctl submit -f examples/zeta-zeros.yaml     define queues and contracts, submit jobs
  orchctl run --drain                            wait until nothing is open
  orchctl stats -o json                          the whole cluster as JSON
  orchctl job list --state failed                what failed, and why
  orchctl ledger verify /var/lib/orch            check every byte of a ledger
  orchctl token create ci --role submitter       let somebody in
  orchctl cert dev certs --name orch.example.org certificates to try TLS with
  orchctl backup --to /backup/orch               a verified copy of the ledger, or an extension of one

Settings: a flag beats its ORCH_* variable, which beats the file ~/.config/orch/orchctl.yaml (or ORCH_CTL_CONFIG).

Exit codes:
  0  done                          7  not allowed (authentication, permission)
  1  error                         8  no server answers
  2  usage: bad command line       124  the time given was over first
  3  not found                     130  stopped by Ctrl-C
  4  a job failed
  5  a job was cancelled";

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a whole cluster on this machine
    #[command(subcommand)]
    Local(LocalCommand),
    Submit(SubmitArgs),
    Enqueue(Box<EnqueueArgs>),
    Import(ImportArgs),
    Run(RunArgs),
    Stats(StatsArgs),
    Top(TopArgs),
    RetryFailed(RetryFailedArgs),
    /// Look at jobs, wait for them, cancel them, read their logs
    #[command(subcommand)]
    Job(JobCommand),
    /// Look at queues, pause and resume them
    #[command(subcommand)]
    Queue(QueueCommand),
    /// Look at limits, set and lift them
    #[command(subcommand)]
    Limit(LimitCommand),
    /// Set jobs that come again and again, look at them, pause and remove them
    #[command(subcommand)]
    Schedule(ScheduleCommand),
    /// Hold back every retry, or let them go on
    #[command(subcommand)]
    Retries(RetriesCommand),
    /// Look at workers, drain them, forget stale ones
    #[command(subcommand)]
    Worker(WorkerCommand),
    /// Make tokens, list and revoke them: who may come in
    #[command(subcommand)]
    Token(TokenCommand),
    Audit(AuditArgs),
    /// Say who the server takes you for, and what you may do
    Whoami,
    /// Look at contracts and try them on candidates
    #[command(subcommand)]
    Contract(ContractCommand),
    /// Verify, print, follow and repair the ledger
    #[command(subcommand)]
    Ledger(LedgerCommand),
    Backup(BackupArgs),
    Restore(RestoreArgs),
    /// The orchestrator's state as JSON
    #[command(subcommand)]
    State(StateCommand),
    ImportLegacy(ImportLegacyArgs),
    Compact(CompactArgs),
    /// Make certificates for TLS
    #[command(subcommand)]
    Cert(CertCommand),
    /// The settings in force
    #[command(subcommand)]
    Config(ConfigCommand),
    /// Check the cluster from here and say what to fix
    #[command(
        long_about = "Check the cluster from here and say what to fix.\n\nLooks at: whether the server answers, who \
            can reach it, versions, whether the ledger can be written, stale workers, queues whose jobs no worker can run, paused \
            queues, failed jobs, the index, and the clocks of both machines. Ends with 1 if something is broken \
            (a warning is not)."
    )]
    Doctor,
    Completion(CompletionArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_says_what_it_does() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            assert!(command.get_about().is_some(), "{path} has no summary");
            for arg in command.get_arguments().filter(|arg| !arg.is_hide_set()) {
                assert!(arg.get_help().is_some(), "{path} {} has no help", arg.get_id());
            }
            command.get_subcommands().for_each(|inner| check(inner, &path));
        }
        check(&Cli::command(), "");
    }
}

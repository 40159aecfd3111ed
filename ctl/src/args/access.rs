//! Arguments of `orchctl token`, `orchctl audit` and `orchctl whoami`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use orch_core::access::Role;
use orch_core::id::{QueueName, TokenName};
use orch_core::time::Span;

use super::values::When;

/// What to do with tokens.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    Create(TokenCreateArgs),
    /// List the tokens that were not revoked; never their secrets, which nobody has
    List,
    /// Let the holder of a token in no more, at once: its calls and streams that are open end
    #[command(after_help = "Example:\n  orchctl token revoke ci")]
    Revoke {
        /// Its name
        token: TokenName,
    },
}

/// Make a token and print its secret, once
#[derive(Debug, Args)]
#[command(
    long_about = "Make a token and print its secret, once. The orchestrator keeps only the SHA-256 of it, so nobody can \
        show it again: give it to who needs it, and make another one if it is lost.\n\nRoles: admin does everything; \
        operator runs the cluster (queues, limits, workers); submitter gives work to its queues; worker does the work; \
        viewer looks. docs/security.md has the whole table.\n\nThe first token must be an admin's: from then on nobody \
        gets in without a token.",
    after_help = "Examples:\n  \
        orchctl token create root --role admin --out ~/.config/orch/token\n  \
        orchctl token create gpu-pool --role worker --out worker.token\n  \
        orchctl token create ci --role submitter --queue nightly --expires 90d\n  \
        export ORCH_TOKEN=$(orchctl token create me --role viewer -o name)"
)]
pub struct TokenCreateArgs {
    /// Its name, by which the audit knows its holder
    pub token: TokenName,

    /// What its holder is
    #[arg(long, value_enum)]
    pub role: RoleArg,

    /// A queue that its holder may touch, for submitters, workers and viewers; may be given more than once [default: all]
    #[arg(long = "queue", value_name = "QUEUE")]
    pub queues: Vec<QueueName>,

    /// When it ends by itself: 12h, 90d [default: never]
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<Span>,

    /// Write the secret into this file, which only you can read, instead of printing it; the file must not be there
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// What the holder of a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RoleArg {
    /// Does everything, tokens and the audit included
    Admin,
    /// Runs the cluster: queues, contracts, limits, workers; and submits
    Operator,
    /// Gives work to its queues and looks after it
    Submitter,
    /// Leases jobs and delivers results
    Worker,
    /// Looks, and changes nothing
    Viewer,
}

impl From<RoleArg> for Role {
    fn from(role: RoleArg) -> Self {
        match role {
            RoleArg::Admin => Self::Admin,
            RoleArg::Operator => Self::Operator,
            RoleArg::Submitter => Self::Submitter,
            RoleArg::Worker => Self::Worker,
            RoleArg::Viewer => Self::Viewer,
        }
    }
}

/// Who did what, from where, and whether it was allowed
#[derive(Debug, Args)]
#[command(
    long_about = "Who did what, from where, and whether it was allowed: the last 10,000 entries, newest first. All of \
        them stand in the ledger: `orchctl ledger cat --type audited`.\n\nCalls that change something are told of one by \
        one, with the records that they led to. Refusals are counted by the minute, so that a flood of them fills no \
        disk. Looking, and what workers deliver, is not told of.",
    after_help = "Examples:\n  \
        orchctl audit\n  \
        orchctl audit --verdict denied --since 1h\n  \
        orchctl audit --actor ci --call Submit -o json | jq '.entries[].target'"
)]
pub struct AuditArgs {
    /// Only callers whose name has this in it
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub actor: String,

    /// Only calls whose name has this in it: Submit, AdminService, /metrics
    #[arg(long, value_name = "TEXT", default_value = "", hide_default_value = true)]
    pub call: String,

    /// Only with this verdict
    #[arg(long, value_enum)]
    pub verdict: Option<VerdictArg>,

    /// Only at this time or later: 30m, 2h, 7d, or 2026-11-21T08:00:00Z
    #[arg(long, value_name = "TIME")]
    pub since: Option<When>,

    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    pub limit: u32,
}

/// What became of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum VerdictArg {
    /// It was let pass
    Allowed,
    /// It was refused
    Denied,
    /// It would have been refused, and was let pass
    Warned,
}

impl VerdictArg {
    /// Its name on the wire.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Denied => "denied",
            Self::Warned => "warned",
        }
    }
}

//! What commands print: the stable JSON shapes, and the tables made from the same values.
//!
//! Shapes are part of the interface (`docs/cli.md`): names in snake_case, times in RFC 3339, ids as numbers, null for
//! "none". Fields may be added, never renamed. Wire messages become views here, destructured in full.

mod access;
mod backup;
mod cert;
mod compact;
mod contract;
pub(crate) mod doctor;
mod explain;
mod import;
mod job;
mod ledger;
mod legacy;
mod limit;
mod local;
mod queue;
mod record;
mod repair;
mod retries;
mod schedule;
mod settings;
#[cfg(test)]
mod snapshots;
mod stats;
mod submit;
mod time;
mod top;
mod verdict;
mod worker;

pub use access::{AuditView, TokenMadeView, TokenRevokedView, TokensView, WhoView};
pub use backup::{BackupView, RestoreView};
pub use cert::CertsView;
pub use compact::CompactView;
pub use contract::{ContractView, ContractsView};
pub use doctor::{Check, DoctorView};
pub use explain::{JobExplainedView, WorkerExplainedView};
pub use import::{ImportView, LineError};
pub use job::{JobDetailView, JobView, JobsView};
pub use ledger::{HeadView, VerifyView};
pub use legacy::{LegacyView, RejectedLine};
pub use limit::{LimitActionView, LimitsView};
pub use local::LocalRunView;
pub use orch_proto::view::{some_text, some_time};
pub use queue::{QueueActionView, QueueView, QueuesView};
pub use record::summary as record_summary;
pub use repair::RepairView;
pub use retries::{RetriesView, WorkerResumedView};
pub use schedule::{ScheduleActionView, SchedulesView};
pub use settings::SettingsView;
pub use stats::{LedgerView, StatsView};
pub use submit::{ActionView, DryRunView, EnqueuedView, SubmitView};
pub use time::{ago, span};
pub use top::TopView;
pub use verdict::{TestView, VerdictView};
pub use worker::{CleanupView, DrainView, WorkerView, WorkersView};

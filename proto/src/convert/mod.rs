//! Where wire values become checked core values, and back.
//!
//! Wire structs are destructured in full, so that a field added to a `.proto` does not compile until it is handled
//! here. Every bad field of a message is reported, not only the first: see [`Faults`].

mod access;
mod answers;
mod explain;
mod fault;
mod filter;
mod legacy;
mod limits;
mod receipt;
mod refusals;
mod resources;
mod retry;
mod scaler;
mod specs;
mod states;
mod submission;
mod summary;
mod worker_requests;

pub use access::{AuditFilter, MAX_AUDIT_ENTRIES, MAX_TOKEN_QUEUES, WantedToken, audit_entry, role_name, token};
pub use answers::{ended, lease, refused, verdicts};
pub use explain::worker_seen;
pub use fault::{Fault, Faults, MAX_FAULTS};
pub use filter::{JobConditions, MAX_NAMED_JOBS};
pub use legacy::{LegacyFile, LegacyPart};
pub use orch_core::receipt::Receipt;
pub use refusals::submit_fault;
pub use resources::{granted_variant, pools_to_wire};
pub use scaler::worker_pool;
pub use specs::{MAX_DEPENDENCY_BYTES, MAX_SPAN, MAX_TIMESTAMP};
pub use states::{UnknownState, failure_class_name, job_state_name};
pub use summary::{contract_status, queue_status, summary, totals, unix_ms};
pub use worker_requests::{
    AskForJobs, HeartbeatReport, LogPiece, MAX_WAIT, MAX_WORKER_ITEMS, MAX_WORKER_TEXT, Register, Release,
    ResultsAction, ResultsMessage,
};

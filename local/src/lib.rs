//! A whole cluster on this machine: one orchestrator and its workers in one process, over the same code and the same
//! wire as a cluster of many hosts.
//!
//! [`run`] takes a manifest to its end: start, submit, work, verify the ledger, write the clean data set. Every step may
//! be interrupted and run again: jobs get idempotency keys, so a second run finds the first one's work in the ledger.
//! How it looks on a terminal is the caller's business: it is told of [`Progress`].

mod cluster;
mod progress;
mod run;
mod submit;

pub use cluster::{Cluster, ClusterOptions, Kinds, worker_kinds};
/// To be called first in a program that runs a local cluster: it may have been started to supervise a job.
pub use orch_worker::supervise::take_over;
pub use progress::Progress;
pub use run::{Ended, LocalError, RunOptions, RunResult, Summary, run};

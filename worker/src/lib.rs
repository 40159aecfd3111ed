//! The worker: leases jobs, runs them, streams candidates back, and knows nothing of the ledger.
//!
//! Its whole world is three calls of `orch.v1.WorkerService`: lease, heartbeat, submit. It is dumb on purpose: it
//! judges no candidate, it only makes sure that each one is delivered once its runner produced it.
//!
//! Where to look: [`config`] is what a user sets; [`session`] owns the connection and the registration;
//! [`lease_loop`] fills the slots; [`job`] runs one lease from its grant to its end; [`heartbeat`] reconciles;
//! [`gang`] has the members of a gang start and end together; [`resources`] knows which job has which GPU; [`submit`]
//! keeps results until they are acknowledged; [`runner`] starts what computes; [`supervise`] ends it. [`run`] ties them
//! together and is all that the binary and the all-in-one local mode call.

pub mod config;
pub mod gpus;
pub mod hardware;
pub mod supervise;

mod ahead;
mod assignment;
mod gang;
mod heartbeat;
mod job;
mod lease_loop;
mod leases;
mod logs;
mod pace;
mod report;
mod resources;
mod run;
mod runner;
mod session;
mod submit;

pub use config::WorkerConfig;
pub use report::WorkerReport;
pub use run::{WorkerError, run};
pub use runner::read_output;
/// Cancelled by the caller to drain or end a worker.
pub use tokio_util::sync::CancellationToken;

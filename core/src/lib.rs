//! The pure core of Orch: what jobs, leases, candidates and contracts are, and what every event means.
//!
//! Nothing here does IO, reads a clock or draws a random number: time comes in as an argument, jitter is a
//! function of the job, and files belong to `orch-ledger`. So every rule of the system can be tested as a
//! function, and replaying the ledger is the same code as running live.
//!
//! Where to look: [`record`] lists every event of the ledger; [`state`] folds them ([`state::State::apply`]) and
//! decides what happens next; [`contract`] judges candidates; [`job`] and [`queue`] are what users submit; [`access`] is
//! who may do what; [`array`] is one job for a million, [`gang`] one for several workers at once.

pub mod access;
pub mod array;
pub mod calls;
pub mod contract;
pub mod cron;
pub mod demand;
pub mod digest;
pub mod explain;
pub mod gang;
pub mod id;
pub mod job;
pub mod json;
pub mod limit;
pub mod liveness;
pub mod manifest;
pub mod policy;
pub mod queue;
pub mod receipt;
pub mod record;
pub mod resource;
pub mod retry;
pub mod seeded;
pub mod state;
pub mod summary;
pub mod text;
pub mod time;
pub mod timetable;
pub mod unique;

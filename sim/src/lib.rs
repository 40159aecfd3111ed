//! A seeded simulation of orchestrator, workers and clients, and the checker of what the ledger promises.
//!
//! [`checker`] is the one judge: it compares what clients were told with what the ledger says, and the ledger with
//! itself. Everything that tries to break the system (the simulation, kill loops over real processes, damaged disks)
//! ends by asking it. [`world`] is the simulation: a seed is a run.

#[cfg(feature = "seeded-bugs")]
pub mod bugs;
pub mod checker;
pub mod cores;
pub mod scenario;
pub mod seeds;
pub mod world;

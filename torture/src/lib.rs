//! Cruelty to real processes, over the real wire, on real disks: and what must hold all the same.
//!
//! Each kind of cruelty is a module with one function that does it in any size and gives a [`Report`]: the facts and the
//! violations. The command `orch-torture` runs them in their long forms, the tests of this crate in their short ones.
//!
//! What all of them share: [`binaries`] and [`process`] start the unmodified programs, [`server`] is an orchestrator
//! that may be killed and started again, [`client`] drives it over the wire, [`told`] keeps outside of it what was
//! acknowledged and has it checked against the ledger by the one checker.

pub mod binaries;
pub mod calls;
pub mod client;
pub mod crowd;
pub mod dice;
pub mod disk;
pub mod error;
pub mod hostile;
pub mod kill;
pub mod latency;
pub mod overload;
pub mod pause;
pub mod process;
pub mod report;
pub mod rollback;
pub mod server;
pub mod stampede;
pub mod told;
pub mod wire;
pub mod work;
pub mod workers;
pub mod writers;

pub use error::TortureError;
pub use report::Report;

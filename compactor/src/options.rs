//! What is taken, and with what means.

use std::path::PathBuf;

use orch_core::id::{ContractRef, Seq};

/// How much memory the sort uses unless told otherwise, in bytes.
pub const DEFAULT_MEMORY: usize = 256 << 20;

/// What is taken from a ledger, and with what means. The means never change what comes out.
#[derive(Clone, Debug)]
pub struct Options {
    /// Takes records up to this one; without it, all.
    pub until: Option<Seq>,
    /// Takes the candidates of this contract; without it, of every contract.
    pub contract: Option<ContractRef>,
    /// Adds to each candidate where it comes from, under [`crate::PROVENANCE_KEY`].
    pub provenance: bool,
    /// About how much memory the sort may use, in bytes. What does not fit goes to a temporary file.
    pub memory: usize,
    /// Where that file lies. Without it: beside the output, or in the system's directory for such files.
    pub tmp: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { until: None, contract: None, provenance: false, memory: DEFAULT_MEMORY, tmp: None }
    }
}

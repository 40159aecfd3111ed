//! A machine with a faulty disk: engines are started on it, and what accidents leave is judged by the checker.

use std::sync::Arc;

use orch_core::time::Span;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::{OpenError, OpenOptions};
use orch_orchestrator::engine::{Engine, OpenedEngine};
use orch_sim::checker::{Acknowledged, check_in, describe};

use super::client::Client;

/// Small segments, so that a short run has several; what is claimed ahead depends on the seed.
pub fn options(seed: u64, client: &Client) -> OpenOptions {
    let sizes = [(0, 0), (3000, 0), (3000, 1024)];
    let (claim_bytes, zero_bytes) = sizes[usize::try_from(seed % 3).unwrap()];
    OpenOptions {
        new_ledger_id: Some("0190b5a4-3c00-7000-8000-000000000001".to_owned()),
        segment_bytes: 6000,
        claim_bytes,
        zero_bytes,
        ..OpenOptions::new(client.now().wall, "0.1.0", "host-1", 42)
    }
}

/// Starts an engine.
///
/// # Errors
/// As the ledger says.
pub fn start(disk: &MemoryDir, seed: u64, client: &mut Client) -> Result<OpenedEngine, OpenError> {
    client.meets_another_engine();
    Engine::open_in(Arc::new(disk.clone()), options(seed, client), Span::seconds(20), client.now())
}

/// Nothing that was told is missing, the ledger is sound, and its replay is the state of this engine.
pub fn check(disk: &MemoryDir, told: &[Acknowledged], engine: &Engine) {
    let checked = check_in(Arc::new(disk.clone()), told, Some(&engine.state().export()));
    assert!(checked.violations.is_empty(), "{}", describe(&checked.violations));
}

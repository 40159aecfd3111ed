//! What every test needs: binaries, processes that cannot be left behind, a cluster, its files.
//!
//! Nothing here sleeps to wait for something to have happened: [`until`] looks again and again until it has, and gives
//! up long after a slow machine would have made it.

pub mod cluster;
pub mod main_job;
pub mod manifests;
pub mod process;
pub mod records;
pub mod zeros;

use std::time::{Duration, Instant};

pub use cluster::{Cluster, Options, Worker};
pub use process::{Process, is_gone, orchctl, run};

/// How long anything may take before a test gives up on it.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How long between two looks.
const LOOK_EVERY: Duration = Duration::from_millis(15);

/// Looks until there is something to see, and gives it.
#[track_caller]
pub fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + PATIENCE;
    loop {
        if let Some(seen) = look() {
            return seen;
        }
        assert!(Instant::now() < end, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A new folder of the test's own, gone when it ends.
pub fn folder() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("orch-e2e-").tempdir().unwrap()
}

/// The project's folder.
pub fn project() -> &'static std::path::Path {
    std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/.."))
}

//! Answers as JSON: the shapes that `orchctl -o json` prints and the orchestrator's HTTP routes send.
//!
//! They are part of the interface (`docs/cli.md`): names in snake_case, times in RFC 3339, ids as numbers, null for
//! "none". Fields may be added, never renamed. A message of the wire becomes one here, destructured in full. What only
//! `orchctl` shows has its shape there.

mod worker;

use orch_core::time::Timestamp;

pub use worker::{CleanupView, GpuView, HardwareView, LeaseView, ResourceView, WorkerView, WorkersView};

/// A time of the wire, none for 0.
pub fn some_time(unix_ms: i64) -> Option<Timestamp> {
    (unix_ms != 0).then_some(Timestamp(unix_ms))
}

/// A text of the wire, none if empty.
pub fn some_text(text: String) -> Option<String> {
    (!text.is_empty()).then_some(text)
}

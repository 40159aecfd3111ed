//! What a job's processes may use.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// Bounds on each process of a job (`setrlimit`), None for what the worker itself may use.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Address space in bytes. CUDA and some runtimes reserve far more of it than they use.
    pub memory: Option<u64>,
    /// Time on a CPU, in whole seconds; the process is killed at its end.
    pub cpu_time: Option<Duration>,
    /// Open files.
    pub open_files: Option<u64>,
    /// Processes and threads of the worker's user, on the whole machine.
    pub processes: Option<u64>,
    /// The longest file that it may write, in bytes.
    pub file_size: Option<u64>,
}

impl Limits {
    /// Whether nothing is bounded.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

//! A case that fails says how to see it fail again.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

/// Runs a case; if it panics, names the command that runs it again.
pub fn told<T>(command: &str, case: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(case)).unwrap_or_else(|panic| {
        eprintln!("to see this again: {command}");
        resume_unwind(panic)
    })
}

//! Where wire values become checked core values, and back.
//!
//! Wire structs are destructured in full, so that a field added to a `.proto` does not compile until it is handled
//! here. Every bad field of a message is reported, not only the first: see [`Faults`].

mod fault;
mod specs;
mod states;
mod submission;

pub use fault::{Fault, Faults, MAX_FAULTS};
pub use specs::{MAX_DEPENDENCY_BYTES, MAX_SPAN, MAX_TIMESTAMP};
pub use states::{UnknownState, failure_class_name, job_state_name};

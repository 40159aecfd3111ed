//! The orchestrator: one writer, its index, and the gRPC edge.

pub mod engine;
pub mod index;

//! The orchestrator: one writer, its index, and the gRPC edge.

pub mod config;
pub mod engine;
pub mod grpc;
pub mod index;
pub mod logs;
pub mod serve;

//! The orchestrator: one writer, its index, and the edge: gRPC, probes, metrics.

pub mod access;
pub mod config;
pub mod engine;
pub mod grpc;
pub mod http;
pub mod index;
pub mod logs;
mod segments;
pub mod serve;
pub mod trace;

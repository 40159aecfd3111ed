//! The wire of Orch: package `orch.v1`, generated, and the only place where its types meet the core's; and KEDA's
//! external scaler.
//!
//! `.proto` files are under `orch/v1` and `externalscaler`. Everything that comes off the wire becomes a checked core
//! type here, once; every bad field is named. Nothing outside this crate builds a core value from a wire value.

pub mod convert;
pub mod credentials;
pub mod error;
pub mod view;

/// The generated types and services of package `orch.v1`.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod v1 {
    tonic::include_proto!("orch.v1");
}

/// The generated types and service of KEDA's external scaler.
#[allow(missing_docs, clippy::all, clippy::pedantic, unused_qualifications)]
pub mod externalscaler {
    tonic::include_proto!("externalscaler");
}

/// The type of the wire's byte strings.
pub use prost::bytes::Bytes;

/// The descriptor set of `orch.v1` and of `externalscaler`, for gRPC reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/orch_v1.bin"));

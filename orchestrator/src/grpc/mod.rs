//! The gRPC edge: wire values in, core values to the engine, answers back.

pub mod admin;
pub mod scaler;
pub mod worker;

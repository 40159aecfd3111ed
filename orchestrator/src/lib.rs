//! The orchestrator: one writer, its index, and the gRPC edge.

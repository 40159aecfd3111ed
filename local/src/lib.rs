//! A whole cluster on this machine: one orchestrator and its workers over the same wire.

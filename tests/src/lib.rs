//! End-to-end tests of Orch.

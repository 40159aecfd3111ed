//! End-to-end tests of Orch: real processes, the real wire, real files. They are in `tests/e2e`, one binary; what every
//! test needs is in `tests/e2e/support`, and what other tests of whole programs need too is here.

pub mod binaries;

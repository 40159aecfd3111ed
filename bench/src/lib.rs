//! Benchmarks of Orch: P1 to P5.

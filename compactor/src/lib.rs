//! Takes a clean, sorted, reproducible data set out of a ledger.

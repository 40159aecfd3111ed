//! The state: a fold over the ledger.

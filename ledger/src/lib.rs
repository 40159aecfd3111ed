//! The ledger's file layer: self-checking lines, atomic batches, recovery, verification.

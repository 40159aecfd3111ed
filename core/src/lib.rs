//! The pure core of Orch: jobs, leases, contracts, and the state that is a fold over the ledger.

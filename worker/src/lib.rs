//! The worker: leases jobs, runs them, streams candidates back.

//! What a worker did, counted while it runs and told when it ends.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a worker did from its start to its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerReport {
    /// Leases taken.
    pub leased: u64,
    /// Jobs that the orchestrator acknowledged as done.
    pub done: u64,
    /// Attempts that ended in a failure, acknowledged by the orchestrator.
    pub failed: u64,
    /// Leases given back undone, without charge.
    pub released: u64,
    /// Leases that were the worker's no more while it still worked on them.
    pub lost: u64,
    /// Candidates accepted.
    pub accepted: u64,
    /// Candidates that were known already.
    pub duplicates: u64,
    /// Candidates rejected.
    pub rejected: u64,
}

impl fmt::Display for WorkerReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { leased, done, failed, released, lost, accepted, duplicates, rejected } = self;
        write!(f, "{leased} jobs leased: {done} done, {failed} failed, {released} released, {lost} lost; ")?;
        write!(f, "candidates: {accepted} accepted, {duplicates} duplicate, {rejected} rejected")
    }
}

/// The counters behind a [`WorkerReport`].
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub leased: AtomicU64,
    pub done: AtomicU64,
    pub failed: AtomicU64,
    pub released: AtomicU64,
    pub lost: AtomicU64,
    pub accepted: AtomicU64,
    pub duplicates: AtomicU64,
    pub rejected: AtomicU64,
}

impl Counters {
    pub(crate) fn report(&self) -> WorkerReport {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerReport {
            leased: read(&self.leased),
            done: read(&self.done),
            failed: read(&self.failed),
            released: read(&self.released),
            lost: read(&self.lost),
            accepted: read(&self.accepted),
            duplicates: read(&self.duplicates),
            rejected: read(&self.rejected),
        }
    }
}

/// Adds `n` to a counter.
pub(crate) fn count(counter: &AtomicU64, n: u64) {
    counter.fetch_add(n, Ordering::Relaxed);
}

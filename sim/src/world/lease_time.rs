//! A model of how long leases live, apart from the product's: no early expiry, no immortal lease.
//!
//! A lease lives its time to live from its grant, its last heartbeat, its worker's registration or the start of the
//! orchestrator, in time during which the engine ran. The wall clock has no say. Gangs are left out: each of their members has a
//! time of its own.

use std::collections::BTreeMap;

use orch_core::id::LeaseId;
use orch_core::record::{Event, ExpiryCause, Record};

use super::jobs::TTL;
use crate::checker::{Rule, Violation};

/// Longer than this between two looks at the clock, and the engine stood still.
const STALL: u64 = 5_000;

/// Since when each lease lives.
#[derive(Default)]
pub(crate) struct LeaseTime {
    /// Time during which the engine ran.
    ran: u64,
    /// When each open lease was last renewed; None while that is not known, after a full disk.
    renewed: BTreeMap<LeaseId, Option<u64>>,
}

impl LeaseTime {
    /// So much time is over since the last batch.
    pub(crate) fn pass(&mut self, gap: u64) {
        if gap <= STALL {
            self.ran += gap;
        }
    }

    /// The orchestrator starts: every open lease gets its full time.
    pub(crate) fn restart(&mut self, open: impl Iterator<Item = LeaseId>) {
        self.renewed = open.map(|lease| (lease, Some(self.ran))).collect();
    }

    /// The worker of a lease was heard.
    pub(crate) fn renew(&mut self, lease: LeaseId) {
        if let Some(renewed) = self.renewed.get_mut(&lease) {
            *renewed = Some(self.ran);
        }
    }

    /// The state was made anew, and perhaps renewed with it.
    pub(crate) fn lose_track(&mut self, open: impl Iterator<Item = LeaseId>) {
        self.renewed = open.map(|lease| (lease, None)).collect();
    }

    /// Takes a record of the batch that has just run.
    pub(crate) fn take(&mut self, record: &Record) -> Option<Violation> {
        let lease = match &record.event {
            Event::LeaseGranted { members, .. } => {
                if members.is_empty() {
                    self.renewed.insert(LeaseId(record.seq), Some(self.ran));
                }
                return None;
            }
            Event::LeaseExpired { lease, cause: ExpiryCause::Ttl, .. } => {
                let lived = self.renewed.remove(lease).flatten().map(|renewed| self.ran - renewed);
                return lived.filter(|lived| *lived < TTL).map(|lived| {
                    let message = format!("lease {lease} expired after {lived} ms of {TTL}");
                    Violation::new(Rule::LeaseTime, message)
                });
            }
            Event::LeaseReleased { lease, .. }
            | Event::LeaseExpired { lease, .. }
            | Event::JobCompleted { lease, .. }
            | Event::AttemptFailed { lease, .. } => lease,
            _ => return None,
        };
        self.renewed.remove(lease);
        None
    }

    /// No lease that is open now may have been silent for longer than its time.
    pub(crate) fn check(&mut self, open: impl Iterator<Item = LeaseId>) -> Option<Violation> {
        let open: BTreeMap<LeaseId, Option<u64>> =
            open.map(|lease| (lease, self.renewed.get(&lease).copied().flatten())).collect();
        self.renewed = open;
        let old = |renewed: &Option<u64>| renewed.is_some_and(|renewed| self.ran - renewed > TTL);
        let immortal = self.renewed.iter().find(|(_, renewed)| old(renewed));
        immortal.map(|(lease, renewed)| {
            let silent = self.ran - renewed.unwrap_or_default();
            Violation::new(Rule::LeaseTime, format!("lease {lease} lives on after {silent} ms of silence"))
        })
    }
}

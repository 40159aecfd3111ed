//! By what the candidates of each lease are judged, kept at hand from the grant to the end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use orch_core::contract::{Contract, Rejection, Rule, Screen};
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::Payload;
use orch_core::state::Judged;

use crate::engine::commands::results::{DescribeLease, LeaseTerms};
use crate::engine::{CallError, Handle};

/// Whose a lease is, and what judges its candidates.
pub struct Terms {
    /// The grantee; of a gang each of its members.
    pub workers: Vec<WorkerId>,
    /// The job.
    pub job: JobId,
    /// The how-manieth lease of the job.
    pub attempt: u32,
    screen: Result<Screen, Rejection>,
}

impl Terms {
    /// The terms of a lease.
    pub fn new(
        workers: Vec<WorkerId>,
        job: JobId,
        attempt: u32,
        contract: Option<Arc<Contract>>,
        payload: &Payload,
    ) -> Self {
        let unjudged = |message: String| Rejection { rule: Rule::NoContract, message };
        let screen = match contract {
            None => Err(unjudged("the job's queue has no contract, so nothing can be accepted".to_owned())),
            Some(contract) => contract.bind(payload).map_err(|error| unjudged(error.to_string())),
        };
        Self { workers, job, attempt, screen }
    }

    /// What screening says of a candidate.
    pub fn judge(&self, candidate: &[u8]) -> Judged {
        match &self.screen {
            Ok(screen) => screen.judge(candidate),
            Err(rejection) => Err(rejection.clone()),
        }
    }
}

/// The most leases whose terms are kept; those of the oldest are asked for again.
const MAX_KEPT: usize = 65_536;

/// The terms of the leases that were granted lately.
#[derive(Default)]
pub struct TermsCache(Mutex<BTreeMap<LeaseId, Arc<Terms>>>);

impl TermsCache {
    /// Keeps the terms of a lease.
    pub fn insert(&self, lease: LeaseId, terms: Arc<Terms>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.insert(lease, terms);
        if kept.len() > MAX_KEPT {
            kept.pop_first();
        }
    }

    /// The terms of a lease; None if it is neither current nor remembered.
    pub async fn get(&self, handle: &Handle, lease: LeaseId) -> Result<Option<Arc<Terms>>, CallError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&lease).cloned();
        if kept.is_some() {
            return Ok(kept);
        }
        let described = handle.call_in_turn(DescribeLease { lease }).await?.answer;
        let Some(LeaseTerms { job, attempt, workers, contract, payload }) = described else { return Ok(None) };
        let terms = Arc::new(Terms::new(workers, job, attempt, contract, &payload));
        self.insert(lease, Arc::clone(&terms));
        Ok(Some(terms))
    }
}

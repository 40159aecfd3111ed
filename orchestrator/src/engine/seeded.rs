//! The bug of a replay that judges again, for the tests that would notice it: see [`orch_core::seeded`].

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::contract::Contract;
use orch_core::id::JobId;
use orch_core::job::Payload;
use orch_core::record::{CandidateAccepted, Event, Origin, Record};
use orch_core::seeded::{self, Bug};
use orch_core::state::State;
use orch_ledger::Ledger;

/// With the bug, makes the state anew from what the newest version of each contract would accept.
pub(super) fn judge_again(ledger: &Ledger, state: &mut State) {
    if !seeded::on(Bug::ReplayRejudges) {
        return;
    }
    let mut newest: BTreeMap<String, Arc<Contract>> = BTreeMap::new();
    for (reference, registered) in state.contracts() {
        if let Some(contract) = &registered.contract {
            newest.insert(reference.name.to_string(), Arc::clone(contract));
        }
    }
    let mut payloads: BTreeMap<JobId, Payload> = BTreeMap::new();
    let mut again = State::default();
    let replayed = ledger.replay_all(&mut |record, _| {
        if let Event::JobSubmitted(submitted) = &record.event {
            payloads.insert(JobId(record.seq), submitted.spec.payload.clone());
        }
        if let Event::TaskMade { .. } = &record.event {
            payloads.insert(JobId(record.seq), super::spec(ledger, JobId(record.seq)).payload);
        }
        let refused = match &record.event {
            Event::CandidateAccepted(accepted) => !passes(accepted, &newest, &payloads),
            _ => false,
        };
        // Something that changes nothing stands in for what is judged away.
        let event = if refused { Event::SegmentSealed {} } else { record.event.clone() };
        again.apply(&Record { seq: record.seq, at: record.at, event }).map_err(|error| error.to_string())
    });
    if replayed.is_ok() {
        *state = again;
    }
}

fn passes(
    accepted: &CandidateAccepted,
    newest: &BTreeMap<String, Arc<Contract>>,
    payloads: &BTreeMap<JobId, Payload>,
) -> bool {
    let Origin::Lease { job, .. } = accepted.origin else { return true };
    let contract = newest.get(&accepted.contract.name.to_string());
    let screen = contract.zip(payloads.get(&job)).and_then(|(contract, payload)| contract.bind(payload).ok());
    screen.is_none_or(|screen| screen.judge(accepted.candidate.get().as_bytes()).is_ok())
}

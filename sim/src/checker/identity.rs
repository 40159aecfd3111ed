//! Accepted candidates, judged once more: each passes its contract, and no two of them are the same.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use orch_core::contract::{Contract, ContractSpec, Screen, same};
use orch_core::digest::Digest;
use orch_core::id::{ContractRef, Seq};
use orch_core::job::Payload;
use orch_core::record::{CandidateAccepted, Origin};

/// What was accepted, by identity.
#[derive(Default)]
pub(super) struct Identities {
    contracts: BTreeMap<ContractRef, Arc<Contract>>,
    /// Contracts bound to payloads, for the origins that candidates came from.
    screens: BTreeMap<(Origin, ContractRef), Option<Screen>>,
    /// The record that accepted an identity, and where in its bucket the candidate lies.
    accepted: HashMap<Digest, (Seq, Vec<u32>)>,
}

impl Identities {
    /// Takes a registered contract. One that does not compile judges nothing here.
    pub(super) fn register(&mut self, spec: &ContractSpec) {
        if let Ok(contract) = Contract::compile(spec.clone()) {
            self.contracts.insert(spec.reference(), Arc::new(contract));
        }
    }

    /// Forgets the screen of an origin that has ended.
    pub(super) fn ended(&mut self, origin: Origin, contract: Option<&ContractRef>) {
        if let Some(contract) = contract {
            self.screens.remove(&(origin, contract.clone()));
        }
    }

    /// Takes an accepted candidate; says what is wrong with it.
    pub(super) fn take(&mut self, seq: Seq, accepted: &CandidateAccepted, payload: &Payload) -> Vec<String> {
        let CandidateAccepted { origin, contract, digest, offsets, candidate } = accepted;
        let mut faults = Vec::new();
        let bind = || self.contracts.get(contract).and_then(|contract| contract.bind(payload).ok());
        let screen = self.screens.entry((*origin, contract.clone())).or_insert_with(bind);
        let judged = screen.as_ref().map(|screen| screen.judge(candidate.get().as_bytes()));
        if let Some((first, _)) = self.accepted.get(digest) {
            faults.push(format!("records {first} and {seq} both accept the identity {digest}"));
        }
        match judged {
            Some(Ok(screened)) => {
                if screened.digest() != *digest || screened.offsets() != &offsets[..] {
                    faults.push(format!("record {seq} has digest {digest}, its candidate has {}", screened.digest()));
                }
                for probe in screened.neighbours() {
                    if let Some((first, theirs)) = self.accepted.get(&probe.digest)
                        && same(offsets, &probe.steps, theirs)
                    {
                        faults.push(format!("records {first} and {seq} accept the same candidate in two buckets"));
                    }
                }
            }
            Some(Err(rejection)) => {
                faults.push(format!("record {seq} accepts what {contract} rejects ({rejection}): {candidate}"));
            }
            None => faults.push(format!("record {seq} is accepted by {contract}, which cannot judge it")),
        }
        self.accepted.entry(*digest).or_insert_with(|| (seq, offsets.clone()));
        faults
    }
}

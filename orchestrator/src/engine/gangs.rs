//! Gangs at the engine: who waits and may become a member, who is told of a grant, and who did not show up.
//!
//! The choice is the core's ([`orch_core::state::State::lease_among`]). A member that did not ask just now is told by its call
//! that waits, in the same batch; if that is gone, by its next one.

use std::collections::HashMap;
use std::sync::{Arc, Weak};

use orch_core::explain;
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::record::ExpiryCause;
use orch_core::resource::Requirements;
use orch_core::seeded::{self, Bug};
use orch_core::state::{Granted, LeaseBounds, LeaseRequest, Leased, Others, Place};
use orch_core::time::Now;

use super::Engine;
use super::commands::worker::LeaseContext;

/// The label of a worker that says where other members of a gang reach it.
const ADDRESS: &str = "address";

/// A call that asks for jobs and waits. It waits no more when this is dropped with it.
#[derive(Clone, Debug, Default)]
pub struct Parked(Arc<()>);

/// Who waits for a job, and what it asked for.
pub(super) struct Asking {
    pub(super) request: LeaseRequest,
    bounds: LeaseBounds,
    parked: Weak<()>,
}

impl Engine {
    /// A worker's call waits for jobs from now on.
    pub(super) fn waits(&mut self, request: &LeaseRequest, bounds: &LeaseBounds, parked: &Parked) {
        let (request, bounds, parked) = (request.clone(), bounds.clone(), Arc::downgrade(&parked.0));
        self.asking.insert(request.worker.clone(), Asking { request, bounds, parked });
    }

    /// Whose calls wait for jobs.
    pub(super) fn waiting(&self) -> impl Iterator<Item = (&LeaseRequest, &LeaseBounds)> {
        let waits = self.asking.values().filter(|asking| asking.parked.strong_count() > 0);
        waits.map(|asking| (&asking.request, &asking.bounds))
    }

    /// Grants one after the other, as many as the worker asks for; of a gang its own part, and the others are told theirs.
    pub(super) fn grant_of(
        &mut self,
        request: &mut LeaseRequest,
        bounds: &LeaseBounds,
        now: Now,
    ) -> Vec<(Granted, LeaseContext)> {
        let mut names = HashMap::new();
        let mut granted = Vec::new();
        // One at a time: what each takes of a limit, and of its queue's share, counts for the next.
        for _ in 0..request.max {
            let ledger = &self.ledger;
            let mut gathering = std::mem::take(&mut self.gathering);
            let waiting = || self.waiting().collect();
            let enough = |required: &Requirements| explain::enough_workers(&self.state, &self.liveness, required, now);
            let others = Others { waiting: &waiting, enough: &enough };
            let payload_of = &mut |job| {
                let spec = crate::engine::spec(ledger, job);
                names.extend(spec.name.map(|name| (job, name)));
                spec.payload
            };
            let decision = self.state.lease_among(request, bounds, &others, &mut gathering, now.tick, payload_of);
            self.gathering = gathering;
            let recorded = !decision.events.is_empty();
            match self.record(decision, now) {
                Leased::Nothing if recorded => {}
                Leased::Nothing => break,
                Leased::Job(lease) => {
                    if !seeded::on(Bug::RoomNotSetApart) {
                        request.offer.pools.take(&lease.variant);
                    }
                    granted.push(lease);
                }
                Leased::Kept(variant) => drop(request.offer.pools.take(&variant)),
                Leased::Gang(grants) => {
                    self.gang_granted = true;
                    for grant in grants {
                        let Some(member) = member_of(&grant) else { continue };
                        if member == request.worker {
                            request.offer.pools.take(&grant.variant);
                            granted.push(grant);
                            continue;
                        }
                        self.asking.remove(&member);
                        self.gathering.let_go(&member);
                        if let Some(context) = self.context(&grant, &names) {
                            self.untold.entry(member).or_default().push((grant, context));
                        }
                    }
                }
            }
        }
        let context = |granted: Granted| self.context(&granted, &names).map(|context| (granted, context));
        granted.into_iter().filter_map(context).collect()
    }

    /// What else belongs to a grant, given the names of the jobs that were read for it.
    fn context(&self, granted: &Granted, names: &HashMap<JobId, String>) -> Option<LeaseContext> {
        let (queue, kind, _) = self.state.lane(self.state.job(granted.job)?);
        let registered = granted.contract.as_ref().and_then(|reference| self.state.contracts().get(reference));
        let contract = registered.and_then(|registered| registered.contract.clone());
        // A task has its array's name, which was read when it was made.
        let array = granted.task.map(|task| task.array);
        let name = names.get(&granted.job).or_else(|| names.get(&array?)).cloned().unwrap_or_default();
        let members = granted.place.iter().flat_map(|place| &place.members);
        let hosts = members.map(|member| self.address_of(member)).collect();
        Some(LeaseContext { queue: queue.clone(), kind: kind.clone(), name, contract, hosts })
    }

    /// Where others reach a worker: what it says itself, or the name of its host.
    fn address_of(&self, worker: &WorkerId) -> String {
        let Some(known) = self.liveness.workers().get(worker) else { return String::new() };
        let said = known.registration.labels.get(ADDRESS);
        said.unwrap_or(&known.registration.hardware.host).clone()
    }

    /// What a worker was granted as a member of gangs and was not told of.
    pub(super) fn tell(&mut self, worker: &WorkerId) -> Vec<(Granted, LeaseContext)> {
        let mut untold = self.untold.remove(worker).unwrap_or_default();
        let leases = self.state.leases();
        untold.retain(|(granted, _)| leases.get(&granted.lease).is_some_and(|held| held.is_held_by(worker)));
        untold
    }

    /// A worker has left, or begins anew: it waits for nothing.
    pub(super) fn forget_asking(&mut self, worker: &WorkerId) {
        self.asking.remove(worker);
        self.untold.remove(worker);
        self.gathering.let_go(worker);
    }

    /// What was granted was undone: nobody is told of it.
    pub(super) fn forget_gathering(&mut self) {
        self.untold.clear();
        self.gathering = orch_core::gang::Gathering::default();
    }

    /// Ends a lease whose time is over: a worker was lost; or a gang could not start, because a member did not show up.
    pub(super) fn end_late(&mut self, lease: LeaseId, now: Now) {
        let no_shows = self.liveness.no_shows(lease, now.tick);
        if no_shows.is_empty() {
            let lost = self.liveness.late(lease, now.tick).cloned();
            return self.end_lease(lease, lost.as_ref(), ExpiryCause::Ttl, now);
        }
        let names: Vec<&str> = no_shows.iter().map(WorkerId::as_str).collect();
        let job = self.state.leases().get(&lease).and_then(|held| self.state.job(held.job));
        let ttl = job.map(|job| self.state.lease_policy(job).ttl).unwrap_or_default();
        let what = if names.len() == 1 { "worker" } else { "workers" };
        self.give_back(lease, format!("{what} {} did not show up within {ttl}", names.join(", ")), now);
    }

    /// Gives a gang back: no attempt is charged.
    fn give_back(&mut self, lease: LeaseId, reason: String, now: Now) {
        tracing::warn!(%lease, reason, "a gang is given back");
        let decision = self.state.give_back(lease, reason);
        self.record(decision, now);
        self.liveness.unwatch(lease);
    }

    /// Takes back what was granted to a worker and never reached it, without a charge.
    pub(super) fn take_back(&mut self, worker: &WorkerId, leases: &[LeaseId], now: Now) {
        let is_gang = |lease: &&LeaseId| self.state.leases().get(*lease).is_some_and(|held| held.is_gang());
        let (gangs, own): (Vec<LeaseId>, Vec<LeaseId>) = leases.iter().partition(is_gang);
        for lease in gangs {
            self.give_back(lease, format!("its grant never reached worker {worker}"), now);
        }
        let decision = self.state.release(worker, &own);
        self.record(decision, now);
    }
}

/// The worker that a grant of a gang is for.
fn member_of(granted: &Granted) -> Option<WorkerId> {
    let Place { rank, members } = granted.place.as_ref()?;
    members.get(usize::try_from(*rank).ok()?).cloned()
}

//! Gangs are granted: to all of their members by one record, or to none.
//!
//! The members are the worker that asks and others that wait for a job at that moment. So there is no time at which a gang has
//! some of its workers: what it has not got it does not hold. Limits, semaphores, keys and shares are taken once, for the job.
//! Who is kept free while a gang at its turn lacks members is [`Gathering`]'s to say.

use std::cell::OnceCell;
use std::collections::HashSet;

use super::{Decision, Granted, Lease, LeaseBounds, LeaseRequest, State};
use crate::gang::Gathering;
use crate::id::{JobId, LeaseId, WorkerId};
use crate::job::Payload;
use crate::record::GangMember;
use crate::resource::{Requirements, Variant};
use crate::time::Tick;

/// Which member of a gang a worker is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// From 0: the member of rank 0 delivers the results, and ends the job.
    pub rank: u32,
    /// Every member, by rank.
    pub members: Vec<WorkerId>,
}

impl Place {
    /// The first member's place; None if there are no others.
    pub(super) fn first(worker: &WorkerId, others: &[GangMember]) -> Option<Self> {
        let others = others.iter().map(|member| member.worker.clone());
        let members: Vec<WorkerId> = std::iter::once(worker.clone()).chain(others).collect();
        (members.len() > 1).then_some(Self { rank: 0, members })
    }
}

/// Others who may be members of a gang, and whether there are enough at all.
pub struct Others<'a> {
    /// Who waits for a job just now, the worker that asks not among them.
    pub waiting: &'a dyn Fn() -> Vec<(&'a LeaseRequest, &'a LeaseBounds)>,
    /// Whether as many workers are registered that could be members of such a gang, whatever they do now.
    pub enough: &'a dyn Fn(&Requirements) -> bool,
}

/// What a worker that asks for a job gets.
#[derive(Clone, Debug)]
pub enum Leased {
    /// Nothing: no job may run there; or one was granted that could not be judged, and failed at once.
    Nothing,
    /// A job.
    Job(Granted),
    /// A gang, with each member's grant, by rank.
    Gang(Vec<Granted>),
    /// So much of it, and one of its slots, is kept free for a gang that lacks members yet.
    Kept(Variant),
}

impl State {
    /// The same as [`State::lease_within`], gangs included.
    pub fn lease_among<'a>(
        &self,
        request: &'a LeaseRequest,
        bounds: &'a LeaseBounds,
        others: &Others<'a>,
        gathering: &mut Gathering,
        now: Tick,
        payload_of: &mut dyn FnMut(JobId) -> Payload,
    ) -> Decision<Leased> {
        // Gangs that lack members now: what they require is passed over. Only those at their turn, of each queue.
        let mut short: HashSet<&Requirements> = HashSet::new();
        let waiting = OnceCell::new();
        loop {
            let open = |required: &Requirements| request.fits(required) && !short.contains(required);
            let next = self.choose(request, bounds, &open);
            let Some((id, job)) = next.and_then(|id| Some((id, self.jobs.get(&id)?))) else {
                return Decision::nothing(Leased::Nothing);
            };
            let required = self.schedule.requirements(job.lane);
            if required.gang.is_none() {
                let Decision { events, answer } = self.grant(id, request, bounds, &[], payload_of);
                return Decision { events, answer: answer.map_or(Leased::Nothing, Leased::Job) };
            }
            let waiting = waiting.get_or_init(|| (others.waiting)());
            if let Some(members) = self.members_of(id, request, bounds, waiting, gathering) {
                gathering.complete(required);
                return self.grant_gang(id, &members, payload_of);
            }
            if gathering.keep(required, &request.worker, now, || (others.enough)(required)) {
                let variant = required.fits(&request.worker, &request.offer).unwrap_or_default();
                return Decision::nothing(Leased::Kept(required.variant(variant)));
            }
            short.insert(required);
        }
    }

    /// As many workers as a gang needs, by rank, the one that asks among them; None if there are not so many. Those that it
    /// prefers first; ranks go by name.
    fn members_of<'a>(
        &self,
        id: JobId,
        request: &'a LeaseRequest,
        bounds: &'a LeaseBounds,
        waiting: &[(&'a LeaseRequest, &'a LeaseBounds)],
        gathering: &Gathering,
    ) -> Option<Vec<(&'a LeaseRequest, &'a LeaseBounds)>> {
        let job = self.jobs.get(&id)?;
        let required = self.schedule.requirements(job.lane);
        let gang = required.gang.as_ref()?;
        let may_join = |(other, bounds): &(&LeaseRequest, &LeaseBounds)| {
            other.worker != request.worker
                && other.kinds.contains(&gang.kind)
                && bounds.queues.contain(&gang.queue)
                && !self.trust.set_aside.contains_key(&other.worker)
                && !gathering.keeps_for_another(&other.worker, required)
                && required.fits(&other.worker, &other.offer).is_some()
        };
        let mut members: Vec<_> = waiting.iter().copied().filter(may_join).collect();
        members.sort_by_key(|(other, _)| (std::cmp::Reverse(required.score(&other.offer)), &other.worker));
        members.dedup_by_key(|(other, _)| &other.worker);
        members.truncate(gang.workers as usize - 1);
        members.push((request, bounds));
        members.sort_by_key(|(member, _)| &member.worker);
        (members.len() == gang.workers as usize).then_some(members)
    }

    fn grant_gang(
        &self,
        id: JobId,
        members: &[(&LeaseRequest, &LeaseBounds)],
        payload_of: &mut dyn FnMut(JobId) -> Payload,
    ) -> Decision<Leased> {
        let Some(((first, bounds), others)) = members.split_first() else { return Decision::nothing(Leased::Nothing) };
        let Some(job) = self.jobs.get(&id) else { return Decision::nothing(Leased::Nothing) };
        let required = self.schedule.requirements(job.lane);
        let variant = |of: &LeaseRequest| required.fits(&of.worker, &of.offer).unwrap_or_default();
        let member = |(of, bounds): &(&LeaseRequest, &LeaseBounds)| GangMember {
            worker: of.worker.clone(),
            variant: u32::try_from(variant(of)).unwrap_or_default(),
            session: bounds.session,
        };
        let others: Vec<GangMember> = others.iter().map(member).collect();
        let Decision { events, answer } = self.grant(id, first, bounds, &others, payload_of);
        let Some(granted) = answer else { return Decision { events, answer: Leased::Nothing } };
        let of_rank = |(rank, (of, _)): (usize, &(&LeaseRequest, &LeaseBounds))| {
            let mut granted = granted.clone();
            granted.variant = required.variant(variant(of));
            if let Some(place) = &mut granted.place {
                place.rank = u32::try_from(rank).unwrap_or(u32::MAX);
            }
            granted
        };
        Decision { events, answer: Leased::Gang(members.iter().enumerate().map(of_rank).collect()) }
    }

    /// Decides to give a gang back of which a member did not show up in time. No attempt is charged. Nothing if it is not
    /// current any more.
    pub fn give_back(&self, lease: LeaseId, reason: String) -> Decision<()> {
        let Some(held) = self.leases.get(&lease) else { return Decision::nothing(()) };
        Decision { events: self.released(lease, held, reason), answer: () }
    }

    /// Whether a grant names as many workers as its job needs, each once.
    pub(super) fn check_gang(&self, held: &Lease) -> Result<(), String> {
        let job = self.jobs.get(&held.job).ok_or_else(|| format!("job {} is not open", held.job))?;
        let needed = self.schedule.requirements(job.lane).workers() as usize;
        if needed == 1 && !held.is_gang() {
            return Ok(());
        }
        let workers: std::collections::BTreeSet<&WorkerId> = held.workers().collect();
        if workers.len() != held.members.len() + 1 || workers.len() != needed {
            return Err(format!("job {} is leased to {} workers, but it needs {needed}", held.job, workers.len()));
        }
        Ok(())
    }
}

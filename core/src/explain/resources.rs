//! Which workers could run what a job requires, and what the others lack.

use std::collections::{BTreeMap, HashMap};

use super::takes_jobs;
use crate::id::{Kind, WorkerId};
use crate::liveness::{Liveness, Worker};
use crate::resource::{Amount, Offer, Pool, Requirements, ResourceName, Variant};
use crate::state::State;
use crate::time::Now;

/// How the workers of a kind stand to what a job requires.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// Workers that are live, take jobs and offer the kind.
    pub(super) workers: u64,
    /// Those of them that could run it if they ran nothing else.
    pub(super) could: u64,
    /// Those of them that have a slot free.
    pub(super) slot: u64,
    /// Those of them that have enough left.
    pub(super) now: u64,
    /// What the workers run that could run it.
    pub(super) leases: u64,
}

/// The workers that are live, take jobs, were not set aside, and offer a kind.
pub(super) fn takers<'a, H>(
    state: &'a State,
    liveness: &'a Liveness<H>,
    kind: &'a Kind,
    now: Now,
) -> impl Iterator<Item = (&'a WorkerId, &'a Worker<H>)> {
    let offers = move |worker: &Worker<H>| {
        worker.registration.kinds.contains(kind) && takes_jobs(worker) && !liveness.is_stale(worker, now.tick)
    };
    liveness.workers().iter().filter(move |(id, worker)| offers(worker) && !state.set_aside().contains_key(*id))
}

/// What every worker that holds leases has set apart, by its leases.
pub(super) fn set_apart(state: &State) -> HashMap<&WorkerId, Vec<Variant>> {
    let mut held: HashMap<&WorkerId, Vec<Variant>> = HashMap::new();
    for lease in state.leases().values() {
        let Some(job) = state.job(lease.job) else { continue };
        for (worker, variant) in lease.variants() {
            held.entry(worker).or_default().push(state.requirements(job).variant(variant as usize));
        }
    }
    held
}

/// What a worker has left, as far as its leases tell: which items they have is the worker's to know.
pub(super) fn left(mut offer: Offer, held: Option<&Vec<Variant>>) -> Offer {
    for variant in held.into_iter().flatten() {
        offer.pools.take(variant);
    }
    offer
}

pub(super) fn standing<H>(
    state: &State,
    liveness: &Liveness<H>,
    kind: &Kind,
    required: &Requirements,
    now: Now,
) -> Standing {
    let held = set_apart(state);
    let mut standing = Standing::default();
    for (id, worker) in takers(state, liveness, kind, now) {
        standing.workers += 1;
        let offer = liveness.offer(worker, now);
        if required.fits(id, &offer).is_none() {
            continue;
        }
        standing.could += 1;
        let leases = held.get(id).map_or(0, |held| held.len() as u64);
        standing.leases += leases;
        if leases < u64::from(worker.registration.slots) {
            standing.slot += 1;
            standing.now += u64::from(required.fits(id, &left(offer, held.get(id))).is_some());
        }
    }
    standing
}

/// Why none of the workers of a kind could ever run what requires so much.
pub(super) fn lacking<H>(
    state: &State,
    liveness: &Liveness<H>,
    kind: &Kind,
    required: &Requirements,
    now: Now,
) -> String {
    let offers: Vec<(&WorkerId, Offer)> =
        takers(state, liveness, kind, now).map(|(id, worker)| (id, liveness.offer(worker, now))).collect();
    let count = |fits: &dyn Fn(&WorkerId, &Offer) -> bool| offers.iter().filter(|(id, offer)| fits(id, offer)).count();
    let mut words = Vec::new();
    let fit = count(&|id, offer| required.fits(id, offer).is_some());
    if fit > 0 {
        return format!("needs {} workers at once: {fit} registered fit", required.workers());
    }
    if !required.labels.is_empty() && count(&|id, offer| required.admits(id, offer)) < offers.len() {
        for (label, value) in &required.labels {
            let has = count(&|_, offer| offer.labels.get(label) == Some(value));
            words.push(format!("{} the label {label}={value}", have(has, offers.len())));
        }
    }
    let avoided = count(&|id, _| required.avoid.contains(id));
    if avoided > 0 {
        words.push(format!("it failed on {avoided} of {} and is kept away from them", workers(offers.len())));
    }
    for variant in &required.needs.0 {
        words.push(shortage(variant, &offers));
    }
    if words.is_empty() { "no worker fits".to_owned() } else { words.join("; ") }
}

/// What the workers lack for one alternative.
fn shortage(variant: &Variant, offers: &[(&WorkerId, Offer)]) -> String {
    let mut lacks = Vec::new();
    for (name, need) in &variant.needs {
        let alone = Variant { needs: BTreeMap::from([(name.clone(), *need)]), min_time: None };
        if offers.iter().any(|(_, offer)| offer.pools.fits(&alone)) {
            continue;
        }
        let pools: Vec<&Pool> = offers.iter().filter_map(|(_, offer)| offer.pools.0.get(name)).collect();
        let most = pools.iter().map(|pool| pool.size()).max().unwrap_or_default();
        let whole = Variant {
            needs: BTreeMap::from([(name.clone(), crate::resource::Need { min_memory_mib: 0, ..*need })]),
            min_time: None,
        };
        let enough = offers.iter().any(|(_, offer)| offer.pools.fits(&whole));
        let largest = if need.min_memory_mib > 0 && enough { largest_item(&pools) } else { None };
        lacks.push(match largest {
            Some(mib) => format!("{} {name}, the largest has {}", have(pools.len(), offers.len()), size(mib)),
            None if pools.is_empty() => format!("no worker has {name}"),
            None => format!("{} {name}, the most is {}", have(pools.len(), offers.len()), much(name, most)),
        });
    }
    if let Some(wanted) = variant.min_time {
        let longest = offers.iter().map(|(_, offer)| offer.remaining).max_by_key(|left| left.map_or(u64::MAX, |s| s.0));
        if let Some(Some(longest)) = longest.filter(|left| left.is_some_and(|left| left < wanted)) {
            lacks.push(format!("the longest that a worker lives is {longest} more"));
        }
    }
    if lacks.is_empty() {
        lacks.push("no single worker has all of it".to_owned());
    }
    format!("needs {}: {}", variant.words(), lacks.join(", "))
}

fn largest_item(pools: &[&Pool]) -> Option<u64> {
    let items = pools.iter().filter_map(|pool| match pool {
        Pool::Items(items) => items.iter().map(|item| item.memory_mib).max(),
        Pool::Sum { .. } => None,
    });
    items.max()
}

fn much(name: &ResourceName, amount: Amount) -> String {
    if name.as_str() == crate::resource::MEM { size(amount.wholes()) } else { amount.to_string() }
}

fn size(mib: u64) -> String {
    if mib >= 1024 { format!("{} GiB", mib / 1024) } else { format!("{mib} MiB") }
}

fn workers(count: usize) -> String {
    if count == 1 { "1 worker".to_owned() } else { format!("{count} workers") }
}

fn have(count: usize, of: usize) -> String {
    match (count, of) {
        (0, _) => "no worker has".to_owned(),
        (1, 1) => "1 worker has".to_owned(),
        (1, of) => format!("1 of {of} workers has"),
        (count, of) if count == of => format!("{count} workers have"),
        (count, of) => format!("{count} of {of} workers have"),
    }
}

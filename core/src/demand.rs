//! How much work a pool of alike workers could have now: what an autoscaler asks.
//!
//! A [`WorkerPool`] says which queues and kinds its workers serve and what one of them has. Its [`Demand`] is the jobs
//! that run and those that could start this moment, in jobs and in *workers*: a job that needs half of what a worker
//! has counts as half a worker. Which workers there are does not matter: with none, the demand is the same.

use std::collections::{BTreeMap, BTreeSet};

use crate::access::Queues;
use crate::id::{Kind, QueueName};
use crate::resource::{Amount, Need, Quantity, Requirements, ResourceName, Variant};

/// Workers that are alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerPool {
    /// Whose jobs they take.
    pub queues: Queues,
    /// What they run. None: everything.
    pub kinds: Option<BTreeSet<Kind>>,
    /// The labels of each. None: they are not looked at.
    pub labels: Option<BTreeMap<String, String>>,
    /// What each has, items with their memory. None: what jobs need is not looked at.
    pub has: Option<Variant>,
    /// Only jobs that need some of this resource count.
    pub needs: Option<ResourceName>,
    /// Jobs that each runs at once.
    pub slots: u32,
}

/// How much work there is for a pool.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Demand {
    /// Jobs that could start now: ready, and held back by no pause and no limit, all of them together.
    pub ready: u64,
    /// Jobs that run.
    pub running: u64,
    /// How many workers all of these keep busy. How jobs fit together on a worker is not looked at.
    pub workers: Amount,
}

impl Demand {
    /// Whether there is anything to do, or being done.
    pub const fn is_active(&self) -> bool {
        self.ready > 0 || self.running > 0
    }

    pub(crate) fn add_ready(&mut self, jobs: u64, share: Amount) {
        self.ready += jobs;
        self.add(jobs, share);
    }

    pub(crate) fn add_running(&mut self, share: Amount) {
        self.running += 1;
        self.add(1, share);
    }

    fn add(&mut self, jobs: u64, share: Amount) {
        self.workers = self.workers.plus(Amount(share.0.saturating_mul(jobs)));
    }
}

impl WorkerPool {
    /// Workers that run one job at once, of any queue and kind.
    pub fn any() -> Self {
        Self { queues: Queues::All, kinds: None, labels: None, has: None, needs: None, slots: 1 }
    }

    /// Whether its workers take such jobs.
    pub fn serves(&self, queue: &QueueName, kind: &Kind) -> bool {
        self.queues.contain(queue) && self.kinds.as_ref().is_none_or(|kinds| kinds.contains(kind))
    }

    /// Which part of a worker such a job takes, at most one whole; None: it is not for these workers. A gang takes as many whole
    /// ones as it needs at once: parts of fewer would not do.
    pub fn share(&self, requirements: &Requirements) -> Option<Amount> {
        let of_each = self.share_of_each(requirements)?;
        Some(match requirements.workers() {
            1 => of_each,
            workers => Amount(Amount::ONE.0.saturating_mul(u64::from(workers))),
        })
    }

    fn share_of_each(&self, requirements: &Requirements) -> Option<Amount> {
        if let Some(labels) = &self.labels
            && !requirements.labels.iter().all(|(label, value)| labels.get(label) == Some(value))
        {
            return None;
        }
        let slot = Amount(Amount::ONE.0.div_ceil(u64::from(self.slots.max(1))));
        if requirements.needs.is_empty() {
            return if self.needs.is_none() { Some(slot) } else { None };
        }
        // As a worker does: the first alternative that fits is the one that it would run.
        let (variant, part) = requirements.needs.0.iter().find_map(|variant| Some((variant, self.part(variant)?)))?;
        let named = self.needs.as_ref().is_none_or(|name| variant.needs.contains_key(name));
        named.then_some(part.max(slot))
    }

    /// Which part of a worker an alternative takes; None: more than there is.
    fn part(&self, variant: &Variant) -> Option<Amount> {
        let Some(has) = &self.has else { return Some(Amount(0)) };
        let parts = variant.needs.iter().map(|(name, need)| part(*need, *has.needs.get(name)?));
        parts.collect::<Option<Vec<Amount>>>().map(|parts| parts.into_iter().max().unwrap_or_default())
    }
}

/// Which part of what there is a job takes that needs so much of it.
fn part(need: Need, has: Need) -> Option<Amount> {
    if need.min_memory_mib > has.min_memory_mib {
        return None;
    }
    match (need.quantity, has.quantity) {
        (Quantity::Some(needed), Quantity::Some(there)) if needed <= there => {
            let part = (u128::from(needed.0) * u128::from(Amount::ONE.0)).div_ceil(u128::from(there.0.max(1)));
            Some(Amount(u64::try_from(part).unwrap_or(Amount::ONE.0)))
        }
        (Quantity::Some(_), Quantity::Some(_)) => None,
        (Quantity::All, _) => Some(Amount::ONE),
        // As many as there are on a machine of which no more is known.
        (Quantity::Some(_), Quantity::All) => Some(Amount(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::resource::{GPUS, MEM, Needs};

    fn pool(has: &str, slots: u32) -> WorkerPool {
        WorkerPool { has: Some(has.parse().unwrap()), slots, ..WorkerPool::any() }
    }

    fn share(pool: &WorkerPool, needs: &str) -> Option<u64> {
        let needs: Needs = serde_json::from_str(needs).unwrap();
        pool.share(&Requirements { needs, ..Requirements::default() }).map(|share| share.0)
    }

    #[test]
    fn a_job_takes_the_largest_part_that_it_needs_of_anything() {
        let pool = pool("gpus=4@80GiB,cpus=16,mem=64GiB", 8);
        assert_eq!(pool.share(&Requirements::default()), Some(Amount(1_250)));
        assert_eq!(share(&pool, r#"{"gpus":2}"#), Some(5_000));
        assert_eq!(share(&pool, r#"{"gpus":"0.25"}"#), Some(1_250));
        assert_eq!(share(&pool, r#"{"gpus":1,"mem":"48GiB"}"#), Some(7_500));
        assert_eq!(share(&pool, r#"{"gpus":"all"}"#), Some(10_000));
        assert_eq!(share(&pool, r#"{"cpus":3}"#), Some(1_875));
    }

    #[test]
    fn what_its_workers_could_not_run_is_not_its_work() {
        let small = pool("gpus=1@24GiB,cpus=8", 1);
        assert_eq!(share(&small, r#"{"gpus":2}"#), None);
        assert_eq!(share(&small, r#"{"gpus":"1@80GiB"}"#), None);
        assert_eq!(share(&small, r#"{"fpga":1}"#), None);
        assert_eq!(share(&small, r#"[{"gpus":"1@80GiB"},{"cpus":4}]"#), Some(10_000));
        let gpu = WorkerPool { needs: Some(GPUS.parse().unwrap()), ..small };
        assert_eq!(share(&gpu, r#"[{"gpus":"1@80GiB"},{"cpus":4}]"#), None, "it would run on processors there");
        assert_eq!(share(&gpu, r#"{"gpus":1}"#), Some(10_000));
        assert_eq!(gpu.share(&Requirements::default()), None);
    }

    #[test]
    fn a_gang_takes_as_many_workers_as_it_needs() {
        let gang =
            crate::gang::GangSpec { workers: 3, timeout: None }.required(&"k".parse().unwrap(), &"q".parse().unwrap());
        let needs: Needs = serde_json::from_str(r#"{"cpus":8}"#).unwrap();
        let requirements = Requirements { needs, gang: Some(gang), ..Requirements::default() };
        assert_eq!(pool("cpus=16", 4).share(&requirements), Some(Amount(30_000)));
    }

    #[test]
    fn labels_that_jobs_ask_for_are_those_of_the_pool() {
        let zone = |zone: &str| BTreeMap::from([("zone".to_owned(), zone.to_owned())]);
        let asks = Requirements { labels: zone("a"), ..Requirements::default() };
        assert!(WorkerPool { labels: Some(zone("b")), ..WorkerPool::any() }.share(&asks).is_none());
        assert!(WorkerPool { labels: Some(zone("a")), ..WorkerPool::any() }.share(&asks).is_some());
        assert!(WorkerPool::any().share(&asks).is_some());
        assert_eq!(share(&WorkerPool::any(), &format!(r#"{{"{MEM}":"1GiB"}}"#)), Some(10_000));
    }
}

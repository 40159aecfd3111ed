//! Whether a job may come in, where a limit does not let jobs wait.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use super::SubmitFault;
use super::schedule::Schedule;
use crate::id::{JobId, KeyName};
use crate::limit::{AtLimit, KeyValue, LimitSpec, LimitTarget};

/// What the jobs of one submit have done to such limits so far.
#[derive(Debug, Default)]
pub(super) struct Admission<'a> {
    /// Limits that the same submit sets.
    pub(super) limits: HashMap<LimitTarget, &'a LimitSpec>,
    /// Jobs of this submit by key.
    admitted: HashMap<LimitTarget, u64>,
    /// Older jobs that are cancelled to make room, and the limit at which.
    pub(super) displaced: BTreeMap<JobId, LimitTarget>,
}

impl Admission<'_> {
    /// The limit in force for a key once the submit is recorded.
    fn limit_in_force<'l>(&'l self, schedule: &'l Schedule, target: &LimitTarget) -> Option<&'l LimitSpec> {
        let of = |target: &LimitTarget| self.limits.get(target).copied().or_else(|| schedule.limit(target));
        match target {
            LimitTarget::Key(name, _) => of(target).or_else(|| of(&LimitTarget::Each(name.clone()))),
            LimitTarget::Running | LimitTarget::Each(_) | LimitTarget::Semaphore(_) => of(target),
        }
    }

    /// Takes a job in, with the older ones that have to go for it.
    ///
    /// # Errors
    /// [`SubmitFault::LimitReached`], also where one submit alone brings more than may be there: it would cancel itself.
    pub(super) fn admit(&mut self, schedule: &Schedule, keys: &BTreeMap<KeyName, KeyValue>) -> Result<(), SubmitFault> {
        let mut counted = Vec::new();
        let mut displaced: BTreeMap<JobId, LimitTarget> = BTreeMap::new();
        for (name, value) in keys {
            let target = LimitTarget::Key(name.clone(), value.clone());
            let Some(limit) = self.limit_in_force(schedule, &target) else { continue };
            let Some(max) = limit.max else { continue };
            let gone = |job: &JobId| self.displaced.contains_key(job) || displaced.contains_key(job);
            let new = self.admitted.get(&target).copied().unwrap_or(0);
            let refused = Err(SubmitFault::LimitReached { limit: target.clone(), max });
            match limit.at_limit {
                AtLimit::Wait => continue,
                AtLimit::Reject => {
                    let there = schedule.unfinished(&target).map_or(0, BTreeSet::len) as u64;
                    if there + new >= u64::from(max) {
                        return refused;
                    }
                }
                AtLimit::CancelOldest => {
                    if new >= u64::from(max) {
                        return refused;
                    }
                    let there = schedule.unfinished(&target).into_iter().flatten().copied();
                    let there: Vec<JobId> = there.filter(|job| !gone(job)).collect();
                    let over = (there.len() as u64 + new + 1).saturating_sub(u64::from(max));
                    let over = usize::try_from(over).unwrap_or(usize::MAX);
                    displaced.extend(there.into_iter().take(over).map(|job| (job, target.clone())));
                }
            }
            counted.push(target);
        }
        self.displaced.append(&mut displaced);
        for target in counted {
            *self.admitted.entry(target).or_default() += 1;
        }
        Ok(())
    }
}

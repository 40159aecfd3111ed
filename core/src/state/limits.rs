//! What people do to limits: set them, lift them, look at their use.

use std::cmp::Reverse;

use super::{Decision, LimitUsage, Refusal, State};
use crate::limit::{LimitSpec, LimitTarget};
use crate::record::Event;
use crate::time::Timestamp;

impl State {
    /// Decides to set a limit; the answer is whether that changes anything. Jobs that run already go on: a lower limit
    /// is reached as they end.
    pub fn set_limit(&self, limit: &LimitSpec) -> Decision<bool> {
        if self.schedule.limit(&limit.limit) == Some(limit) {
            return Decision::nothing(false);
        }
        Decision { events: vec![Event::LimitSet(Box::new(limit.clone()))], answer: true }
    }

    /// Decides to lift a limit.
    ///
    /// # Errors
    /// [`Refusal::UnknownLimit`].
    pub fn unset_limit(&self, limit: &LimitTarget) -> Result<Decision<()>, Refusal> {
        match self.schedule.limit(limit) {
            Some(_) => Ok(Decision { events: vec![Event::LimitUnset { limit: limit.clone() }], answer: () }),
            None => Err(Refusal::UnknownLimit(limit.clone())),
        }
    }

    /// What is limited or in use, the fullest `most`, and how many more there are: limits first, then by how little room
    /// there is, then by use, then by name.
    pub fn fullest_limits(&self, now: Timestamp, most: usize) -> (Vec<LimitUsage>, u64) {
        let mut usage = self.limit_usage(now);
        let room = |usage: &LimitUsage| usage.max.map_or(u64::MAX, |max| u64::from(max).saturating_sub(usage.in_use));
        // The sort keeps the order of names.
        usage.sort_by_key(|usage| (usage.max.is_none() && usage.rate.is_none(), room(usage), Reverse(usage.in_use)));
        let left_out = usage.len().saturating_sub(most) as u64;
        usage.truncate(most);
        (usage, left_out)
    }
}

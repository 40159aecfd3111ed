//! What people do to limits: set and lift them.

use super::{Decision, Refusal, State};
use crate::limit::{LimitSpec, LimitTarget};
use crate::record::Event;

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
}

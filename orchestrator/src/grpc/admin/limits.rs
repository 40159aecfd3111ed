//! Limits: set them, lift them, see what is in use.

use orch_core::limit::{LimitSpec, LimitTarget};
use orch_core::state::State;
use orch_core::time::Timestamp;
use orch_proto::convert::Faults;
use orch_proto::error::WireError;
use orch_proto::v1;
use tonic::Status;

use super::{Admin, refused};
use crate::access::Caller;
use crate::engine::commands::access::As;
use crate::engine::commands::admin::{SetLimit, UnsetLimit};

/// The most keys whose use one answer lists: ten thousand hosts are no answer for a person.
const MAX_LISTED: usize = 1000;

impl Admin {
    pub(super) async fn limits(&self, caller: &Caller) -> Result<v1::ListLimitsResponse, Status> {
        let look = self.handle.query(|engine, now| {
            let limits = engine.state().limits().map(Into::into).collect();
            let (usage, usage_left_out) = fullest(engine.state(), now.wall, MAX_LISTED);
            v1::ListLimitsResponse { limits, usage, usage_left_out }
        });
        let mut listed = look.await.map_err(refused)?;
        if caller.queues().is_held() {
            // What is in use tells of jobs of any queue.
            listed.usage.clear();
        }
        Ok(listed)
    }

    pub(super) async fn change_limit(
        &self,
        caller: &Caller,
        request: v1::SetLimitRequest,
    ) -> Result<v1::SetLimitResponse, Status> {
        let v1::SetLimitRequest { limit } = request;
        let limit: LimitSpec = limit.unwrap_or_default().try_into()?;
        let actor = caller.actor(format!("limit {}", limit.limit));
        let replied = self.handle.call(As { actor, command: SetLimit(limit) }).await.map_err(refused)?;
        Ok(v1::SetLimitResponse { changed: replied.answer, receipt: Some(replied.receipt.into()) })
    }

    pub(super) async fn lift_limit(
        &self,
        caller: &Caller,
        request: v1::UnsetLimitRequest,
    ) -> Result<v1::UnsetLimitResponse, Status> {
        let v1::UnsetLimitRequest { limit } = request;
        let mut faults = Faults::new();
        let target = faults.take("limit", limit.parse::<LimitTarget>()).ok_or(faults)?;
        let actor = caller.actor(format!("limit {target}"));
        let replied = self.handle.call(As { actor, command: UnsetLimit(target) }).await.map_err(refused)?;
        replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok(v1::UnsetLimitResponse { receipt: Some(replied.receipt.into()) })
    }
}

/// What is limited or in use, the fullest first, and how many more there are than are listed.
pub(super) fn fullest(state: &State, now: Timestamp, listed: usize) -> (Vec<v1::LimitUsage>, u64) {
    let (usage, left_out) = state.fullest_limits(now, listed);
    (usage.into_iter().map(Into::into).collect(), left_out)
}

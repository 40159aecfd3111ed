//! Schedules: look at them, hold them back, remove them. A submit sets them.

use orch_core::id::ScheduleName;
use orch_core::state::Scheduled;
use orch_proto::convert::{self, Faults};
use orch_proto::error::WireError;
use orch_proto::v1;
use tonic::Status;

use super::{Admin, internal, refused};
use crate::access::Caller;
use crate::engine::commands::access::As;
use crate::engine::commands::schedules::{PauseSchedule, RemoveSchedule};

impl Admin {
    pub(super) async fn schedules(&self, caller: &Caller) -> Result<v1::ListSchedulesResponse, Status> {
        let within = caller.queues();
        let look = self.handle.query(move |engine, _| {
            let all = engine.state().schedules().values();
            all.filter(|known| within.contain(&known.spec.job.queue)).map(status).collect::<Result<Vec<_>, _>>()
        });
        let schedules = look.await.map_err(refused)?.map_err(|error| internal(&error))?;
        Ok(v1::ListSchedulesResponse { schedules })
    }

    /// Whether it was not so before, and the receipt for it. No reason: it goes on.
    pub(super) async fn switch_schedule(
        &self,
        caller: &Caller,
        name: &str,
        reason: Option<String>,
    ) -> Result<(bool, v1::Receipt), Status> {
        let schedule = named(name)?;
        let actor = caller.actor(format!("schedule {schedule}"));
        let command = As { actor, command: PauseSchedule { schedule, reason } };
        let replied = self.handle.call(command).await.map_err(refused)?;
        let changed = replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok((changed, replied.receipt.into()))
    }

    pub(super) async fn drop_schedule(
        &self,
        caller: &Caller,
        request: v1::RemoveScheduleRequest,
    ) -> Result<v1::RemoveScheduleResponse, Status> {
        let v1::RemoveScheduleRequest { schedule } = request;
        let schedule = named(&schedule)?;
        let actor = caller.actor(format!("schedule {schedule}"));
        let replied = self.handle.call(As { actor, command: RemoveSchedule { schedule } }).await.map_err(refused)?;
        replied.answer.map_err(|refusal| WireError::from(&refusal))?;
        Ok(v1::RemoveScheduleResponse { receipt: Some(replied.receipt.into()) })
    }
}

fn named(text: &str) -> Result<ScheduleName, Faults> {
    let mut faults = Faults::new();
    faults.take("schedule", ScheduleName::new(text)).ok_or(faults)
}

fn status(known: &Scheduled) -> Result<v1::ScheduleStatus, serde_json::Error> {
    let (last, outcome) = known.last.clone().unzip();
    Ok(v1::ScheduleStatus {
        spec_json: serde_json::to_string(&known.spec)?,
        paused: known.paused.is_some(),
        paused_reason: known.paused.clone().unwrap_or_default(),
        next_unix_ms: convert::unix_ms(known.next),
        last_unix_ms: convert::unix_ms(last),
        last_outcome_json: outcome.map(|outcome| serde_json::to_string(&outcome)).transpose()?.unwrap_or_default(),
        last_job: known.last_job.map_or(0, orch_core::id::JobId::get),
    })
}

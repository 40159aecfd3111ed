//! `orchctl schedule`.

use orch_core::id::ScheduleName;
use orch_core::job::JobSpec;
use orch_core::state::Submission;
use orch_core::timetable::ScheduleSpec;
use orch_proto::v1;

use super::input;
use crate::args::{ScheduleCommand, ScheduleSetArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{ScheduleActionView, SchedulesView};

/// Sets, lists, pauses or removes schedules.
pub async fn run(context: &Context, command: ScheduleCommand) -> Result<Exit, Failure> {
    match command {
        ScheduleCommand::Set(args) => {
            let spec = spec(*args)?;
            context.print(&set(&context.connect().await?, spec).await?)?;
        }
        ScheduleCommand::List => context.print(&list(&context.connect().await?).await?)?,
        ScheduleCommand::Pause { schedule, reason } => {
            context.print(&pause(&context.connect().await?, &schedule, reason).await?)?;
        }
        ScheduleCommand::Resume { schedule } => {
            context.print(&resume(&context.connect().await?, &schedule).await?)?;
        }
        ScheduleCommand::Remove { schedule } => {
            context.print(&remove(&context.connect().await?, &schedule).await?)?;
        }
    }
    Ok(Exit::Done)
}

fn spec(args: ScheduleSetArgs) -> Result<ScheduleSpec, Failure> {
    let ScheduleSetArgs {
        schedule: name,
        cron,
        zone,
        queue,
        payload,
        kind,
        priority,
        fair_key,
        timeout,
        queue_timeout,
        missed,
        overlap,
    } = args;
    let payload = input::payload(&payload)?;
    let job = JobSpec { kind, priority, fair_key, timeout, queue_timeout, ..JobSpec::new(queue, payload) };
    Ok(ScheduleSpec { name, cron, zone, missed: missed.into(), overlap: overlap.into(), job })
}

async fn set(client: &Client, spec: ScheduleSpec) -> Result<ScheduleActionView, Failure> {
    let schedule = spec.name.to_string();
    let submission = Submission { schedules: vec![spec], ..Submission::default() };
    let request = v1::SubmitRequest::try_from(&submission)
        .map_err(|error| Failure::usage("the schedule cannot be written as JSON").because(error))?;
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot set schedule {schedule}"), admin.submit(request)).await?;
    let v1::SubmitResponse { schedules, receipt, .. } = answer;
    let seq = receipt.map(|receipt| receipt.seq);
    Ok(ScheduleActionView { schedule, action: "set", changed: !schedules.is_empty(), seq })
}

async fn list(client: &Client) -> Result<SchedulesView, Failure> {
    let mut admin = client.admin();
    let answer = client.unary("cannot list schedules", admin.list_schedules(v1::ListSchedulesRequest {})).await?;
    SchedulesView::try_from(answer).map_err(Failure::error)
}

async fn pause(client: &Client, schedule: &ScheduleName, reason: String) -> Result<ScheduleActionView, Failure> {
    let request = v1::PauseScheduleRequest { schedule: schedule.to_string(), reason };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot pause schedule {schedule}"), admin.pause_schedule(request)).await?;
    let v1::PauseScheduleResponse { changed, receipt } = answer;
    let seq = receipt.map(|receipt| receipt.seq);
    Ok(ScheduleActionView { schedule: schedule.to_string(), action: "paused", changed, seq })
}

async fn resume(client: &Client, schedule: &ScheduleName) -> Result<ScheduleActionView, Failure> {
    let request = v1::ResumeScheduleRequest { schedule: schedule.to_string() };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot resume schedule {schedule}"), admin.resume_schedule(request)).await?;
    let v1::ResumeScheduleResponse { changed, receipt } = answer;
    let seq = receipt.map(|receipt| receipt.seq);
    Ok(ScheduleActionView { schedule: schedule.to_string(), action: "active", changed, seq })
}

async fn remove(client: &Client, schedule: &ScheduleName) -> Result<ScheduleActionView, Failure> {
    let request = v1::RemoveScheduleRequest { schedule: schedule.to_string() };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot remove schedule {schedule}"), admin.remove_schedule(request)).await?;
    let seq = answer.receipt.map(|receipt| receipt.seq);
    Ok(ScheduleActionView { schedule: schedule.to_string(), action: "removed", changed: true, seq })
}

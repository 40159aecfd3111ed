//! One submit: contracts, queues and jobs, checked as a whole.

use orch_core::contract::ContractSpec;
use orch_core::json;
use orch_core::state::Submission;
use orch_core::timetable::ScheduleSpec;

use super::Faults;
use crate::v1;

/// The largest contract, in bytes of JSON: it must fit into a line of the ledger.
const CONTRACT_LIMITS: json::Limits = json::Limits { max_bytes: 256 * 1024, max_depth: 64 };

/// The largest schedule, for the same reason; its job's payload has limits of its own.
const SCHEDULE_LIMITS: json::Limits = json::Limits { max_bytes: 512 * 1024, max_depth: 70 };

/// Each part is checked for itself; whether names refer to something is the engine's to say.
impl TryFrom<v1::SubmitRequest> for Submission {
    type Error = Faults;

    fn try_from(wire: v1::SubmitRequest) -> Result<Self, Faults> {
        // Who presents a receipt says nothing about the submission.
        let v1::SubmitRequest { contracts_json, queues, jobs, limits, schedules_json, last_receipt: _, ledger: _ } =
            wire;
        let mut faults = Faults::new();
        let mut checked = Self::default();
        for (i, text) in contracts_json.iter().enumerate() {
            checked.contracts.extend(faults.take(&format!("contracts[{i}]"), contract(text)));
        }
        for (i, queue) in queues.into_iter().enumerate() {
            checked.queues.extend(faults.absorb(&format!("queues[{i}]"), queue.try_into()));
        }
        for (i, job) in jobs.into_iter().enumerate() {
            checked.jobs.extend(faults.absorb(&format!("jobs[{i}]"), job.try_into()));
        }
        for (i, limit) in limits.into_iter().enumerate() {
            checked.limits.extend(faults.absorb(&format!("limits[{i}]"), limit.try_into()));
        }
        for (i, text) in schedules_json.iter().enumerate() {
            checked.schedules.extend(faults.absorb(&format!("schedules[{i}]"), schedule(text)));
        }
        faults.or(checked)
    }
}

impl TryFrom<&Submission> for v1::SubmitRequest {
    type Error = serde_json::Error;

    /// Fails only if a contract cannot be written as JSON (a bound that is not finite).
    fn try_from(submission: &Submission) -> Result<Self, serde_json::Error> {
        let Submission { contracts, queues, limits, schedules, jobs } = submission;
        Ok(Self {
            contracts_json: contracts.iter().map(serde_json::to_string).collect::<Result<_, _>>()?,
            queues: queues.iter().map(Into::into).collect(),
            jobs: jobs.iter().map(Into::into).collect(),
            last_receipt: None,
            ledger: String::new(),
            limits: limits.iter().map(Into::into).collect(),
            schedules_json: schedules.iter().map(serde_json::to_string).collect::<Result<_, _>>()?,
        })
    }
}

/// Strict JSON first (duplicate keys, depth), then the contract's shape.
fn contract(text: &str) -> Result<ContractSpec, String> {
    let value = json::parse(text.as_bytes(), CONTRACT_LIMITS).map_err(|error| error.to_string())?;
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Strict JSON first, then the schedule's shape, then what holds for every job.
fn schedule(text: &str) -> Result<ScheduleSpec, Faults> {
    let read = json::parse(text.as_bytes(), SCHEDULE_LIMITS).map_err(|error| error.to_string());
    let read = read.and_then(|value| serde_json::from_value::<ScheduleSpec>(value).map_err(|error| error.to_string()));
    let mut faults = Faults::new();
    let Some(spec) = faults.take("", read) else { return Err(faults) };
    let job = faults.absorb("job", v1::JobSpec::from(&spec.job).try_into());
    for (field, message) in spec.faults() {
        faults.push(&field, message);
    }
    let Some(job) = job else { return Err(faults) };
    faults.or(ScheduleSpec { job, ..spec })
}

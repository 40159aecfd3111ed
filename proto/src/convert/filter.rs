//! Which jobs are meant: `v1::JobFilter` to checked conditions.

use orch_core::id::{JobId, Kind, QueueName, WorkerId};
use orch_core::record::FailureClass;
use orch_core::summary::JobPhase;
use orch_core::time::Timestamp;

use super::Faults;
use super::worker_requests::job_ids;
use crate::v1;

/// The most jobs that a filter may name one by one.
pub const MAX_NAMED_JOBS: usize = 100_000;

/// Conditions, each of which must hold if it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JobConditions {
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In one of these states; empty for any.
    pub phases: Vec<JobPhase>,
    /// In this worker's hands, now or last.
    pub worker: Option<WorkerId>,
    /// One of these; empty for any.
    pub jobs: Vec<JobId>,
    /// Failed last in this way.
    pub class: Option<FailureClass>,
    /// Changed at this time or later.
    pub since: Option<Timestamp>,
    /// Of this name.
    pub name: Option<String>,
    /// With this idempotency key.
    pub idempotency_key: Option<String>,
    /// A task of this array.
    pub array: Option<JobId>,
}

impl TryFrom<v1::JobFilter> for JobConditions {
    type Error = Faults;

    fn try_from(wire: v1::JobFilter) -> Result<Self, Faults> {
        let v1::JobFilter {
            queue,
            kind,
            states,
            worker,
            jobs,
            failure_class,
            since_unix_ms,
            name,
            idempotency_key,
            array,
        } = wire;
        let mut faults = Faults::new();
        if jobs.len() > MAX_NAMED_JOBS {
            faults.push("jobs", format_args!("{} jobs, at most {MAX_NAMED_JOBS} are allowed", jobs.len()));
        }
        let set = |text: String| (!text.is_empty()).then_some(text);
        let mut phases = Vec::with_capacity(states.len().min(8));
        for (i, state) in states.into_iter().enumerate() {
            phases.extend(faults.take(&format!("states[{i}]"), phase(state)));
        }
        let conditions = Self {
            queue: set(queue).and_then(|queue| faults.take("queue", QueueName::new(&queue))),
            kind: set(kind).and_then(|kind| faults.take("kind", Kind::new(&kind))),
            phases,
            worker: set(worker).and_then(|worker| faults.take("worker", WorkerId::new(&worker))),
            jobs: job_ids(jobs),
            class: class(failure_class, &mut faults),
            since: since_unix_ms.map(Timestamp),
            name: set(name),
            idempotency_key: set(idempotency_key),
            array: (array != 0).then(|| JobId::new(array)),
        };
        faults.or(conditions)
    }
}

fn phase(state: i32) -> Result<JobPhase, String> {
    let state = v1::JobState::try_from(state).map_err(|error| error.to_string())?;
    state.try_into().map_err(|error: super::UnknownState| error.to_string())
}

fn class(class: i32, faults: &mut Faults) -> Option<FailureClass> {
    let known = v1::FailureClass::try_from(class).map_err(|error| error.to_string());
    match faults.take("failure_class", known)? {
        v1::FailureClass::Unspecified => None,
        class => faults.take("failure_class", FailureClass::try_from(class)),
    }
}

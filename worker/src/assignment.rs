//! A lease as the worker uses it: checked once, where it comes off the wire.

use std::time::Duration;

use orch_core::array::Task;
use orch_core::id::{JobId, Kind, LeaseId};
use orch_core::resource::Variant;
use orch_proto::convert::granted_variant;
use orch_proto::v1;
use orch_telemetry::{SpanId, TraceContext};

use crate::resources::Vars;

/// One leased job.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Assignment {
    /// The fencing token under which every result goes up.
    pub lease: LeaseId,
    pub job: JobId,
    pub attempt: u32,
    pub queue: String,
    /// None if the text on the wire is not even a name; such a job is failed, never run.
    pub kind: Option<Kind>,
    /// The kind as it stood on the wire, for messages.
    pub kind_text: String,
    /// JSON; `null` for a job without a payload.
    pub payload: String,
    pub heartbeat: Duration,
    pub timeout: Option<Duration>,
    pub name: String,
    /// Where its run stands in the job's trace, if anybody traces.
    pub trace: Option<Traced>,
    /// Which task of which array it is, if it is one.
    pub task: Option<Task>,
    /// Which member it is, if several workers have it together.
    pub gang: Option<v1::GangPlace>,
    /// What is to be set apart for it; None if that cannot be read.
    pub needs: Option<Variant>,
    /// What its processes are told of what was set apart.
    pub vars: Vars,
}

impl Assignment {
    /// Its rank among the workers that have it: 0 if it is the only one.
    pub(crate) fn rank(&self) -> u32 {
        self.gang.as_ref().map_or(0, |gang| gang.rank)
    }
}

/// A run within the trace of its job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traced {
    /// The span of the attempt, which is the orchestrator's.
    pub attempt: SpanId,
    /// The span of the run, which is ours, and what the runner's own spans belong below.
    pub run: TraceContext,
}

impl Traced {
    fn below(attempt: TraceContext) -> Self {
        let TraceContext { trace, span, sampled } = attempt;
        Self { attempt: span, run: TraceContext { trace, span: span.of_run(), sampled } }
    }
}

impl From<v1::Lease> for Assignment {
    fn from(lease: v1::Lease) -> Self {
        // Named in full, so that a new field of the wire does not compile until somebody decided what it means here.
        let v1::Lease {
            lease,
            job,
            attempt,
            queue,
            kind,
            payload_json,
            contract: _, // the orchestrator judges, not the worker
            ttl_ms: _,   // the orchestrator expires, not the worker
            heartbeat_ms,
            timeout_ms,
            name,
            traceparent,
            resources,
            task,
            gang,
        } = lease;
        Self {
            lease: LeaseId::new(lease),
            job: JobId::new(job),
            attempt,
            queue,
            kind: Kind::new(&kind).ok(),
            kind_text: kind,
            payload: one_line(payload_json),
            heartbeat: Duration::from_millis(heartbeat_ms),
            timeout: (timeout_ms != 0).then(|| Duration::from_millis(timeout_ms)),
            name,
            trace: traceparent.parse().ok().map(Traced::below),
            task: task.map(|v1::Task { array, index }| Task { array: JobId::new(array), index }),
            needs: granted_variant(resources.unwrap_or_default()).ok(),
            gang,
            vars: Vars::default(),
        }
    }
}

/// The payload without line ends, since runners get it as one line. Within JSON they only stand between tokens.
fn one_line(json: String) -> String {
    if json.is_empty() {
        return "null".to_owned();
    }
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
}

//! What workers say: requests of the worker service to checked values.

use std::collections::BTreeMap;

use orch_core::calls::CallNumber;
use orch_core::id::{JobId, Kind, LeaseId, WorkerId};
use orch_core::liveness::{MemberStep, Progress, Registration};
use orch_core::record::FailureClass;
use orch_core::resource::Offer;
use orch_core::state::LeaseRequest;
use orch_core::time::Span;
use prost::bytes::Bytes;

use super::{Faults, Receipt, resources};
use crate::v1;

/// The most kinds that a worker may offer, labels that it may have, leases that it may hold and slots that it may
/// run. Far above any machine; they keep one message from filling the memory.
pub const MAX_WORKER_ITEMS: usize = 4096;

/// The longest text that a worker may say of itself, its progress included; the rest is cut off.
pub const MAX_WORKER_TEXT: usize = 512;

/// The longest wait of a long poll.
pub const MAX_WAIT: Span = Span::seconds(60);

/// A registration, checked.
#[derive(Clone, Debug)]
pub struct Register {
    /// The worker.
    pub worker: WorkerId,
    /// What it says of itself.
    pub registration: Registration<v1::Hardware>,
    /// The leases that it still works on.
    pub leases: Vec<LeaseId>,
    /// The newest receipt that it holds.
    pub last_receipt: Option<Receipt>,
    /// The ledger that gave its leases and its receipt, if it says so.
    pub ledger: Option<String>,
    /// Since its process started.
    pub uptime: Span,
}

impl TryFrom<v1::RegisterWorkerRequest> for Register {
    type Error = Faults;

    fn try_from(wire: v1::RegisterWorkerRequest) -> Result<Self, Faults> {
        let v1::RegisterWorkerRequest {
            worker,
            kinds,
            slots,
            hardware,
            labels,
            version,
            leases,
            last_receipt,
            ledger,
            uptime_ms,
            resources,
            time_limit_ms,
            call,
        } = wire;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker));
        let kinds = checked_kinds(&kinds, &mut faults);
        faults.take("slots", few(slots as usize));
        faults.take("labels", few(labels.len()));
        faults.take("leases", few(leases.len()));
        let last_receipt = last_receipt.and_then(|receipt| faults.take("last_receipt.chain", receipt.try_into()));
        let labels: BTreeMap<_, _> = labels.into_iter().map(|(key, value)| (clip(&key), clip(&value))).collect();
        let hardware = checked_hardware(hardware.unwrap_or_default(), &mut faults);
        let pools = resources::pools(resources, &mut faults);
        let lives_for = time_limit_ms.map(Span);
        let Some(worker) = worker else { return Err(faults) };
        let (version, call) = (clip(&version), call.map(CallNumber::from));
        let registration = Registration { kinds, slots, version, labels, pools, lives_for, hardware, call };
        let ledger = (!ledger.is_empty()).then(|| clip(&ledger));
        let (leases, uptime) = (lease_ids(leases), Span(uptime_ms));
        faults.or(Self { worker, registration, leases, last_receipt, ledger, uptime })
    }
}

/// The same hardware with its texts cut to length.
fn checked_hardware(wire: v1::Hardware, faults: &mut Faults) -> v1::Hardware {
    let v1::Hardware { host, os, arch, cpu_model, cpus, memory_bytes, gpus } = wire;
    faults.take("hardware.gpus", few(gpus.len()));
    let gpu = |gpu: v1::Gpu| {
        let v1::Gpu { uuid, model, memory_bytes } = gpu;
        v1::Gpu { uuid: clip(&uuid), model: clip(&model), memory_bytes }
    };
    let (host, os, arch, cpu_model) = (clip(&host), clip(&os), clip(&arch), clip(&cpu_model));
    v1::Hardware { host, os, arch, cpu_model, cpus, memory_bytes, gpus: gpus.into_iter().map(gpu).collect() }
}

/// A request for jobs, checked.
#[derive(Clone, Debug)]
pub struct AskForJobs {
    /// What the worker offers.
    pub request: LeaseRequest,
    /// Which of the worker's calls it is, if it numbers them.
    pub call: Option<CallNumber>,
    /// How long it waits, at most [`MAX_WAIT`].
    pub wait: Span,
    /// Nothing is asked for: the worker's call that waits is to be answered.
    pub ask_again: bool,
}

impl TryFrom<v1::LeaseJobRequest> for AskForJobs {
    type Error = Faults;

    fn try_from(wire: v1::LeaseJobRequest) -> Result<Self, Faults> {
        let v1::LeaseJobRequest { worker, kinds, max, wait_ms, resources, remaining_ms, ask_again, call } = wire;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker));
        let kinds = checked_kinds(&kinds, &mut faults);
        let max =
            if max == 0 && !ask_again { Err("0: ask for at least one job".to_owned()) } else { few(max as usize) };
        let max = faults.take("max", max);
        let pools = resources::pools(resources, &mut faults);
        let (Some(worker), Some(max)) = (worker, max) else { return Err(faults) };
        let wait = Span(wait_ms).min(MAX_WAIT);
        // Its labels are those that it registered with: the engine adds them.
        let offer = Offer { pools, labels: BTreeMap::new(), remaining: remaining_ms.map(Span) };
        let request = LeaseRequest { offer, ..LeaseRequest::new(worker, kinds, max) };
        faults.or(Self { request, call: call.map(CallNumber::from), wait, ask_again })
    }
}

impl From<v1::CallNumber> for CallNumber {
    fn from(wire: v1::CallNumber) -> Self {
        let v1::CallNumber { process, number } = wire;
        Self { process, number }
    }
}

/// A heartbeat, checked.
#[derive(Clone, Debug)]
pub struct HeartbeatReport {
    /// The worker.
    pub worker: WorkerId,
    /// Every lease that it holds.
    pub leases: Vec<(LeaseId, Progress)>,
    /// The newest receipt that it holds.
    pub last_receipt: Option<Receipt>,
}

impl TryFrom<v1::HeartbeatRequest> for HeartbeatReport {
    type Error = Faults;

    fn try_from(wire: v1::HeartbeatRequest) -> Result<Self, Faults> {
        let v1::HeartbeatRequest { worker, leases, last_receipt } = wire;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker));
        faults.take("leases", few(leases.len()));
        let last_receipt = last_receipt.and_then(|receipt| faults.take("last_receipt.chain", receipt.try_into()));
        let Some(worker) = worker else { return Err(faults) };
        let progress = |wire: v1::LeaseProgress| {
            let step = match wire.step() {
                v1::MemberStep::Unspecified => MemberStep::Coming,
                v1::MemberStep::There => MemberStep::There,
                v1::MemberStep::Finished => MemberStep::Finished,
            };
            let v1::LeaseProgress { lease, fraction, note, step: _ } = wire;
            // NaN would make every listing that shows it unequal to itself.
            let fraction = if fraction.is_finite() { fraction.min(1.0) } else { -1.0 };
            (LeaseId::new(lease), Progress { fraction, note: clip(&note), step })
        };
        faults.or(Self { worker, leases: leases.into_iter().map(progress).collect(), last_receipt })
    }
}

/// A message of the results stream, checked but for its candidates: those are judged.
#[derive(Clone, Debug, PartialEq)]
pub struct ResultsMessage {
    /// The worker, if the message names it.
    pub worker: Option<WorkerId>,
    /// The lease.
    pub lease: LeaseId,
    /// What is said under it.
    pub action: ResultsAction,
}

/// What a worker says under a lease.
#[derive(Clone, Debug, PartialEq)]
pub enum ResultsAction {
    /// Candidates.
    Batch {
        /// The batch's number, from 1.
        number: u64,
        /// Per candidate, what the worker sent.
        candidates: Vec<Bytes>,
    },
    /// The job is complete.
    Complete {
        /// How many batches were sent.
        batches: u64,
    },
    /// The attempt failed.
    Fail {
        /// What kind of failure.
        class: FailureClass,
        /// In words, the exit code included.
        message: String,
        /// How the runner ended, if it did by itself.
        exit_code: Option<i32>,
    },
}

impl TryFrom<v1::SubmitResultsRequest> for ResultsMessage {
    type Error = Faults;

    fn try_from(wire: v1::SubmitResultsRequest) -> Result<Self, Faults> {
        use v1::submit_results_request::Action;
        let v1::SubmitResultsRequest { worker, lease, action } = wire;
        let mut faults = Faults::new();
        let named = (!worker.is_empty()).then(|| faults.take("worker", WorkerId::new(&worker)));
        let action = match action {
            None => faults.take("action", Err("is missing: send a batch, complete or fail")),
            Some(Action::Batch(v1::Batch { number, candidates })) => Some(ResultsAction::Batch { number, candidates }),
            Some(Action::Complete(v1::Complete { batches })) => Some(ResultsAction::Complete { batches }),
            Some(Action::Fail(fail)) => faults.absorb("fail", failure(fail)),
        };
        let Some(action) = action else { return Err(faults) };
        faults.or(Self { worker: named.flatten(), lease: LeaseId::new(lease), action })
    }
}

fn failure(wire: v1::Fail) -> Result<ResultsAction, Faults> {
    let v1::Fail { class, message, exit_code } = wire;
    let mut faults = Faults::new();
    let known = v1::FailureClass::try_from(class).map_err(|error| error.to_string());
    let class = known.and_then(|class| match FailureClass::try_from(class).map_err(|error| error.to_string())? {
        FailureClass::Quarantined => Err("QUARANTINED is for the orchestrator to say".to_owned()),
        class @ (FailureClass::Error | FailureClass::Timeout | FailureClass::Incomplete | FailureClass::Permanent) => {
            Ok(class)
        }
    });
    let class = faults.take("class", class);
    let message = match exit_code {
        Some(code) if !message.contains(&format!("exit code {code}")) => format!("{message} (exit code {code})"),
        Some(_) | None => message,
    };
    let Some(class) = class else { return Err(faults) };
    faults.or(ResultsAction::Fail { class, message, exit_code })
}

/// A worker and leases that it gives back, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// The worker.
    pub worker: WorkerId,
    /// The leases.
    pub leases: Vec<LeaseId>,
}

impl TryFrom<v1::ReleaseLeasesRequest> for Release {
    type Error = Faults;

    fn try_from(wire: v1::ReleaseLeasesRequest) -> Result<Self, Faults> {
        let v1::ReleaseLeasesRequest { worker, leases } = wire;
        let mut faults = Faults::new();
        let worker = faults.take("worker", WorkerId::new(&worker));
        faults.take("leases", few(leases.len()));
        let Some(worker) = worker else { return Err(faults) };
        faults.or(Self { worker, leases: lease_ids(leases) })
    }
}

/// Some of a job's log, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPiece {
    /// The worker; None where a later message of the stream leaves it out.
    pub worker: Option<WorkerId>,
    /// The lease.
    pub lease: LeaseId,
    /// What is appended.
    pub text: Bytes,
}

impl TryFrom<v1::PushLogsRequest> for LogPiece {
    type Error = Faults;

    fn try_from(wire: v1::PushLogsRequest) -> Result<Self, Faults> {
        let v1::PushLogsRequest { worker, lease, text } = wire;
        let mut faults = Faults::new();
        let named = (!worker.is_empty()).then(|| faults.take("worker", WorkerId::new(&worker)));
        faults.or(Self { worker: named.flatten(), lease: LeaseId::new(lease), text })
    }
}

/// Job ids from the wire.
pub(super) fn job_ids(ids: Vec<u64>) -> Vec<JobId> {
    ids.into_iter().map(JobId::new).collect()
}

fn lease_ids(ids: Vec<u64>) -> Vec<LeaseId> {
    ids.into_iter().map(LeaseId::new).collect()
}

fn checked_kinds(kinds: &[String], faults: &mut Faults) -> Vec<Kind> {
    if faults.take("kinds", few(kinds.len())).is_none() {
        return Vec::new();
    }
    let each = kinds.iter().enumerate();
    each.filter_map(|(i, kind)| faults.take(&format!("kinds[{i}]"), Kind::new(kind))).collect()
}

fn few(count: usize) -> Result<usize, String> {
    if count <= MAX_WORKER_ITEMS { Ok(count) } else { Err(format!("{count}, at most {MAX_WORKER_ITEMS} are allowed")) }
}

/// A text for people, cut to length, without control characters.
pub(super) fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(MAX_WORKER_TEXT).collect()
}

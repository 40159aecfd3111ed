//! Refusals of the state as errors on the wire.

use orch_core::state::{Refusal, ScheduleRefusal, SubmitFault, SubmitRefusal};

use crate::error::{Reason, WireError};

/// The reason of a fault of one job, and the field of its spec that is at fault.
pub fn submit_fault(fault: &SubmitFault) -> (Reason, &'static str) {
    match fault {
        SubmitFault::UnknownQueue(_) => (Reason::NotFound, "queue"),
        SubmitFault::NoKind(_) => (Reason::InvalidArgument, "kind"),
        SubmitFault::UnknownDependency(_) | SubmitFault::AmbiguousDependency(_) | SubmitFault::DependencyCircle(_) => {
            (Reason::InvalidArgument, "depends_on")
        }
        SubmitFault::KeyConflict { .. } => (Reason::Conflict, "idempotency_key"),
        SubmitFault::LimitReached { .. } => (Reason::LimitReached, "keys"),
        SubmitFault::Payload(_) => (Reason::InvalidArgument, "payload_json"),
    }
}

impl From<&SubmitRefusal> for WireError {
    fn from(refusal: &SubmitRefusal) -> Self {
        let (reason, field) = match refusal {
            SubmitRefusal::Job { index, fault } => {
                let (reason, field) = submit_fault(fault);
                (reason, format!("jobs[{index}].{field}"))
            }
            SubmitRefusal::Contract(_) => (Reason::InvalidArgument, "contracts".to_owned()),
            SubmitRefusal::ContractChanged(_) => (Reason::Conflict, "contracts".to_owned()),
            SubmitRefusal::UnknownContract { .. } => (Reason::NotFound, "queues".to_owned()),
            SubmitRefusal::Schedule(refusal) => {
                let reason = match refusal {
                    ScheduleRefusal::Job { fault, .. } => submit_fault(fault).0,
                    ScheduleRefusal::Never { .. } => Reason::InvalidArgument,
                    ScheduleRefusal::TooMany => Reason::LimitReached,
                };
                (reason, "schedules".to_owned())
            }
            SubmitRefusal::MayNotDefine(what) => (Reason::PermissionDenied, (*what).to_owned()),
        };
        Self::new(reason, refusal.to_string()).at(field)
    }
}

impl From<&Refusal> for WireError {
    fn from(refusal: &Refusal) -> Self {
        let (reason, field) = match refusal {
            Refusal::UnknownQueue(_) => (Reason::NotFound, "queue"),
            Refusal::UnknownContract(_) => (Reason::NotFound, "contract"),
            Refusal::BrokenContract(_) => (Reason::WrongState, "contract"),
            Refusal::UnknownLimit(_) => (Reason::NotFound, "limit"),
            Refusal::UnknownSchedule(_) => (Reason::NotFound, "schedule"),
            Refusal::NotSetAside(_) => (Reason::NotFound, "worker"),
            Refusal::Payload(_) => (Reason::InvalidArgument, "payload_json"),
        };
        Self::new(reason, refusal.to_string()).at(field)
    }
}

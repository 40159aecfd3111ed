//! States and failure classes, and their names for people.

use orch_core::record::FailureClass;

use crate::v1;

/// An enum value that this version does not know: the other side is newer, or broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what} {value} is unknown to this version")]
pub struct UnknownState {
    /// What it would have been.
    pub what: &'static str,
    /// The number on the wire.
    pub value: i32,
}

impl From<FailureClass> for v1::FailureClass {
    fn from(class: FailureClass) -> Self {
        match class {
            FailureClass::Error => Self::Error,
            FailureClass::Timeout => Self::Timeout,
            FailureClass::Incomplete => Self::Incomplete,
            FailureClass::Permanent => Self::Permanent,
            FailureClass::Quarantined => Self::Quarantined,
        }
    }
}

impl TryFrom<v1::FailureClass> for FailureClass {
    type Error = UnknownState;

    fn try_from(class: v1::FailureClass) -> Result<Self, UnknownState> {
        match class {
            v1::FailureClass::Unspecified => Err(UnknownState { what: "failure class", value: class.into() }),
            v1::FailureClass::Error => Ok(Self::Error),
            v1::FailureClass::Timeout => Ok(Self::Timeout),
            v1::FailureClass::Incomplete => Ok(Self::Incomplete),
            v1::FailureClass::Permanent => Ok(Self::Permanent),
            v1::FailureClass::Quarantined => Ok(Self::Quarantined),
        }
    }
}

/// A job's state in one lower-case word, as `orchctl` and the ledger write it.
pub const fn job_state_name(state: v1::JobState) -> &'static str {
    match state {
        v1::JobState::Unspecified => "unknown",
        v1::JobState::Blocked => "blocked",
        v1::JobState::Ready => "ready",
        v1::JobState::Delayed => "delayed",
        v1::JobState::Leased => "leased",
        v1::JobState::Done => "done",
        v1::JobState::Failed => "failed",
        v1::JobState::Cancelled => "cancelled",
        v1::JobState::Running => "running",
    }
}

/// A failure class in one lower-case word; empty for "none".
pub const fn failure_class_name(class: v1::FailureClass) -> &'static str {
    match class {
        v1::FailureClass::Unspecified => "",
        v1::FailureClass::Error => "error",
        v1::FailureClass::Timeout => "timeout",
        v1::FailureClass::Incomplete => "incomplete",
        v1::FailureClass::Permanent => "permanent",
        v1::FailureClass::Quarantined => "quarantined",
    }
}

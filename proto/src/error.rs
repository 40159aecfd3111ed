//! Errors on the wire: a gRPC status with a stable reason, the offending field and when to try again.
//!
//! The status message is for people; programs read the reason, which travels as an [`v1::ErrorDetail`] in the
//! binary trailer [`DETAIL_KEY`]. A status without it (from a proxy, a transport or another server) still becomes
//! a [`WireError`], with the reason that its code suggests.

use std::time::Duration;

use prost::Message as _;
use tonic::metadata::MetadataValue;
use tonic::{Code, Status};

use crate::convert::Faults;
use crate::v1;

/// The trailer that carries the detail.
pub const DETAIL_KEY: &str = "orch-error-bin";

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident, $text:literal, $code:ident;)*) => {
        /// Why a call was refused. Texts are stable across versions; a text that this version does not know is
        /// kept in [`Reason::Other`].
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Reason {
            $($(#[$doc])* $variant,)*
            /// A reason of a newer version, with its code.
            Other(String, Code),
        }

        impl Reason {
            /// The reason's text on the wire.
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $text,)*
                    Self::Other(text, _) => text,
                }
            }

            /// The gRPC code that goes with it.
            pub fn code(&self) -> Code {
                match self {
                    $(Self::$variant => Code::$code,)*
                    Self::Other(_, code) => *code,
                }
            }

            fn parse(text: &str, code: Code) -> Self {
                match text {
                    $($text => Self::$variant,)*
                    other => Self::Other(other.to_owned(), code),
                }
            }

            /// Every reason of this version.
            pub fn all() -> Vec<Self> {
                vec![$(Self::$variant,)*]
            }
        }
    };
}

reasons! {
    /// A field is malformed.
    InvalidArgument, "INVALID_ARGUMENT", InvalidArgument;
    /// The thing that is named does not exist.
    NotFound, "NOT_FOUND", NotFound;
    /// An idempotency key, a contract version or an import is known with other contents.
    Conflict, "CONFLICT", AlreadyExists;
    /// The thing is not in a state in which this can be done.
    WrongState, "WRONG_STATE", FailedPrecondition;
    /// The lease is no longer the job's current one.
    LeaseLost, "LEASE_LOST", FailedPrecondition;
    /// The lease belongs to another worker.
    NotGrantee, "NOT_GRANTEE", PermissionDenied;
    /// A batch is missing before this one.
    BatchGap, "BATCH_GAP", OutOfRange;
    /// More bytes or candidates than a batch may hold.
    BatchTooLarge, "BATCH_TOO_LARGE", InvalidArgument;
    /// The worker has to register first.
    UnknownWorker, "UNKNOWN_WORKER", FailedPrecondition;
    /// The orchestrator cannot write: its disk is full or failing.
    ReadOnly, "READ_ONLY", Unavailable;
    /// The orchestrator's queue is full: try again shortly.
    Busy, "BUSY", ResourceExhausted;
    /// A limit of the orchestrator is reached.
    LimitReached, "LIMIT_REACHED", ResourceExhausted;
    /// The orchestrator is starting or stopping, or not there.
    Unavailable, "UNAVAILABLE", Unavailable;
    /// The time for the call is over.
    Timeout, "TIMEOUT", DeadlineExceeded;
    /// The call was given up by the caller.
    CallCancelled, "CALL_CANCELLED", Cancelled;
    /// Who calls is not known.
    Unauthenticated, "UNAUTHENTICATED", Unauthenticated;
    /// Who calls may not do this.
    PermissionDenied, "PERMISSION_DENIED", PermissionDenied;
    /// This server does not have the call.
    Unimplemented, "UNIMPLEMENTED", Unimplemented;
    /// A receipt that nobody gave.
    UnprovenReceipt, "UNPROVEN_RECEIPT", FailedPrecondition;
    /// The worker's name is another process's.
    NameTaken, "NAME_TAKEN", AlreadyExists;
    /// A fault of the orchestrator.
    Internal, "INTERNAL", Internal;
}

/// A refusal, as both sides of the wire see it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct WireError {
    /// Why, for programs.
    pub reason: Reason,
    /// The offending field, as a path; empty if no field is at fault.
    pub field: String,
    /// Why, for people: a lower-case fragment that names the thing with its values.
    pub message: String,
    /// When the same call may succeed; none if it will not by itself. Whole milliseconds on the wire.
    pub retry_after: Option<Duration>,
}

impl WireError {
    /// An error without field or retry.
    pub fn new(reason: Reason, message: impl Into<String>) -> Self {
        Self { reason, field: String::new(), message: message.into(), retry_after: None }
    }

    /// The same error, at this field.
    #[must_use]
    pub fn at(mut self, field: impl Into<String>) -> Self {
        self.field = field.into();
        self
    }

    /// The same error, worth a retry after this time.
    #[must_use]
    pub fn retry_after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }
}

impl From<Faults> for WireError {
    fn from(faults: Faults) -> Self {
        Self::new(Reason::InvalidArgument, faults.to_string()).at(faults.first_field())
    }
}

impl From<WireError> for Status {
    fn from(error: WireError) -> Self {
        let WireError { reason, field, message, retry_after } = error;
        // 0 means "never" on the wire, so that a wait below a millisecond becomes one.
        let retry_after_ms = retry_after.map_or(0, |wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1));
        let detail = v1::ErrorDetail { reason: reason.as_str().to_owned(), field, retry_after_ms };
        let mut status = Self::new(reason.code(), cut(message));
        status.metadata_mut().insert_bin(DETAIL_KEY, MetadataValue::from_bytes(&detail.encode_to_vec()));
        status
    }
}

/// The most bytes of a message in a header. Clients refuse all headers of an answer beyond 16 KiB, and would then report
/// a broken connection instead of the error.
const MAX_HEADER_BYTES: usize = 8000;

/// The message, cut so that it fits into a header, where a byte that is not printable ASCII takes three.
fn cut(mut message: String) -> String {
    let plain = |byte: &u8| matches!(byte, b' '..=b'~') && *byte != b'%';
    let mut taken = 0;
    let too_long = message.char_indices().find(|(at, char)| {
        let bytes = &message.as_bytes()[*at..at + char.len_utf8()];
        taken += bytes.iter().map(|byte| if plain(byte) { 1 } else { 3 }).sum::<usize>();
        taken > MAX_HEADER_BYTES
    });
    if let Some((at, _)) = too_long {
        message.truncate(at);
        message.push_str("...");
    }
    message
}

impl From<Faults> for Status {
    fn from(faults: Faults) -> Self {
        WireError::from(faults).into()
    }
}

impl From<&Status> for WireError {
    fn from(status: &Status) -> Self {
        let message = if status.message().is_empty() { status.code().to_string() } else { status.message().to_owned() };
        let detail = status.metadata().get_bin(DETAIL_KEY).and_then(|value| value.to_bytes().ok());
        match detail.and_then(|bytes| v1::ErrorDetail::decode(bytes).ok()) {
            Some(v1::ErrorDetail { reason, field, retry_after_ms }) => Self {
                reason: Reason::parse(&reason, status.code()),
                field,
                message,
                retry_after: (retry_after_ms > 0).then(|| Duration::from_millis(retry_after_ms)),
            },
            None => Self::new(suggested(status.code()), message),
        }
    }
}

/// The reason of a status that carries none.
fn suggested(code: Code) -> Reason {
    match code {
        Code::Ok | Code::Unknown | Code::Aborted | Code::Internal | Code::DataLoss => Reason::Internal,
        Code::Cancelled => Reason::CallCancelled,
        Code::InvalidArgument | Code::OutOfRange => Reason::InvalidArgument,
        Code::DeadlineExceeded => Reason::Timeout,
        Code::NotFound => Reason::NotFound,
        Code::AlreadyExists => Reason::Conflict,
        Code::PermissionDenied => Reason::PermissionDenied,
        Code::ResourceExhausted => Reason::LimitReached,
        Code::FailedPrecondition => Reason::WrongState,
        Code::Unimplemented => Reason::Unimplemented,
        Code::Unavailable => Reason::Unavailable,
        Code::Unauthenticated => Reason::Unauthenticated,
    }
}

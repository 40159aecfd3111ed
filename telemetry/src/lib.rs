//! One job is one trace, on every host.
//!
//! [`context`] has the ids. They follow from the ledger's id, the job's and the lease's, so nothing has to be stored or
//! handed around for two programs to speak of the same span, and a restart does not break a trace. [`Exporter`] takes
//! finished [`Span`]s to an OpenTelemetry collector over OTLP/gRPC: it never waits, and it never makes anybody wait.

pub mod context;
mod export;
mod settings;
mod span;

pub use context::{SpanId, TraceContext, TraceId};
pub use export::{Exporter, Origin};
pub use settings::{Sampling, SamplingError, Telemetry};
pub use span::{Attribute, Span, Value};

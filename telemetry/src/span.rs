//! A finished span.

use std::time::SystemTime;

use crate::context::{SpanId, TraceId};

/// What is known of a span besides its times.
pub type Attribute = (&'static str, Value);

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(i64::try_from(number).unwrap_or(i64::MAX))
    }
}

/// Something that took its time and is over.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Span {
    /// The trace that it is part of.
    pub trace: TraceId,
    /// Itself.
    pub id: SpanId,
    /// The span that it is part of; None: the root.
    pub parent: Option<SpanId>,
    /// What it is, from a small set of names.
    pub name: &'static str,
    /// When it began.
    pub start: SystemTime,
    /// When it was over.
    pub end: SystemTime,
    /// What else is known.
    pub attributes: Vec<Attribute>,
    /// Why it failed, if it did.
    pub error: Option<String>,
}

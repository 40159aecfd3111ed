//! Where a span stands: its trace, itself, and whether the trace is kept. As text it is the `traceparent` of
//! [W3C Trace Context](https://www.w3.org/TR/trace-context/).

use std::fmt;
use std::str::FromStr;

use sha2::{Digest as _, Sha256};

/// A trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TraceId(pub [u8; 16]);

/// A span of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpanId(pub [u8; 8]);

impl TraceId {
    /// The trace of a job of this ledger.
    pub fn of_job(ledger: &str, job: u64) -> Self {
        Self(first(&drawn("trace", ledger, job, 0)))
    }

    /// 56 bits that are as good as random, by which every host keeps the same traces.
    pub(crate) fn randomness(self) -> u64 {
        let mut last = [0; 8];
        last[1..].copy_from_slice(&self.0[9..]);
        u64::from_be_bytes(last)
    }
}

impl SpanId {
    /// The span of a whole job, which was retried by hand so many times after its end.
    pub fn of_job(ledger: &str, job: u64, again: u64) -> Self {
        Self(first(&drawn("job", ledger, job, again)))
    }

    /// The span of the lease `lease`: one attempt.
    pub fn of_attempt(ledger: &str, lease: u64) -> Self {
        Self(first(&drawn("attempt", ledger, lease, 0)))
    }

    /// The span of the wait before the lease `lease`.
    pub fn of_wait(ledger: &str, lease: u64) -> Self {
        Self(first(&drawn("wait", ledger, lease, 0)))
    }

    /// The span of the run of a job by the worker that holds the lease.
    pub fn of_run(self) -> Self {
        Self(first(&drawn("run", "", u64::from_be_bytes(self.0), 0)))
    }
}

/// SHA-256 over what the thing is: 128 of its bits are as good as random.
fn drawn(what: &str, ledger: &str, number: u64, again: u64) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(b"orch ");
    hash.update(what.as_bytes());
    hash.update([0]);
    hash.update(ledger.as_bytes());
    hash.update([0]);
    hash.update(number.to_be_bytes());
    hash.update(again.to_be_bytes());
    hash.finalize().into()
}

/// The first bytes, never all zero: that would be no id.
fn first<const N: usize>(bytes: &[u8; 32]) -> [u8; N] {
    let mut id = [0; N];
    id.copy_from_slice(&bytes[..N]);
    if id == [0; N] {
        id[N - 1] = 1;
    }
    id
}

/// Where something happens: the trace, the span that it is part of, and whether the trace is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// The trace.
    pub trace: TraceId,
    /// The span.
    pub span: SpanId,
    /// Whether the spans of this trace go to a collector.
    pub sampled: bool,
}

/// Why a text is no trace context.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a traceparent is like 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")]
pub struct NoContext;

impl fmt::Display for TraceContext {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "00-{}-{}-{:02x}", self.trace, self.span, u8::from(self.sampled))
    }
}

impl FromStr for TraceContext {
    type Err = NoContext;

    fn from_str(text: &str) -> Result<Self, NoContext> {
        let mut parts = text.split('-');
        let mut part = |len: usize| {
            let hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
            parts.next().filter(|part| part.len() == len && part.bytes().all(hex)).ok_or(NoContext)
        };
        let (version, trace, span, flags) = (part(2)?, part(32)?, part(16)?, part(2)?);
        // Later versions may say more behind it; this one may not, and ff is none.
        if version == "ff" || (version == "00" && parts.next().is_some()) {
            return Err(NoContext);
        }
        let (trace, span) = (bytes::<16>(trace)?, bytes::<8>(span)?);
        if trace == [0; 16] || span == [0; 8] {
            return Err(NoContext);
        }
        let sampled = u8::from_str_radix(flags, 16).map_err(|_| NoContext)? & 1 == 1;
        Ok(Self { trace: TraceId(trace), span: SpanId(span), sampled })
    }
}

fn bytes<const N: usize>(hex: &str) -> Result<[u8; N], NoContext> {
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(hex.as_bytes().chunks(2)) {
        let pair = str::from_utf8(pair).map_err(|_| NoContext)?;
        *byte = u8::from_str_radix(pair, 16).map_err(|_| NoContext)?;
    }
    Ok(bytes)
}

fn hex(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

impl fmt::Display for TraceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

impl fmt::Display for SpanId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex(f, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_survives_its_text_and_bad_texts_are_none() {
        let text = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        let context: TraceContext = text.parse().unwrap();
        assert!(context.sampled);
        assert_eq!(context.to_string(), text);
        assert!(!text.replace("-01", "-02").parse::<TraceContext>().unwrap().sampled);
        assert!(text.replacen("00", "cc", 1).parse::<TraceContext>().is_ok(), "a later version");
        for bad in [
            "",
            "00",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
        ] {
            assert_eq!(bad.parse::<TraceContext>(), Err(NoContext), "{bad}");
        }
    }

    #[test]
    fn ids_follow_from_what_they_are_of() {
        assert_eq!(TraceId::of_job("a", 7), TraceId::of_job("a", 7));
        assert_ne!(TraceId::of_job("a", 7), TraceId::of_job("b", 7));
        let spans = [
            SpanId::of_job("a", 7, 0),
            SpanId::of_job("a", 7, 1),
            SpanId::of_attempt("a", 7),
            SpanId::of_wait("a", 7),
            SpanId::of_attempt("a", 7).of_run(),
        ];
        for (i, span) in spans.iter().enumerate() {
            assert!(!spans[..i].contains(span));
        }
        // Written down, because workers and orchestrators of different versions must agree.
        let (trace, attempt) = (TraceId::of_job("ledger", 1), SpanId::of_attempt("ledger", 2));
        assert_eq!(trace.to_string(), "4e3f73fb2bf3f735c211b1a5a0f3cf84");
        assert_eq!(
            (attempt.to_string().as_str(), attempt.of_run().to_string().as_str()),
            ("b2c0c3b194c0ff78", "953e75c0fbef452d")
        );
    }
}

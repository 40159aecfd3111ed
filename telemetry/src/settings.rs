//! What is sent, and where to.

use std::fmt;
use std::str::FromStr;

use orch_transport::ServerUrl;

use crate::context::TraceId;

/// Which traces are kept: a part of them, the same ones on every host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sampling(u64);

/// The number that stands for all: 2^53, which a double holds exactly.
const ALL: u64 = 1 << 53;

/// Why a text is no part.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no part of all traces: write a number from 0 (none) to 1 (all)")]
pub struct SamplingError(String);

impl Sampling {
    /// All of them.
    pub const ALL: Self = Self(ALL);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether this trace is kept. What a smaller part keeps, a larger one keeps too.
    pub fn keeps(self, trace: TraceId) -> bool {
        trace.randomness() >> 3 < self.0
    }
}

impl FromStr for Sampling {
    type Err = SamplingError;

    fn from_str(text: &str) -> Result<Self, SamplingError> {
        let part = text.trim().parse::<f64>().ok().filter(|part| (0.0..=1.0).contains(part));
        // From 0 to 2^53: nothing is cut off that matters.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
        let whole = part.map(|part| (part * ALL as f64) as u64);
        whole.map(Self).ok_or_else(|| SamplingError(text.chars().take(32).collect()))
    }
}

impl fmt::Display for Sampling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        #[allow(clippy::cast_precision_loss)]
        let part = self.0 as f64 / ALL as f64;
        part.fmt(f)
    }
}

/// A collector, and which traces it gets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// The collector's OTLP/gRPC receiver, such as `http://127.0.0.1:4317`.
    pub endpoint: ServerUrl,
    /// The part of all traces that it gets.
    pub sampling: Sampling,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_that_part_and_larger_ones_keep_what_smaller_ones_do() {
        let part = |text: &str| text.parse::<Sampling>().unwrap();
        let traces: Vec<TraceId> = (0..10_000).map(|job| TraceId::of_job("ledger", job)).collect();
        let kept = |sampling: Sampling| traces.iter().filter(|trace| sampling.keeps(**trace)).count();
        assert_eq!((kept(Sampling::NONE), kept(Sampling::ALL)), (0, traces.len()));
        let tenth = kept(part("0.1"));
        assert!((850..1150).contains(&tenth), "{tenth}");
        assert!(traces.iter().all(|trace| !part("0.1").keeps(*trace) || part("0.2").keeps(*trace)));
        for bad in ["", "1.1", "-0.1", "NaN", "all"] {
            assert!(bad.parse::<Sampling>().is_err(), "{bad}");
        }
    }
}

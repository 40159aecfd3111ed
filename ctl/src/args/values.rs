//! Values on the command line that need a reading of their own.

use std::str::FromStr;

use clap::ValueEnum;
use orch_core::time::{Span, Timestamp};
use orch_proto::v1;

/// A moment: a time, or how long ago.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum When {
    /// So long before now.
    Ago(Span),
    /// At this time.
    At(Timestamp),
}

impl When {
    /// The moment, seen from `now`.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Self::Ago(span) => Timestamp(now.0.saturating_sub_unsigned(span.0)),
            Self::At(time) => time,
        }
    }
}

impl FromStr for When {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let span = text.parse().map(Self::Ago);
        let time = || text.parse().map(Self::At);
        span.or_else(|_: String| time())
            .map_err(|_: String| format!("{text:?} is neither a length of time (2h) nor a time (2026-11-21T08:00:00Z)"))
    }
}

/// A size in bytes, written with a unit: `256MiB`, `2GB`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size(pub usize);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size: write a whole number and a unit, for example 256MiB or 2GB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let number: usize = number.parse().map_err(|_| wrong())?;
        let factor = match unit.trim().to_ascii_lowercase().as_str() {
            "" | "b" => 1,
            "k" | "kib" => 1 << 10,
            "m" | "mib" => 1 << 20,
            "g" | "gib" => 1 << 30,
            "kb" => 1_000,
            "mb" => 1_000_000,
            "gb" => 1_000_000_000,
            _ => return Err(wrong()),
        };
        number.checked_mul(factor).map(Self).ok_or_else(wrong)
    }
}

/// A job's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum State {
    /// Waits for other jobs
    Blocked,
    /// Can be leased
    Ready,
    /// Waits for a time
    Delayed,
    /// A worker has it
    Leased,
    /// An array of which every task was leased
    Running,
    /// Done
    Done,
    /// Failed, until somebody retries it
    Failed,
    /// Will not be done
    Cancelled,
}

impl From<State> for v1::JobState {
    fn from(state: State) -> Self {
        match state {
            State::Blocked => Self::Blocked,
            State::Ready => Self::Ready,
            State::Delayed => Self::Delayed,
            State::Leased => Self::Leased,
            State::Running => Self::Running,
            State::Done => Self::Done,
            State::Failed => Self::Failed,
            State::Cancelled => Self::Cancelled,
        }
    }
}

/// A class of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Class {
    /// The job's runner reported an error
    Error,
    /// It ran longer than its timeout
    Timeout,
    /// It delivered another number of candidates than its contract demands
    Incomplete,
    /// No retry would help
    Permanent,
    /// Worker after worker was lost with it
    Quarantined,
}

impl From<Class> for v1::FailureClass {
    fn from(class: Class) -> Self {
        match class {
            Class::Error => Self::Error,
            Class::Timeout => Self::Timeout,
            Class::Incomplete => Self::Incomplete,
            Class::Permanent => Self::Permanent,
            Class::Quarantined => Self::Quarantined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_a_unit() {
        assert_eq!("256MiB".parse(), Ok(Size(256 << 20)));
        assert_eq!("2 gb".parse(), Ok(Size(2_000_000_000)));
        for bad in ["", "MiB", "1.5G", "-1", "7 parsecs"] {
            assert!(bad.parse::<Size>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_moment_is_a_time_or_how_long_ago() {
        let now = Timestamp(10_000_000);
        assert_eq!("1h".parse::<When>().unwrap().resolve(now), Timestamp(10_000_000 - 3_600_000));
        assert_eq!("1970-01-01T00:00:01Z".parse::<When>().unwrap().resolve(now), Timestamp(1000));
        assert!("soon".parse::<When>().unwrap_err().contains("neither"));
    }
}

//! For how long an idempotency key stands for its job.
//!
//! Decided by the times of records: when the job was submitted, whether it has ended, and when the next one comes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Span;

/// For how long an idempotency key stands for its job. Written `forever`, `until_done`, or a length of time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unique {
    /// As long as the ledger is kept.
    #[default]
    Forever,
    /// Until the job has ended: done, failed or cancelled.
    UntilDone,
    /// So long from its submit, whether it has ended or not.
    For(Span),
}

const FOREVER: &str = "forever";
const UNTIL_DONE: &str = "until_done";

impl fmt::Display for Unique {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Forever => f.pad(FOREVER),
            Self::UntilDone => f.pad(UNTIL_DONE),
            Self::For(span) => span.fmt(f),
        }
    }
}

impl FromStr for Unique {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            FOREVER => Ok(Self::Forever),
            UNTIL_DONE => Ok(Self::UntilDone),
            other => match other.parse() {
                Ok(Span(0)) => Err("a key that stands for no time says nothing: leave it out".to_owned()),
                Ok(span) => Ok(Self::For(span)),
                Err(_) => Err(format!("{text:?} is neither {FOREVER} nor {UNTIL_DONE} nor a length of time like 24h")),
            },
        }
    }
}

impl Serialize for Unique {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Unique {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_people_say_it() {
        for (text, unique) in [
            ("forever", Unique::Forever),
            ("until_done", Unique::UntilDone),
            ("1day", Unique::For(Span::seconds(86_400))),
        ] {
            assert_eq!(text.parse(), Ok(unique));
            assert_eq!(unique.to_string(), text);
        }
        assert!("done".parse::<Unique>().unwrap_err().contains("until_done"));
        assert!("0s".parse::<Unique>().is_err());
    }
}

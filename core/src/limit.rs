//! Limits: how much may run at the same time, and how often something may start.
//!
//! A job carries keys (`host = api.example.org`) and takes units of semaphores (`gpu_slots: 1`). A limit says of one of
//! them, of every value of a key, or of all jobs together how many may run. Limits stand in the ledger, and so does
//! every grant and every end of a lease: what is in use is a fold, and exact across crashes and restarts.
//! Where to look: `state/schedule` counts and chooses.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{KeyName, NameError, SemaphoreName};
use crate::queue::is_default;
use crate::time::Span;

/// The most keys of one job, and the most semaphores.
pub const MAX_KEYS: usize = 8;

/// The most characters of a key's value.
pub const MAX_VALUE_CHARS: usize = 256;

/// The weight of a queue that sets none.
pub const DEFAULT_WEIGHT: u32 = 100;

/// The highest weight of a queue.
pub const MAX_WEIGHT: u32 = 10_000;

/// The most values of a fair key that a queue gives weights to.
pub const MAX_FAIR_WEIGHTS: usize = 1000;

/// The value of a job's key: any text without control characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyValue(Arc<str>);

/// Why a text is not the value of a key.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("value {text:?} cannot be: use 1 to {MAX_VALUE_CHARS} characters, none a control character, and not * alone")]
pub struct ValueError {
    /// The text, cut to 64 characters.
    pub text: String,
}

impl KeyValue {
    /// The value, if the text can be one.
    ///
    /// # Errors
    /// [`ValueError`] for an empty or too long text, one with a control character, and `*`, which means every value.
    pub fn new(text: &str) -> Result<Self, ValueError> {
        let chars = text.chars().count();
        if chars == 0 || chars > MAX_VALUE_CHARS || text == "*" || text.chars().any(char::is_control) {
            return Err(ValueError { text: text.chars().take(64).collect() });
        }
        Ok(Self(text.into()))
    }

    /// The value as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for KeyValue {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        Self::new(text)
    }
}

impl Serialize for KeyValue {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for KeyValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// What a limit is about. Written `running`, `host=*`, `host=api.example.org`, or a semaphore's bare name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LimitTarget {
    /// All running jobs of the cluster together.
    Running,
    /// Each value of a key by itself, unless a limit names the value.
    Each(KeyName),
    /// One value of a key.
    Key(KeyName, KeyValue),
    /// The units of a semaphore.
    Semaphore(SemaphoreName),
}

/// The word for [`LimitTarget::Running`], which therefore names no semaphore.
pub const RUNNING: &str = "running";

/// Why a text does not say what a limit is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitTargetError {
    /// The key or semaphore has no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The key's value cannot be.
    #[error(transparent)]
    Value(#[from] ValueError),
}

impl FromStr for LimitTarget {
    type Err = LimitTargetError;

    fn from_str(text: &str) -> Result<Self, LimitTargetError> {
        Ok(match text.split_once('=') {
            Some((name, "*")) => Self::Each(KeyName::new(name)?),
            Some((name, value)) => Self::Key(KeyName::new(name)?, KeyValue::new(value)?),
            None if text == RUNNING => Self::Running,
            None => Self::Semaphore(SemaphoreName::new(text)?),
        })
    }
}

impl fmt::Display for LimitTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Running => f.pad(RUNNING),
            Self::Each(name) => f.pad(&format!("{name}=*")),
            Self::Key(name, value) => f.pad(&format!("{name}={value}")),
            Self::Semaphore(name) => name.fmt(f),
        }
    }
}

impl Serialize for LimitTarget {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LimitTarget {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What happens to a job that a limit does not admit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AtLimit {
    /// It waits until there is room.
    #[default]
    Wait,
    /// Its submit is refused while as many unfinished jobs are there as may run.
    Reject,
    /// Its submit cancels the oldest unfinished jobs, so that no more are there than may run.
    CancelOldest,
}

/// How often jobs may start: a bucket that holds `burst` tokens and gains one every `per / tokens`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rate {
    /// Starts allowed in each `per`, once the bucket is empty.
    pub tokens: u32,
    /// The time in which they are allowed.
    pub per: Span,
    /// How many may start at once after a pause.
    pub burst: u32,
}

/// A limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitSpec {
    /// What it is about.
    pub limit: LimitTarget,
    /// How many jobs may run at once; for a semaphore, how many units there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max: Option<u32>,
    /// How often jobs may start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<Rate>,
    /// What happens at `max`.
    #[serde(default, skip_serializing_if = "is_default")]
    pub at_limit: AtLimit,
}

impl LimitSpec {
    /// A limit on how many run at once, at which jobs wait.
    pub fn max(limit: LimitTarget, max: u32) -> Self {
        Self { limit, max: Some(max), rate: None, at_limit: AtLimit::Wait }
    }

    /// What is wrong with it that its types let through: field and message.
    pub fn faults(&self) -> Vec<(String, String)> {
        let Self { limit, max, rate, at_limit } = self;
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| faults.push((field.to_owned(), message.to_owned()));
        if max.is_none() && rate.is_none() {
            fault("max", "is missing: a limit has max, or rate, or both");
        }
        if let Some(Rate { tokens, per, burst }) = rate {
            for (field, zero) in [("tokens", *tokens == 0), ("per", per.0 == 0), ("burst", *burst == 0)] {
                if zero {
                    fault(&format!("rate.{field}"), "must be more than 0");
                }
            }
            if per.0 > MAX_RATE_MS {
                fault("rate.per", "must be at most a year");
            }
        }
        let each_job_counts_once = match limit {
            LimitTarget::Each(_) | LimitTarget::Key(..) => true,
            LimitTarget::Running | LimitTarget::Semaphore(_) => false,
        };
        if *at_limit != AtLimit::Wait && !each_job_counts_once {
            fault("at_limit", "is for limits on keys: here jobs wait");
        } else if *at_limit != AtLimit::Wait && max.is_none_or(|max| max == 0) {
            fault("at_limit", "needs a max of at least 1");
        }
        faults
    }
}

/// The longest time that a rate may be about.
const MAX_RATE_MS: u64 = 366 * 24 * 3600 * 1000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_limit_is_about_reads_as_it_is_written() {
        for text in ["running", "host=*", "resolver=crossref", "url=a=b", "gpu_slots"] {
            assert_eq!(text.parse::<LimitTarget>().unwrap().to_string(), text);
        }
        assert_eq!("running".parse::<LimitTarget>().unwrap(), LimitTarget::Running);
        for bad in ["", "=x", "host=", "ho st=x", "host=a\nb"] {
            assert!(bad.parse::<LimitTarget>().is_err(), "{bad:?}");
        }
        assert!(KeyValue::new("*").is_err());
        assert!(KeyValue::new(&"x".repeat(MAX_VALUE_CHARS + 1)).is_err());
    }

    #[test]
    fn a_limit_that_says_nothing_is_a_fault() {
        let spec = |text: &str| serde_json::from_str::<LimitSpec>(text).unwrap().faults();
        assert!(spec(r#"{"limit":"host=*","max":0}"#).is_empty());
        assert_eq!(spec(r#"{"limit":"host=*"}"#)[0].0, "max");
        assert_eq!(spec(r#"{"limit":"running","max":3,"at_limit":"reject"}"#)[0].0, "at_limit");
        assert_eq!(spec(r#"{"limit":"a=b","rate":{"tokens":1,"per":"1s","burst":0}}"#)[0].0, "rate.burst");
    }
}

//! Retry rules: what happens after a failure of a certain sort.
//!
//! A queue or a job lists rules; the first that is about a failure says what becomes of the job, and what no rule is about
//! is tried again as before. What follows is recorded with the failure, so that replay needs no rule.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::queue::is_default;
use crate::record::FailureClass;
use crate::resource::{Amount, MEM, Needs, Quantity};
use crate::time::Span;

/// The most rules of one queue or job.
pub const MAX_RULES: usize = 32;

/// The longest pattern, in characters.
const MAX_PATTERN_CHARS: usize = 512;

/// How large a pattern may be once it is compiled. Matching is linear in the message, whatever the pattern.
const MAX_PATTERN_BYTES: usize = 1 << 20;

/// A regular expression about a failure's message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// The pattern, if the text is one.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn new(text: &str) -> Result<Self, String> {
        if text.chars().count() > MAX_PATTERN_CHARS {
            return Err(format!("is longer than {MAX_PATTERN_CHARS} characters"));
        }
        compile(text).map(|_| Self(text.to_owned())).map_err(|error| error.to_string())
    }

    /// The pattern as written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it matches anywhere in a text.
    fn matches(&self, text: &str) -> bool {
        // Compiled anew for each failure: a compiled one in each of a million jobs would fill the memory.
        compile(&self.0).is_ok_and(|regex| regex.is_match(text))
    }
}

fn compile(text: &str) -> Result<regex::Regex, regex::Error> {
    regex::RegexBuilder::new(text).size_limit(MAX_PATTERN_BYTES).build()
}

impl fmt::Display for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl Serialize for Pattern {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Pattern {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::new(&String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// What a rule does with the job.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    /// It is tried again, as often as the retry rule allows.
    #[default]
    Retry,
    /// It has failed for good.
    Fail,
}

/// More memory for the next attempt. Both are amounts as in `resources`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoreMemory {
    /// How many times as much, more than 1.
    #[serde(with = "as_text")]
    pub factor: Amount,
    /// How much at most.
    #[serde(with = "as_text")]
    pub cap: Amount,
}

/// One rule. It is about a failure for which everything that it sets holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryRule {
    /// Failures of one of these classes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub class: Vec<FailureClass>,
    /// Runners that ended with one of these codes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub exit_code: Vec<i32>,
    /// Messages in which this is found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<Pattern>,
    /// What becomes of the job.
    #[serde(default, skip_serializing_if = "is_default")]
    pub then: Then,
    /// The wait before the next attempt, instead of the retry rule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
    /// Attempts after which such a failure is final, instead of the retry rule's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// The next attempt gets more memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory: Option<MoreMemory>,
    /// The worker on which it failed does not get the job again.
    #[serde(default, skip_serializing_if = "is_default")]
    pub avoid_worker: bool,
}

impl RetryRule {
    /// Whether the rule is about such a failure.
    pub fn is_about(&self, class: FailureClass, exit_code: Option<i32>, message: &str) -> bool {
        let Self { class: classes, exit_code: codes, message: pattern, .. } = self;
        (classes.is_empty() || classes.contains(&class))
            && (codes.is_empty() || exit_code.is_some_and(|code| codes.contains(&code)))
            && pattern.as_ref().is_none_or(|pattern| pattern.matches(message))
    }

    /// What is wrong with it that its types let through: field and message.
    pub fn faults(&self) -> Vec<(String, String)> {
        let mut faults = Vec::new();
        let mut fault = |field: &str, message: &str| faults.push((field.to_owned(), message.to_owned()));
        if self.class.contains(&FailureClass::Quarantined) {
            fault("class", "quarantined is about lost workers: see crash_limit");
        }
        if self.memory.is_some_and(|more| more.factor <= Amount::ONE) {
            fault("memory.factor", "must be more than 1");
        }
        if self.memory.is_some_and(|more| more.cap == Amount(0)) {
            fault("memory.cap", "must be more than 0");
        }
        if self.max_attempts == Some(0) {
            fault("max_attempts", "must be at least 1");
        }
        let retries =
            self.backoff.is_some() || self.memory.is_some() || self.avoid_worker || self.max_attempts.is_some();
        if self.then == Then::Fail && retries {
            fault("then", "is fail: what would happen at the next attempt says nothing");
        }
        faults
    }
}

impl MoreMemory {
    /// The needs with so much more of `mem`, in every alternative that names an amount; None if none becomes larger.
    pub fn of(self, needs: &Needs) -> Option<Needs> {
        let mut more = needs.clone();
        let of_memory =
            more.0.iter_mut().flat_map(|variant| &mut variant.needs).filter(|(name, _)| name.as_str() == MEM);
        for (_, need) in of_memory {
            if let Quantity::Some(amount) = &mut need.quantity {
                // Never less than it was, should it be above the cap already.
                let times = u128::from(amount.0) * u128::from(self.factor.0) / u128::from(Amount::ONE.0);
                let grown = Amount(u64::try_from(times).unwrap_or(u64::MAX)).min(self.cap);
                *amount = grown.max(*amount);
            }
        }
        (more != *needs).then_some(more)
    }
}

/// Amounts as they are written.
mod as_text {
    use serde::{Deserialize as _, Deserializer, Serializer};

    use crate::resource::{Amount, Written};

    // serde's `with` passes a reference.
    #[allow(clippy::trivially_copy_pass_by_ref)]
    pub(super) fn serialize<S: Serializer>(amount: &Amount, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(amount)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Amount, D::Error> {
        Written::deserialize(deserializer)?.0.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(text: &str) -> RetryRule {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn a_rule_is_about_a_failure_for_which_all_of_it_holds() {
        let killed = rule(r#"{"exit_code":[137,139],"message":"(?i)out of memory"}"#);
        assert!(killed.is_about(FailureClass::Error, Some(137), "CUDA: Out of memory"));
        assert!(!killed.is_about(FailureClass::Error, Some(1), "out of memory"));
        assert!(!killed.is_about(FailureClass::Error, Some(137), "killed"));
        assert!(!killed.is_about(FailureClass::Error, None, "out of memory"));
        assert!(rule("{}").is_about(FailureClass::Timeout, None, ""));
        assert!(!rule(r#"{"class":["timeout"]}"#).is_about(FailureClass::Error, None, ""));
        assert!(serde_json::from_str::<RetryRule>(r#"{"message":"("}"#).is_err());
        assert!(serde_json::from_str::<RetryRule>(r#"{"message":"((a{1000}){1000}){1000}"}"#).is_err());
    }

    #[test]
    fn memory_grows_by_the_factor_and_up_to_the_cap() {
        let more = rule(r#"{"memory":{"factor":1.5,"cap":"20GiB"}}"#).memory.unwrap();
        let needs = |text: &str| Needs(vec![text.parse().unwrap()]);
        assert_eq!(more.of(&needs("mem=8GiB,cpus=1")), Some(needs("mem=12GiB,cpus=1")));
        assert_eq!(more.of(&needs("mem=16GiB")), Some(needs("mem=20GiB")));
        for same in ["mem=20GiB", "mem=30GiB", "cpus=1", "mem=all"] {
            assert_eq!(more.of(&needs(same)), None, "{same}");
        }
    }

    #[test]
    fn a_rule_that_cannot_be_meant_is_a_fault() {
        for (text, field) in [
            (r#"{"then":"fail","avoid_worker":true}"#, "then"),
            (r#"{"memory":{"factor":1,"cap":"1GiB"}}"#, "memory.factor"),
            (r#"{"class":["quarantined"]}"#, "class"),
            (r#"{"max_attempts":0}"#, "max_attempts"),
        ] {
            assert_eq!(rule(text).faults()[0].0, field, "{text}");
        }
        assert!(rule(r#"{"class":["error"],"then":"fail"}"#).faults().is_empty());
    }
}

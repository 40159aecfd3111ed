//! Retry and lease rules: what a queue or a job may set, and the rule that results.
//!
//! A patch has only the fields that somebody set. The rule in force is the defaults, overlaid by the queue's
//! patch, overlaid by the job's.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::JobId;
use crate::retry::RetryRule;
use crate::time::Span;

/// What a queue or a job changes of the retry rule. Absent means "as before".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetryPatch {
    /// Failures of the job itself until it is `Failed` (1 = never retry). Default 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_attempts: Option<u32>,
    /// Wait before the second attempt. Default 60 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub backoff: Option<Span>,
    /// The wait grows by this factor with every failure. Default 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub factor: Option<f64>,
    /// The wait never exceeds this, before jitter. Default 1 h.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cap: Option<Span>,
    /// A wait between 0 and this is added, spread evenly over the jobs. Default 15 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter: Option<Span>,
    /// Workers lost while they held the job until it is quarantined. Default 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_limit: Option<u32>,
    /// What happens after failures of certain sorts: the first rule that is about one decides. Default none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rules: Option<Vec<RetryRule>>,
}

/// The retry rule in force for a job.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// Failures of the job itself until it is `Failed`.
    pub max_attempts: u32,
    /// Wait before the second attempt.
    pub backoff: Span,
    /// Growth of the wait per failure, at least 1.
    pub factor: f64,
    /// Upper bound of the wait before jitter.
    pub cap: Span,
    /// Upper bound of the added jitter.
    pub jitter: Span,
    /// Lost workers until the job is quarantined.
    pub crash_limit: u32,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            max_attempts: 3,
            backoff: Span::seconds(60),
            factor: 2.0,
            cap: Span::seconds(3600),
            jitter: Span::seconds(15),
            crash_limit: 5,
        }
    }
}

impl RetryPolicy {
    /// This rule with what `patch` sets.
    #[must_use]
    pub fn patched(self, patch: &RetryPatch) -> Self {
        let RetryPatch { max_attempts, backoff, factor, cap, jitter, crash_limit, rules: _ } = patch;
        Self {
            max_attempts: max_attempts.unwrap_or(self.max_attempts).max(1),
            backoff: backoff.unwrap_or(self.backoff),
            factor: factor.filter(|f| f.is_finite()).unwrap_or(self.factor).max(1.0),
            cap: cap.unwrap_or(self.cap),
            jitter: jitter.unwrap_or(self.jitter),
            crash_limit: crash_limit.unwrap_or(self.crash_limit).max(1),
        }
    }

    /// How long a job waits after its `failures`-th failure (from 1): `min(cap, backoff * factor^(failures-1))`
    /// plus a jitter that is a function of the job and the count, so that replays and tests agree.
    pub fn wait(&self, job: JobId, failures: u32) -> Span {
        let exponent = i32::try_from(failures.saturating_sub(1)).unwrap_or(i32::MAX);
        let grown = self.backoff.0 as f64 * self.factor.powi(exponent);
        let base = if grown < self.cap.0 as f64 { grown as u64 } else { self.cap.0 };
        Span(base.saturating_add(jitter(self.jitter, job, failures)))
    }
}

/// A number of milliseconds in `[0, limit]`, evenly spread over jobs and counts.
fn jitter(limit: Span, job: JobId, count: u32) -> u64 {
    let digest = Digest::of_parts(&[b"retry jitter", &job.get().to_be_bytes(), &count.to_be_bytes()]);
    // The bias of `%` is below 2^-64 for any limit a person would set.
    (digest.truncated() % (u128::from(limit.0) + 1)) as u64
}

/// What a queue or a job changes of the lease rule.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LeasePatch {
    /// How long a lease lives without a heartbeat. Default 600 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl: Option<Span>,
    /// How often the worker should send a heartbeat. Default 30 s.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heartbeat: Option<Span>,
}

/// The lease rule in force for a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeasePolicy {
    /// How long a lease lives without a heartbeat.
    pub ttl: Span,
    /// How often the worker should send a heartbeat.
    pub heartbeat: Span,
}

impl Default for LeasePolicy {
    fn default() -> Self {
        Self { ttl: Span::seconds(600), heartbeat: Span::seconds(30) }
    }
}

impl LeasePolicy {
    /// This rule with what `patch` sets.
    #[must_use]
    pub fn patched(self, patch: &LeasePatch) -> Self {
        let LeasePatch { ttl, heartbeat } = patch;
        Self { ttl: ttl.unwrap_or(self.ttl), heartbeat: heartbeat.unwrap_or(self.heartbeat) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_doubles_up_to_the_cap() {
        let policy = RetryPolicy { jitter: Span(0), ..RetryPolicy::default() };
        let waits: Vec<u64> = (1..=8).map(|n| policy.wait(JobId::new(1), n).0 / 1000).collect();
        assert_eq!(waits, [60, 120, 240, 480, 960, 1920, 3600, 3600]);
        assert_eq!(policy.wait(JobId::new(1), u32::MAX), Span::seconds(3600));
    }

    #[test]
    fn jitter_spreads_over_its_whole_range() {
        let waits: Vec<u64> = (1..1000).map(|id| jitter(Span(15_000), JobId::new(id), 1)).collect();
        assert!(waits.iter().all(|&w| w <= 15_000));
        let mean = waits.iter().sum::<u64>() / 999;
        assert!((7_000..8_000).contains(&mean), "{mean}");
    }

    #[test]
    fn a_job_overrides_its_queue_and_the_queue_the_defaults() {
        let queue = RetryPatch { max_attempts: Some(5), backoff: Some(Span(3_000)), ..RetryPatch::default() };
        let job = RetryPatch { max_attempts: Some(1), ..RetryPatch::default() };
        let policy = RetryPolicy::default().patched(&queue).patched(&job);
        assert_eq!((policy.max_attempts, policy.backoff, policy.cap), (1, Span(3_000), Span::seconds(3600)));
    }
}

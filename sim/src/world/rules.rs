//! Retry rules of a run, and the ways in which its attempts fail.

use orch_core::job::JobSpec;
use orch_core::policy::RetryPatch;
use orch_core::record::FailureClass;
use orch_core::retry::RetryRule;
use orch_core::state::FailureReport;
use orch_core::time::Span;

use super::dice::Dice;

/// Lists of rules. Patterns are plain words, which the checker can look for by itself.
const RULES: [&str; 4] = [
    r#"[{"exit_code":[2],"then":"fail"},{"message":"out of memory","memory":{"factor":2,"cap":"6GiB"},"backoff":"0s"},
        {"message":"CUDA error","avoid_worker":true,"max_attempts":6},{"class":["timeout"],"then":"fail"}]"#,
    r#"[{"class":["error"],"exit_code":[137],"backoff":"1s","max_attempts":2},{"class":["incomplete"],"then":"fail"}]"#,
    r#"[{"class":["permanent"],"max_attempts":3,"avoid_worker":true},{"message":"CUDA error","then":"fail"}]"#,
    r#"[{"backoff":"700ms","memory":{"factor":1.5,"cap":"3GiB"}}]"#,
];

/// Ways in which an attempt fails.
const FAILURES: [(FailureClass, Option<i32>, &str); 6] = [
    (FailureClass::Error, Some(2), "no such option"),
    (FailureClass::Error, Some(137), "out of memory"),
    (FailureClass::Error, None, "CUDA error 719"),
    (FailureClass::Error, Some(1), "it went wrong"),
    (FailureClass::Timeout, None, "it took too long"),
    (FailureClass::Permanent, None, "the payload is wrong"),
];

/// A list of rules.
pub(crate) fn list(dice: &mut Dice) -> Result<Vec<RetryRule>, String> {
    serde_json::from_str(RULES[dice.below(RULES.len())]).map_err(|error| error.to_string())
}

/// Gives some jobs rules and limits of their own, and little time.
pub(crate) fn rule(job: &mut JobSpec, dice: &mut Dice) -> Result<(), String> {
    if dice.chance(400) {
        job.retry.rules = Some(list(dice)?);
    }
    if dice.chance(300) {
        let max_attempts = Some(1 + u32::try_from(dice.below(3)).unwrap_or(0));
        let crash_limit = Some(1 + u32::try_from(dice.below(3)).unwrap_or(0));
        job.retry = RetryPatch { max_attempts, crash_limit, backoff: Some(Span(300)), ..job.retry.clone() };
    }
    if dice.chance(150) {
        job.timeout = Some(Span(dice.between(1_500, 6_000)));
    }
    Ok(())
}

/// How an attempt fails, if it does.
pub(crate) fn failure(dice: &mut Dice) -> Option<FailureReport> {
    let (class, exit_code, message) = FAILURES[dice.below(FAILURES.len())];
    dice.chance(350).then(|| FailureReport { exit_code, ..FailureReport::new(class, message) })
}

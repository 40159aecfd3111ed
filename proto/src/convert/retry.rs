//! Rules about failures.

use orch_core::record::FailureClass;
use orch_core::resource::Amount;
use orch_core::retry::{MoreMemory, Pattern, RetryRule, Then};
use orch_core::time::Span;

use super::Faults;
use super::specs::MAX_SPAN;
use crate::v1;

pub(super) fn rule(wire: v1::RetryRule) -> Result<RetryRule, Faults> {
    let v1::RetryRule { classes, exit_codes, message, fail, backoff_ms, max_attempts, memory, avoid_worker } = wire;
    let mut faults = Faults::new();
    let each = classes.into_iter().filter_map(|class| {
        let known = v1::FailureClass::try_from(class).map_err(|error| error.to_string());
        faults.take("classes", known.and_then(|class| FailureClass::try_from(class).map_err(|error| error.to_string())))
    });
    let class = each.collect();
    let message = (!message.is_empty()).then(|| faults.take("message", Pattern::new(&message))).flatten();
    let backoff = backoff_ms.map(Span);
    if backoff.is_some_and(|span| span > MAX_SPAN) {
        faults.push("backoff_ms", "more than 100 years");
    }
    let amounts = |v1::MoreMemory { factor, cap }| MoreMemory { factor: Amount(factor), cap: Amount(cap) };
    let then = if fail { Then::Fail } else { Then::Retry };
    let memory = memory.map(amounts);
    faults.or(RetryRule { class, exit_code: exit_codes, message, then, backoff, max_attempts, memory, avoid_worker })
}

pub(super) fn rule_to_wire(rule: &RetryRule) -> v1::RetryRule {
    let RetryRule { class, exit_code, message, then, backoff, max_attempts, memory, avoid_worker } = rule;
    v1::RetryRule {
        classes: class.iter().map(|class| v1::FailureClass::from(*class).into()).collect(),
        exit_codes: exit_code.clone(),
        message: message.as_ref().map(ToString::to_string).unwrap_or_default(),
        fail: *then == Then::Fail,
        backoff_ms: backoff.map(|span| span.0),
        max_attempts: *max_attempts,
        memory: memory.map(|more| v1::MoreMemory { factor: more.factor.0, cap: more.cap.0 }),
        avoid_worker: *avoid_worker,
    }
}

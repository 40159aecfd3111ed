//! Limits, and what jobs want of them.

use std::collections::{BTreeMap, HashMap};

use orch_core::id::{KeyName, SemaphoreName};
use orch_core::limit::{AtLimit, KeyValue, LimitSpec, LimitTarget, Rate};
use orch_core::state::LimitUsage;
use orch_core::time::Span;

use super::Faults;
use crate::v1;

pub(super) fn keys(wire: HashMap<String, String>, faults: &mut Faults) -> BTreeMap<KeyName, KeyValue> {
    let mut keys = BTreeMap::new();
    for (name, value) in sorted(wire) {
        let field = format!("keys.{}", short(&name));
        let name = faults.take(&field, KeyName::new(&name));
        let value = faults.take(&field, KeyValue::new(&value));
        keys.extend(name.zip(value));
    }
    keys
}

pub(super) fn semaphores(wire: HashMap<String, u32>, faults: &mut Faults) -> BTreeMap<SemaphoreName, u32> {
    let named = sorted(wire).into_iter().filter_map(|(name, units)| {
        let field = format!("semaphores.{}", short(&name));
        faults.take(&field, SemaphoreName::new(&name)).map(|name| (name, units))
    });
    named.collect()
}

/// The weights of values of a fair key.
pub(super) fn fair_weights(wire: HashMap<String, u32>, faults: &mut Faults) -> BTreeMap<KeyValue, u32> {
    let valued = sorted(wire).into_iter().filter_map(|(value, weight)| {
        let field = format!("fair_weights.{}", short(&value));
        faults.take(&field, KeyValue::new(&value)).map(|value| (value, weight))
    });
    valued.collect()
}

/// In an order, so that the same message always gets the same answer.
fn sorted<V>(map: HashMap<String, V>) -> BTreeMap<String, V> {
    map.into_iter().collect()
}

fn short(name: &str) -> String {
    name.chars().take(64).filter(|c| !c.is_control()).collect()
}

impl TryFrom<v1::Limit> for LimitSpec {
    type Error = Faults;

    fn try_from(wire: v1::Limit) -> Result<Self, Faults> {
        // A value that this version does not know must not read as another one.
        let known = v1::AtLimit::try_from(wire.at_limit).is_ok();
        let at_limit = match wire.at_limit() {
            v1::AtLimit::Unspecified | v1::AtLimit::Wait => AtLimit::Wait,
            v1::AtLimit::Reject => AtLimit::Reject,
            v1::AtLimit::CancelOldest => AtLimit::CancelOldest,
        };
        let v1::Limit { limit, max, rate, at_limit: number } = wire;
        let mut faults = Faults::new();
        if !known {
            faults.push("at_limit", format_args!("{number} is unknown to this version"));
        }
        let limit = faults.take("limit", limit.parse::<LimitTarget>());
        let rate = rate.map(|v1::Rate { tokens, per_ms, burst }| Rate { tokens, per: Span(per_ms), burst });
        let Some(limit) = limit else { return Err(faults) };
        let spec = Self { limit, max, rate, at_limit };
        for (field, message) in spec.faults() {
            faults.push(&field, message);
        }
        faults.or(spec)
    }
}

impl From<&LimitSpec> for v1::Limit {
    fn from(spec: &LimitSpec) -> Self {
        let LimitSpec { limit, max, rate, at_limit } = spec;
        Self {
            limit: limit.to_string(),
            max: *max,
            rate: rate.map(Into::into),
            at_limit: v1::AtLimit::from(*at_limit).into(),
        }
    }
}

impl From<Rate> for v1::Rate {
    fn from(Rate { tokens, per, burst }: Rate) -> Self {
        Self { tokens, per_ms: per.0, burst }
    }
}

impl From<AtLimit> for v1::AtLimit {
    fn from(at_limit: AtLimit) -> Self {
        match at_limit {
            AtLimit::Wait => Self::Wait,
            AtLimit::Reject => Self::Reject,
            AtLimit::CancelOldest => Self::CancelOldest,
        }
    }
}

impl From<LimitUsage> for v1::LimitUsage {
    fn from(usage: LimitUsage) -> Self {
        let LimitUsage { target, in_use, max, rate, tokens, at_limit } = usage;
        Self {
            limit: target.to_string(),
            in_use,
            max,
            rate: rate.map(Into::into),
            tokens,
            at_limit: v1::AtLimit::from(at_limit).into(),
        }
    }
}

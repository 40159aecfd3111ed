//! Limits and what is in use of them.

use orch_core::time::Span;
use orch_proto::v1;
use serde::Serialize;

use crate::output::{Cell, Page, Table, Tint, View, each};

/// How often jobs may start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct RateView {
    pub tokens: u32,
    pub per: Span,
    pub burst: u32,
}

impl From<v1::Rate> for RateView {
    fn from(wire: v1::Rate) -> Self {
        let v1::Rate { tokens, per_ms, burst } = wire;
        Self { tokens, per: Span(per_ms), burst }
    }
}

impl RateView {
    fn text(&self) -> String {
        format!("{}/{}, burst {}", self.tokens, self.per, self.burst)
    }
}

/// A limit, as it is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitView {
    pub limit: String,
    pub max: Option<u32>,
    pub rate: Option<RateView>,
    /// `wait`, `reject` or `cancel_oldest`.
    pub at_limit: &'static str,
}

/// What is in use of something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitUsageView {
    pub limit: String,
    pub in_use: u64,
    pub max: Option<u32>,
    pub rate: Option<RateView>,
    /// Whole tokens in the bucket; null without a rate.
    pub tokens: Option<u64>,
    pub at_limit: &'static str,
}

impl From<v1::Limit> for LimitView {
    fn from(wire: v1::Limit) -> Self {
        let at_limit = name(wire.at_limit());
        let v1::Limit { limit, max, rate, at_limit: _ } = wire;
        Self { limit, max, rate: rate.map(Into::into), at_limit }
    }
}

impl From<v1::LimitUsage> for LimitUsageView {
    fn from(wire: v1::LimitUsage) -> Self {
        let at_limit = name(wire.at_limit());
        let v1::LimitUsage { limit, in_use, max, rate, tokens, at_limit: _ } = wire;
        Self { limit, in_use, max, rate: rate.map(Into::into), tokens, at_limit }
    }
}

fn name(at_limit: v1::AtLimit) -> &'static str {
    match at_limit {
        v1::AtLimit::Unspecified | v1::AtLimit::Wait => "wait",
        v1::AtLimit::Reject => "reject",
        v1::AtLimit::CancelOldest => "cancel_oldest",
    }
}

/// Every limit, and what is in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitsView {
    /// As they are set.
    pub limits: Vec<LimitView>,
    /// The fullest first.
    pub usage: Vec<LimitUsageView>,
    /// How many more are in use than are listed.
    pub usage_left_out: u64,
}

impl From<v1::ListLimitsResponse> for LimitsView {
    fn from(wire: v1::ListLimitsResponse) -> Self {
        let v1::ListLimitsResponse { limits, usage, usage_left_out } = wire;
        let (limits, usage) = (limits.into_iter().map(Into::into), usage.into_iter().map(Into::into));
        Self { limits: limits.collect(), usage: usage.collect(), usage_left_out }
    }
}

impl View for LimitsView {
    fn table(&self, page: &Page) -> String {
        let mut table = Table::new(&["LIMIT", ">MAX", "RATE", "AT LIMIT"]);
        for LimitView { limit, max, rate, at_limit } in &self.limits {
            let rate = rate.map(|rate| rate.text());
            table.row(vec![limit.into(), Cell::maybe(max.as_ref()), Cell::maybe(rate.as_ref()), at_limit.into()]);
        }
        let set = table.text(page, "no limits are set: `orchctl limit set` sets one");
        match usage_table(&self.usage, self.usage_left_out, page) {
            Some(usage) => format!("{set}\n\n{usage}"),
            None => set,
        }
    }

    fn names(&self) -> Vec<String> {
        self.limits.iter().map(|limit| limit.limit.clone()).collect()
    }

    fn items(&self) -> Result<Vec<String>, serde_json::Error> {
        each(&self.usage)
    }
}

/// What is in use, here and under `stats`; None if there is nothing to show.
pub(super) fn usage_table(usage: &[LimitUsageView], left_out: u64, page: &Page) -> Option<String> {
    if usage.is_empty() {
        return None;
    }
    let mut table = Table::new(&["IN USE OF", ">USED", ">MAX", ">TOKENS"]);
    for LimitUsageView { limit, in_use, max, rate: _, tokens, at_limit: _ } in usage {
        let full = max.is_some_and(|max| *in_use >= u64::from(max)) || *tokens == Some(0);
        let used = Cell::tinted(in_use, if full { Tint::Busy } else { Tint::Plain });
        table.row(vec![limit.into(), used, Cell::maybe(max.as_ref()), Cell::maybe(tokens.as_ref())]);
    }
    let more = if left_out > 0 { format!("\nand {left_out} more") } else { String::new() };
    Some(format!("{}{more}", table.text(page, "")))
}

/// What became of a limit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LimitActionView {
    pub limit: String,
    /// Whether it is set now.
    pub set: bool,
    /// Whether it was not so before.
    pub changed: bool,
    /// The last durable record.
    pub seq: Option<u64>,
}

impl View for LimitActionView {
    fn table(&self, _page: &Page) -> String {
        match (self.set, self.changed) {
            (true, true) => format!("limit {} is set", self.limit),
            (true, false) => format!("limit {} was set so before", self.limit),
            (false, _) => format!("limit {} is lifted", self.limit),
        }
    }

    fn names(&self) -> Vec<String> {
        vec![self.limit.clone()]
    }
}

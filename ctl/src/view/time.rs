//! Lengths of time, as people want them.

use orch_core::time::{Span, Timestamp};

/// How long ago, in two units at most: `42s`, `3m10s`, `2h5m`, `9d4h`.
pub fn ago(now: Timestamp, then: Timestamp) -> String {
    span(now.since(then))
}

/// A length of time in two units at most.
pub fn span(span: Span) -> String {
    let seconds = span.0 / 1000;
    let two = |big: u64, big_unit: &str, small: u64, small_unit: &str| match small {
        0 => format!("{big}{big_unit}"),
        _ => format!("{big}{big_unit}{small}{small_unit}"),
    };
    match seconds {
        0 => format!("{}ms", span.0),
        1..60 => format!("{seconds}s"),
        60..3600 => two(seconds / 60, "m", seconds % 60, "s"),
        3600..86_400 => two(seconds / 3600, "h", seconds % 3600 / 60, "m"),
        _ => two(seconds / 86_400, "d", seconds % 86_400 / 3600, "h"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_have_two_units_at_most() {
        let texts = [250, 42_000, 190_000, 7_500_000, 777_600_000 + 4 * 3_600_000].map(|ms| span(Span(ms)));
        assert_eq!(texts, ["250ms", "42s", "3m10s", "2h5m", "9d4h"]);
        assert_eq!(ago(Timestamp(0), Timestamp(5)), "0ms");
    }
}

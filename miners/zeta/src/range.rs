//! The job's range: a checked half-open range of Gram indices.

use thiserror::Error;

/// The lowest Gram index: g_-1 = 9.6669, below the first zero.
pub const GRAM_MIN: i64 = -1;

/// The highest Gram index a range may end at: t = 4.2e7, zero number 100,000,001.
///
/// Chosen where a f64 t still resolves every gap of the zeros well (its unit in the last place is 7.5e-9 there);
/// the promise of 1e-9 in t holds up to t = 10^6.
pub const GRAM_MAX: i64 = 100_000_000;

/// A range `[a, b)` of Gram indices, -1 <= a < b <= [`GRAM_MAX`]: the b - a zeros numbered a + 2 to b + 1.
///
/// Where both ends are regular Gram points these are the zeros in (g_a, g_b]; in any case the numbers decide, so that
/// ranges that share an end share no zero and leave none out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct GramRange {
    a: i64,
    b: i64,
}

/// Why two integers are not a range of Gram indices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum RangeError {
    /// The range starts below the first Gram index.
    #[error("gram index {a} is below the first one, {GRAM_MIN}")]
    TooLow {
        /// The start that was asked for.
        a: i64,
    },
    /// The range ends above the highest supported Gram index.
    #[error("gram index {b} is above the highest supported one, {GRAM_MAX}")]
    TooHigh {
        /// The end that was asked for.
        b: i64,
    },
    /// The range holds nothing.
    #[error("the range of gram indices [{a}, {b}) is empty: its end must be above its start")]
    Empty {
        /// The start that was asked for.
        a: i64,
        /// The end that was asked for.
        b: i64,
    },
}

impl GramRange {
    /// The range `[a, b)`, or why it is not one.
    ///
    /// # Errors
    /// [`RangeError`] if a < -1, b > [`GRAM_MAX`] or b <= a.
    pub fn new(a: i64, b: i64) -> Result<Self, RangeError> {
        if a < GRAM_MIN {
            return Err(RangeError::TooLow { a });
        }
        if b > GRAM_MAX {
            return Err(RangeError::TooHigh { b });
        }
        if b <= a {
            return Err(RangeError::Empty { a, b });
        }
        Ok(Self { a, b })
    }

    /// The first Gram index.
    #[must_use]
    pub fn first(self) -> i64 {
        self.a
    }

    /// The Gram index behind the last.
    #[must_use]
    pub fn end(self) -> i64 {
        self.b
    }

    /// How many zeros the range holds: exactly b - a.
    #[must_use]
    pub fn zeros(self) -> u64 {
        (self.b - self.a).unsigned_abs()
    }

    /// The numbers of its zeros, first and last, counted from 1 at t = 14.1347.
    #[must_use]
    pub fn numbers(self) -> (u64, u64) {
        ((self.a + 2).unsigned_abs(), (self.b + 1).unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_says_which_zeros_it_holds() {
        let range = GramRange::new(-1, 10).unwrap();
        assert_eq!((range.zeros(), range.numbers()), (11, (1, 11)));
    }

    #[test]
    fn what_is_not_a_range_is_refused_with_its_numbers() {
        let text = |a, b| GramRange::new(a, b).unwrap_err().to_string();
        assert_eq!(text(-2, 5), "gram index -2 is below the first one, -1");
        assert_eq!(text(5, 5), "the range of gram indices [5, 5) is empty: its end must be above its start");
        assert_eq!(text(5, 100_000_001), "gram index 100000001 is above the highest supported one, 100000000");
        assert!(GramRange::new(i64::MIN, i64::MAX).is_err());
    }
}

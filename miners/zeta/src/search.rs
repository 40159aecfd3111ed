//! The miner's one operation: the zeros of a range of Gram indices, all of them, in order.

use thiserror::Error;

use crate::hardy::{self, RIEMANN_SIEGEL_FROM};
use crate::range::GramRange;
use crate::strip::{Root, Search, Source};
use crate::theta::gram_point;
use crate::turing::Counter;

/// Gram intervals counted at once. The zeros of one count are handed out together, so this bounds how long they are
/// held back and how much is held.
const CHUNK: i64 = 512;

/// A zero 1/2 + i t of the Riemann zeta function.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Zero {
    /// Its number in order of t, from 1 at t = 14.1347.
    pub n: u64,
    /// Its height: within 1e-9 of the true one up to t = 10^6, and then within 4 units in the last place.
    ///
    /// The same n has the same t, bit for bit, in every range that holds it.
    pub t: f64,
    /// Z(t) as [`crate::z`] gives it at this very t: not zero, because the true zero is not a f64.
    pub z: f64,
    /// The formula behind Z.
    pub method: Method,
    /// Halvings and Newton steps that isolated and refined it.
    pub iters: u32,
}

/// The formula that Z was taken from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Euler-Maclaurin summation, below [`RIEMANN_SIEGEL_FROM`].
    EulerMaclaurin,
    /// The Riemann-Siegel formula with C0 to C4.
    RiemannSiegel,
}

impl Method {
    /// The name that candidates carry.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::EulerMaclaurin => "euler-maclaurin+newton",
            Self::RiemannSiegel => "riemann-siegel+newton",
        }
    }

    fn at(t: f64) -> Self {
        if t < RIEMANN_SIEGEL_FROM { Self::EulerMaclaurin } else { Self::RiemannSiegel }
    }
}

/// What a finished search can say of itself.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Summary {
    /// How many zeros were handed out: exactly the length of the range.
    pub zeros: u64,
    /// The Gram index at which the count was anchored, at or below the range's start.
    pub first_gram: i64,
    /// The Gram index at which the count was closed, at or above the range's end.
    pub last_gram: i64,
    /// The largest |Z(t)| among the zeros handed out.
    pub largest_root_val: f64,
}

/// A stretch of Gram intervals whose number of zeros did not come out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// The Gram index where it starts.
    pub first_gram: i64,
    /// The Gram index where it ends.
    pub last_gram: i64,
    /// Changes of sign of Z that were found.
    pub found: u64,
    /// Zeros that it should have.
    pub expected: u64,
}

/// Why a range was not mined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ZerosError {
    /// The count of zeros could not be brought to certainty.
    #[error(
        "gram block [{}, {}) is unresolved: {} of {} zeros found",
        .0.first_gram, .0.last_gram, .0.found, .0.expected
    )]
    Unresolved(Block),
    /// The caller asked to stop.
    #[error("the search was cancelled")]
    Cancelled,
}

/// Finds the zeros of a range and hands them to `sink` in order of n: exactly `range.zeros()` of them.
///
/// Zeros are handed out as soon as their count is certain, some hundred at a time; the count is proved by Turing's
/// method on points that the search picks around them, also beyond the ends of the range. `keep_going` is asked every
/// few dozen zeros; when it answers false the search ends with [`ZerosError::Cancelled`].
///
/// # Errors
/// [`ZerosError`]. What was handed out before an error is right and certain all the same.
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let range = orch_zeta::GramRange::new(-1, 3)?;
/// let mut heights = Vec::new();
/// orch_zeta::zeros(range, &|| true, &mut |zero| heights.push((zero.n, zero.t)))?;
/// assert_eq!(heights.len(), 4);
/// assert!((heights[0].1 - 14.134725141734693).abs() < 1e-12);
/// # Ok(())
/// # }
/// ```
pub fn zeros(
    range: GramRange,
    keep_going: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(Zero),
) -> Result<Summary, ZerosError> {
    zeros_from(Search::default(), range, keep_going, sink)
}

/// [`zeros`] over any source of zeros.
pub(crate) fn zeros_from<S: Source>(
    source: S,
    range: GramRange,
    keep_going: &dyn Fn() -> bool,
    sink: &mut dyn FnMut(Zero),
) -> Result<Summary, ZerosError> {
    if !keep_going() {
        return Err(ZerosError::Cancelled);
    }
    let mut counter = Counter::new(source, range.first(), keep_going);
    let first_gram = counter.anchor(range.first())?;
    let (first, last) = range.numbers();
    let mut summary = Summary { zeros: 0, first_gram, last_gram: first_gram, largest_root_val: 0.0 };
    while summary.last_gram < range.end() {
        let anchor = summary.last_gram;
        let cap = counter.certain_cap(anchor, range.end().min(anchor + CHUNK))?;
        // Proved: the zeros in (g_anchor, g_cap] are those numbered anchor + 2 to cap + 1.
        let from = (anchor + 2).unsigned_abs();
        for (n, root) in (from..).zip(counter.strip.between(gram_point(anchor), gram_point(cap))) {
            if n >= first && n <= last {
                let zero = zero(n, root);
                summary.zeros += 1;
                summary.largest_root_val = summary.largest_root_val.max(zero.z.abs());
                sink(zero);
            }
        }
        counter.forget_below(cap);
        summary.last_gram = cap;
    }
    Ok(summary)
}

fn zero(n: u64, root: &Root) -> Zero {
    Zero { n, t: root.t, z: hardy::z(root.t), method: Method::at(root.t), iters: root.iterations }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::grid::Unit;

    /// The real search, overlooking the zeros in (from, to], or finding a false one beside each.
    struct Faulty {
        search: Search,
        from: f64,
        to: f64,
        doubled: bool,
    }

    impl Source for Faulty {
        fn roots(&mut self, unit: Unit, out: &mut Vec<Root>) {
            let mut all = Vec::new();
            self.search.roots(unit, &mut all);
            for root in all {
                let hit = root.t > self.from && root.t <= self.to;
                if !hit {
                    out.push(root);
                } else if self.doubled {
                    out.extend([root, Root { t: root.t + 1e-6, ..root }]);
                }
            }
        }
    }

    fn outcome(a: i64, b: i64, from: f64, to: f64, doubled: bool) -> (Result<Summary, ZerosError>, Vec<u64>) {
        let mut numbers = Vec::new();
        let source = Faulty { search: Search::default(), from, to, doubled };
        let range = GramRange::new(a, b).unwrap();
        let result = zeros_from(source, range, &|| true, &mut |zero| numbers.push(zero.n));
        (result, numbers)
    }

    #[test]
    fn an_overlooked_pair_is_an_error_that_names_its_block() {
        // Zeros 6709 and 6710: nothing in the signs of Z at Gram points gives their absence away, only the count.
        let (result, numbers) = outcome(6_650, 6_760, 7_005.0, 7_005.2, false);
        let error = result.unwrap_err();
        let ZerosError::Unresolved(block) = error else { panic!("{error}") };
        assert_eq!(block.found + 2, block.expected);
        assert!(gram_point(block.first_gram) < 7_005.06 && 7_005.11 < gram_point(block.last_gram), "{block:?}");
        assert!(numbers.is_empty(), "nothing is handed out uncounted");
        assert_eq!(
            error.to_string(),
            format!("gram block [{}, {}) is unresolved: 0 of 2 zeros found", block.first_gram, block.last_gram)
        );
    }

    #[test]
    fn zeros_overlooked_beyond_the_range_do_not_spoil_it() {
        let clean = outcome(6_720, 6_760, 0.0, 0.0, false);
        assert_eq!(clean.1, (6_722..=6_761).collect::<Vec<_>>());
        // The pair is below the range: the anchor is found elsewhere, and the numbers are the same.
        assert_eq!(outcome(6_720, 6_760, 7_005.0, 7_005.2, false).1, clean.1);
    }

    #[test]
    fn one_overlooked_zero_is_an_error_too() {
        let t = gram_point(100_200);
        let (result, _) = outcome(100_000, 100_400, t, t + 1.0, false);
        assert!(matches!(result, Err(ZerosError::Unresolved(_))), "{result:?}");
    }

    #[test]
    fn a_false_zero_is_an_error_that_names_its_block() {
        let t = gram_point(100_200);
        let (result, _) = outcome(100_000, 100_400, t, t + 0.9, true);
        let Err(ZerosError::Unresolved(block)) = result else { panic!("{result:?}") };
        assert!(block.found > block.expected, "{block:?}");
        assert!((gram_point(block.first_gram) - t).abs() < 5.0, "{block:?}");
    }
}

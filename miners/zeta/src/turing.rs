//! Counting with certainty: Turing's method on Gram blocks.
//!
//! Let N(T) be the number of zeros of zeta with imaginary part in (0, T], on the critical line or off it, and g_m the
//! Gram points. g_m is *good* if `(-1)^m Z(g_m) > 0`; a *Gram block* of length k runs from one good Gram point to the
//! next, k points further; it satisfies *Rosser's rule* if Z has at least k zeros in it.
//!
//! Theorem (A. M. Turing, Proc. London Math. Soc. 1953, as corrected by R. S. Lehman, ibid. 1970; in this form R. P.
//! Brent, "On the zeros of the Riemann zeta function in the critical strip", Math. Comp. 33, 1979, theorem 3.2). If K
//! consecutive Gram blocks with union [g_n, g_p), g_n >= 168 pi, satisfy Rosser's rule, where
//! `K >= 0.0061 ln^2 g_p + 0.08 ln g_p`, then `N(g_n) <= n + 1` and `N(g_p) >= p + 1`.
//!
//! T. S. Trudgian, "Improvements to Turing's method", Math. Comp. 80, 2011, proves the same with
//! `K >= 0.0031 ln^2 g_p + 0.11 ln g_p`. Either suffices; [`blocks_needed`] asks for the larger of the two.
//!
//! So with an *anchor* A (K such blocks end there: `N(g_A) >= A + 1`) and a *cap* B > A (K such blocks start there:
//! `N(g_B) <= B + 1`), at most B - A zeros lie between them. Once that many changes of sign of Z are found in
//! (g_A, g_B], they are all the zeros there, each simple and on the critical line, and all inequalities are
//! equalities: zero number A + 2 is the first of them. Near the bottom no blocks are needed: no zero lies below
//! g_-1 = 9.67 (J.-P. Gram, 1903), so -1 is an anchor with `N(g_-1) = 0`.

use std::collections::BTreeMap;

use crate::range::GRAM_MIN;
use crate::search::{Block, ZerosError};
use crate::strip::{Source, Strip};
use crate::theta::gram_point;
use crate::{hardy, logs};

/// Lehman's theorem holds above 168 pi.
const TURING_FROM: f64 = 168.0 * std::f64::consts::PI;

/// How many Gram points beyond the first candidate an anchor or a cap is looked for. Below t = 4e7 one is found
/// within a few; an exception to Rosser's rule moves it by a few more.
const REACH: i64 = 512;

/// How many consecutive Gram blocks that satisfy Rosser's rule the theorem needs, ending or starting at most at t.
fn blocks_needed(t: f64) -> u32 {
    let ln = logs::ln(t).to_f64();
    let brent = 0.0061 * ln * ln + 0.08 * ln;
    let trudgian = 0.0031 * ln * ln + 0.11 * ln;
    brent.max(trudgian).ceil() as u32
}

/// What the sign of Z at a Gram point says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// `(-1)^m Z(g_m) > 0`, beyond the bound on the error of Z.
    Good,
    /// `(-1)^m Z(g_m) < 0`, beyond the bound on the error of Z.
    Bad,
    /// |Z(g_m)| is within the bound on its error.
    Unclear,
}

/// Whether Gram point m is good, `(-1)^m Z(g_m) > 0`; None where Z is too small there to tell, or m is out of range.
#[must_use]
pub fn is_good(m: i64) -> Option<bool> {
    match gram_sign(m).1 {
        Sign::Good => Some(true),
        Sign::Bad => Some(false),
        Sign::Unclear => None,
    }
}

/// The Gram point g_m and the sign of Z there.
pub(crate) fn gram_sign(m: i64) -> (f64, Sign) {
    let t = gram_point(m);
    let z = hardy::z(t);
    let along = if m % 2 == 0 { z } else { -z };
    let bound = 10.0 * hardy::z_error_bound(t);
    let sign = if along > bound {
        Sign::Good
    } else if along < -bound {
        Sign::Bad
    } else {
        Sign::Unclear
    };
    (t, sign)
}

/// A good Gram point found by walking, and whether every point passed on the way was certainly bad, so that what
/// was walked is one Gram block.
#[derive(Clone, Copy)]
struct Step {
    gram: i64,
    t: f64,
    one_block: bool,
}

/// Counts the zeros of a strip against the Gram points.
pub(crate) struct Counter<'a, S> {
    pub(crate) strip: Strip<S>,
    points: BTreeMap<i64, (f64, Sign)>,
    keep_going: &'a dyn Fn() -> bool,
}

impl<'a, S: Source> Counter<'a, S> {
    pub(crate) fn new(source: S, start: i64, keep_going: &'a dyn Fn() -> bool) -> Self {
        Self { strip: Strip::at(source, gram_point(start)), points: BTreeMap::new(), keep_going }
    }

    /// An anchor at or below Gram index `from`: `N(g_A) >= A + 1`.
    pub(crate) fn anchor(&mut self, from: i64) -> Result<i64, ZerosError> {
        let mut candidate = self.good_at_or_below(from);
        loop {
            if candidate.t <= TURING_FROM {
                self.reach(gram_point(GRAM_MIN))?;
                return Ok(GRAM_MIN);
            }
            let needed = blocks_needed(candidate.t);
            let mut lower = candidate;
            let mut blocks = 0;
            while blocks < needed && lower.t > TURING_FROM {
                let next = self.good_at_or_below(lower.gram - 1);
                let ruled = self.satisfies_rosser(next, lower, next.one_block)?;
                lower = next;
                if !ruled {
                    break;
                }
                blocks += 1;
            }
            if blocks == needed && lower.t >= TURING_FROM {
                return Ok(candidate.gram);
            }
            if from - lower.gram > REACH {
                return Err(self.unresolved(lower.gram, from));
            }
            candidate = lower;
        }
    }

    /// A cap above the anchor, at or above Gram index `from`, with exactly cap - anchor zeros found between them: the
    /// count is then proved and those are all.
    pub(crate) fn certain_cap(&mut self, anchor: i64, from: i64) -> Result<i64, ZerosError> {
        let mut candidate = self.good_at_or_above(from);
        loop {
            if candidate.t < TURING_FROM {
                candidate = self.good_at_or_above(candidate.gram + 1);
                continue;
            }
            let mut upper = candidate;
            let mut blocks = 0;
            // The theorem's K is for the upper end of the union.
            while blocks == 0 || blocks < blocks_needed(upper.t) {
                let next = self.good_at_or_above(upper.gram + 1);
                let ruled = self.satisfies_rosser(upper, next, next.one_block)?;
                upper = next;
                if !ruled {
                    blocks = 0;
                    break;
                }
                blocks += 1;
            }
            if blocks > 0 {
                let found = self.count(anchor, candidate.gram)?;
                if found == (candidate.gram - anchor).unsigned_abs() {
                    return Ok(candidate.gram);
                }
            }
            if upper.gram - from.max(anchor) > REACH {
                return Err(self.unresolved(anchor, upper.gram));
            }
            candidate = if blocks > 0 { self.good_at_or_above(candidate.gram + 1) } else { upper };
        }
    }

    /// Forgets what lies below Gram index m.
    pub(crate) fn forget_below(&mut self, m: i64) {
        self.strip.forget(gram_point(m));
        self.points = self.points.split_off(&m);
    }

    /// How many zeros the strip has in (g_a, g_b].
    fn count(&mut self, a: i64, b: i64) -> Result<u64, ZerosError> {
        let (from, to) = (self.point(a).0, self.point(b).0);
        self.reach(from)?;
        self.reach(to)?;
        Ok(self.strip.count(from, to))
    }

    fn satisfies_rosser(&mut self, lower: Step, upper: Step, one_block: bool) -> Result<bool, ZerosError> {
        let found = self.count(lower.gram, upper.gram)?;
        Ok(one_block && found >= (upper.gram - lower.gram).unsigned_abs())
    }

    fn point(&mut self, m: i64) -> (f64, Sign) {
        *self.points.entry(m).or_insert_with(|| gram_sign(m))
    }

    fn good_at_or_below(&mut self, from: i64) -> Step {
        self.walk(from, -1)
    }

    fn good_at_or_above(&mut self, from: i64) -> Step {
        self.walk(from, 1)
    }

    fn walk(&mut self, from: i64, direction: i64) -> Step {
        let mut gram = from;
        let mut one_block = true;
        loop {
            let (t, sign) = self.point(gram);
            match sign {
                Sign::Good => return Step { gram, t, one_block },
                Sign::Bad => {}
                Sign::Unclear => one_block = false,
            }
            if gram == GRAM_MIN && direction < 0 {
                return Step { gram, t, one_block };
            }
            gram += direction;
        }
    }

    /// Grows the strip until it reaches t.
    fn reach(&mut self, t: f64) -> Result<(), ZerosError> {
        loop {
            if !(self.keep_going)() {
                return Err(ZerosError::Cancelled);
            }
            if !self.strip.grow_towards(t) {
                return Ok(());
            }
        }
    }

    /// The first Gram block in [g_a, g_b] whose count does not come out.
    fn unresolved(&mut self, a: i64, b: i64) -> ZerosError {
        let mut worst: Option<Block> = None;
        let mut lower = self.good_at_or_above(a);
        while lower.gram < b {
            let upper = self.good_at_or_above(lower.gram + 1);
            let found = match self.count(lower.gram, upper.gram) {
                Ok(found) => found,
                Err(error) => return error,
            };
            let block = Block {
                first_gram: lower.gram,
                last_gram: upper.gram,
                found,
                expected: (upper.gram - lower.gram).unsigned_abs(),
            };
            if found < block.expected {
                return ZerosError::Unresolved(block);
            }
            if found > block.expected && worst.is_none() {
                worst = Some(block);
            }
            lower = upper;
        }
        // No block lacks a zero: the count failed for a surplus, or for want of clear signs at Gram points.
        let expected = (b - a).unsigned_abs();
        let found = self.count(a, b).unwrap_or(expected);
        ZerosError::Unresolved(worst.unwrap_or(Block { first_gram: a, last_gram: b, found, expected }))
    }
}

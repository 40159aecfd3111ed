//! Z(t) by the Riemann-Siegel formula, one point at a time.
//!
//! The formula and its sources are at [`crate::remainder`]. Each phase `theta(t) - t ln n` is reduced to a fraction
//! of a turn without rounding: with t and `ln n / 2 pi` each cut into a 26-bit head and a rest, the product of heads is
//! exact and loses its whole turns exactly; what is left is below 3 turns, so a phase is right to about 3e-16 turns.
//! The sum over n carries a rounding error of about 1e-14 at t = 10^6 (measured against 50-digit values).

use crate::dd::split;
use crate::logs::{IntegerTable, integers};
use crate::remainder::remainder;
use crate::theta::theta_fraction;
use crate::trig::{cos_reduced, round};

/// Independent partial sums. A fixed number, so that the order of additions, and with it every bit of the result,
/// is the same whatever vector width the machine has.
pub(crate) const LANES: usize = 8;

/// Terms whose angles are formed before their cosines: a multiple of LANES, small enough to stay in the fastest cache.
const BUFFER: usize = 128;

/// `sqrt(t / 2 pi)`: its integer part is the number of terms of the main sum.
#[inline]
pub(crate) fn main_length(t: f64) -> f64 {
    (t / std::f64::consts::TAU).sqrt()
}

/// A height t, cut for exact phases.
#[derive(Clone, Copy)]
pub(crate) struct Height {
    t: f64,
    head: f64,
    rest: f64,
}

impl Height {
    pub(crate) fn new(t: f64) -> Self {
        let (head, rest) = split(t);
        Self { t, head, rest }
    }

    /// `t ln n / 2 pi` less a whole number of turns (|result| < 3), from the cut `ln n / 2 pi`.
    #[inline(always)]
    pub(crate) fn phase(self, log_head: f64, log_tail: f64) -> f64 {
        let product = self.head * log_head;
        (product - round(product)) + (self.rest * log_head + self.t * log_tail)
    }

    /// `t ln n / 2 pi - theta` less a whole number of turns, with theta in turns: within half a turn.
    ///
    /// As [`Height::phase`], with one rounding to whole turns for both: the exact product less the nearest whole number
    /// to the whole phase is still exact.
    #[inline(always)]
    fn angle(self, theta: f64, log_head: f64, log_tail: f64) -> f64 {
        let product = self.head * log_head;
        let rest = (self.rest * log_head + self.t * log_tail) - theta;
        (product - round(product + rest)) + rest
    }
}

/// `n^(-1/2) cos(theta - t ln n)`, the term with index n - 1, with theta in turns.
#[inline]
pub(crate) fn term(table: &IntegerTable, height: Height, theta: f64, index: usize) -> f64 {
    cos_reduced(height.angle(theta, table.head[index], table.tail[index])) * table.inv_sqrt[index]
}

/// `sum_(n <= terms) n^(-1/2) cos(theta - t ln n)`, with theta in turns.
///
/// Angles first, then cosines, a buffer of terms at a time: one loop for both is a chain of dependent operations
/// longer than a processor looks ahead, and the whole search then takes an eighth longer.
pub(crate) fn main_sum(t: f64, theta: f64, terms: usize) -> f64 {
    let table = integers();
    let height = Height::new(t);
    let mut sums = [0.0; LANES];
    let mut angles = [0.0; BUFFER];
    let whole = terms - terms % LANES;
    for start in (0..whole).step_by(BUFFER) {
        let end = whole.min(start + BUFFER);
        let angles = &mut angles[..end - start];
        for ((angle, head), tail) in angles.iter_mut().zip(&table.head[start..end]).zip(&table.tail[start..end]) {
            *angle = height.angle(theta, *head, *tail);
        }
        let (angles, _) = angles.as_chunks::<LANES>();
        let (weights, _) = table.inv_sqrt[start..end].as_chunks::<LANES>();
        for (angle, weight) in angles.iter().zip(weights) {
            for lane in 0..LANES {
                sums[lane] += cos_reduced(angle[lane]) * weight[lane];
            }
        }
    }
    for (lane, index) in (whole..terms).enumerate() {
        sums[lane] += term(table, height, theta, index);
    }
    ((sums[0] + sums[4]) + (sums[1] + sums[5])) + ((sums[2] + sums[6]) + (sums[3] + sums[7]))
}

/// Z(t) by the Riemann-Siegel formula with C0 to C4, for 200 <= t <= T_MAX.
pub(crate) fn z(t: f64) -> f64 {
    let a = main_length(t);
    let n = a.floor();
    2.0 * main_sum(t, theta_fraction(t), n as usize) + remainder(a, n)
}

//! The Riemann-Siegel theta function and the Gram points.
//!
//! `theta(t) = Im ln Gamma(1/4 + i t/2) - (t/2) ln pi`. Stirling's series gives
//!
//! `theta(t) = (t/2) ln(t / 2 pi e) - pi/8 + (1/2) arctan(e^(-pi t)) + sum_k (1 - 2^(1-2k)) |B_2k| / (4k (2k-1) t^(2k-1))`
//!
//! (H. M. Edwards, *Riemann's Zeta Function*, 1974, section 6.5; R. P. Brent, "On asymptotic approximations to the
//! log-Gamma and Riemann-Siegel theta functions", J. Aust. Math. Soc. 107, 2019, who gives the arctangent and shows
//! that the error stays below the first omitted term). Ten terms are taken: from t = 8 on the first omitted one is
//! below 2e-18. The leading part is formed in double-double, so that the phase modulo one turn is right to about
//! 1e-16 turns up to the highest supported t.

use crate::dd::{Dd, split};
use crate::logs;
use crate::range::{GRAM_MAX, GRAM_MIN};
use crate::trig::{exp_neg, round};

const LN_2PI_PLUS_1: Dd = Dd::new(2.8378770664093453, 1.4447872176368647e-16);
const INV_4PI: Dd = Dd::new(0.07957747154594767, -4.9196691687956215e-18);
const TWO_PI: Dd = Dd::new(std::f64::consts::TAU, 2.4492935982947064e-16);
const PI: f64 = std::f64::consts::PI;

/// `(1 - 2^(1-2k)) |B_2k| / (4k (2k-1)) / 2 pi` for k = 1..=10.
const STIRLING: [f64; 10] = [
    0.003315727981081153,
    0.00019341746556306725,
    6.118307584137841e-05,
    4.6997483660413664e-05,
    6.685357474481018e-05,
    0.00015251743593306841,
    0.0005100497275585134,
    0.0023514945314939226,
    0.014295535863454988,
    0.11080602377436911,
];

/// `theta(t) / 2 pi` in double-double.
pub(crate) fn theta_turns(t: f64) -> Dd {
    let main = logs::ln(t).sub(LN_2PI_PLUS_1).mul_f64(t).mul(INV_4PI);
    let x = 1.0 / t;
    let u = x * x;
    let mut series = 0.0;
    if t < 64.0 {
        for c in STIRLING[4..].iter().rev() {
            series = series * u + c;
        }
    }
    for c in STIRLING[..4].iter().rev() {
        series = series * u + c;
    }
    series *= x;
    if t < 16.0 {
        // arctan(y) = y to 1e-22 relative here.
        series += exp_neg(PI * t) / (4.0 * PI);
    }
    main.add_f64(-0.0625).add_f64(series)
}

/// `theta(t) / 2 pi` less a whole number of turns, in [-1/2, 1/2] (to rounding).
#[inline]
pub(crate) fn theta_fraction(t: f64) -> f64 {
    let turns = theta_turns(t);
    (turns.hi - round(turns.hi)) + turns.lo
}

/// The Riemann-Siegel theta function at t, in radians.
///
/// Correctly rounded up to about one unit in the last place for 8 <= t <= 5e7; NaN below 8, where the asymptotic
/// series of this crate is not used.
#[must_use]
pub fn theta(t: f64) -> f64 {
    if !(crate::T_MIN..=crate::T_MAX).contains(&t) {
        return f64::NAN;
    }
    theta_turns(t).mul(TWO_PI).to_f64()
}

/// theta(t) for many t near one centre, by Taylor's series of its leading part.
///
/// With `F(t) = (t / 4 pi) (ln(t / 2 pi) - 1)` and q = h/c, `F(c + h) = F(c) + F'(c) h + (c / 4 pi) sum_(k>=2) (-q)^k /
/// (k (k-1))`. `F'(c) h` is formed in two parts, the larger exact. Used for c >= 2000 and |h| <= 8, where q <= 0.004
/// and the terms after k = 8 are below 1e-18 turns.
pub(crate) struct ThetaNear {
    centre: f64,
    fraction: f64,
    slope_head: f64,
    slope_tail: f64,
}

impl ThetaNear {
    pub(crate) fn new(centre: f64) -> Self {
        let ln = logs::ln(centre).sub(LN_2PI_PLUS_1);
        let turns = ln.mul_f64(centre).mul(INV_4PI).add_f64(-0.0625);
        let slope = ln.add_f64(1.0).mul(INV_4PI);
        let (slope_head, rest) = split(slope.hi);
        Self { centre, fraction: (turns.hi - round(turns.hi)) + turns.lo, slope_head, slope_tail: rest + slope.lo }
    }

    /// `theta(centre + h) / 2 pi` less a whole number of turns, |result| < 2; h has at most 26 significant bits.
    #[inline]
    pub(crate) fn fraction_at(&self, h: f64) -> f64 {
        let product = self.slope_head * h;
        let q = h / self.centre;
        let bend = 1.0 / 2.0
            - q * (1.0 / 6.0
                - q * (1.0 / 12.0 - q * (1.0 / 20.0 - q * (1.0 / 30.0 - q * (1.0 / 42.0 - q * (1.0 / 56.0))))));
        let x = 1.0 / (self.centre + h);
        let small = self.slope_tail * h + x * (STIRLING[0] + x * x * STIRLING[1]) + h * q * bend * INV_4PI.hi;
        (product - round(product)) + (self.fraction + small)
    }
}

/// `theta'(t) = (1/2) ln(t / 2 pi)` to within 1/(40 t^2): the local density of zeros times pi.
pub(crate) fn theta_slope(t: f64) -> f64 {
    0.5 * logs::ln(t).sub(LN_2PI_PLUS_1).add_f64(1.0).to_f64()
}

/// The Gram point g_m: the t > 7 with `theta(t) = m pi`, for -1 <= m <= 10^8 + 4096; NaN outside.
///
/// Newton's iteration on the double-double theta: the result is within about one unit in the last place of g_m,
/// and depends on m alone.
#[must_use]
pub fn gram_point(m: i64) -> f64 {
    if !(GRAM_MIN..=GRAM_MAX + 4096).contains(&m) {
        return f64::NAN;
    }
    // Leading order: x ln x = q with t = 2 pi e x. Convex, so Newton from the right of the root falls onto it.
    let q = (m as f64 + 0.125) / std::f64::consts::E;
    let mut x = if q > 3.0 { q } else { 3.0 };
    for _ in 0..60 {
        let next = (x + q) / (logs::ln(x).to_f64() + 1.0);
        let done = (next - x).abs() <= 1e-9 * x;
        x = next;
        if done {
            break;
        }
    }
    let mut t = 2.0 * PI * std::f64::consts::E * x;
    for _ in 0..8 {
        let turns = theta_turns(t);
        let miss = turns.add_f64(-(m as f64) / 2.0).to_f64();
        let step = miss * 2.0 * PI / theta_slope(t);
        t -= step;
        if step.abs() <= t * f64::EPSILON {
            break;
        }
    }
    t
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gram_points_solve_their_equation() {
        for m in [-1, 0, 1, 126, 1000, 6_708, 1_747_144, 100_000_000] {
            let t = gram_point(m);
            let miss = theta_turns(t).add_f64(-(m as f64) / 2.0).to_f64() * 2.0 * PI;
            assert!(miss.abs() <= t * f64::EPSILON * theta_slope(t) * 1.1, "g_{m} = {t}: {miss:e}");
        }
        assert!(gram_point(-2).is_nan());
    }
}

//! Hardy's function Z(t), whose real zeros are the zeros of zeta on the critical line.

use crate::{T_MAX, T_MIN, euler, remainder, siegel};

/// From this height on Z(t) is taken from the Riemann-Siegel formula; below it, from Euler-Maclaurin summation.
///
/// Here Gabcke's bound for the Riemann-Siegel formula with C0 to C4 is 1.42e-11. The smallest |Z'| at a zero below
/// 20,000 is 0.24 (zero 18,859) and below 10^6 it is 0.109 (zero 1,082,402), so no zero moves by more than 6e-11 for
/// it; measured against the reference, the first 100,000 move by at most 7.8e-12.
pub const RIEMANN_SIEGEL_FROM: f64 = 2000.0;

/// Hardy's function `Z(t) = e^(i theta(t)) zeta(1/2 + i t)`, real for real t; NaN outside 8 <= t <= 5e7 or so
/// ([`T_MIN`], [`T_MAX`]).
///
/// The error is below [`z_error_bound`].
#[must_use]
pub fn z(t: f64) -> f64 {
    if !(T_MIN..=T_MAX).contains(&t) {
        return f64::NAN;
    }
    evaluate(t)
}

/// [`z`] without the check of its argument; usable from t = 4 on, with less accuracy below 8.
pub(crate) fn evaluate(t: f64) -> f64 {
    if t < RIEMANN_SIEGEL_FROM { euler::z(t) } else { siegel::z(t) }
}

/// A bound on the error of [`z`] at t: Gabcke's proved bound on the remainder where the Riemann-Siegel formula is
/// used, plus 2e-13 (t <= 10^6) to 1e-12 for rounding, several times what was ever measured.
#[must_use]
pub fn z_error_bound(t: f64) -> f64 {
    let rounding = 2e-13 + t * 2e-20;
    if t < RIEMANN_SIEGEL_FROM { rounding } else { rounding + remainder::truncation_bound(t) }
}

//! Zeros of the Riemann zeta function on the critical line, located and counted with certainty.
//!
//! A job is a [`GramRange`] `[a, b)`; [`zeros`] finds exactly the b - a zeros numbered a + 2 to b + 1, close pairs
//! included, or fails naming the Gram block that it could not resolve.
//!
//! # How
//!
//! 1. `theta(t)` and the phases `t ln n` are formed beyond f64, so that they are right to 1e-15 modulo 2 pi.
//! 2. [`z`] gives Z(t) at one point: the Riemann-Siegel formula with C0 to C4, or Euler-Maclaurin summation below
//!    [`RIEMANN_SIEGEL_FROM`].
//! 3. Z is sampled on an absolute grid, about two points a zero, and replaced by a polynomial on each grid cell.
//! 4. All zeros of each polynomial are isolated and refined; each is a proved change of sign of Z.
//! 5. Their number is compared with the true number of zeros, which Turing's method fixes at Gram points around the
//!    range. Only then are they handed out, with their numbers.
//!
//! # What is certain
//!
//! | quantity | bound | rests on |
//! |---|---|---|
//! | error of `theta` | 1 unit in the last place | Stirling's series, Brent 2019 |
//! | error of [`z`] | [`z_error_bound`]: 1.5e-11 at 2,000, 3e-13 from 10^4 on | Gabcke 1979; Backlund; rounding measured |
//! | error of a zero's t | 1e-9 to t = 10^6, 4 units in the last place above | a change of sign that close on both sides |
//! | number of zeros | exact | Turing 1953, Lehman 1970, Brent 1979, Trudgian 2011 |
//! | `|Z(t)|` at the returned t | 4.0e-9 to t = 10^6 (measured on all 1,747,145) | the rounding of t to f64 |
//!
//! The rounding errors of f64 arithmetic are bounded by measurement with a margin, not by interval arithmetic.
//!
//! # Speed
//!
//! On one core of a 2.5 GHz Xeon (Cascade Lake), default target: 255,000 zeros a second near t = 10^6 and 410,000 over
//! the first 100,000; with `-C target-cpu=x86-64-v3` 310,000 near t = 10^6, bit for bit the same zeros.
//! `examples/zeros_rate.rs` measures it. Two fifths of the time go into Z(t) at each zero, the direct evaluation that
//! a candidate carries as its evidence.
//!
//! # Same bits everywhere
//!
//! Results depend on IEEE 754 addition, multiplication, division and square root alone: no call into the platform's
//! math library, no fused operations, sums in a fixed order. Samples, polynomials and zeros belong to absolute places
//! on the line, not to a job. So any two workers that find zero n report the same t and Z(t) to the last bit.

mod cell;
mod dd;
mod euler;
mod grid;
mod hardy;
mod kernel;
mod logs;
mod range;
mod remainder;
mod search;
mod siegel;
mod strip;
mod theta;
mod trig;
mod turing;

pub use hardy::{RIEMANN_SIEGEL_FROM, z, z_error_bound};
pub use range::{GRAM_MAX, GRAM_MIN, GramRange, RangeError};
pub use search::{Block, Method, Summary, Zero, ZerosError, zeros};
pub use theta::{gram_point, theta};
pub use turing::is_good;

/// The lowest t at which the functions of this crate are defined.
pub const T_MIN: f64 = 8.0;

/// The highest t at which the functions of this crate are defined.
pub const T_MAX: f64 = 4.4e7;

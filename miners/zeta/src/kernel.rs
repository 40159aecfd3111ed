//! From samples of Z to a polynomial on each grid cell.
//!
//! Between two neighbouring grid points Z is `sum_k f_k phi(u - k)`, with u the position in steps, f the samples and
//! `phi(u) = sinc(u) w(u / HALF)`, `w(x) = I0(alpha sqrt(1 - x^2)) / I0(alpha)`: band-limited interpolation with a
//! Kaiser window (J. F. Kaiser, 1974; D. Jagerman, "Bounds for truncation error of the sampling expansion", SIAM J.
//! Appl. Math. 14, 1966; A. M. Odlyzko, A. Schoenhage, "Fast algorithms for multiple evaluations of the Riemann zeta
//! function", Trans. AMS 309, 1988, for its use on Z). Around any t, Z is a sum of waves of frequencies up to
//! `theta'(t)` (the terms n = 1.. of the main sum have frequencies `theta'(t) - ln n`), so with at most [`BAND`]
//! radians a step the error is of size `e^(-HALF (pi - BAND))` times the waves' amplitudes. The unit test measures
//! it for pure waves over the whole band.
//!
//! Each phi(u - k) on the cell 0 <= u <= 1 is then replaced by its interpolating polynomial of degree 13 in
//! x = 2u - 1. That replacement is linear, so what it costs is what it costs for the sum: `J_14(BAND / 2)`, below 1e-16.

use std::sync::OnceLock;

use crate::grid::BLOCK;
use crate::trig::{cos_turns, sin_turns};

/// The largest change of phase of Z between neighbouring samples, in radians, for which the error below holds.
pub(crate) const BAND: f64 = 1.6;

/// The interpolation uses this many samples on each side of a cell.
pub(crate) const HALF: usize = 22;

/// Shape of the window: as narrow a spectrum as leaves the band untouched.
const ALPHA: f64 = HALF as f64 * (std::f64::consts::PI - BAND);

/// Coefficients of a cell's polynomial, lowest first, in x = 2u - 1.
pub(crate) const COEFFICIENTS: usize = 14;

/// Coefficients of one parity, padded to a whole number of vector registers.
const PARITY: usize = COEFFICIENTS / 2 + 1;

/// A bound on the difference of a cell's polynomial and Z, beside the samples' own error (which it at most triples):
/// the kernel's error for a wave of amplitude 1, below 3e-14 (the unit test), times the sum of all amplitudes,
/// `2 sum_(n<=N) n^(-1/2) < 4 sqrt(N)`, with N = 2,606 at the highest t. It is far from reached: over all zeros below
/// t = 10^6, |Z(t)| exceeded what the rounding of t explains by at most 4e-13.
pub(crate) const INTERPOLATION_BOUND: f64 = 6.2e-12;

/// The kernel's polynomials. phi is even, so the sample k steps right of the cell's left end and the one k steps left
/// of its right end have mirrored polynomials: row k - 1 serves both, split in even and odd coefficients.
struct Kernel {
    even: [[f64; PARITY]; HALF],
    odd: [[f64; PARITY]; HALF],
}

/// `I0(x)` by its power series: positive terms, so right to rounding.
fn bessel_i0(x: f64) -> f64 {
    let quarter = x * x / 4.0;
    let mut term = 1.0;
    let mut sum = 1.0;
    let mut k = 1.0;
    while term > sum * 1e-18 {
        term *= quarter / (k * k);
        sum += term;
        k += 1.0;
    }
    sum
}

/// `sinc(u) w(u / HALF)`.
fn phi(u: f64) -> f64 {
    let x = u / HALF as f64;
    if x.abs() >= 1.0 {
        return 0.0;
    }
    let window = bessel_i0(ALPHA * (1.0 - x * x).sqrt()) / bessel_i0(ALPHA);
    let sinc = if u == 0.0 { 1.0 } else { sin_turns(u / 2.0) / (std::f64::consts::PI * u) };
    sinc * window
}

/// The polynomial in x of degree COEFFICIENTS - 1 that interpolates f at the Chebyshev points of [-1, 1].
fn chebyshev_fit(f: impl Fn(f64) -> f64) -> [f64; COEFFICIENTS] {
    const M: usize = COEFFICIENTS;
    // cos(pi j (2i + 1) / 2M), with j = 1 for the points themselves.
    let node = |i: usize, j: usize| cos_turns((j * (2 * i + 1)) as f64 / (4 * M) as f64);
    let values: [f64; M] = std::array::from_fn(|i| f(node(i, 1)));
    let mut out = [0.0; M];
    // T_0 and T_1 as power series; the rest by T_(j+1) = 2x T_j - T_(j-1).
    let mut before = [0.0; M];
    let mut current = [0.0; M];
    current[0] = 1.0;
    for j in 0..M {
        let scale = if j == 0 { 1.0 } else { 2.0 } / M as f64;
        let c = scale * (0..M).map(|i| values[i] * node(i, j)).sum::<f64>();
        for (o, p) in out.iter_mut().zip(current) {
            *o += c * p;
        }
        let factor = if j == 0 { 1.0 } else { 2.0 };
        let next = std::array::from_fn(|k| if k == 0 { 0.0 } else { factor * current[k - 1] } - before[k]);
        before = current;
        current = next;
    }
    out
}

fn kernel() -> &'static Kernel {
    static KERNEL: OnceLock<Kernel> = OnceLock::new();
    KERNEL.get_or_init(|| {
        let mut kernel = Kernel { even: [[0.0; PARITY]; HALF], odd: [[0.0; PARITY]; HALF] };
        for (row, (even, odd)) in kernel.even.iter_mut().zip(&mut kernel.odd).enumerate() {
            let k = (row + 1) as f64;
            let fit = chebyshev_fit(|x| phi((x + 1.0) / 2.0 - k));
            for (i, pair) in fit.as_chunks::<2>().0.iter().enumerate() {
                even[i] = pair[0];
                odd[i] = pair[1];
            }
        }
        kernel
    })
}

/// A block of samples with enough of its neighbours to interpolate on each of its cells.
pub(crate) struct Window {
    samples: [f64; BLOCK + 2 * HALF],
}

impl Window {
    /// The window of a block, from the block before it, the block, and the block after it.
    pub(crate) fn new(before: &[f64; BLOCK], block: &[f64; BLOCK], after: &[f64; BLOCK]) -> Self {
        let mut samples = [0.0; BLOCK + 2 * HALF];
        samples[..HALF].copy_from_slice(&before[BLOCK - HALF..]);
        samples[HALF..HALF + BLOCK].copy_from_slice(block);
        samples[HALF + BLOCK..].copy_from_slice(&after[..HALF]);
        Self { samples }
    }

    /// The samples at both ends of a cell, 0 <= cell < BLOCK.
    pub(crate) fn ends(&self, cell: usize) -> (f64, f64) {
        (self.samples[HALF + cell], self.samples[HALF + cell + 1])
    }

    /// The polynomial of Z on a cell, in x from -1 at its left end to 1 at its right end.
    pub(crate) fn polynomial(&self, cell: usize) -> [f64; COEFFICIENTS] {
        let kernel = kernel();
        let left = HALF + cell;
        let mut even = [0.0; PARITY];
        let mut odd = [0.0; PARITY];
        // The far samples weigh least: adding them first keeps the sum's rounding small.
        for row in (0..HALF).rev() {
            let right_sample = self.samples[left + 1 + row];
            let left_sample = self.samples[left - row];
            let sum = right_sample + left_sample;
            let difference = right_sample - left_sample;
            for i in 0..PARITY {
                even[i] += kernel.even[row][i] * sum;
                odd[i] += kernel.odd[row][i] * difference;
            }
        }
        std::array::from_fn(|i| if i % 2 == 0 { even[i / 2] } else { odd[i / 2] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waves_up_to_the_band_are_reproduced() {
        let mut worst = 0.0_f64;
        for j in 0..=160 {
            let frequency = BAND * f64::from(j) / 160.0;
            for phase in [0.1, 1.7] {
                let wave = |u: f64| (frequency * u + phase).cos();
                let block = |from: f64| std::array::from_fn(|i| wave(from + i as f64));
                let length = BLOCK as f64;
                let window = Window::new(&block(-length), &block(0.0), &block(length));
                for cell in [0, 31, 63] {
                    let p = window.polynomial(cell);
                    for i in 0..=20 {
                        let x = -1.0 + f64::from(i) / 10.0;
                        let value = p.iter().rev().fold(0.0, |sum, c| sum * x + c);
                        let error = (value - wave(cell as f64 + (x + 1.0) / 2.0)).abs();
                        worst = worst.max(error);
                    }
                }
            }
        }
        println!("worst {worst:e}");
        assert!(worst < 3e-14, "{worst:e}");
    }
}

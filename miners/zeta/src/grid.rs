//! Z(t) on uniform grids, many points for the price of a few.
//!
//! The grid is absolute: points are multiples of a power of two and are computed in blocks of [`BLOCK`] that start at
//! multiples of the block's length. A sample therefore has the same bits whichever job asks for it, and so has every
//! zero found from it.
//!
//! Within a block the main sum is `Re e^(i theta(t)) sum_n w_n e^(-i c ln n) e^(-i h ln n)` with c the block's centre
//! and h the distance to it. The factors `e^(-i h ln n)` are the same for every block and live in a table (they are
//! exact to one rounding: no recurrence is run), the factors at c cost one sine and cosine per n and block, and a pair
//! of samples at c + h and c - h then costs four dot products. theta(t) and the correction terms C0 to C4 are taken
//! afresh at every point. A sample differs from [`crate::z`] by rounding only, below 1e-13.

use std::sync::OnceLock;

use crate::hardy::{self, RIEMANN_SIEGEL_FROM};
use crate::logs::integers;
use crate::remainder::remainder;
use crate::siegel::{Height, main_length, term};
use crate::theta::ThetaNear;
use crate::trig::{cos_turns, sin_turns};

/// Samples in a block.
pub(crate) const BLOCK: usize = 64;

/// Independent partial sums of a dot product; fixed, for the same bits everywhere.
const LANES: usize = 4;

/// A range of heights that shares one grid step.
///
/// The step is chosen so that the fastest oscillation of Z, `theta'(t) = (1/2) ln(t / 2 pi)` radians per unit, moves
/// by at most [`crate::kernel::BAND`] radians from one sample to the next.
struct Level {
    step: f64,
    from: f64,
    to: f64,
}

const LEVELS: [Level; 3] = [
    // Below t = 128 theta' itself changes quickly: a fine grid keeps the interpolation window short.
    Level { step: 0.0625, from: 8.0, to: 128.0 },
    // theta'(2^21) = 6.36.
    Level { step: 0.25, from: 128.0, to: 2_097_152.0 },
    // theta'(T_MAX) = 7.88.
    Level { step: 0.125, from: 2_097_152.0, to: 67_108_864.0 },
];

/// One block of cells: `BLOCK` steps of the grid of one level.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Unit {
    level: usize,
    block: i64,
}

impl Unit {
    /// The unit that holds t, for T_MIN <= t.
    pub(crate) fn holding(t: f64) -> Self {
        let level = LEVELS.iter().rposition(|level| level.from <= t).unwrap_or(0);
        Self { level, block: (t / Self::span(level)).floor() as i64 }
    }

    fn span(level: usize) -> f64 {
        LEVELS[level].step * BLOCK as f64
    }

    /// Where the unit starts; exact.
    pub(crate) fn start(self) -> f64 {
        self.block as f64 * Self::span(self.level)
    }

    /// Where the unit ends; exact.
    pub(crate) fn end(self) -> f64 {
        (self.block + 1) as f64 * Self::span(self.level)
    }

    /// The grid's step in this unit.
    pub(crate) fn step(self) -> f64 {
        LEVELS[self.level].step
    }

    /// The unit that starts where this one ends.
    pub(crate) fn next(self) -> Self {
        let end = self.end();
        if end < LEVELS[self.level].to { Self { block: self.block + 1, ..self } } else { Self::holding(end) }
    }

    /// The unit that ends where this one starts, unless this is the first.
    pub(crate) fn previous(self) -> Option<Self> {
        let start = self.start();
        if start > LEVELS[self.level].from {
            return Some(Self { block: self.block - 1, ..self });
        }
        let level = self.level.checked_sub(1)?;
        Some(Self { level, block: (start / Self::span(level)) as i64 - 1 })
    }

    /// The block of samples before this one on the same level's grid, even where that level is not in use.
    pub(crate) fn grid_before(self) -> Self {
        Self { block: self.block - 1, ..self }
    }

    /// The block of samples after this one on the same level's grid, even where that level is not in use.
    pub(crate) fn grid_after(self) -> Self {
        Self { block: self.block + 1, ..self }
    }
}

/// `cos(h ln n)` and `sin(h ln n)` for the distances `h = (g + 1/2) step`, g < BLOCK/2: a row per g.
struct Rotations {
    stride: usize,
    cos: Vec<f64>,
    sin: Vec<f64>,
}

impl Rotations {
    fn of(level: usize) -> &'static Self {
        static TABLES: [OnceLock<Rotations>; LEVELS.len()] = [const { OnceLock::new() }; LEVELS.len()];
        TABLES[level].get_or_init(|| {
            let Level { step, to, .. } = LEVELS[level];
            let table = integers();
            // One block beyond the level's end: its last cells look that far.
            let highest = (to + Self::reach(step)).min(crate::T_MAX);
            let stride = (main_length(highest) as usize + LANES).next_multiple_of(LANES).min(table.head.len());
            let mut cos = Vec::with_capacity(stride * BLOCK / 2);
            let mut sin = Vec::with_capacity(stride * BLOCK / 2);
            for g in 0..BLOCK / 2 {
                let distance = Height::new((g as f64 + 0.5) * step);
                for (head, tail) in table.head[..stride].iter().zip(&table.tail) {
                    let phase = distance.phase(*head, *tail);
                    cos.push(cos_turns(phase));
                    sin.push(sin_turns(phase));
                }
            }
            Self { stride, cos, sin }
        })
    }

    fn reach(step: f64) -> f64 {
        2.0 * step * BLOCK as f64
    }

    fn row(&self, g: usize) -> (&[f64], &[f64]) {
        let range = g * self.stride..(g + 1) * self.stride;
        (&self.cos[range.clone()], &self.sin[range])
    }
}

/// Computes blocks of samples; keeps its scratch space between blocks.
#[derive(Default)]
pub(crate) struct Sampler {
    cos: Vec<f64>,
    sin: Vec<f64>,
}

impl Sampler {
    /// Z at the grid points of the unit: `start + i * step`, i < BLOCK.
    pub(crate) fn samples(&mut self, unit: Unit) -> [f64; BLOCK] {
        let step = unit.step();
        let start = unit.start();
        if start < RIEMANN_SIEGEL_FROM {
            return std::array::from_fn(|i| hardy::evaluate(start + i as f64 * step));
        }
        let terms = main_length(start) as usize;
        let centre = start + (BLOCK as f64 - 1.0) / 2.0 * step;
        self.turn_to(centre, terms);
        let theta = ThetaNear::new(centre);
        let rotations = Rotations::of(unit.level);
        let mut samples = [0.0; BLOCK];
        for g in 0..BLOCK / 2 {
            let (row_cos, row_sin) = rotations.row(g);
            let sums = four_dots(&self.cos, &self.sin, row_cos, row_sin);
            let (above, below) = (BLOCK / 2 + g, BLOCK / 2 - 1 - g);
            let h = (g as f64 + 0.5) * step;
            samples[above] = finish(centre + h, theta.fraction_at(h), terms, sums.cc - sums.ss, sums.sc + sums.cs);
            samples[below] = finish(centre - h, theta.fraction_at(-h), terms, sums.cc + sums.ss, sums.sc - sums.cs);
        }
        samples
    }

    /// Sets the weighted cosines and sines of `centre * ln n`, n <= terms, padded with zeros to whole lanes.
    fn turn_to(&mut self, centre: f64, terms: usize) {
        let table = integers();
        let height = Height::new(centre);
        self.cos.clear();
        self.sin.clear();
        let rows = table.head[..terms].iter().zip(&table.tail).zip(&table.inv_sqrt);
        self.cos.extend(rows.clone().map(|((head, tail), w)| cos_turns(height.phase(*head, *tail)) * w));
        self.sin.extend(rows.map(|((head, tail), w)| sin_turns(height.phase(*head, *tail)) * w));
        let padded = terms.next_multiple_of(LANES);
        self.cos.resize(padded, 0.0);
        self.sin.resize(padded, 0.0);
    }
}

/// Z(t) from theta(t) in turns and `C = sum w cos(t ln n)` and `S = sum w sin(t ln n)` over the first `terms` integers.
///
/// A block's sum has as many terms as its first point needs; a point beyond the next 2 pi N^2 gets the terms it lacks.
fn finish(t: f64, theta: f64, terms: usize, c: f64, s: f64) -> f64 {
    let mut sum = cos_turns(theta) * c + sin_turns(theta) * s;
    let a = main_length(t);
    let n = a.floor();
    for index in terms..n as usize {
        sum += term(integers(), Height::new(t), theta, index);
    }
    2.0 * sum + remainder(a, n)
}

/// The four dot products of (cos, sin) of the centre with (cos, sin) of the distance.
struct Dots {
    cc: f64,
    ss: f64,
    cs: f64,
    sc: f64,
}

fn four_dots(cos: &[f64], sin: &[f64], row_cos: &[f64], row_sin: &[f64]) -> Dots {
    let mut cc = [0.0; LANES];
    let mut ss = [0.0; LANES];
    let mut cs = [0.0; LANES];
    let mut sc = [0.0; LANES];
    let (cos, _) = cos.as_chunks::<LANES>();
    let (sin, _) = sin.as_chunks::<LANES>();
    let (row_cos, _) = row_cos.as_chunks::<LANES>();
    let (row_sin, _) = row_sin.as_chunks::<LANES>();
    for (((a, b), x), y) in cos.iter().zip(sin).zip(row_cos).zip(row_sin) {
        for lane in 0..LANES {
            cc[lane] += a[lane] * x[lane];
            ss[lane] += b[lane] * y[lane];
            cs[lane] += a[lane] * y[lane];
            sc[lane] += b[lane] * x[lane];
        }
    }
    let total = |v: [f64; LANES]| (v[0] + v[2]) + (v[1] + v[3]);
    Dots { cc: total(cc), ss: total(ss), cs: total(cs), sc: total(sc) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_z_at_the_grid_points() {
        let mut sampler = Sampler::default();
        // 1256.6 k^2 is where the sum grows a term: 2 pi 400^2 = 1,005,309.6 lies inside the last one.
        for t in [130.0, 1990.0, 2000.0, 5026.0, 74_000.0, 1_005_309.0, 2_097_150.0, 2_097_153.0, 4.2e7] {
            let unit = Unit::holding(t);
            let samples = sampler.samples(unit);
            for (i, sample) in samples.iter().enumerate() {
                let at = unit.start() + i as f64 * unit.step();
                let gap = (sample - crate::z(at)).abs();
                assert!(gap < 1e-13 + at * 1e-20, "Z({at}): {gap:e}");
            }
        }
    }

    #[test]
    fn units_tile_the_line() {
        for t in [8.0, 127.9, 128.0, 1000.0, 2_097_151.0, 2_097_152.0] {
            let unit = Unit::holding(t);
            assert!(unit.start() <= t && t < unit.end());
            assert_eq!(unit.next().start(), unit.end());
            assert_eq!(unit.next().previous(), Some(unit));
        }
        assert_eq!(Unit::holding(8.0).previous(), None);
    }
}

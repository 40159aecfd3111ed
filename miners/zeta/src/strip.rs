//! The zeros of a contiguous strip of the critical line, grown unit by unit to either side.
//!
//! What a unit's zeros are depends on the unit alone: the grid, the polynomials and the search in them know nothing of
//! the job. A strip only decides which units are looked at.

use std::collections::{BTreeMap, VecDeque};

use crate::cell;
use crate::grid::{BLOCK, Sampler, Unit};
use crate::hardy;
use crate::kernel::{INTERPOLATION_BOUND, Window};

/// A zero of Z: a proved change of its sign within [`half_width`] of t.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Root {
    pub(crate) t: f64,
    pub(crate) iterations: u32,
}

/// Where the zeros of a unit come from: the real search, or a test's that overlooks some.
pub(crate) trait Source {
    /// Appends the zeros in the unit, in order.
    fn roots(&mut self, unit: Unit, out: &mut Vec<Root>);
}

/// How far from the returned t the sign of Z is proved to differ on both sides: 9.4e-10, or 4 units in the last place
/// where f64 is coarser than that.
pub(crate) fn half_width(t: f64) -> f64 {
    (4.0 * t * f64::EPSILON).max(9.4e-10)
}

/// The real source: samples, polynomials, isolation.
#[derive(Default)]
pub(crate) struct Search {
    sampler: Sampler,
    samples: BTreeMap<Unit, [f64; BLOCK]>,
}

/// Blocks of samples kept: neighbours in either direction use them again.
const KEPT_BLOCKS: usize = 8;

impl Search {
    fn samples(&mut self, unit: Unit) -> [f64; BLOCK] {
        if let Some(samples) = self.samples.get(&unit) {
            return *samples;
        }
        if self.samples.len() >= KEPT_BLOCKS {
            self.samples.clear();
        }
        let samples = self.sampler.samples(unit);
        self.samples.insert(unit, samples);
        samples
    }
}

impl Source for Search {
    fn roots(&mut self, unit: Unit, out: &mut Vec<Root>) {
        let before = self.samples(unit.grid_before());
        let block = self.samples(unit);
        let after = self.samples(unit.grid_after());
        let window = Window::new(&before, &block, &after);
        let half_step = unit.step() / 2.0;
        for index in 0..BLOCK {
            let polynomial = window.polynomial(index);
            let centre = unit.start() + (index as f64 + 0.5) * unit.step();
            cell::roots(&polynomial, window.ends(index), &mut |root| {
                let t = centre + root.x * half_step;
                if sign_change_is_proved(t, root.slope / half_step) {
                    out.push(Root { t, iterations: root.iterations });
                }
            });
        }
    }
}

/// Whether Z certainly has opposite signs at `t - half_width` and `t + half_width`, given the slope of the polynomial.
///
/// A steep polynomial is far beyond all errors at these points. Where it is not steep, Z itself is evaluated at both,
/// and its signs count only beyond the bound on its error.
fn sign_change_is_proved(t: f64, slope: f64) -> bool {
    let h = half_width(t);
    // The rounding of t moves the polynomial's zero by half a unit in the last place, an eighth of h at most. The
    // slope can change over h only by |Z''| h, which is below 1e-4 at the heights in question.
    if slope.abs() >= 0.5 && slope.abs() * h / 4.0 > INTERPOLATION_BOUND + 3.0 * hardy::z_error_bound(t) {
        return true;
    }
    let (below, above) = (hardy::z(t - h), hardy::z(t + h));
    let bound = hardy::z_error_bound(t);
    below.abs() > bound && above.abs() > bound && (below > 0.0) != (above > 0.0)
}

/// A contiguous run of units and the zeros in them.
pub(crate) struct Strip<S> {
    source: S,
    first: Unit,
    last: Unit,
    roots: VecDeque<Root>,
    fresh: Vec<Root>,
}

impl<S: Source> Strip<S> {
    /// The strip of the one unit that holds t.
    pub(crate) fn at(mut source: S, t: f64) -> Self {
        let unit = Unit::holding(t);
        let mut fresh = Vec::new();
        source.roots(unit, &mut fresh);
        let roots = fresh.drain(..).collect();
        Self { source, first: unit, last: unit, roots, fresh }
    }

    /// Grows by one unit towards t if the strip does not reach it yet; whether it grew.
    pub(crate) fn grow_towards(&mut self, t: f64) -> bool {
        if t >= self.last.end() {
            self.last = self.last.next();
            self.source.roots(self.last, &mut self.fresh);
            self.roots.extend(self.fresh.drain(..));
            return true;
        }
        if t < self.first.start()
            && let Some(unit) = self.first.previous()
        {
            self.first = unit;
            self.source.roots(unit, &mut self.fresh);
            for root in self.fresh.drain(..).rev() {
                self.roots.push_front(root);
            }
            return true;
        }
        false
    }

    /// How many zeros lie in (from, to]; the strip must reach both.
    pub(crate) fn count(&self, from: f64, to: f64) -> u64 {
        (self.index_above(to) - self.index_above(from)) as u64
    }

    fn index_above(&self, t: f64) -> usize {
        self.roots.partition_point(|root| root.t <= t)
    }

    /// The zeros in (from, to], in order.
    pub(crate) fn between(&self, from: f64, to: f64) -> impl Iterator<Item = &Root> {
        self.roots.range(self.index_above(from)..self.index_above(to))
    }

    /// Forgets the zeros up to t.
    pub(crate) fn forget(&mut self, t: f64) {
        self.roots.drain(..self.index_above(t));
    }
}

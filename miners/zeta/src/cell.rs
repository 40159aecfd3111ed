//! All zeros of a cell's polynomial, each isolated before it is refined.
//!
//! A polynomial on [-1, 1] is known to have no zero where its constant term outweighs the others, and at most one
//! where its derivative's does; otherwise the interval is halved. So no pair of zeros can hide between sample points:
//! the search does not rely on sign changes of samples. It depends on the cell alone, which is what makes a zero's
//! value the same in every job.

use crate::kernel::COEFFICIENTS;

type Polynomial = [f64; COEFFICIENTS];

/// A zero of a cell's polynomial.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct CellRoot {
    /// Position, from -1 at the cell's left end to 1 at its right end.
    pub(crate) x: f64,
    /// Derivative of the polynomial there.
    pub(crate) slope: f64,
    /// Halvings before it was alone, plus Newton steps after.
    pub(crate) iterations: u32,
}

/// Halvings after which a stretch is given up: two zeros closer than 2^-30 cells are taken for none, the count of
/// the range then does not come out, and the job fails naming the block.
const MAX_HALVINGS: u32 = 30;

/// Newton steps are at most this many; four are usual, and each bracket is halved when Newton leaves it.
const MAX_STEPS: u32 = 60;

/// Part of a cell: the polynomial re-centred on it, and where it lies.
struct Piece {
    local: Polynomial,
    centre: f64,
    half: f64,
    positive_left: bool,
    positive_right: bool,
    halvings: u32,
}

/// Calls `found` with each zero of p in (-1, 1), in order.
///
/// The signs at both ends are the signs of the samples there, which neighbouring cells share: a zero at a grid point
/// is found by exactly one of them.
pub(crate) fn roots(p: &Polynomial, (left, right): (f64, f64), found: &mut dyn FnMut(CellRoot)) {
    let piece = Piece {
        local: *p,
        centre: 0.0,
        half: 1.0,
        positive_left: left >= 0.0,
        positive_right: right >= 0.0,
        halvings: 0,
    };
    isolate(p, &piece, found);
}

fn isolate(p: &Polynomial, piece: &Piece, found: &mut dyn FnMut(CellRoot)) {
    let crosses = piece.positive_left != piece.positive_right;
    let c = &piece.local;
    if !crosses && c[0].abs() > c[1..].iter().map(|c| c.abs()).sum::<f64>() {
        return;
    }
    let bend: f64 = c.iter().enumerate().skip(2).map(|(k, c)| k as f64 * c.abs()).sum();
    if c[1].abs() > bend || piece.halvings == MAX_HALVINGS {
        if crosses {
            found(refine(p, piece));
        }
        return;
    }
    let positive_middle = c[0] >= 0.0;
    let half = piece.half / 2.0;
    let halvings = piece.halvings + 1;
    let left = Piece {
        local: recentre(c, -0.5),
        centre: piece.centre - half,
        half,
        positive_left: piece.positive_left,
        positive_right: positive_middle,
        halvings,
    };
    isolate(p, &left, found);
    let right = Piece {
        local: recentre(c, 0.5),
        centre: piece.centre + half,
        half,
        positive_left: positive_middle,
        positive_right: piece.positive_right,
        halvings,
    };
    isolate(p, &right, found);
}

/// The polynomial y -> p(offset + y / 2), by repeated synthetic division.
fn recentre(p: &Polynomial, offset: f64) -> Polynomial {
    let mut q = *p;
    for i in 0..COEFFICIENTS - 1 {
        for k in (i..COEFFICIENTS - 1).rev() {
            q[k] += offset * q[k + 1];
        }
    }
    let mut scale = 1.0;
    for c in &mut q {
        *c *= scale;
        scale *= 0.5;
    }
    q
}

/// Value and derivative at x.
#[inline]
fn value_and_slope(p: &Polynomial, x: f64) -> (f64, f64) {
    let mut value = p[COEFFICIENTS - 1];
    let mut slope = 0.0;
    for c in p[..COEFFICIENTS - 1].iter().rev() {
        slope = slope * x + value;
        value = value * x + c;
    }
    (value, slope)
}

/// The zero of p in a piece where it is monotone (or given up): Newton's iteration, kept inside the bracket.
fn refine(p: &Polynomial, piece: &Piece) -> CellRoot {
    let mut low = piece.centre - piece.half;
    let mut high = piece.centre + piece.half;
    // The local line through the centre is the first guess.
    let guess = -piece.local[0] / piece.local[1];
    let mut x = if guess.abs() < 1.0 { piece.centre + guess * piece.half } else { piece.centre };
    let mut iterations = piece.halvings;
    let mut slope = 0.0;
    for _ in 0..MAX_STEPS {
        let (value, derivative) = value_and_slope(p, x);
        slope = derivative;
        iterations += 1;
        if (value >= 0.0) == piece.positive_left {
            low = x;
        } else {
            high = x;
        }
        let step = value / derivative;
        let next = x - step;
        // The step squared is about the next step: below 1e-9 the one just taken is the last that matters.
        if step.abs() < 1e-9 {
            x = next.clamp(-1.0, 1.0);
            break;
        }
        x = if next > low && next < high { next } else { low + (high - low) / 2.0 };
    }
    CellRoot { x, slope, iterations }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The polynomial with the given zeros, padded with zero coefficients.
    fn with_zeros(zeros: &[f64]) -> Polynomial {
        let mut p = [0.0; COEFFICIENTS];
        p[0] = 1.0;
        for z in zeros {
            let mut q = [0.0; COEFFICIENTS];
            for k in 0..COEFFICIENTS - 1 {
                q[k + 1] += p[k];
                q[k] -= z * p[k];
            }
            p = q;
        }
        p
    }

    fn found(zeros: &[f64]) -> Vec<f64> {
        let p = with_zeros(zeros);
        let mut out = Vec::new();
        let ends = (value_and_slope(&p, -1.0).0, value_and_slope(&p, 1.0).0);
        roots(&p, ends, &mut |root| out.push(root.x));
        out
    }

    #[test]
    fn every_zero_inside_is_found_in_order_and_none_outside() {
        for zeros in [vec![], vec![0.3], vec![-0.9, 0.1, 0.95], vec![1.5], vec![-0.2, -0.199], vec![0.5, 0.500_01, 0.7]]
        {
            let inside: Vec<f64> = zeros.iter().copied().filter(|z: &f64| z.abs() < 1.0).collect();
            let got = found(&zeros);
            assert_eq!(got.len(), inside.len(), "{zeros:?}: {got:?}");
            for (g, z) in got.iter().zip(&inside) {
                assert!((g - z).abs() < 1e-9, "{zeros:?}: {got:?}");
            }
        }
    }

    #[test]
    fn a_double_zero_is_not_two() {
        assert_eq!(found(&[0.25, 0.25]), Vec::<f64>::new());
    }
}

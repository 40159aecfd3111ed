//! Double-double arithmetic: an unevaluated sum `hi + lo` of two f64, about 106 bits.
//!
//! The phases `theta(t)` and `t ln n` reach 10^7 radians while Z(t) needs them to 1e-15, so the few operations
//! that build them run here. The algorithms are Knuth's two-sum and Dekker's split and product (T. J. Dekker,
//! "A floating-point technique for extending the available precision", Numer. Math. 18, 1971; Y. Hida, X. S. Li,
//! D. H. Bailey, "Algorithms for quad-double precision floating point arithmetic", 2001). Dekker's product is used
//! instead of a fused multiply-add because without the `fma` target feature `f64::mul_add` is a slow library call,
//! and because this way the same bits come out on every machine.

/// An unevaluated sum `hi + lo` with `|lo| <= ulp(hi) / 2`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Dd {
    pub(crate) hi: f64,
    pub(crate) lo: f64,
}

/// `a + b` exactly, as rounded sum and error.
#[inline]
fn two_sum(a: f64, b: f64) -> Dd {
    let hi = a + b;
    let bb = hi - a;
    Dd { hi, lo: (a - (hi - bb)) + (b - bb) }
}

/// `a + b` exactly when `|a| >= |b|`.
#[inline]
fn quick_two_sum(a: f64, b: f64) -> Dd {
    let hi = a + b;
    Dd { hi, lo: b - (hi - a) }
}

/// The upper 26 significant bits of `a` (truncated), and the exact rest of at most 27 bits.
///
/// Products of two such heads are exact in f64. Truncation by mask, not Veltkamp's rounding split: one bit more in
/// the rest, but no overflow and a head that is the same on every target.
#[inline]
pub(crate) fn split(a: f64) -> (f64, f64) {
    let head = f64::from_bits(a.to_bits() & !((1 << 27) - 1));
    (head, a - head)
}

/// `a * b` exactly, as rounded product and error (Dekker).
///
/// The product of the two 27-bit rests may need 54 bits; its rounding error is below 2^-106 of the result.
#[inline]
fn two_prod(a: f64, b: f64) -> Dd {
    let hi = a * b;
    let (ah, al) = split(a);
    let (bh, bl) = split(b);
    Dd { hi, lo: ((ah * bh - hi) + ah * bl + al * bh) + al * bl }
}

impl Dd {
    pub(crate) const ZERO: Self = Self { hi: 0.0, lo: 0.0 };

    pub(crate) const fn new(hi: f64, lo: f64) -> Self {
        Self { hi, lo }
    }

    #[inline]
    pub(crate) fn add(self, other: Self) -> Self {
        let s = two_sum(self.hi, other.hi);
        let t = two_sum(self.lo, other.lo);
        let s = quick_two_sum(s.hi, s.lo + t.hi);
        quick_two_sum(s.hi, s.lo + t.lo)
    }

    #[inline]
    pub(crate) fn sub(self, other: Self) -> Self {
        self.add(Self::new(-other.hi, -other.lo))
    }

    #[inline]
    pub(crate) fn add_f64(self, other: f64) -> Self {
        let s = two_sum(self.hi, other);
        quick_two_sum(s.hi, s.lo + self.lo)
    }

    #[inline]
    pub(crate) fn mul(self, other: Self) -> Self {
        let p = two_prod(self.hi, other.hi);
        quick_two_sum(p.hi, p.lo + (self.hi * other.lo + self.lo * other.hi))
    }

    #[inline]
    pub(crate) fn mul_f64(self, other: f64) -> Self {
        let p = two_prod(self.hi, other);
        quick_two_sum(p.hi, p.lo + self.lo * other)
    }

    /// `self / other`, with a relative error below 2^-100.
    #[inline]
    pub(crate) fn div(self, other: Self) -> Self {
        let q1 = self.hi / other.hi;
        let r = self.sub(other.mul_f64(q1));
        let q2 = r.hi / other.hi;
        let r = r.sub(other.mul_f64(q2));
        quick_two_sum(q1, q2).add_f64(r.hi / other.hi)
    }

    #[inline]
    pub(crate) fn to_f64(self) -> f64 {
        self.hi + self.lo
    }
}

/// The exact sum of two f64 as a double-double.
#[inline]
pub(crate) fn exact_sum(a: f64, b: f64) -> Dd {
    two_sum(a, b)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_product_keeps_what_f64_drops() {
        let a = 1.0 + f64::EPSILON;
        let p = Dd::new(a, 0.0).mul_f64(a);
        assert_eq!(p.hi, 1.0 + 2.0 * f64::EPSILON);
        assert_eq!(p.lo, f64::EPSILON * f64::EPSILON);
    }

    #[test]
    fn a_quotient_times_its_divisor_is_the_dividend() {
        let three = Dd::new(3.0, 0.0);
        let third = Dd::new(1.0, 0.0).div(three);
        let back = third.mul(three).add_f64(-1.0);
        assert!(back.to_f64().abs() < 1e-31, "{back:?}");
    }
}

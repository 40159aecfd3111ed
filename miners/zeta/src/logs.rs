//! Logarithms in double-double: of the integers, and of any f64.
//!
//! Both rest on `ln(n / (n-1)) = 2 artanh(1 / (2n-1))`, summed in double-double, so that nothing here depends on the
//! platform's math library: the same bits on every machine. The integers' table carries an error below 1e-28;
//! [`ln`] one below 1e-24.

use std::sync::OnceLock;

use crate::dd::{Dd, exact_sum, split};

const LN2: Dd = Dd::new(std::f64::consts::LN_2, 2.3190468138462996e-17);
const INV_2PI: Dd = Dd::new(0.15915494309189535, -9.839338337591243e-18);

/// The largest integer in the table: enough for the Riemann-Siegel sum up to the highest supported Gram point
/// (2,606 terms) and for Euler-Maclaurin up to its own limit (683 terms).
pub(crate) const MAX_N: usize = 2680;

/// What every phase `t ln n` needs, for n = 1..=[`MAX_N`], as arrays over n - 1.
///
/// The logarithms are in turns, `ln n / 2 pi`, cut in a head of 26 bits and the rest, so that a 26-bit head of t
/// times the head of the logarithm is exact in f64 and whole turns can be dropped without loss.
pub(crate) struct IntegerTable {
    /// Upper 26 bits of `ln n / 2 pi`.
    pub(crate) head: Vec<f64>,
    /// The rest of `ln n / 2 pi`, relative precision 2^-53 of itself, 2^-79 of the whole.
    pub(crate) tail: Vec<f64>,
    /// `n^(-1/2)`.
    pub(crate) inv_sqrt: Vec<f64>,
}

/// The table of the integers, built at first use (about a millisecond).
pub(crate) fn integers() -> &'static IntegerTable {
    static TABLE: OnceLock<IntegerTable> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = IntegerTable {
            head: Vec::with_capacity(MAX_N),
            tail: Vec::with_capacity(MAX_N),
            inv_sqrt: Vec::with_capacity(MAX_N),
        };
        let mut ln_n = Dd::ZERO;
        for n in 1..=MAX_N {
            if n > 1 {
                ln_n = ln_n.add(ln_ratio(n));
            }
            let turns = ln_n.mul(INV_2PI);
            let (head, rest) = split(turns.hi);
            table.head.push(head);
            table.tail.push(rest + turns.lo);
            table.inv_sqrt.push(1.0 / (n as f64).sqrt());
        }
        table
    })
}

/// `ln(n / (n-1)) = 2 artanh(1 / (2n-1))` in double-double, n >= 2.
fn ln_ratio(n: usize) -> Dd {
    let x = Dd::new(1.0, 0.0).div(Dd::new((2 * n - 1) as f64, 0.0));
    let x2 = x.mul(x);
    let mut power = x;
    let mut sum = x;
    let mut k = 3.0;
    while power.hi > 1e-34 {
        power = power.mul(x2);
        sum = sum.add(power.div(Dd::new(k, 0.0)));
        k += 2.0;
    }
    sum.add(sum)
}

/// `ln c_j` for the 128 centres `c_j = (257 + 2j) / 256` of [1, 2).
fn centres() -> &'static [Dd; 128] {
    static TABLE: OnceLock<[Dd; 128]> = OnceLock::new();
    TABLE.get_or_init(|| {
        let mut table = [Dd::ZERO; 128];
        let mut ln_n = Dd::ZERO;
        let ln_256 = LN2.mul_f64(8.0);
        for n in 2..=511_usize {
            ln_n = ln_n.add(ln_ratio(n));
            if n >= 257 && n % 2 == 1 {
                table[(n - 257) / 2] = ln_n.sub(ln_256);
            }
        }
        table
    })
}

/// `ln x` of a normal positive f64, absolute error below 1e-24 (+ 1e-31 of the result).
///
/// `x = 2^e m`, the nearest centre c of 128 is divided out, and `ln(m/c) = 2 artanh r`, `r = (m-c)/(m+c)`,
/// `|r| < 1/512`: the first term is taken in double-double, the rest (below 1.3e-6 of it) in f64.
pub(crate) fn ln(x: f64) -> Dd {
    debug_assert!(x.is_normal() && x > 0.0);
    let bits = x.to_bits();
    let exponent = ((bits >> 52) & 0x7ff) as i64 - 1023;
    let m = f64::from_bits((bits & ((1 << 52) - 1)) | (1023 << 52));
    let j = ((bits >> 45) & 127) as usize;
    let c = (257 + 2 * j) as f64 / 256.0;
    let r = Dd::new(m - c, 0.0).div(exact_sum(m, c));
    let r2 = r.hi * r.hi;
    let rest = r.hi * r2 * (1.0 / 3.0 + r2 * (1.0 / 5.0 + r2 * (1.0 / 7.0 + r2 * (1.0 / 9.0))));
    let atanh = r.add_f64(rest);
    LN2.mul_f64(exponent as f64).add(centres()[j]).add(atanh.add(atanh))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn logarithms_agree_with_each_other_and_with_known_digits() {
        // ln 10 = 2.302585092994045684017991454684364...
        let ten = ln(10.0).sub(Dd::new(std::f64::consts::LN_10, -2.1707562233822494e-16));
        assert!(ten.to_f64().abs() < 1e-24, "{ten:?}");
        for (a, b) in [(3.0, 5.0), (1e6, 7.0), (123456.789, 0.001953125), (1.9999999, 4.0)] {
            // b is a power of two or the product is exact enough: compare ln(ab) with ln a + ln b.
            let product = exact_sum(a * b, 0.0);
            let error = Dd::new(a, 0.0).mul_f64(b).sub(product).to_f64() / (a * b);
            let gap = ln(a).add(ln(b)).sub(ln(a * b)).to_f64();
            assert!((gap - error).abs() < 1e-23, "{a} {b}: {gap:e}");
        }
    }

    #[test]
    fn the_integer_table_is_the_logarithm_in_turns() {
        let table = integers();
        for n in [1_usize, 2, 3, 10, 257, 1000, 2680] {
            let turns = Dd::new(table.head[n - 1], 0.0).add_f64(table.tail[n - 1]);
            let expected = ln(n as f64).mul(INV_2PI);
            assert!(turns.sub(expected).to_f64().abs() < 2e-24, "{n}");
        }
    }
}

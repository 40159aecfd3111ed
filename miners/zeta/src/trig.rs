//! Sine and cosine of an angle in turns, as plain arithmetic.
//!
//! Written so that the compiler can turn loops over them into vector instructions, with no call into the platform's
//! math library: the same bits on every machine, whatever vector width it has.

/// 1.5 * 2^52: adding and subtracting it rounds an f64 below 2^51 in magnitude to the nearest integer.
const ROUND: f64 = 6_755_399_441_055_744.0;

/// `sin(2 pi y) / y` as a polynomial in y^2 on |y| <= 1/4; largest error of the product 1.3e-18 * |y|
/// (Chebyshev fit in 60-digit arithmetic).
const SIN: [f64; 9] = [
    std::f64::consts::TAU,
    -41.341702240399755,
    81.60524927607362,
    -76.70585975282492,
    42.058693925428685,
    -15.0946416761179,
    3.8199280942271643,
    -0.7177337913421454,
    0.10089695501646812,
];

/// The nearest integer, for |x| < 2^51.
#[inline(always)]
pub(crate) fn round(x: f64) -> f64 {
    (x + ROUND) - ROUND
}

/// `cos(2 pi x)` for any |x| < 2^51; absolute error below 3e-16 beside the error of x itself.
#[inline(always)]
pub(crate) fn cos_turns(x: f64) -> f64 {
    cos_reduced(x - round(x))
}

/// `cos(2 pi x)` for |x| <= 1/2, and a rounding error beyond.
#[inline(always)]
pub(crate) fn cos_reduced(x: f64) -> f64 {
    // cos is even and sin(2 pi (1/4 - |x|)) = cos(2 pi x), which brings |x| <= 1/2 to |y| <= 1/4.
    let y = 0.25 - x.abs();
    let u = y * y;
    // Estrin's pairing: a shorter chain than Horner's, which matters when a single value is wanted.
    let u2 = u * u;
    let u4 = u2 * u2;
    let low = (SIN[0] + u * SIN[1]) + u2 * (SIN[2] + u * SIN[3]);
    let high = (SIN[4] + u * SIN[5]) + u2 * (SIN[6] + u * SIN[7]);
    y * (low + u4 * (high + u4 * SIN[8]))
}

/// `sin(2 pi x)`; as [`cos_turns`].
#[inline(always)]
pub(crate) fn sin_turns(x: f64) -> f64 {
    let x = x - round(x);
    cos_turns(x - 0.25)
}

/// `e^-x` for 0 <= x < 700, relative error about 1e-14; only used where the result is itself a tiny correction.
pub(crate) fn exp_neg(x: f64) -> f64 {
    // e^-x = (e^(-x/1024))^1024, the inner one by its Taylor series.
    let y = -x / 1024.0;
    let mut value = 1.0 + y * (1.0 + y / 2.0 * (1.0 + y / 3.0 * (1.0 + y / 4.0 * (1.0 + y / 5.0 * (1.0 + y / 6.0)))));
    for _ in 0..10 {
        value *= value;
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_agree_with_the_platform() {
        for i in -4000..4000 {
            let x = f64::from(i) * 0.00098765;
            let angle = std::f64::consts::TAU * x;
            let tolerance = 4e-16 + angle.abs() * 2.3e-16;
            assert!((cos_turns(x) - angle.cos()).abs() < tolerance, "cos {x}");
            assert!((sin_turns(x) - angle.sin()).abs() < tolerance, "sin {x}");
        }
    }

    #[test]
    fn whole_turns_do_not_matter() {
        assert_eq!(cos_turns(0.125), cos_turns(1_000_000.125));
        assert_eq!(cos_turns(0.0), 1.0);
        assert!((exp_neg(10.0) - (-10.0_f64).exp()).abs() < 1e-17);
    }
}

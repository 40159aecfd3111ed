//! The Riemann-Siegel remainder: C0 to C4 as power series.
//!
//! `Z(t) = 2 sum_(n<=N) n^(-1/2) cos(theta(t) - t ln n) + (-1)^(N-1) a^(-1/2) sum_k C_k(p) a^(-k)`, where
//! `a = sqrt(t / 2 pi)`, `N = floor(a)`, `p = a - N` (C. L. Siegel, 1932; H. M. Edwards, *Riemann's Zeta Function*,
//! sections 7.4-7.6; W. Gabcke, *Neue Herleitung und explizite Restabschaetzung der Riemann-Siegel-Formel*, 1979).
//! With `Psi(p) = cos(2 pi (p^2 - p - 1/16)) / cos(2 pi p)`:
//!
//! - C0 = Psi
//! - C1 = -Psi''' / (96 pi^2)
//! - C2 = Psi'' / (64 pi^2) + Psi^(6) / (18432 pi^4)
//! - C3 = -Psi' / (64 pi^2) - Psi^(5) / (3840 pi^4) - Psi^(9) / (5308416 pi^6)
//! - C4 = Psi / (128 pi^2) + 19 Psi^(4) / (24576 pi^4) + 11 Psi^(8) / (5898240 pi^6) + Psi^(12) / (2038431744 pi^8)
//!
//! Psi is entire and even about p = 1/2, so each C_k is an even or odd power series in w = 2p - 1, |w| <= 1. The
//! coefficients below are those series, from exact power-series arithmetic at 200 digits, as far as a term of C_k
//! exceeds 1e-18 a^k at the least a in use (17.8); `tests/data/README.md` says how to make them again.
//!
//! After C4 the error of Z is below 0.017 t^(-11/4) for t >= 200 (Gabcke, theorem 4.2.1): 1.4e-11 at t = 2,000,
//! 1.7e-13 at 10^4, 5.4e-19 at 10^6.

/// C0, even in w.
#[rustfmt::skip]
const C0: [f64; 20] = [
    0.3826834323650898, 0.43724046807752043, 0.1323765754803435, -0.013605026047674188,
    -0.013567621970103581, -0.0016237253231444653, 0.0002970535373337969, 7.94330087952147e-05,
    4.6556124614504504e-07, -1.4327251630955106e-06, -1.0354847112312946e-07, 1.2357927083861738e-08,
    1.7881083857954906e-09, -3.391414389927036e-11, -1.6326633902565907e-11, -3.7851093185412205e-13,
    9.327423259201725e-14, 5.221843015978137e-15, -3.350673072744264e-16, -3.4124265228117265e-17,
];

/// C1, odd in w.
#[rustfmt::skip]
const C1: [f64; 20] = [
    -0.026825102628375348, 0.013784773426351853, 0.03849125048223508, 0.009871066299062077,
    -0.0033107597608584044, -0.0014647808577954152, -1.3207940624876963e-05, 5.9227487018471416e-05,
    5.980242585373449e-06, -9.641322456169826e-07, -1.8334733722714413e-07, 4.4670875627178334e-09,
    2.7096350821772744e-09, 7.785288654315851e-11, -2.343762601089369e-11, -1.5830172789987521e-12,
    1.211994157372379e-13, 1.4583781161108306e-14, -2.878630525813192e-16, -8.662862902123724e-17,
];

/// C2, even in w.
#[rustfmt::skip]
const C2: [f64; 19] = [
    0.005188542830293168, 0.00030946583880634744, -0.011335941078229373, 0.0022330457419581446,
    0.00519663740886233, 0.0003439914407620834, -0.0005910648427470583, -0.00010229972547935857,
    2.0888392216992754e-05, 5.927665493096536e-06, -1.6423838362436276e-07, -1.5161199700940684e-07,
    -5.907803698206668e-09, 2.0911514859478188e-09, 1.781564958329235e-10, -1.6164072455353832e-11,
    -2.3806962496667617e-12, 5.398265295542595e-14, 1.9750142196969516e-14,
];

/// C3, odd in w.
#[rustfmt::skip]
const C3: [f64; 19] = [
    -0.0013397160907194568, 0.003744215136379394, -0.0013303178919321468, -0.0022654660765471786,
    0.0009548499998506731, 0.0006010038458963604, -0.00010128858286776622, -6.865733449299826e-05,
    5.985366791538599e-07, 3.331659851239947e-06, 2.1919289102435082e-07, -7.890884245681494e-08,
    -9.414685081295262e-09, 9.57011621088348e-10, 1.8763137453470662e-10, -4.4378376793233995e-12,
    -2.242673850561735e-12, -3.6276868657352434e-14, 1.7639809550821582e-14,
];

/// C4, even in w.
#[rustfmt::skip]
const C4: [f64; 19] = [
    0.00046483389361763383, -0.001005660736534047, 0.00024044856573725794, 0.0010283086149702322,
    -0.0007657861071755644, -0.00020365286803084818, 0.0002321229049106873, 3.2602144243865195e-05,
    -2.5579062517949524e-05, -4.107464438915745e-06, 1.1781113640371294e-06, 2.445656142248458e-07,
    -2.3915824767344323e-08, -7.505214207035756e-09, 1.3312279416258429e-10, 1.344062675422562e-10,
    3.513770042430486e-12, -1.519154453370392e-12, -8.915417681447087e-14,
];

/// A power series in u, lowest coefficient first, by Horner's rule.
#[inline(always)]
fn horner<const K: usize>(c: &[f64; K], u: f64) -> f64 {
    c.iter().rev().fold(0.0, |sum, c| sum * u + c)
}

/// What the Riemann-Siegel formula adds to the main sum of N terms at t, where `a = sqrt(t / 2 pi)` and
/// `N = floor(a)`.
pub(crate) fn remainder(a: f64, n: f64) -> f64 {
    let w = 2.0 * (a - n) - 1.0;
    let u = w * w;
    let x = 1.0 / a;
    let c0 = horner(&C0, u);
    let c1 = horner(&C1, u) * w;
    let c2 = horner(&C2, u);
    let c3 = horner(&C3, u) * w;
    let c4 = horner(&C4, u);
    let series = c0 + x * (c1 + x * (c2 + x * (c3 + x * c4)));
    let sign = if (n as i64) % 2 == 0 { -1.0 } else { 1.0 };
    sign * series * x.sqrt()
}

/// Gabcke's bound on what is left out after C4, proved for t >= 200.
pub(crate) fn truncation_bound(t: f64) -> f64 {
    // t^(11/4) = t^2 * sqrt(t) * sqrt(sqrt(t)), by operations that every machine rounds alike.
    let root = t.sqrt();
    0.017 / (t * t * root * root.sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn c0_is_its_closed_form() {
        for i in 0..=40 {
            let p = f64::from(i) / 40.0;
            let denominator = (std::f64::consts::TAU * p).cos();
            if denominator.abs() < 0.05 {
                continue;
            }
            let psi = (std::f64::consts::TAU * (p * p - p - 0.0625)).cos() / denominator;
            let w = 2.0 * p - 1.0;
            assert!((horner(&C0, w * w) - psi).abs() < 1e-14, "{p}");
        }
    }

    #[test]
    fn c1_is_the_third_derivative_of_c0() {
        // Differences of the series of C0 in p, step h: (f(2h) - 2 f(h) + 2 f(-h) - f(-2h)) / 2 h^3.
        let psi = |p: f64| horner(&C0, (2.0 * p - 1.0) * (2.0 * p - 1.0));
        let h = 2e-3;
        for p in [0.1, 0.3, 0.5, 0.62, 0.9] {
            let third = (psi(p + 2.0 * h) - 2.0 * psi(p + h) + 2.0 * psi(p - h) - psi(p - 2.0 * h)) / (2.0 * h * h * h);
            let w = 2.0 * p - 1.0;
            let c1 = horner(&C1, w * w) * w;
            let expected = -third / (96.0 * std::f64::consts::PI * std::f64::consts::PI);
            assert!((c1 - expected).abs() < 1e-4, "{p}: {c1} {expected}");
        }
    }

    #[test]
    fn gabckes_bound_is_what_it_is_known_to_be() {
        assert!((truncation_bound(1e4) / 1.7e-13 - 1.0).abs() < 1e-12);
    }
}

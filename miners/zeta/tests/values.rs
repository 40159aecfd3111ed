//! theta(t) and Z(t) against interval-arithmetic values, and Gram points against known ones.

/// `t theta(t) Z(t)`, from FLINT's ball arithmetic at 200 bits; see `tests/data/README.md`.
const VALUES: &[(f64, f64, f64)] = &[
    (8.0, -3.4238346284788426, -1.2927653833255393),
    (9.5, -3.1767846988547825, -1.5181003783137448),
    (14.25, -1.6817178105802593, 0.09226510324016547),
    (30.5, 8.450690683619213, -0.0962211953566934),
    (100.125, 88.14515983789892, 2.686213971843306),
    (277.75, 386.9081367139397, -1.1447297347933723),
    (999.875, 2034.229564558763, 0.39382343840038825),
    (1999.75, 4761.912334107691, 0.5761979336542306),
    (2000.25, 4763.353090452719, 0.43616890548960935),
    (5000.5, 14199.567459132617, 0.5854253192464389),
    (12345.678, 40636.543815330355, -0.8785615993468148),
    (74920.25, 314151.5445057607, -0.2073429794502835),
    (100000.0, 433752.0272291708, 5.879592468681765),
    (777777.777, 4171345.905125052, -1.912451602837681),
    (1000000.0, 5488816.3530784035, -2.8061338784306984),
    (999999.123, 5488811.1008863095, -1.709392838763881),
    (4000000.3, 24727857.317239743, -1.002427767935979),
    (42653549.0, 314159254.5627873, -0.7979441670454726),
];

#[test]
fn theta_is_right_to_the_last_place() {
    for &(t, theta, _) in VALUES {
        let error = (orch_zeta::theta(t) - theta).abs();
        println!("{t} theta error {error:e}");
        assert!(error <= theta.abs() * f64::EPSILON + 1e-16, "theta({t}): off by {error:e}");
    }
}

#[test]
fn z_is_within_its_stated_error() {
    for &(t, _, z) in VALUES {
        let error = (orch_zeta::z(t) - z).abs();
        println!("{t} Z error {error:e} bound {:e}", orch_zeta::z_error_bound(t));
        assert!(error <= orch_zeta::z_error_bound(t), "Z({t}): off by {error:e}");
    }
}

#[test]
fn the_two_methods_agree_where_they_meet() {
    // The switch is a change of formula, not of function: no jump beyond the stated errors and the slope.
    let at = orch_zeta::RIEMANN_SIEGEL_FROM;
    let below = orch_zeta::z(at.next_down());
    let above = orch_zeta::z(at);
    assert!((below - above).abs() <= orch_zeta::z_error_bound(at) + 1e-11, "{below} {above}");
}

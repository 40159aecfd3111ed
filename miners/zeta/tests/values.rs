//! theta(t) and Z(t) against interval-arithmetic values, and Gram points against known ones.

/// `t theta(t) Z(t)`, from FLINT's ball arithmetic at 200 bits; see `tests/data/README.md`.
const VALUES: &[(f64, f64, f64)] = &[
    (8.0, -3.423834628478842747816651, -1.2927653833255392717),
    (9.5, -3.176784698854782707355930, -1.5181003783137448543),
    (14.25, -1.681717810580259208557641, 0.092265103240165473717),
    (30.5, 8.450690683619212414376994, -0.096221195356693412040),
    (100.125, 88.14515983789891609169009, 2.6862139718433057227),
    (277.75, 386.9081367139396949941903, -1.1447297347933722549),
    (999.875, 2034.229564558763072504309, 0.39382343840038825643),
    (1999.75, 4761.912334107691167573391, 0.57619793365423052746),
    (2000.25, 4763.353090452719143301861, 0.43616890548960935277),
    (5000.5, 14199.56745913261626211337, 0.58542531924643895021),
    (12345.678, 40636.54381533035401422115, -0.87856159934681478965),
    (74920.25, 314151.5445057607266862450, -0.20734297945028348702),
    (100000.0, 433752.0272291707814356446, 5.8795924686817650415),
    (777777.777, 4171345.905125052006834305, -1.9124516028376809958),
    (1000000.0, 5488816.353078403444882823, -2.8061338784306984787),
    (999999.123, 5488811.100886309808654060, -1.7093928387638809345),
    (4000000.3, 24727857.31723974426998226, -1.0024277679359789995),
    (42653549.0, 314159254.5627873073442193, -0.79794416704547257943),
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

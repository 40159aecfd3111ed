//! However a range is cut, the zeros are the same, bit for bit.

use std::cell::Cell;

use orch_zeta::{GRAM_MAX, GramRange, Zero, ZerosError, is_good, zeros};
use proptest::prelude::*;

fn mine(a: i64, b: i64) -> Vec<Zero> {
    let mut found = Vec::new();
    let summary = zeros(GramRange::new(a, b).unwrap(), &|| true, &mut |zero| found.push(zero)).unwrap();
    assert_eq!(summary.zeros, (b - a).unsigned_abs());
    assert!(summary.first_gram <= a && b <= summary.last_gram);
    found
}

/// Numbers and bits: what a job's result is identified by.
fn bits(zeros: &[Zero]) -> Vec<(u64, u64, u64, u32)> {
    zeros.iter().map(|zero| (zero.n, zero.t.to_bits(), zero.z.to_bits(), zero.iters)).collect()
}

fn assert_cut(a: i64, c: i64, b: i64) {
    let whole = mine(a, b);
    let numbers: Vec<u64> = whole.iter().map(|zero| zero.n).collect();
    assert_eq!(numbers, (a + 2..=b + 1).map(i64::unsigned_abs).collect::<Vec<_>>());
    let mut parts = mine(a, c);
    parts.extend(mine(c, b));
    assert_eq!(bits(&whole), bits(&parts), "[{a}, {b}) cut at {c}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_cut_changes_nothing(
        a in prop_oneof![-1_i64..3000, 3000_i64..2_000_000, 13_999_000_i64..14_000_000],
        length in 2_i64..400,
        share in 0.0..1.0_f64,
    ) {
        let c = a + 1 + ((length - 2) as f64 * share) as i64;
        assert_cut(a, c, a + length);
    }

    #[test]
    fn overlapping_ranges_agree(a in -1_i64..1_700_000, shift in 1_i64..200, length in 200_i64..1200) {
        let one = mine(a, a + length);
        let other = mine(a + shift, a + shift + length);
        let common = (length - shift) as usize;
        prop_assert_eq!(bits(&one[shift as usize..]), bits(&other[..common]));
    }
}

#[test]
fn cuts_at_bad_gram_points_change_nothing() {
    let bad = |m: &i64| is_good(*m) == Some(false);
    for from in [120, 6_700, 99_000, 1_740_000, 13_999_515] {
        let cuts: Vec<i64> = (from + 5..from + 60).filter(bad).take(3).collect();
        assert!(!cuts.is_empty(), "Gram's law fails somewhere above {from}");
        for cut in cuts {
            assert_cut(from, cut, from + 80);
        }
    }
}

#[test]
fn a_single_zero_is_a_range() {
    let whole = mine(-1, 40);
    for (i, zero) in whole.iter().enumerate() {
        let a = i as i64 - 1;
        assert_eq!(bits(&mine(a, a + 1)), bits(std::slice::from_ref(zero)));
    }
}

#[test]
fn the_last_supported_range_is_mined() {
    let zeros = mine(GRAM_MAX - 3, GRAM_MAX);
    assert_eq!(zeros[2].n, GRAM_MAX.unsigned_abs() + 1);
}

#[test]
fn the_bits_are_the_same_on_every_machine() {
    // Any platform, vector width and optimisation must give this digest: no operation used may differ between them.
    let mut digest = 0xcbf2_9ce4_8422_2325_u64;
    for (a, b) in [(-1, 2_000), (1_746_000, 1_747_000), (13_999_500, 13_999_550)] {
        for (n, t, z, _) in bits(&mine(a, b)) {
            for word in [n, t, z] {
                digest = (digest ^ word).wrapping_mul(0x0100_0000_01b3);
            }
        }
    }
    assert_eq!(format!("{digest:016x}"), "7b7f98b052cae335");
}

#[test]
fn a_search_stops_when_asked_to() {
    let range = GramRange::new(1_000_000, 1_100_000).unwrap();
    let calls = Cell::new(0);
    let mut found = Vec::new();
    let outcome = zeros(
        range,
        &|| {
            calls.set(calls.get() + 1);
            calls.get() < 100
        },
        &mut |zero| found.push(zero),
    );
    assert_eq!(outcome, Err(ZerosError::Cancelled));
    assert_eq!(calls.get(), 100, "it asks no more once told to stop");
    assert!(!found.is_empty() && found.len() < 5_000, "{} zeros before the stop", found.len());
    assert_eq!(bits(&found), bits(&mine(1_000_000, 1_000_000 + found.len() as i64)));
    let never = zeros(range, &|| false, &mut |_| panic!("nothing is found after a stop"));
    assert_eq!(never, Err(ZerosError::Cancelled));
}

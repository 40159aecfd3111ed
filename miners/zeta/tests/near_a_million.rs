//! Zeros far up, close pairs, failures of Gram's law and of Rosser's rule, against the references.

use std::io::Read;

use flate2::read::GzDecoder;
use orch_zeta::{GramRange, Zero, gram_point, is_good, zeros};

fn data(name: &str) -> Vec<u8> {
    let path = format!("{}/tests/data/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(path).expect("the reference data is part of the repository")
}

fn parse(text: &str) -> Vec<(u64, f64)> {
    let line = |line: &str| {
        let (n, t) = line.split_once(' ').expect("lines are `n t`");
        (n.parse().expect("n is a number"), t.parse().expect("t is a number"))
    };
    text.lines().map(line).collect()
}

fn mine(a: i64, b: i64) -> Vec<Zero> {
    let mut found = Vec::new();
    zeros(GramRange::new(a, b).unwrap(), &|| true, &mut |zero| found.push(zero)).unwrap();
    found
}

/// Mines zeros number `first` to `last`.
fn numbered(first: u64, last: u64) -> Vec<Zero> {
    mine(first as i64 - 2, last as i64 - 1)
}

/// How far a zero may be from the reference: 1e-9, and 2 units in the last place beyond t = 10^6.
fn tolerance(t: f64) -> f64 {
    if t <= 1_000_001.0 { 1e-9 } else { 2.0 * (t.next_up() - t) }
}

fn assert_same(found: &[Zero], expected: &[(u64, f64)]) {
    assert_eq!(found.len(), expected.len());
    for (zero, &(n, t)) in found.iter().zip(expected) {
        assert_eq!(zero.n, n);
        assert!((zero.t - t).abs() <= tolerance(t), "zero {n}: {} is not {t}", zero.t);
    }
}

#[test]
fn two_thousand_zeros_around_a_million_are_the_reference() {
    let mut text = String::new();
    GzDecoder::new(data("zeta_zeros_1746147_2000.txt.gz").as_slice()).read_to_string(&mut text).unwrap();
    let expected = parse(&text);
    let found = numbered(1_746_147, 1_748_146);
    assert_same(&found, &expected);
    // At t = 10^6 a f64 is 1.2e-10 from the next: nothing but that rounding is left.
    let worst = found.iter().zip(&expected).map(|(zero, (_, t))| (zero.t - t).abs()).fold(0.0, f64::max);
    assert!(worst <= 1.2e-10, "{worst:e}");
    let root_val = found.iter().map(|zero| zero.z.abs()).fold(0.0, f64::max);
    assert!(root_val < 1e-8, "{root_val:e}");
}

#[test]
fn selected_zeros_are_the_reference() {
    let selected = parse(std::str::from_utf8(&data("zeta_zeros_selected.txt")).unwrap());
    for run in selected.chunk_by(|one, next| one.0 + 1 == next.0) {
        assert_same(&numbered(run[0].0, run[run.len() - 1].0), run);
    }
}

#[test]
fn numbers_agree_with_known_counts() {
    // N(10^3) = 649, N(10^4) = 10,142, N(10^5) = 138,069, N(10^6) = 1,747,146.
    for (height, count) in [(1e3, 649), (1e4, 10_142), (1e5, 138_069), (1e6, 1_747_146)] {
        let around = numbered(count, count + 1);
        assert!(around[0].t < height && height < around[1].t, "N({height}) is not {count}");
    }
}

#[test]
fn a_close_pair_is_two_zeros() {
    let pair = numbered(6709, 6710);
    assert!((pair[0].t - 7_005.062_866_174_921).abs() < 1e-9);
    assert!((pair[1].t - 7_005.100_564_672_647).abs() < 1e-9);
}

#[test]
fn a_range_may_end_where_grams_law_fails() {
    // g_126 is the first bad Gram point (J. I. Hutchinson, 1925): zero 127, expected below it, lies above.
    assert!((-1..126).all(|m| is_good(m) == Some(true)));
    assert_eq!(is_good(126), Some(false));
    let below = mine(100, 126);
    let above = mine(126, 130);
    assert_eq!((below[0].n, below[25].n, above[0].n), (102, 127, 128));
    assert!(below[24].t < gram_point(125), "none in the interval that fails");
    assert!(gram_point(126) < below[25].t && above[0].t < gram_point(127), "two in the one that makes up for it");
}

#[test]
fn rossers_rule_failing_does_not_disturb_the_count() {
    // The first Gram block that lacks zeros: [g_13999525, g_13999527), whose two zeros are both elsewhere.
    let zeros = mine(13_999_500, 13_999_550);
    let inside = |zero: &&Zero| gram_point(13_999_525) < zero.t && zero.t <= gram_point(13_999_527);
    assert_eq!(zeros.iter().filter(inside).count(), 0);
    assert_eq!(zeros.len(), 50);
    assert!(zeros.windows(2).all(|pair| pair[0].n + 1 == pair[1].n && pair[0].t < pair[1].t));
}

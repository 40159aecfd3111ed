//! The true zeros of the zeta function, and checking found ones against them.

use std::io::Read as _;
use std::path::Path;

use serde_json::Value;

/// How far a found zero may be from the true one.
const TOLERANCE: f64 = 1e-9;

/// The imaginary parts of the first 100,000 zeros, by number from 1.
pub fn reference() -> Vec<f64> {
    let path = super::project().join("miners/zeta/tests/data/zeta_zeros_1_100000.txt.gz");
    let mut text = String::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
    let value = |line: &str| line.split_ascii_whitespace().nth(1).unwrap().parse().unwrap();
    let zeros: Vec<f64> = text.lines().map(value).collect();
    assert_eq!(zeros.len(), 100_000);
    zeros
}

/// Holds a clean data set against the true zeros `first..=last`: each is there once, in order, close enough, and
/// nothing else is.
#[track_caller]
pub fn check(file: &Path, first: usize, last: usize) {
    let text = std::fs::read_to_string(file).unwrap();
    assert_eq!(text.lines().count(), last + 1 - first, "lines of {}", file.display());
    assert!(text.ends_with('\n'));
    let reference = reference();
    for (n, line) in (first..=last).zip(text.lines()) {
        let zero: Value = serde_json::from_str(line).unwrap();
        assert_eq!(zero["n"].as_u64(), Some(n as u64), "{line}");
        let found = zero["t"].as_f64().unwrap();
        let off = (found - reference[n - 1]).abs();
        assert!(off <= TOLERANCE, "zero {n} is at {}, found at {found}, {off:e} away", reference[n - 1]);
    }
}

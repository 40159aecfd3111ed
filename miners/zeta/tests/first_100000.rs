//! The first 100,000 zeros against the reference: none missing, none extra, each within 1e-9.

use std::io::{BufRead, BufReader};

use flate2::read::GzDecoder;
use orch_zeta::{GramRange, Zero, zeros};

fn reference() -> Vec<(u64, f64)> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/zeta_zeros_1_100000.txt.gz");
    let file = std::fs::File::open(path).expect("the reference data is part of the repository");
    let lines = BufReader::new(GzDecoder::new(file)).lines();
    let parse = |line: String| {
        let (n, t) = line.split_once(' ').expect("lines are `n t`");
        (n.parse().expect("n is a number"), t.parse().expect("t is a number"))
    };
    lines.map(|line| parse(line.expect("the file is readable"))).collect()
}

#[test]
fn the_first_100000_zeros_are_the_reference() {
    let expected = reference();
    let mut found: Vec<Zero> = Vec::new();
    let range = GramRange::new(-1, 99_999).unwrap();
    let summary = zeros(range, &|| true, &mut |zero| found.push(zero)).unwrap();

    assert_eq!(summary.zeros, 100_000);
    assert_eq!(found.len(), expected.len());
    let mut worst = (0, 0.0);
    for (zero, &(n, t)) in found.iter().zip(&expected) {
        assert_eq!(zero.n, n);
        let error = (zero.t - t).abs();
        assert!(error <= 1e-9, "zero {n}: {} is {error:e} from {t}", zero.t);
        if error > worst.1 {
            worst = (n, error);
        }
    }
    println!("largest error {:e} at zero {}, largest |Z(t)| {:e}", worst.1, worst.0, summary.largest_root_val);
    assert!(summary.largest_root_val < 2e-9, "{:e}", summary.largest_root_val);
    assert!(found.iter().all(|zero| zero.z == orch_zeta::z(zero.t)));
    assert!(found.windows(2).all(|pair| pair[0].t < pair[1].t));
}

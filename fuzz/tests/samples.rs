//! The samples are worth mutating: they get past the first checks and lead to every kind of record.

use orch_fuzz::{Random, reached, recorded, target};

#[test]
fn sequences_of_messages_lead_to_every_outcome() {
    let target = target("commands").unwrap();
    let mut random = Random::new(5);
    let mut sums = std::collections::BTreeMap::new();
    for _ in 0..1600 {
        let state = reached(&(target.sample)(&mut random));
        for (group, name) in [
            ("jobs", "done"),
            ("jobs", "failed"),
            ("jobs", "cancelled"),
            ("jobs", "ready"),
            ("jobs", "delayed"),
            ("candidates", "accepted"),
            ("candidates", "duplicate"),
            ("candidates", "rejected"),
        ] {
            let count = state[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name}: {state}"));
            *sums.entry((group, name)).or_insert(0) += count;
        }
    }
    assert!(sums.values().all(|sum| *sum > 10), "{sums:?}");
}

#[test]
fn calls_over_the_wire_lead_to_records() {
    let target = target("edge").unwrap();
    let mut random = Random::new(5);
    let seqs: Vec<u64> = (0..60).map(|_| recorded(&(target.sample)(&mut random))).collect();
    assert!(seqs.is_sorted() && seqs[59] > seqs[0] + 60, "{seqs:?}");
}

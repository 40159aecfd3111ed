//! Power fails at every change of a run, and again during the recovery and after a kill: nothing acknowledged is lost,
//! nothing is refused.
//!
//! The seed of a failing image is in its message.

mod support;

use std::sync::{Arc, Mutex, PoisonError};

use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::{MemoryDir, Random};
use orch_ledger::verify::verify_in;
use orch_ledger::{Ledger, OpenOptions, RecoveryReport};
use support::{Seen, T0, judged, options};

/// After every so many accidents the run goes on, and meets more of them.
const AGAIN: u64 = 97;

/// An accident, what was acknowledged by then, and the seed that drew it.
struct Image {
    /// Power was lost.
    lost: MemoryDir,
    /// The process was killed.
    killed: Option<MemoryDir>,
    acknowledged: Seen,
    seed: u64,
}

/// Runs a ledger on `disk` for some batches, drawing `per_change` accidents after every change.
fn run(disk: &MemoryDir, known: &Seen, options: &OpenOptions, seed: u64, per_change: usize) -> Vec<Image> {
    let acknowledged = Arc::new(Mutex::new(known.clone()));
    let images = Arc::new(Mutex::new(Vec::new()));
    disk.set_watch({
        let (acknowledged, images) = (Arc::clone(&acknowledged), Arc::clone(&images));
        let mut n = 0;
        move |moment| {
            for _ in 0..per_change {
                n += 1;
                let seed = seed.wrapping_mul(1_000_003).wrapping_add(n);
                let lost = moment.power_loss(&mut Random::new(seed));
                let killed = (seed % AGAIN == 1).then(|| moment.kill());
                let acknowledged = acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone();
                images.lock().unwrap().push(Image { lost, killed, acknowledged, seed });
            }
        }
    });
    let mut seen = Seen::default();
    let shared: Arc<dyn Dir> = Arc::new(disk.clone());
    let opened = Ledger::open_in(shared, options.clone(), &mut |record, position| seen.take(record, position));
    let opened = opened.unwrap_or_else(|error| panic!("seed {seed}: {error}"));
    let mut ledger = opened.ledger;
    // A started ledger answers for all that it has, un-synced before or not.
    *acknowledged.lock().unwrap() = seen.clone();
    let mut random = Random::new(seed);
    for n in 0..6 {
        if let Some(rolled) = ledger.maybe_roll(T0).unwrap() {
            for (record, position) in &rolled.records {
                seen.take(record, position).unwrap();
            }
        }
        let candidates = if random.below(2) == 0 { 12 } else { random.below(4) };
        for event in judged(n, u32::try_from(candidates).unwrap()) {
            seen.records.push((ledger.next_seq(), T0, serde_json::to_string(&event).unwrap()));
            ledger.stage(T0, &event).unwrap();
        }
        let committed = ledger.commit().unwrap();
        seen.chains.insert(committed.batch, committed.chain);
        *acknowledged.lock().unwrap() = seen.clone();
        if random.below(3) == 0 {
            ledger.level_head().unwrap();
        }
    }
    ledger.close().unwrap();
    std::mem::take(&mut *images.lock().unwrap())
}

/// Opens an image and checks it against what was acknowledged.
fn check(image: &Image) -> RecoveryReport {
    let report = match verify_in(&image.lost, 1, &|_, _| {}) {
        Ok(report) => report.findings,
        Err(orch_ledger::VerifyError::NoLedger { .. }) => Vec::new(),
        Err(error) => panic!("seed {}: {error}", image.seed),
    };
    assert_eq!(report, [], "seed {}", image.seed);
    let (opened, found) =
        support::open(&image.lost).unwrap_or_else(|error| panic!("seed {}: refused: {error}", image.seed));
    let known = &image.acknowledged.records;
    assert!(found.records.len() >= known.len() + 2, "seed {}: records are missing", image.seed);
    assert_eq!(&found.records[..known.len()], &known[..], "seed {}", image.seed);
    opened.recovered
}

#[test]
fn nothing_acknowledged_is_lost_and_nothing_refused() {
    let mut images = 0;
    let mut torn = 0;
    let cases = [(0, 0), (3000, 0), (3000, 1024), (20_000, 8000)];
    for (case, (claim_bytes, zero_bytes)) in cases.into_iter().enumerate() {
        let options = OpenOptions { claim_bytes, zero_bytes, segment_bytes: 3500, ..options() };
        for round in 0..3 {
            let seed = (case * 100 + round) as u64;
            let first = run(&MemoryDir::new(), &Seen::default(), &options, seed, 4);
            for image in &first {
                // A second accident while the ledger recovers from the first, or later.
                let again = (image.seed % AGAIN == 0).then(|| image.lost.copy());
                torn += u32::from(check(image).quarantined.is_some());
                images += 1;
                for disk in again.iter().chain(&image.killed) {
                    for image in run(disk, &image.acknowledged, &options, image.seed, 1) {
                        check(&image);
                        images += 1;
                    }
                }
            }
        }
    }
    assert!(images > 5000 && torn > 50, "{images} images, {torn} torn");
}

//! Power fails at every change of a run, again during the recovery, after a kill, and after a sync that failed.
//!
//! A round is a story of one disk: it is told once without accidents, which says what the ledger will hold, and once
//! with them. Each image that an accident leaves is verified and opened with the real recovery code, and must hold
//! everything that was acknowledged, then whole batches of the story, and nothing else. From some of the images the
//! story goes on, and meets more accidents. A seed tells the same round every time.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use orch_ledger::disk::memory::errno::EIO;
use orch_ledger::disk::memory::{Call, Lasting, MemoryDir, Mishap, Random};
use orch_ledger::disk::{Access, Dir};
use orch_ledger::verify::verify_in;
use orch_ledger::{CommitError, Ledger, OpenError, OpenOptions, RecoveryReport, VerifyError};

use super::{Seen, T0, judged, open_with, options};

/// The most images of one moment that are all checked; where there may be more, some are drawn.
const ALL: usize = 24;
/// How many are drawn at a moment.
const DRAWN: usize = 4;
/// How often a story goes on from an accident, one in so many.
const AGAIN: usize = 61;
/// How often a recovery is repeated on what it left, one in so many.
const TWICE: usize = 8;

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Images that a loss of power left.
    pub images: u64,
    /// Of these, images of moments of which every possible one was checked.
    pub of_complete_moments: u64,
    /// Images with a torn batch.
    pub torn: u64,
    /// Images of a recovery from an accident, or of what came after it.
    pub second_accidents: u64,
    /// Stories that went on after the process was killed.
    pub kills: u64,
    /// Of these, after a sync that had failed.
    pub failed_syncs: u64,
    /// Recoveries that were repeated.
    pub repeated: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { images, of_complete_moments, torn, second_accidents, kills, failed_syncs, repeated } = other;
        self.images += images;
        self.of_complete_moments += of_complete_moments;
        self.torn += torn;
        self.second_accidents += second_accidents;
        self.kills += kills;
        self.failed_syncs += failed_syncs;
        self.repeated += repeated;
    }
}

/// What tells a round again.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-ledger --example power_loss -- --seed {seed} --rounds 1")
}

/// A story, from a disk and what is acknowledged of its ledger.
struct Story {
    options: OpenOptions,
    seed: u64,
    batches: u64,
    /// How many accidents led here.
    depth: u32,
}

/// What is known of the story at a moment.
struct Moment {
    /// What callers were answered for.
    acknowledged: Seen,
    /// All that the story records in the end, and how many records end a batch.
    whole: Seen,
    ends: BTreeSet<usize>,
    tally: Tally,
    random: Random,
}

/// Tells the round of a seed.
///
/// # Panics
/// If an image is refused, or lacks what was acknowledged.
pub fn round(seed: u64) -> Tally {
    let sizes = [(0, 0), (3000, 0), (3000, 1024), (20_000, 8000)];
    let (claim_bytes, zero_bytes) = sizes[usize::try_from(seed % 4).unwrap()];
    let options = OpenOptions { claim_bytes, zero_bytes, segment_bytes: 3500, ..options() };
    Arc::new(Story { options, seed, batches: 5, depth: 0 }).tell(&MemoryDir::new(), &Seen::default())
}

impl Story {
    fn tell(self: &Arc<Self>, disk: &MemoryDir, known: &Seen) -> Tally {
        let mut ends = BTreeSet::from([0]);
        let mut whole = Seen::default();
        let (syncs, count) = counted_syncs(&disk.kill());
        let end = self.run(&syncs, &mut |seen, more| {
            ends.extend(more);
            ends.insert(seen.records.len());
            whole = seen.clone();
        });
        assert_eq!(end, End::Closed);
        let random = Random::new(self.seed);
        let moment = Moment { acknowledged: known.clone(), whole, ends, tally: Tally::default(), random };
        let moment = Arc::new(Mutex::new(moment));
        let fails = self.depth < 2 && self.seed.is_multiple_of(2);
        if fails {
            let at = moment.lock().unwrap().random.below(*count.lock().unwrap());
            disk.fail(at, Lasting::Once, Mishap::Error(EIO), counts);
        }
        disk.set_watch({
            let (story, moment) = (Arc::clone(self), Arc::clone(&moment));
            move |disk| story.accidents(disk, &mut moment.lock().unwrap_or_else(PoisonError::into_inner))
        });
        let end = self.run(disk, &mut |seen, _| moment.lock().unwrap().acknowledged = seen.clone());
        disk.clear_watch();
        let mut moment = moment.lock().unwrap();
        assert_eq!(end == End::Closed, !fails, "a sync that fails is the end");
        if fails {
            moment.tally.failed_syncs += 1;
            self.go_on(&disk.kill(), &mut moment);
        }
        moment.tally
    }

    /// Writes the ledger; `acknowledge` is told of everything that may be answered for, and where batches ended that
    /// were there.
    fn run(&self, disk: &MemoryDir, acknowledge: &mut Acknowledge<'_>) -> End {
        let (mut seen, mut ends) = (Seen::default(), Vec::new());
        let shared: Arc<dyn Dir> = Arc::new(disk.clone());
        let opened = Ledger::open_in(shared, self.options.clone(), &mut |record, position| {
            seen.take(record, position)?;
            ends.extend(position.chain.map(|_| seen.records.len()));
            Ok(())
        });
        let opened = match opened {
            Ok(opened) => opened,
            Err(OpenError::Io { .. }) => return End::Died,
            Err(error) => panic!("refused: {error}"),
        };
        // A started ledger answers for all that it has, un-synced before or not.
        acknowledge(&seen, &ends);
        // Nobody minds what becomes of LOCK, so it should not count as something that may become of the disk.
        disk.open("LOCK", Access::Write).and_then(|file| file.sync_all()).unwrap_or_default();
        match self.write(opened.ledger, &mut seen, acknowledge) {
            Ok(()) => End::Closed,
            Err(CommitError::Fatal { .. }) => End::Died,
            Err(CommitError::NoSpace(error)) => panic!("{error}"),
        }
    }

    fn write(&self, mut ledger: Ledger, seen: &mut Seen, acknowledge: &mut Acknowledge<'_>) -> Result<(), CommitError> {
        let mut random = Random::new(self.seed);
        for n in 0..self.batches {
            if let Some(rolled) = ledger.maybe_roll(T0)? {
                for (record, position) in &rolled.records {
                    seen.take(record, position).unwrap();
                    acknowledge(seen, &[]);
                }
            }
            ledger.reserve(500)?;
            let candidates = if random.flip() { 9 } else { random.below(4) };
            let mut after = seen.clone();
            for event in judged(n, u32::try_from(candidates).unwrap()) {
                let seq = ledger.stage(T0, &event).unwrap();
                after.records.push((seq, T0, serde_json::to_string(&event).unwrap()));
            }
            let committed = ledger.commit()?;
            after.chains.insert(committed.batch, committed.chain);
            *seen = after;
            acknowledge(seen, &[]);
            if random.below(3) == 0 {
                ledger.level_head()?;
            }
        }
        ledger.close()
    }

    /// What may become of the disk at this moment.
    fn accidents(&self, disk: &MemoryDir, moment: &mut Moment) {
        let images = match disk.power_losses(if self.depth == 0 { ALL } else { 2 }) {
            Some(images) => {
                moment.tally.of_complete_moments += images.len() as u64;
                images
            }
            None if self.depth == 0 => (0..DRAWN).map(|_| disk.power_loss(&mut moment.random)).collect(),
            None => vec![disk.power_loss(&mut moment.random)],
        };
        for image in images {
            moment.tally.images += 1;
            moment.tally.second_accidents += u64::from(self.depth > 0);
            let goes_on = self.depth < 2 && moment.random.below(AGAIN) == 0;
            let again = goes_on.then(|| image.copy());
            let report = check(&image, moment, &self.options);
            moment.tally.torn += u64::from(report.quarantined.is_some());
            if let Some(disk) = again {
                self.go_on(&disk, moment);
            }
        }
        if self.depth < 2 && moment.random.below(AGAIN) == 0 {
            moment.tally.kills += 1;
            self.go_on(&disk.kill(), moment);
        }
    }

    /// Goes on with what an accident left.
    fn go_on(&self, disk: &MemoryDir, moment: &mut Moment) {
        let seed = moment.random.next_u64();
        let story = Self { options: self.options.clone(), seed, batches: seed % 3, depth: self.depth + 1 };
        let tally = Arc::new(story).tell(disk, &moment.acknowledged);
        moment.tally.add(&tally);
    }
}

/// Is told what may be answered for, and ends of batches.
type Acknowledge<'a> = dyn FnMut(&Seen, &[usize]) + 'a;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Closed,
    Died,
}

/// The ledger's own syncs.
fn counts(call: Call, name: &str) -> bool {
    call.is_sync() && name != "LOCK"
}

/// The disk, and how many syncs are asked of it.
fn counted_syncs(disk: &MemoryDir) -> (MemoryDir, Arc<Mutex<usize>>) {
    let count = Arc::new(Mutex::new(0));
    disk.set_hook({
        let count = Arc::clone(&count);
        move |call: Call, name: &str| {
            *count.lock().unwrap() += usize::from(counts(call, name));
            None
        }
    });
    (disk.clone(), count)
}

/// Verifies and opens an image, and compares it with what must be there and what may be there.
fn check(image: &MemoryDir, moment: &mut Moment, options: &OpenOptions) -> RecoveryReport {
    match verify_in(image, 1, &|_, _| {}) {
        Ok(report) => assert_eq!(report.findings, []),
        Err(VerifyError::NoLedger { .. }) => {}
        Err(error) => panic!("{error}"),
    }
    let (opened, found) = open_with(image, options.clone()).unwrap_or_else(|error| panic!("refused: {error}"));
    let Moment { acknowledged, whole, ends, .. } = moment;
    // Every start records its segment and itself.
    let len = found.records.len() - 2;
    let known = acknowledged.records.len();
    assert!(len >= known, "{} acknowledged records are missing", known - len);
    assert!(len <= whole.records.len() && ends.contains(&len), "{len} records are no whole batches: {ends:?}");
    assert_eq!(found.records[..len], whole.records[..len]);
    for (batch, chain) in &acknowledged.chains {
        assert_eq!(found.chains.get(batch), Some(chain), "batch {batch}");
    }
    drop(opened.ledger);
    if moment.random.below(TWICE) == 0 {
        moment.tally.repeated += 1;
        let (again, found_again) = open_with(image, options.clone()).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(found_again.records[..len + 2], found.records, "what was recovered stays");
        assert_eq!(again.recovered, RecoveryReport::default());
    }
    opened.recovered
}

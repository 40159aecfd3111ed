//! Power fails at every change that the engine makes to its disk.
//!
//! Each image is recovered by a real engine, and the checker compares everything that any caller was told until then
//! with its ledger and its state. From some of the images the people and the worker go on, send again what was not
//! answered, and meet more accidents. A seed tells the same round every time.

use std::sync::{Arc, Mutex, PoisonError};

use orch_ledger::disk::memory::errno::EIO;
use orch_ledger::disk::memory::{Lasting, MemoryDir, Mishap, Random};

use super::client::Client;
use super::machine::{check, start};

/// The most images of one moment that are all checked; where there may be more, some are drawn.
const ALL: usize = 6;
/// How many are drawn at a moment.
const DRAWN: usize = 2;
/// How often a story goes on from an accident, one in so many.
const AGAIN: usize = 61;

/// What was checked.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// Images that a loss of power left.
    pub images: u64,
    /// Of these, with a torn batch.
    pub torn: u64,
    /// Of these, after another accident.
    pub second_accidents: u64,
    /// Stories that went on after the process was killed.
    pub kills: u64,
    /// Stories that went on after a sync had failed.
    pub failed_syncs: u64,
    /// Answers that were compared with images.
    pub answers: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { images, torn, second_accidents, kills, failed_syncs, answers } = other;
        self.images += images;
        self.torn += torn;
        self.second_accidents += second_accidents;
        self.kills += kills;
        self.failed_syncs += failed_syncs;
        self.answers += answers;
    }
}

/// What tells a round again.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-sim --example engine_disk -- power-loss --seed {seed} --rounds 1")
}

struct Moment {
    client: Client,
    tally: Tally,
    random: Random,
    seed: u64,
    depth: u32,
}

/// Tells the round of a seed.
///
/// # Panics
/// If an image is refused, or something that was told is not in it.
pub fn round(seed: u64) -> Tally {
    tell(&MemoryDir::new(), Client::new(seed), seed, 16, 0)
}

fn tell(disk: &MemoryDir, client: Client, seed: u64, batches: usize, depth: u32) -> Tally {
    let mut random = Random::new(seed);
    // About three syncs a batch.
    let fails = depth < 2 && seed % 2 == 1;
    let at = random.below(3 * batches + 10);
    if fails {
        disk.fail(at, Lasting::Once, Mishap::Error(EIO), |call, _| call.is_sync());
    }
    let moment = Moment { client: client.clone(), tally: Tally::default(), random, seed, depth };
    let moment = Arc::new(Mutex::new(moment));
    disk.set_watch({
        let moment = Arc::clone(&moment);
        move |disk| moment.lock().unwrap_or_else(PoisonError::into_inner).accidents(disk)
    });
    let ended = run(disk, client, seed, batches, &mut |client| moment.lock().unwrap().client = client.clone());
    disk.clear_watch();
    let mut moment = moment.lock().unwrap();
    if ended {
        assert!(fails, "the engine ended although nothing had failed");
        moment.tally.failed_syncs += 1;
        moment.go_on(&disk.kill());
    }
    moment.tally
}

/// Runs batches on the disk; `heard` is told what the client knows after each. True: the engine ended on the way.
fn run(disk: &MemoryDir, mut client: Client, seed: u64, batches: usize, heard: &mut dyn FnMut(&Client)) -> bool {
    let mut engine = match start(disk, seed, &mut client) {
        Ok(opened) => opened.engine,
        Err(orch_ledger::OpenError::Io { .. }) => return true,
        Err(error) => panic!("refused: {error}"),
    };
    for n in 0..batches {
        if client.step(&mut engine).is_err() {
            return true;
        }
        heard(&client);
        if n % 5 == 4 && engine.level_head().is_err() {
            return true;
        }
    }
    check(disk, &client.told, &engine);
    engine.close().is_err()
}

impl Moment {
    /// What may become of the disk at this moment.
    fn accidents(&mut self, disk: &MemoryDir) {
        let (all, drawn) = if self.depth == 0 { (ALL, DRAWN) } else { (1, 1) };
        let images = match disk.power_losses(all) {
            Some(images) => images,
            None => (0..drawn).map(|_| disk.power_loss(&mut self.random)).collect(),
        };
        for image in images {
            self.tally.images += 1;
            self.tally.answers += self.client.told.len() as u64;
            self.tally.second_accidents += u64::from(self.depth > 0);
            let again = (self.depth < 2 && self.random.below(AGAIN) == 0).then(|| image.copy());
            let opened = start(&image, self.seed, &mut self.client.clone());
            let opened = opened.unwrap_or_else(|error| panic!("refused: {error}"));
            self.tally.torn += u64::from(opened.recovered.quarantined.is_some());
            check(&image, &self.client.told, &opened.engine);
            if let Some(disk) = again {
                self.go_on(&disk);
            }
        }
        if self.depth < 2 && self.random.below(AGAIN) == 0 {
            self.tally.kills += 1;
            self.go_on(&disk.kill());
        }
    }

    fn go_on(&mut self, disk: &MemoryDir) {
        let seed = self.random.next_u64();
        let tally = tell(disk, self.client.clone(), seed, 4, self.depth + 1);
        self.tally.add(&tally);
    }
}

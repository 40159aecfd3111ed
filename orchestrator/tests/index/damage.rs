//! A directory of sled's, damaged in every way: whatever sled makes of it, the index is right in the end.
//!
//! The index is a cache: nothing is accepted or refused because of what it says, so what can go wrong is an answer that
//! differs from a fresh index's, a panic that takes the process along, or a start that hangs.

use std::collections::BTreeMap;
use std::path::Path;

use orch_core::id::JobId;
use orch_core::summary::JobSummary;
use orch_ledger::disk::memory::Random;
use orch_orchestrator::index::{Filter, directory};

use super::world::{LEDGER, LONG, World, job, lease_some};

/// What became of the damaged ones.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub cases: u64,
    /// Thrown away and built from the first record.
    pub built_again: u64,
    /// Used as they were: the damage hit nothing that counts, or sled mended it.
    pub used: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { cases, built_again, used } = other;
        self.cases += cases;
        self.built_again += built_again;
        self.used += used;
    }
}

/// What repeats a case.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-orchestrator --example index_damage -- --seed {seed} --cases 1")
}

type Files = BTreeMap<String, Vec<u8>>;

/// A ledger, what its index must answer, and directories to choose from.
pub struct Pool {
    world: World,
    answers: Vec<(JobId, JobSummary)>,
    good: Files,
    /// When the ledger was half as long.
    earlier: Files,
    /// Of a ledger that went on from here.
    ahead: Files,
    /// Of another ledger with as many records.
    other: Files,
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

impl Pool {
    pub fn new() -> Self {
        let mut world = World::with_jobs(300);
        let earlier = index_of(&world);
        lease_some(&mut world, 60);
        let good = index_of(&world);
        let mut other = World::new();
        other.now = orch_core::time::Timestamp(9_000_000);
        other.submit(vec![super::world::queue("a"), super::world::queue("b")], Vec::new());
        other.submit(Vec::new(), (0..360).map(|_| job("b")).collect());
        let other = index_of(&other);
        let answers = world.model().into_iter().map(|(job, entry)| (job, entry.summary)).collect();
        let ahead = {
            let mut ahead = World::with_jobs(300);
            lease_some(&mut ahead, 60);
            lease_some(&mut ahead, 30);
            index_of(&ahead)
        };
        Self { world, answers, good, earlier, ahead, other }
    }
}

/// The files of a ledger's index.
fn index_of(world: &World) -> Files {
    let data = tempfile::tempdir().unwrap();
    let follower = world.follow(Some(data.path()));
    runtime().block_on(world.assert_followed(&follower.index()));
    follower.stop();
    let dir = directory(data.path(), LEDGER);
    let mut files = Files::new();
    read_into(&mut files, &dir, "");
    files
}

fn read_into(files: &mut Files, dir: &Path, below: &str) {
    for entry in std::fs::read_dir(dir).unwrap().flatten() {
        let name = format!("{below}{}", entry.file_name().to_string_lossy());
        if entry.path().is_dir() {
            read_into(files, &entry.path(), &format!("{name}/"));
        } else {
            files.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
}

fn write_to(dir: &Path, files: &Files) {
    for (name, bytes) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
}

/// Damages a directory in one to three ways and has the index follow from it.
///
/// # Panics
/// If its answers are not those of a fresh index, or do not come.
pub fn case(pool: &Pool, seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let mut files = pool.good.clone();
    let mut done = Vec::new();
    for _ in 0..1 + random.below(3) {
        done.push(damage(&mut files, pool, &mut random));
    }
    let data = tempfile::tempdir().unwrap();
    let dir = directory(data.path(), LEDGER);
    std::fs::create_dir_all(&dir).unwrap();
    write_to(&dir, &files);
    // It stays if the directory is used, and goes if it is built again.
    let trace = dir.join("trace-of-the-damaged-one");
    std::fs::write(&trace, "").unwrap();
    let last = pool.world.state.last_seq();
    let follower = pool.world.follow(Some(data.path()));
    let answered = runtime().block_on(async {
        let index = follower.index();
        let status = index.wait_for(last, LONG).await;
        assert_eq!((status.applied, status.problem.as_str()), (last, ""), "{done:?}: it does not come to its end");
        index.list(Filter::default(), JobId::new(0), usize::MAX).await.unwrap().jobs
    });
    assert!(answered == pool.answers, "{done:?}: its answers are not those of a fresh one");
    let used = trace.exists();
    follower.stop();
    // What it left is good: the next start answers alike.
    let follower = pool.world.follow(Some(data.path()));
    runtime().block_on(async {
        let status = follower.index().wait_for(last, LONG).await;
        assert_eq!((status.applied, status.kind), (last, "sled"), "{done:?}");
        let jobs = follower.index().list(Filter::default(), JobId::new(0), usize::MAX).await.unwrap().jobs;
        assert!(jobs == pool.answers, "{done:?}: other answers after the next start");
    });
    follower.stop();
    Tally { cases: 1, built_again: u64::from(!used), used: u64::from(used) }
}

fn damage(files: &mut Files, pool: &Pool, random: &mut Random) -> String {
    let names: Vec<String> = files.keys().cloned().collect();
    let Some(name) = names.get(random.below(names.len().max(1))).cloned() else { return "nothing is left".into() };
    // Most of it is in one file.
    let name = if random.below(3) > 0 && files.contains_key("db") { "db".to_owned() } else { name };
    let bytes = files.get_mut(&name).unwrap();
    let used = bytes.iter().rposition(|byte| *byte != 0).map_or(1, |last| last + 1);
    let kind = random.below(12);
    let what = match kind {
        0..3 if !bytes.is_empty() => {
            let (at, bit) = (random.below(used), random.below(8));
            bytes[at] ^= 1 << bit;
            format!("bit {bit} of byte {at} flipped")
        }
        3 => {
            let len = random.below(used + 1);
            bytes.truncate(len);
            format!("cut to {len}")
        }
        4..8 => {
            let size = if random.flip() { 512 } else { 4096 };
            let start = random.below(used.div_ceil(size)) * size;
            let end = (start + size).min(bytes.len());
            let block = match kind {
                4 => vec![0; size],
                5 => random.bytes(size),
                6 => pool.earlier.get(&name).and_then(|then| then.get(start..)).unwrap_or_default().to_vec(),
                _ => bytes[random.below(used.div_ceil(size)) * size..].to_vec(),
            };
            if start < end {
                let len = block.len().min(end - start);
                bytes[start..start + len].copy_from_slice(&block[..len]);
            }
            format!("{size} bytes at {start} {}", ["zeroed", "garbage", "rolled back", "misdirected"][kind - 4])
        }
        8 => {
            files.remove(&name);
            "removed".to_owned()
        }
        9 => {
            let (what, from) = [("earlier", &pool.earlier), ("ahead", &pool.ahead), ("another", &pool.other)]
                .into_iter()
                .nth(random.below(3))
                .unwrap();
            match from.get(&name) {
                Some(theirs) => bytes.clone_from(theirs),
                None => drop(files.remove(&name)),
            }
            format!("is that of an index that is {what}")
        }
        10 => {
            let (what, from) =
                [("ahead", &pool.ahead), ("of another ledger", &pool.other)].into_iter().nth(random.below(2)).unwrap();
            files.clone_from(from);
            return format!("all files of an index that is {what}");
        }
        _ => {
            bytes.extend_from_slice(&random.bytes(700));
            "garbage behind its end".to_owned()
        }
    };
    format!("{name}: {what}")
}

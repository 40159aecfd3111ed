//! Blocks that a disk lost, mixed up or forgot to write, and segments that are not where they should be.

use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::{MemoryDir, Random};

use super::sample::Sample;
use super::{Start, findings, start, stays};

/// What came of the cases.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    pub cases: u64,
    /// Refused and located.
    pub refused: u64,
    /// The damage hit nothing that counts, or only a batch that no HEAD vouched for.
    pub opened: u64,
    /// Nothing was changed after all.
    pub unchanged: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { cases, refused, opened, unchanged } = other;
        self.cases += cases;
        self.refused += refused;
        self.opened += opened;
        self.unchanged += unchanged;
    }
}

/// What repeats a case.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-ledger --example damage -- blocks --seed {seed} --cases 1")
}

/// Ledgers to choose from: making one takes longer than damaging it.
pub struct Pool(Vec<Sample>);

impl Pool {
    pub fn new() -> Self {
        Self((0..24).map(|seed| Sample::of(seed, 6)).collect())
    }
}

/// Damages a ledger in one to three ways.
///
/// # Panics
/// If something wrong is accepted, something that HEAD vouches for is missing, or verification disagrees.
pub fn case(pool: &Pool, seed: u64) -> Tally {
    let mut random = Random::new(seed);
    let sample = &pool.0[random.below(pool.0.len())];
    let other = &pool.0[random.below(pool.0.len())];
    let dir = sample.dir.copy();
    let mut done = Vec::new();
    for _ in 0..1 + random.below(3) {
        done.push(damage(&dir, sample, other, &mut random));
    }
    let before = sample.dir.files();
    let after = dir.files();
    let head_touched = before["HEAD"] != after.get("HEAD").cloned().unwrap_or_default();
    let mut tally = Tally { cases: 1, ..Tally::default() };
    let found = findings(&dir);
    match start(&dir, sample) {
        Start::Opened(records, _) => {
            assert_eq!(found, [""; 0], "{done:?}: verification finds what the start did not");
            // Without HEAD nobody can tell how far the ledger must reach.
            assert!(head_touched || records >= sample.vouched(), "{done:?}: {records} of {}", sample.vouched());
            stays(&dir, records);
            tally.opened += 1;
        }
        Start::Refused(text) => {
            assert!(found.first().is_some_and(|finding| text.contains(finding)), "{done:?}: {text}\n{found:#?}");
            assert!(text.contains("run next: orchctl ledger verify /memory"), "{text}");
            assert_ne!(before, after, "{text}");
            let mut now = dir.files();
            // Its text is the holder's.
            now.remove("LOCK");
            let mut then = after.clone();
            then.remove("LOCK");
            assert_eq!(now, then, "{done:?}: a refusal changes nothing");
            tally.refused += 1;
        }
    }
    tally.unchanged += u64::from(before == after);
    tally
}

/// What a file is hit by. Its name is in the message of a failing case.
fn damage(dir: &MemoryDir, sample: &Sample, other: &Sample, random: &mut Random) -> String {
    let files = dir.files();
    let names: Vec<&String> = files.keys().filter(|name| *name != "LOCK" && !name.starts_with("quarantine")).collect();
    let segments: Vec<&String> = names.iter().copied().filter(|name| name.starts_with("ledger/")).collect();
    if segments.is_empty() {
        return "nothing is left".to_owned();
    }
    let kind = random.below(12);
    if kind < 7 {
        // Mostly segments: there are more of them, and they are larger.
        let name = if random.below(5) == 0 {
            names[random.below(names.len())]
        } else {
            segments[random.below(segments.len())]
        };
        let mut bytes = files[name].clone();
        let text = block(&mut bytes, name, kind, sample, other, &files, random);
        dir.put(name, &bytes);
        return format!("{name}: {text}");
    }
    let name = segments[random.below(segments.len())];
    let another = segments[random.below(segments.len())];
    match kind {
        7 => {
            dir.remove(name).unwrap();
            format!("{name} removed")
        }
        8 => {
            let seq = 1 + random.below(sample.seen.records.len() + 40);
            let copy = format!("ledger/{seq:020}.jsonl");
            dir.put(&copy, &files[name]);
            format!("{name} copied to {copy}")
        }
        9 => {
            dir.put(name, &files[another]);
            dir.put(another, &files[name]);
            format!("{name} and {another} swapped")
        }
        10 => {
            let theirs = &other.segments[random.below(other.segments.len())];
            dir.put(name, &theirs.bytes);
            format!("{name} is {} of another ledger", theirs.name)
        }
        _ => {
            let then = &sample.earlier[random.below(sample.earlier.len())];
            match then.get(name) {
                Some(bytes) => dir.put(name, bytes),
                None => dir.remove(name).unwrap(),
            }
            format!("{name} as it was earlier")
        }
    }
}

/// Hits one or more blocks of a file.
fn block(
    bytes: &mut Vec<u8>,
    name: &str,
    kind: usize,
    sample: &Sample,
    other: &Sample,
    files: &std::collections::BTreeMap<String, Vec<u8>>,
    random: &mut Random,
) -> String {
    let size = if random.flip() { 512 } else { 4096 };
    let start = random.below(bytes.len().div_ceil(size).max(1)) * size;
    let end = (start + size * (1 + random.below(2))).min(bytes.len());
    if start >= end {
        bytes.extend_from_slice(&random.bytes(size));
        return "garbage behind its end".to_owned();
    }
    let from = |source: &[u8], at: usize| {
        let mut block: Vec<u8> = source.get(at..).unwrap_or_default().iter().copied().take(end - start).collect();
        block.resize(end - start, 0);
        block
    };
    let (text, block) = match kind {
        0 | 1 => ("zeroed", vec![0; end - start]),
        2 => ("garbage", random.bytes(end - start)),
        3 => {
            let source = files.values().nth(random.below(files.len())).unwrap();
            ("misdirected", from(source, random.below(source.len().div_ceil(size).max(1)) * size))
        }
        4 => {
            let then = &sample.earlier[random.below(sample.earlier.len())];
            ("rolled back", from(then.get(name).map_or(&[][..], Vec::as_slice), start))
        }
        5 => {
            let theirs = &other.segments[random.below(other.segments.len())];
            ("another ledger's", from(&theirs.bytes, start))
        }
        _ => {
            let mut turned = bytes[start..end].to_vec();
            turned.rotate_left(1);
            ("shifted", turned)
        }
    };
    bytes[start..end].copy_from_slice(&block);
    format!("bytes {start}..{end} {text}")
}

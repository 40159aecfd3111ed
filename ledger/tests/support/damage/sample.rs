//! Ledgers to be damaged, and what is known of them.

use std::collections::BTreeMap;

use orch_core::id::Seq;
use orch_ledger::disk::memory::{MemoryDir, Random};
use orch_ledger::{Head, OpenOptions, durable_head};

use crate::support::{Seen, commit, judged, open_with, options, paused};

/// A ledger, and the truth about it.
pub struct Sample {
    pub dir: MemoryDir,
    pub seen: Seen,
    pub head: Head,
    /// Its segments, in order.
    pub segments: Vec<Segment>,
    /// The ledger's directory as it was at earlier times.
    pub earlier: Vec<BTreeMap<String, Vec<u8>>>,
}

/// A segment's lines.
pub struct Segment {
    pub name: String,
    /// Without claimed space.
    pub bytes: Vec<u8>,
    /// Where its lines begin.
    pub lines: Vec<usize>,
    /// Where its batches end, newline included, with their number and their last seq.
    pub ends: Vec<(usize, u64, u64)>,
}

impl Sample {
    /// The ledger of a seed: some boots, rolls, batches of all sizes; HEAD level or one batch behind; closed or not.
    /// `batches` more or less per boot.
    pub fn of(seed: u64, batches: usize) -> Self {
        let mut random = Random::new(seed);
        let dir = MemoryDir::new();
        let sizes = [(0, 0), (2048, 512), (3000, 1024)];
        let (claim_bytes, zero_bytes) = sizes[random.below(sizes.len())];
        let id = format!("0190b5a4-3c00-7000-8000-{seed:012x}");
        let options = OpenOptions {
            new_ledger_id: Some(id),
            segment_bytes: 1500 + 500 * random.below(4) as u64,
            claim_bytes,
            zero_bytes,
            ..options()
        };
        let mut earlier = Vec::new();
        let boots = 2 + random.below(2);
        for boot in 0..boots {
            let (mut opened, _) = open_with(&dir, options.clone()).unwrap();
            for n in 0..batches {
                opened.ledger.maybe_roll(super::super::T0).unwrap();
                match random.below(6) {
                    0 => commit(&mut opened.ledger, &[paused("over night, \"{\\\"seq\\\":7\"")]),
                    1..3 => commit(&mut opened.ledger, &judged(n as u64, 1)),
                    _ => commit(&mut opened.ledger, &judged(n as u64, u32::try_from(random.below(4)).unwrap())),
                };
                earlier.push(dir.files());
            }
            if boot + 1 < boots || random.flip() {
                opened.ledger.level_head().unwrap();
            }
            if random.below(3) == 0 {
                opened.ledger.close().unwrap();
            }
        }
        Self::read(dir, earlier)
    }

    fn read(dir: MemoryDir, earlier: Vec<BTreeMap<String, Vec<u8>>>) -> Self {
        let mut seen = Seen::default();
        let shared: std::sync::Arc<dyn orch_ledger::disk::Dir> = std::sync::Arc::new(dir.copy());
        let replayed =
            orch_ledger::Ledger::open_in(shared, options(), &mut |record, position| seen.take(record, position));
        drop(replayed.unwrap());
        // The start's own.
        seen.records.truncate(seen.records.len() - 2);
        seen.chains.pop_last();
        let files = dir.files();
        let segments = files.iter().filter(|(name, _)| name.ends_with(".jsonl"));
        let segments = segments.map(|(name, bytes)| Segment::read(name, bytes)).collect();
        let head = durable_head(&dir).unwrap();
        Self { dir, seen, head, segments, earlier }
    }

    /// A copy of the ledger with another content of one file.
    pub fn with(&self, name: &str, bytes: &[u8]) -> MemoryDir {
        let dir = self.dir.copy();
        dir.put(name, bytes);
        dir
    }

    /// Its segments' bytes together.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes.len() as u64).sum()
    }

    /// How many records there are up to the batch that HEAD names.
    pub fn vouched(&self) -> usize {
        let Head { seq: Seq(seq), .. } = self.head;
        usize::try_from(seq).unwrap()
    }
}

impl Segment {
    fn read(name: &str, bytes: &[u8]) -> Self {
        let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        let (mut lines, mut ends, mut start) = (Vec::new(), Vec::new(), 0);
        for line in bytes[..used].split_inclusive(|byte| *byte == b'\n') {
            let value: serde_json::Value = serde_json::from_slice(line).unwrap();
            lines.push(start);
            start += line.len();
            if value["left"] == 0 {
                ends.push((start, value["batch"].as_u64().unwrap(), value["seq"].as_u64().unwrap()));
            }
        }
        Self { name: name.to_owned(), bytes: bytes[..used].to_vec(), lines, ends }
    }
}

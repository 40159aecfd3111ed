//! Every bit of a ledger's directory, flipped.

use super::sample::Sample;
use super::{Start, findings, start, stays};

/// Verification is asked for every so manieth bit, and is asked about all of them in turn.
const VERIFIED: usize = 8;

/// Of claimed space, which is all alike, every so manieth byte is enough.
pub const SOME: usize = 97;

/// What was flipped.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The size of the ledgers.
    pub bytes: u64,
    /// Bits of lines: all refused, at the right line.
    pub lines: u64,
    /// Bits of claimed space: put into the quarantine.
    pub claimed: u64,
    /// Bits of HEAD: the other slot serves.
    pub head: u64,
    /// Bits of LEDGER_ID: all refused.
    pub identity: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { bytes, lines, claimed, head, identity } = other;
        self.bytes += bytes;
        self.lines += lines;
        self.claimed += claimed;
        self.head += head;
        self.identity += identity;
    }
}

/// How much of HEAD is flipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Head {
    /// Nothing, nor LEDGER_ID.
    Nothing,
    /// Every bit of what is written in its slots, some of the space behind it; and all of LEDGER_ID.
    Text,
    /// Every bit, and all of LEDGER_ID.
    Everything,
}

/// What repeats a ledger's flips.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-ledger --example damage -- flips --seed {seed} --ledgers 1")
}

/// Flips every bit of the segments of the ledger of a seed, and the tally counts the ledger's bytes.
///
/// # Panics
/// If a flip is not treated as the format says.
pub fn all(seed: u64, head: Head) -> Tally {
    let sample = Sample::of(seed, 1);
    let mut tally = Tally { bytes: sample.bytes(), ..Tally::default() };
    for (i, segment) in sample.segments.iter().enumerate() {
        let mut bytes = sample.dir.files()[&segment.name].clone();
        let used = segment.bytes.len();
        let dir = sample.dir.copy();
        let counts = |at: &usize| *at < used + 64 || at.is_multiple_of(SOME);
        for at in (0..bytes.len()).filter(counts) {
            for bit in 0..8 {
                bytes[at] ^= 1 << bit;
                if at < used {
                    // A refusal changes nothing, so the next one meets the same.
                    dir.put(&segment.name, &bytes);
                    let line = segment.lines.partition_point(|start| *start <= at);
                    let place = format!("{} line {line} (byte {}): expected ", segment.name, segment.lines[line - 1]);
                    refused(&dir, &sample, &place, (at * 8 + bit) % VERIFIED == at % VERIFIED, (at, bit));
                    tally.lines += 1;
                } else {
                    let dir = sample.with(&segment.name, &bytes);
                    assert_eq!(i + 1, sample.segments.len(), "only the last segment has claimed space");
                    let Start::Opened(records, report) = start(&dir, &sample) else { panic!("bit {bit} of byte {at}") };
                    assert_eq!(records, sample.seen.records.len());
                    assert!(report.quarantined.is_some());
                    tally.claimed += 1;
                }
                bytes[at] ^= 1 << bit;
            }
        }
    }
    match head {
        Head::Nothing => {}
        Head::Text => small_files(&sample, |at| at % 4096 < 300 || at.is_multiple_of(SOME), &mut tally),
        Head::Everything => small_files(&sample, |_| true, &mut tally),
    }
    tally
}

fn refused(
    dir: &orch_ledger::disk::memory::MemoryDir,
    sample: &Sample,
    place: &str,
    verify: bool,
    bit: (usize, usize),
) {
    let found = verify.then(|| findings(dir));
    match start(dir, sample) {
        Start::Refused(text) => {
            assert!(text.contains(place), "bit {bit:?}: expected {place}: {text}");
            if let Some(found) = found {
                assert!(found.first().is_some_and(|finding| text.contains(finding)), "bit {bit:?}: {text}\n{found:?}");
            }
        }
        Start::Opened(..) => panic!("bit {bit:?} was not noticed, expected {place}"),
    }
}

fn small_files(sample: &Sample, of_head: impl Fn(&usize) -> bool, tally: &mut Tally) {
    let head = sample.dir.files()["HEAD"].clone();
    for at in (0..head.len()).filter(of_head) {
        for bit in 0..8 {
            let mut bytes = head.clone();
            bytes[at] ^= 1 << bit;
            let dir = sample.with("HEAD", &bytes);
            let Start::Opened(records, report) = start(&dir, sample) else { panic!("bit {bit} of byte {at} of HEAD") };
            assert_eq!(records, sample.seen.records.len());
            assert!(report.head_slot_damaged);
            tally.head += 1;
            if bit == at % 8 && at % 64 == 0 {
                stays(&dir, records);
            }
        }
    }
    let identity = sample.dir.files()["LEDGER_ID"].clone();
    for at in 0..identity.len() {
        for bit in 0..8 {
            let mut bytes = identity.clone();
            bytes[at] ^= 1 << bit;
            refused(&sample.with("LEDGER_ID", &bytes), sample, "LEDGER_ID: expected ", true, (at, bit));
            tally.identity += 1;
        }
    }
}

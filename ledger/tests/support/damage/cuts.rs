//! Every file of a ledger, cut at every byte.

use super::flips::SOME;
use super::sample::{Sample, Segment};
use super::{Start, findings, start, stays};

/// What was cut.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tally {
    /// The size of the ledgers.
    pub bytes: u64,
    /// Opened with exactly the whole batches before the cut.
    pub opened: u64,
    /// Refused, because HEAD or a later segment knows more.
    pub refused: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        let Self { bytes, opened, refused } = other;
        self.bytes += bytes;
        self.opened += opened;
        self.refused += refused;
    }
}

/// What repeats a ledger's cuts.
pub fn command(seed: u64) -> String {
    format!("cargo run --release -p orch-ledger --example damage -- truncate --seed {seed} --ledgers 1")
}

/// Cuts every file of the ledger of a seed at every byte.
///
/// # Panics
/// If a cut is not treated as the format says.
pub fn all(seed: u64) -> Tally {
    let sample = Sample::of(seed, 1);
    let mut tally = Tally { bytes: sample.bytes(), ..Tally::default() };
    let files = sample.dir.files();
    for (i, segment) in sample.segments.iter().enumerate() {
        let bytes = &files[&segment.name];
        let counts = |len: &usize| *len <= segment.bytes.len() + 512 || len.is_multiple_of(SOME);
        for len in (0..bytes.len()).filter(counts) {
            let expected = if i + 1 < sample.segments.len() { None } else { opens_with(&sample, segment, len) };
            check(&sample, &segment.name, &bytes[..len], expected, &mut tally);
        }
    }
    for len in (0..files["LEDGER_ID"].len()).chain([0]) {
        check(&sample, "LEDGER_ID", &files["LEDGER_ID"][..len], None, &mut tally);
    }
    for len in (0..files["HEAD"].len()).step_by(61) {
        // A slot that is whole serves.
        let all = (len >= 4096).then_some(sample.seen.records.len());
        check(&sample, "HEAD", &files["HEAD"][..len], all, &mut tally);
    }
    tally
}

/// With how many records the ledger opens if its last segment is cut there; None: it is refused.
fn opens_with(sample: &Sample, last: &Segment, len: usize) -> Option<usize> {
    // A batch that lacks only its last newline is whole.
    let (_, batch, seq) = *last.ends.iter().rfind(|(end, _, _)| len + 1 >= *end)?;
    (batch >= sample.head.batch).then(|| usize::try_from(seq).unwrap())
}

fn check(sample: &Sample, name: &str, bytes: &[u8], expected: Option<usize>, tally: &mut Tally) {
    let dir = sample.with(name, bytes);
    let verified = bytes.len().is_multiple_of(8).then(|| findings(&dir));
    let len = bytes.len();
    match (start(&dir, sample), expected) {
        (Start::Opened(records, report), Some(expected)) => {
            assert_eq!(records, expected, "{name} cut to {len}");
            if let Some(found) = verified {
                assert_eq!(found, [""; 0], "{name} cut to {len}");
                stays(&dir, records);
            }
            if let Some(quarantined) = report.quarantined {
                let kept = &dir.files()[&quarantined.file];
                let from = usize::try_from(quarantined.offset).unwrap();
                assert_eq!(kept[..], bytes[from..][..kept.len()], "{name} cut to {len}");
            }
            tally.opened += 1;
        }
        (Start::Refused(text), None) => {
            // What is missing is told where it should be.
            let gap = text.contains("expected the segment that starts with seq");
            assert!(text.contains(name) || gap, "{name} cut to {len}: {text}");
            if let Some(found) = verified {
                assert!(found.first().is_some_and(|finding| text.contains(finding)), "{text}\n{found:?}");
            }
            tally.refused += 1;
        }
        (Start::Opened(records, _), None) => panic!("{name} cut to {len} was not noticed: {records} records"),
        (Start::Refused(text), Some(_)) => panic!("{name} cut to {len} was refused: {text}"),
    }
}

//! A data directory with anything in it: a start opens it or refuses it, verification agrees, repair saves what is good.

use std::sync::{Arc, OnceLock};

use orch_core::id::{QueueName, Seq};
use orch_core::record::Event;
use orch_core::time::Timestamp;
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::repair::{Repair, RepairError, Signature};
use orch_ledger::verify::verify_in;
use orch_ledger::{Ledger, OpenError, OpenOptions};

const NOW: Timestamp = Timestamp(1_795_248_000_000);

fn options() -> OpenOptions {
    OpenOptions {
        new_ledger_id: Some("0190b5a4-3c00-7000-8000-000000000001".into()),
        segment_bytes: 1500,
        claim_bytes: 0,
        zero_bytes: 0,
        ..OpenOptions::new(NOW, "0.1.0", "host-1", 42)
    }
}

fn open(dir: &MemoryDir, seen: &mut Vec<String>) -> Result<Ledger, OpenError> {
    let mut take = |record: &orch_core::record::Record, _: &orch_ledger::Position| {
        assert_eq!(record.seq, Seq(seen.len() as u64 + 1), "records come in order");
        seen.push(serde_json::to_string(&record.event).map_err(|error| error.to_string())?);
        Ok(())
    };
    Ok(Ledger::open_in(Arc::new(dir.clone()), options(), &mut take)?.ledger)
}

/// A new ledger in memory.
pub(crate) fn memory_ledger() -> (MemoryDir, Ledger) {
    let dir = MemoryDir::new();
    let ledger = open(&dir, &mut Vec::new()).unwrap();
    (dir, ledger)
}

/// Every event of a ledger, as a start reads it.
pub(crate) fn read_back(dir: &MemoryDir) -> Result<Vec<String>, OpenError> {
    let mut seen = Vec::new();
    open(dir, &mut seen)?;
    Ok(seen)
}

/// Segments, HEAD and LEDGER_ID of a ledger with two boots and three segments, in this order.
pub(crate) fn sample() -> &'static [(String, Vec<u8>)] {
    static SAMPLE: OnceLock<Vec<(String, Vec<u8>)>> = OnceLock::new();
    SAMPLE.get_or_init(|| {
        let dir = MemoryDir::new();
        for boot in 0..2 {
            let mut ledger = open(&dir, &mut Vec::new()).unwrap();
            for n in 0..5 {
                ledger.maybe_roll(NOW).unwrap();
                for m in 0..n {
                    let queue = QueueName::new("q").unwrap();
                    let event = Event::QueuePaused { queue, reason: format!("boot {boot}, batch {n}, record {m}") };
                    ledger.stage(NOW, &event).unwrap();
                }
                ledger.commit().unwrap();
            }
            ledger.close().unwrap();
        }
        let mut files: Vec<(String, Vec<u8>)> = dir.files().into_iter().filter(|(name, _)| name != "LOCK").collect();
        files.sort_by_key(|(name, _)| !name.starts_with("ledger/"));
        files
    })
}

/// The first byte says which file of the sample ledger is concerned and what happens to it; the rest is its new bytes,
/// its new end, or edits of three bytes each: where (two) and what.
pub fn recovery(data: &[u8]) {
    let Some((how, rest)) = data.split_first() else { return };
    let dir = MemoryDir::new();
    for (name, bytes) in sample() {
        dir.put(name, bytes);
    }
    let files = sample();
    let (name, bytes) = &files[usize::from(how >> 2) % files.len()];
    let mut bytes = bytes.clone();
    match how & 3 {
        0 => bytes = rest.to_vec(),
        1 => bytes.extend_from_slice(rest),
        2 => {
            let at = rest.iter().take(2).fold(0, |at, byte| at << 8 | usize::from(*byte)) % (bytes.len() + 1);
            bytes.truncate(at);
            bytes.extend_from_slice(rest.get(2..).unwrap_or_default());
        }
        _ => {
            for edit in rest.chunks_exact(3) {
                let at = (usize::from(edit[0]) << 8 | usize::from(edit[1])) % bytes.len().max(1);
                if let Some(byte) = bytes.get_mut(at) {
                    *byte ^= edit[2];
                }
            }
        }
    }
    dir.put(name, &bytes);
    judge(&dir);
}

fn judge(dir: &MemoryDir) {
    let before = dir.files();
    let verified = verify_in(dir, 1, &|_, _| {});
    assert_eq!(dir.files(), before, "verification changes nothing");
    let mut seen = Vec::new();
    match open(dir, &mut seen) {
        Ok(ledger) => {
            assert_eq!(ledger.head().seq.0, seen.len() as u64);
            drop(ledger);
            let report = verified.unwrap();
            assert_eq!(report.findings, vec![], "a start takes what verification refuses");
            let again = read_back(dir).unwrap();
            assert_eq!(again[..seen.len()], seen[..], "the same records at the next start");
        }
        Err(OpenError::Refused { .. }) => {
            let report = verified.unwrap();
            assert!(!report.findings.is_empty(), "a start refuses what verification takes");
            repaired(dir);
        }
        Err(OpenError::Format { .. }) => assert!(verified.is_err()),
        Err(error) => panic!("{error}"),
    }
}

/// What was refused can be repaired, or there is nothing to save.
fn repaired(dir: &MemoryDir) {
    let before = dir.files();
    let repair = match Repair::plan(dir, &mut |_, _| Ok(())) {
        Ok(repair) => repair,
        Err(RepairError::Nothing { .. } | RepairError::Format { .. }) => return,
        Err(error) => panic!("{error}"),
    };
    let kept = repair.the_plan().kept.seq;
    let to = MemoryDir::new();
    let signature = Signature { at: NOW, by: "fuzz".into() };
    let repaired = repair.carry_out(Arc::new(to.clone()), signature).unwrap();
    assert_eq!(repaired.link.seq, kept.plus(2));
    assert_eq!(dir.files(), before, "the damaged directory is left as it is");
    assert_eq!(read_back(&to).unwrap().len() as u64, kept.0 + 4);
}

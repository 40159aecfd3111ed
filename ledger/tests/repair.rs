//! Repair: it keeps exactly what the chain vouches for, says what it loses, records itself, and touches nothing else.

mod support;

use std::sync::Arc;

use orch_core::id::Seq;
use orch_core::record::Event;
use orch_ledger::disk::Dir;
use orch_ledger::disk::memory::{Call, MemoryDir, Mishap};
use orch_ledger::repair::{Repair, RepairError, RepairPlan, Repaired, Signature};
use orch_ledger::verify::verify_in;
use orch_ledger::{OpenError, durable_head};
use support::{Seen, T0, commit, judged, open, paused};

const FIRST: &str = "ledger/00000000000000000001.jsonl";
const LAST: &str = "ledger/00000000000000000012.jsonl";

/// Two boots, two segments, 20 records; HEAD names the last batch.
fn sample() -> (MemoryDir, Seen) {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(1, 7));
    commit(&mut opened.ledger, &[paused("over night")]);
    drop(opened);
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(2, 1));
    commit(&mut opened.ledger, &[paused("again")]);
    commit(&mut opened.ledger, &judged(3, 2));
    opened.ledger.level_head().unwrap();
    opened.ledger.close().unwrap();
    let copy = dir.copy();
    let (_, mut seen) = open(&copy).unwrap();
    seen.records.truncate(19);
    (dir, seen)
}

fn plan(dir: &MemoryDir) -> Result<RepairPlan, RepairError> {
    Repair::plan(dir, &mut |_, _| Ok(())).map(|repair| repair.the_plan().clone())
}

fn repair(dir: &MemoryDir) -> Result<(MemoryDir, RepairPlan, Repaired), RepairError> {
    let before = dir.files();
    let repair = Repair::plan(dir, &mut |_, _| Ok(()))?;
    let plan = repair.the_plan().clone();
    let to = MemoryDir::new();
    let signature = Signature { at: T0, by: "somebody on host-1".into() };
    let repaired = repair.carry_out(Arc::new(to.clone()), signature);
    assert_eq!(dir.files(), before, "the damaged directory is left as it is");
    Ok((to, plan, repaired?))
}

/// Checks a repaired ledger: the records that were kept, the record of the repair, and that it can be used.
fn sound(to: &MemoryDir, plan: &RepairPlan, repaired: &Repaired, seen: &Seen) {
    let report = verify_in(to, 1, &|_, _| {}).unwrap();
    assert_eq!(report.findings, vec![]);
    assert_eq!(report.link, repaired.link);
    assert_eq!(durable_head(to).unwrap().link(), repaired.link);
    let kept = usize::try_from(plan.kept.seq.0).unwrap();
    let (mut opened, found) = open(to).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.records[..kept], seen.records[..kept]);
    assert!(found.records[kept].2.starts_with("{\"segment_opened\":"), "{}", found.records[kept].2);
    assert!(found.records[kept].2.contains("\"format\":2"), "{}", found.records[kept].2);
    let Event::LedgerRepaired { lost_from, lost_to, reason, by } =
        serde_json::from_str(&found.records[kept + 1].2).unwrap()
    else {
        panic!("{:?}", found.records[kept + 1])
    };
    assert_eq!((lost_from.0, lost_to), (plan.kept.seq.0 + 1, plan.loss.acknowledged_to));
    assert_eq!(by, "somebody on host-1");
    assert_eq!(reason, plan.findings[0].to_string());
    commit(&mut opened.ledger, &[paused("it goes on")]);
    assert_eq!(opened.ledger.close().map_err(|e| e.to_string()), Ok(()));
    assert_eq!(verify_in(to, 1, &|_, _| {}).unwrap().findings, vec![]);
}

fn change(dir: &MemoryDir, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = dir.files()[name].clone();
    change(&mut bytes);
    dir.put(name, &bytes);
}

#[test]
fn a_whole_ledger_and_a_torn_end_need_no_repair() {
    let (dir, _) = sample();
    assert!(matches!(plan(&dir), Err(RepairError::Whole { link, .. }) if link.seq == Seq(19)));
    change(&dir, LAST, |bytes| bytes.extend_from_slice(b"{\"seq\":20,\"ba"));
    assert!(matches!(plan(&dir), Err(RepairError::Whole { .. })), "the next start puts it away");
    let empty = MemoryDir::new();
    assert!(matches!(plan(&empty), Err(RepairError::NoLedger { .. })));
}

#[test]
fn damage_in_the_middle_cuts_behind_the_last_good_batch() {
    let (dir, seen) = sample();
    // In the batch of one record: records 12 to 15 and everything before stay.
    change(&dir, LAST, |bytes| {
        let at = bytes.windows(5).position(|window| window == b"again").unwrap();
        bytes[at] = b'A';
    });
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.from.0, plan.loss.acknowledged_to), (15, 16, Some(Seq(19))));
    assert_eq!((plan.loss.readable.records, plan.loss.readable.of("candidate_accepted")), (3, 2));
    assert_eq!(plan.loss.readable.seqs, Some((Seq(17), Seq(19))));
    assert!(plan.loss.unreadable_bytes > 0);
    assert!(plan.findings[0].to_string().contains("line 5"), "{}", plan.findings[0]);
    assert_eq!(repaired.quarantined, [format!("quarantine/00000000000000000012-{}.damaged", plan.segments[1].bytes)]);
    assert_eq!(to.files()[&repaired.quarantined[0]].len() as u64, plan.loss.bytes);
    sound(&to, &plan, &repaired, &seen);
}

#[test]
fn a_fault_in_an_early_segment_loses_all_later_ones() {
    let (dir, seen) = sample();
    change(&dir, FIRST, |bytes| bytes.truncate(bytes.len() - 3));
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.left_behind.as_slice()), (10, &[LAST.to_owned()][..]));
    assert_eq!(plan.loss.readable.of("booted"), 1);
    sound(&to, &plan, &repaired, &seen);

    let (dir, seen) = sample();
    dir.remove(FIRST).unwrap();
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.from.0, plan.findings.len()), (0, 1, 2), "{:?}", plan.findings);
    sound(&to, &plan, &repaired, &seen);
}

#[test]
fn what_the_next_segment_vouches_for_is_not_lost() {
    for rubbish in [&b"\0\0\0\0"[..], b"rubbish", b"{\"seq\":12,"] {
        let (dir, seen) = sample();
        change(&dir, FIRST, |bytes| bytes.extend_from_slice(rubbish));
        let (to, plan, repaired) = repair(&dir).unwrap();
        assert_eq!((plan.kept.seq.0, plan.loss.acknowledged_to), (19, None), "{:?}", plan.findings);
        sound(&to, &plan, &repaired, &seen);
    }
    // The newline before the next segment.
    let (dir, seen) = sample();
    change(&dir, FIRST, |bytes| bytes.truncate(bytes.len() - 1));
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.bytes), (19, 0));
    sound(&to, &plan, &repaired, &seen);
    // A segment that is there twice, and a file with a name that none has.
    let (dir, seen) = sample();
    dir.put("ledger/00000000000000000013.jsonl", &dir.files()[LAST]);
    dir.put("ledger/00000000000000000005.jsonl", &dir.files()[FIRST]);
    dir.put("ledger/copy.jsonl", &dir.files()[FIRST]);
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.left_behind.len(), plan.loss.readable.records), (19, 3, 0));
    sound(&to, &plan, &repaired, &seen);
}

#[test]
fn head_and_identity_are_made_anew() {
    type Damage = fn(&MemoryDir);
    let damages: [(Damage, bool, bool); 5] = [
        (|dir| dir.remove("HEAD").unwrap(), true, false),
        (|dir| change(dir, "HEAD", |bytes| bytes.fill(b'x')), true, false),
        (|dir| dir.remove("LEDGER_ID").unwrap(), false, true),
        (|dir| change(dir, "LEDGER_ID", |bytes| bytes[3] ^= 1), false, true),
        (
            |dir| {
                dir.remove("HEAD").unwrap();
                dir.remove("LEDGER_ID").unwrap();
            },
            true,
            true,
        ),
    ];
    for (damage, head_unknown, identity_rebuilt) in damages {
        let (dir, seen) = sample();
        damage(&dir);
        let (to, plan, repaired) = repair(&dir).unwrap();
        assert_eq!(plan.kept.seq.0, 19);
        assert_eq!((plan.loss.head_unknown, plan.identity_rebuilt), (head_unknown, identity_rebuilt));
        sound(&to, &plan, &repaired, &seen);
    }
}

#[test]
fn a_head_that_saw_more_is_told() {
    let (dir, seen) = sample();
    change(&dir, LAST, |bytes| {
        let line = memrchr(bytes, b"{\"seq\":17");
        bytes.truncate(line);
    });
    let (to, plan, repaired) = repair(&dir).unwrap();
    assert_eq!((plan.kept.seq.0, plan.loss.acknowledged_to), (16, Some(Seq(19))));
    assert!(plan.findings[0].to_string().contains("acknowledged records are missing"), "{}", plan.findings[0]);
    sound(&to, &plan, &repaired, &seen);
}

fn memrchr(bytes: &[u8], needle: &[u8]) -> usize {
    bytes.windows(needle.len()).rposition(|window| window == needle).unwrap()
}

#[test]
fn a_record_that_the_state_refuses_is_a_fault() {
    let (dir, seen) = sample();
    let mut replay = |record: &orch_core::record::Record, _: &orch_ledger::Position| match record.seq.0 {
        17 => Err("no such lease".to_owned()),
        _ => Ok(()),
    };
    let repair = Repair::plan(&dir, &mut replay).unwrap();
    let plan = repair.the_plan().clone();
    assert_eq!(plan.kept.seq.0, 16);
    let to = MemoryDir::new();
    let signature = Signature { at: T0, by: "somebody on host-1".into() };
    let repaired = repair.carry_out(Arc::new(to.clone()), signature).unwrap();
    sound(&to, &plan, &repaired, &seen);
}

#[test]
fn any_damaged_byte_can_be_repaired_and_nothing_is_invented() {
    let (dir, seen) = sample();
    for (name, bytes) in dir.files().iter().filter(|(name, _)| *name != "LOCK") {
        for at in (0..bytes.len()).step_by(7) {
            let damaged = dir.copy();
            change(&damaged, name, |bytes| bytes[at] ^= 1 << (at % 8));
            match repair(&damaged) {
                Ok((to, plan, repaired)) => sound(&to, &plan, &repaired, &seen),
                // The other slot of HEAD stands in for the damaged one.
                Err(RepairError::Whole { .. }) => assert_eq!(name, "HEAD"),
                Err(error) => panic!("{name} byte {at}: {error}"),
            }
        }
    }
}

#[test]
fn only_into_an_empty_directory_and_only_if_nobody_uses_the_damaged_one() {
    let (dir, _) = sample();
    change(&dir, LAST, |bytes| bytes[9] ^= 1);
    let to = MemoryDir::new();
    to.put("notes.txt", b"mine");
    let signature = Signature { at: T0, by: String::new() };
    let refused = Repair::plan(&dir, &mut |_, _| Ok(())).unwrap().carry_out(Arc::new(to.clone()), signature);
    assert!(matches!(refused, Err(RepairError::NotEmpty { found, .. }) if found == "notes.txt"));
    assert_eq!(to.files().len(), 1);

    let (used, _) = sample();
    let (opened, _) = open(&used).unwrap();
    assert!(matches!(plan(&used), Err(RepairError::Locked { .. })));
    drop(opened);
}

#[test]
fn a_repair_that_is_interrupted_leaves_no_ledger() {
    let (dir, _) = sample();
    change(&dir, LAST, |bytes| bytes[900] ^= 1);
    let mut calls = 0;
    for fail_at in 0.. {
        let to = MemoryDir::new();
        let mut n = 0;
        to.set_hook(move |_: Call, _: &str| {
            n += 1;
            (n > fail_at).then_some(Mishap::Error(5))
        });
        let signature = Signature { at: T0, by: String::new() };
        let repaired = Repair::plan(&dir, &mut |_, _| Ok(())).unwrap().carry_out(Arc::new(to.clone()), signature);
        to.clear_hook();
        calls = fail_at;
        if repaired.is_ok() {
            break;
        }
        let whole = to.files().contains_key("LEDGER_ID");
        match open(&to) {
            // Only the last sync failed: it may be there or not, and it is whole.
            Ok(_) if whole => {}
            // Nothing had been copied yet: a directory like any new one.
            Ok((opened, _)) => assert!(opened.recovered.created && fail_at < 8, "call {fail_at}"),
            Err(OpenError::Refused { .. }) => assert!(!whole),
            Err(error) => panic!("call {fail_at}: {error}"),
        }
    }
    assert!(calls > 20, "{calls}");
}

#[test]
fn a_newer_format_is_left_alone() {
    let (dir, _) = sample();
    let body = format!("{{\"ledger\":\"{}\",\"format\":3", support::ID);
    dir.put("LEDGER_ID", format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes())).as_bytes());
    let text = plan(&dir).unwrap_err().to_string();
    assert!(text.contains("format version 3") && text.contains("format versions 1 to 2"), "{text}");
}

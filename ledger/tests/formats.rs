//! Versions of the format: what this version does not know it refuses, by name, and leaves as it is.

mod support;

use std::sync::Arc;

use orch_core::digest::Digest;
use orch_core::record::NEWEST_FORMAT;
use orch_ledger::backup::{BackupError, RestoreError, copy_in, restore_in};
use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::repair::{Repair, RepairError};
use orch_ledger::verify::verify_in;
use orch_ledger::{OpenError, VerifyError, durable_head};
use sha2::{Digest as _, Sha256};
use support::{ID, commit, judged, open, refusal};

fn sample() -> MemoryDir {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(1, 2));
    opened.ledger.close().unwrap();
    dir
}

/// LEDGER_ID as a version of Orch with this format writes it.
fn identity(format: u32) -> Vec<u8> {
    let body = format!("{{\"ledger\":\"{ID}\",\"format\":{format}");
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes())).into_bytes()
}

/// A batch of one line behind the ledger's end, all right but for its event.
fn append(dir: &MemoryDir, event: &str) -> String {
    let head = durable_head(dir).unwrap();
    let (seq, batch) = (head.seq.0 + 1, head.batch + 1);
    let body = format!(r#"{{"seq":{seq},"batch":{batch},"left":0,"at":"2026-11-21T08:00:00.000Z","event":{event}"#);
    let chain = Digest(Sha256::new().chain_update(head.chain.0).chain_update(&body).finalize().into());
    let body = format!("{body},\"chain\":\"{chain}\"");
    format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes()))
}

#[test]
fn a_newer_ledger_is_refused_by_both_versions_everywhere() {
    let dir = sample();
    let newer = NEWEST_FORMAT + 1;
    dir.put("LEDGER_ID", &identity(newer));
    let before = dir.files();
    let names_both = |text: String| {
        assert!(text.contains(&format!("format version {newer}")), "{text}");
        assert!(text.contains(&format!("format versions 1 to {NEWEST_FORMAT}")), "{text}");
    };
    let started = refusal(&dir);
    assert!(started.contains("use the version of orch that wrote it"), "{started}");
    names_both(started);
    let verified = verify_in(&dir, 1, &|_, _| {}).unwrap_err();
    assert!(matches!(verified, VerifyError::Format { found, .. } if found == newer));
    names_both(verified.to_string());
    let repaired = Repair::plan(&dir, &mut |_, _| Ok(())).unwrap_err();
    assert!(matches!(repaired, RepairError::Format { .. }));
    names_both(repaired.to_string());
    let to = MemoryDir::new();
    let backed_up = copy_in(Arc::new(dir.clone()), Arc::new(to.clone()), &mut |_, _| {}).unwrap_err();
    assert!(matches!(backed_up, BackupError::Format { .. }));
    names_both(backed_up.to_string());
    let restored = restore_in(Arc::new(dir.clone()), Arc::new(to.clone()), None, &mut |_, _| {}).unwrap_err();
    assert!(matches!(restored, RestoreError::Format { .. }));
    names_both(restored.to_string());
    assert!(to.files().is_empty());
    assert_eq!(dir.files(), before, "it is left as it is");
}

#[test]
fn every_known_version_is_read_and_kept() {
    for format in 1..=NEWEST_FORMAT {
        let dir = sample();
        dir.put("LEDGER_ID", &identity(format));
        let (opened, _) = open(&dir).unwrap();
        drop(opened);
        assert_eq!(dir.files()["LEDGER_ID"], identity(format));
        let newest = dir.files().into_iter().rfind(|(name, _)| name.starts_with("ledger/")).unwrap().1;
        assert!(String::from_utf8_lossy(&newest).contains(&format!("\"format\":{format}")), "a new segment has it too");
    }
    let dir = sample();
    dir.put("LEDGER_ID", &identity(0));
    assert!(matches!(open(&dir), Err(OpenError::Format { found: 0, .. })));
}

#[test]
fn a_segment_of_a_newer_version_is_refused() {
    let dir = sample();
    let head = durable_head(&dir).unwrap();
    let newer = NEWEST_FORMAT + 1;
    let event = format!(r#"{{"segment_opened":{{"ledger":"{ID}","format":{newer},"previous":"{}"}}}}"#, head.chain);
    let line = append(&dir, &event);
    dir.put(&format!("ledger/{:020}.jsonl", head.seq.0 + 1), line.as_bytes());
    let text = refusal(&dir);
    assert!(text.contains(&format!("expected a format of 1 to {NEWEST_FORMAT}")), "{text}");
    assert!(text.contains(&format!("found format {newer}")), "{text}");
}

#[test]
fn an_event_or_a_field_that_is_not_known_is_refused() {
    let unknown = [
        (r#"{"job_teleported":{"job":3}}"#, "job_teleported"),
        (r#"{"queue_resumed":{"queue":"q","colour":"red"}}"#, "colour"),
        (r#"{"queue_resumed":{"queue":"q"},"queue_paused":{"queue":"q","reason":""}}"#, "cannot be read"),
        (r#"{"lease_expired":{"job":3,"lease":4,"cause":"boredom","next":"ready"}}"#, "boredom"),
    ];
    for (event, named) in unknown {
        let dir = sample();
        let line = append(&dir, event);
        let name = "ledger/00000000000000000001.jsonl";
        let mut bytes = dir.files()[name].clone();
        bytes.extend_from_slice(line.as_bytes());
        dir.put(name, &bytes);
        let text = refusal(&dir);
        assert!(text.contains(named), "{text}");
        assert!(text.contains(&format!("an event of formats 1 to {NEWEST_FORMAT}")), "{text}");
        assert!(text.contains("perhaps of a newer version of orch"), "{text}");
        let report = verify_in(&dir, 1, &|_, _| {}).unwrap();
        assert!(text.contains(&report.findings[0].to_string()), "{text}");
    }
}

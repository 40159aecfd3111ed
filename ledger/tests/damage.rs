//! Damage of every kind: what was acknowledged is refused and located, what was torn is put away, nothing is guessed.

mod support;

use std::sync::Mutex;

use orch_ledger::disk::memory::MemoryDir;
use orch_ledger::verify::verify_in;
use orch_ledger::{Follower, OpenError, Sign, Tail, durable_head};
use support::cores::{self, on_all};
use support::damage::{blocks, cuts, flips};
use support::{Seen, commit, judged, open, options, paused, refusal, replay};

const LAST: &str = "ledger/00000000000000000012.jsonl";

/// Two boots; the second segment ends in a batch of one line and one of three. Also where its batches end.
struct Sample {
    dir: MemoryDir,
    seen: Seen,
    ends: Vec<u64>,
}

fn sample(level: bool) -> Sample {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(1, 7));
    commit(&mut opened.ledger, &[paused("over night")]);
    drop(opened);
    let (mut opened, mut seen) = open(&dir).unwrap();
    let mut ends = vec![opened.ledger.head().offset];
    for events in [judged(2, 1), vec![paused("again, \"{\\\"seq\\\":7\"")], judged(3, 2)] {
        for event in &events {
            let seq = opened.ledger.stage(support::T0, event).unwrap();
            seen.records.push((seq, support::T0, serde_json::to_string(event).unwrap()));
        }
        let committed = opened.ledger.commit().unwrap();
        seen.chains.insert(committed.batch, committed.chain);
        ends.push(opened.ledger.head().offset);
    }
    if level {
        opened.ledger.level_head().unwrap();
    }
    drop(opened);
    Sample { dir, seen, ends }
}

/// A refusal that changes nothing, told by verification in the same words.
fn refused(dir: &MemoryDir) -> String {
    let before = dir.files();
    let text = refused_alike(dir);
    let mut after = dir.files();
    after.insert("LOCK".into(), before["LOCK"].clone());
    assert_eq!(after, before, "a refusal changes nothing: {text}");
    text
}

fn refused_alike(dir: &MemoryDir) -> String {
    let text = refusal(dir);
    let report = verify_in(dir, 1, &|_, _| {}).unwrap();
    let finding = report.findings.first().unwrap_or_else(|| panic!("verification finds nothing: {text}")).to_string();
    assert!(text.contains(&finding), "\n{text}\n{finding}");
    assert!(text.contains("orchctl ledger verify /memory"), "{text}");
    text
}

/// Opens, and expects the sample's records up to the end of a batch, and after them a header and a boot.
fn opens_with(dir: &MemoryDir, seen: &Seen, records: usize) -> orch_ledger::RecoveryReport {
    let (opened, found) = open(dir).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(found.records.len(), records + 2);
    assert_eq!(found.records[..records], seen.records[..records]);
    assert!(found.records[records].2.starts_with("{\"segment_opened\":"));
    let report = opened.recovered;
    drop(opened.ledger);
    // And again: what was mended stays so.
    let (opened, found) = open(dir).unwrap();
    assert_eq!(found.records.len(), records + 4);
    assert_eq!(opened.recovered, orch_ledger::RecoveryReport { quarantined: None, ..Default::default() });
    report
}

fn with_file(sample: &Sample, name: &str, change: impl FnOnce(&mut Vec<u8>)) -> MemoryDir {
    let dir = sample.dir.copy();
    let mut bytes = dir.files()[name].clone();
    change(&mut bytes);
    dir.put(name, &bytes);
    dir
}

/// HEAD as it was when nothing was in the last segment but its first batch.
fn early_head(sample: &Sample) -> Vec<u8> {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    commit(&mut opened.ledger, &judged(1, 7));
    commit(&mut opened.ledger, &[paused("over night")]);
    drop(opened);
    open(&dir).unwrap();
    let head = durable_head(&dir).unwrap();
    assert!(head.batch < durable_head(&sample.dir).unwrap().batch);
    dir.files()["HEAD"].clone()
}

#[test]
fn the_sample_is_sound() {
    for level in [false, true] {
        let sample = sample(level);
        let report = verify_in(&sample.dir, 1, &|_, _| {}).unwrap();
        assert_eq!((report.findings, report.tail), (vec![], Tail::Clean));
        assert_eq!(report.records, sample.seen.records.len() as u64);
        opens_with(&sample.dir, &sample.seen, sample.seen.records.len());
    }
}

#[test]
fn cut_anywhere_exactly_the_whole_batches_stay() {
    // HEAD names the last batch, the one before it, or only the first of the segment.
    for case in 0..3 {
        let sample = sample(case == 0);
        if case == 2 {
            sample.dir.put("HEAD", &early_head(&sample));
        }
        let head = durable_head(&sample.dir).unwrap().batch;
        let before_last_segment = 11;
        let mut whole_records = vec![before_last_segment + 2];
        for lines in [2, 1, 3] {
            whole_records.push(whole_records.last().unwrap() + lines);
        }
        let full = *sample.ends.last().unwrap();
        for len in 0..=full {
            let dir = with_file(&sample, LAST, |bytes| bytes.truncate(usize::try_from(len).unwrap()));
            // A batch that lacks only its last newline is whole.
            let whole = sample.ends.iter().filter(|end| len + 1 >= **end).count();
            // The first batch of the last segment.
            let first_batch = 4;
            let batches = first_batch + whole as u64 - 1;
            if whole == 0 || batches < head {
                let text = refused(&dir);
                assert!(text.contains(LAST), "{text}");
                continue;
            }
            let report = opens_with(&dir, &sample.seen, whole_records[whole - 1]);
            let end = sample.ends[whole - 1];
            assert_eq!(report.newline_added, len + 1 == end, "case {case}, length {len}");
            assert_eq!(report.quarantined.as_ref().map(|q| (q.offset, q.bytes)), (len > end).then(|| (end, len - end)));
            if let Some(quarantined) = report.quarantined {
                assert_eq!(quarantined.segment, LAST);
                let bytes = &dir.files()[&quarantined.file];
                assert_eq!(bytes[..], sample.dir.files()[LAST][usize::try_from(end).unwrap()..][..bytes.len()]);
            }
        }
    }
}

#[test]
fn an_earlier_segment_that_is_cut_is_refused() {
    let sample = sample(true);
    let name = "ledger/00000000000000000001.jsonl";
    let full = sample.dir.files()[name].len();
    for len in 0..full {
        refused(&with_file(&sample, name, |bytes| bytes.truncate(len)));
    }
    let text = refused(&with_file(&sample, name, |bytes| bytes.extend_from_slice(&[0; 10])));
    assert!(text.contains("expected a newline after the line, found byte 0x00"), "{text}");
}

#[test]
fn head_must_be_there_and_agree() {
    let sample = sample(true);
    let text = refused(&with_file(&sample, "HEAD", |bytes| bytes.fill(0)));
    assert!(text.contains("HEAD: expected a readable slot in HEAD, found both damaged"), "{text}");
    let dir = sample.dir.copy();
    orch_ledger::disk::Dir::remove(&dir, "HEAD").unwrap();
    assert!(refused(&dir).contains("HEAD: expected HEAD"));
    let dir = sample.dir.copy();
    orch_ledger::disk::Dir::remove(&dir, "LEDGER_ID").unwrap();
    assert!(refused(&dir).contains("LEDGER_ID: expected LEDGER_ID, found no such file"));
    refused(&with_file(&sample, "LEDGER_ID", |bytes| bytes[20] ^= 1));

    // The HEAD of another history with the same number of batches.
    let other = MemoryDir::new();
    let (mut opened, _) = open(&other).unwrap();
    for n in 0..3 {
        commit(&mut opened.ledger, &judged(n, 2));
    }
    opened.ledger.level_head().unwrap();
    drop(opened);
    let dir = sample.dir.copy();
    dir.put("HEAD", &other.files()["HEAD"]);
    let text = refused(&dir);
    assert!(text.contains("of batch 4, as HEAD names it, found"), "{text}");
}

#[test]
fn another_format_is_refused_by_name() {
    let sample = sample(true);
    let body = format!("{{\"ledger\":\"{}\",\"format\":7", support::ID);
    let text = format!("{body},\"crc\":\"{:08x}\"}}\n", crc32c::crc32c(body.as_bytes()));
    let dir = sample.dir.copy();
    dir.put("LEDGER_ID", text.as_bytes());
    let Err(OpenError::Format { found: 7, .. }) = open(&dir) else { panic!("opened") };
    let text = refusal(&dir);
    assert!(text.contains("format version 7") && text.contains("format versions 1 to 2"), "{text}");
}

#[test]
fn segments_removed_doubled_or_swapped_are_refused() {
    let dir = MemoryDir::new();
    let (mut opened, _) = open(&dir).unwrap();
    for n in 0..60 {
        opened.ledger.maybe_roll(support::T0).unwrap();
        commit(&mut opened.ledger, &judged(n, 3));
    }
    opened.ledger.close().unwrap();
    let files = dir.files();
    let segments: Vec<&String> = files.keys().filter(|name| name.starts_with("ledger/")).collect();
    assert!(segments.len() >= 5, "{segments:?}");
    for (i, name) in segments.iter().enumerate() {
        let removed = dir.copy();
        orch_ledger::disk::Dir::remove(&removed, name).unwrap();
        let text = refused(&removed);
        let place = if i + 1 < segments.len() { segments[i + 1] } else { segments[i - 1] };
        assert!(text.contains(place.as_str()), "{i}: {text}");
        // A copy under another name, between two segments and after the last.
        for shift in [1, 1000] {
            let doubled = dir.copy();
            let seq: u64 = name["ledger/".len()..][..20].parse().unwrap();
            doubled.put(&format!("ledger/{:020}.jsonl", seq + shift), &files[*name]);
            assert!(refused(&doubled).contains("expected the segment that starts with seq"));
        }
        for other in &segments[i + 1..] {
            let swapped = dir.copy();
            swapped.put(name, &files[*other]);
            swapped.put(other, &files[*name]);
            assert!(refused(&swapped).contains("expected seq"));
        }
    }
    let all_gone = dir.copy();
    for name in &segments {
        orch_ledger::disk::Dir::remove(&all_gone, name).unwrap();
    }
    assert!(refused(&all_gone).contains("acknowledged records are missing"));
    let stray = dir.copy();
    stray.put("ledger/notes.jsonl", b"{}\n");
    assert!(refused(&stray).contains("ledger/notes.jsonl: expected segments named"));
    // Files of other kinds, and a segment that was never finished, are in nobody's way.
    dir.put("ledger/notes.txt", b"x");
    dir.put("ledger/next.tmp", b"{\"seq\":");
    let (opened, _) = open(&dir).unwrap();
    assert!(opened.recovered.unfinished_segment_removed);
}

#[test]
fn any_sectors_of_the_last_write_may_be_lost() {
    // Sectors of the batch in flight, in every combination, before and after claimed space.
    for candidates in [0, 1, 4, 9] {
        let dir = MemoryDir::new();
        let (mut opened, mut seen) = open(&dir).unwrap();
        seen.records.extend(
            judged(1, 1).iter().enumerate().map(|(i, event)| {
                (orch_core::id::Seq(3 + i as u64), support::T0, serde_json::to_string(event).unwrap())
            }),
        );
        commit(&mut opened.ledger, &judged(1, 1));
        let start = usize::try_from(opened.ledger.head().offset).unwrap();
        let before = dir.files();
        let name = "ledger/00000000000000000001.jsonl";
        let acknowledged = seen.records.len();
        for event in judged(2, candidates) {
            seen.records.push((opened.ledger.next_seq(), support::T0, serde_json::to_string(&event).unwrap()));
            opened.ledger.stage(support::T0, &event).unwrap();
        }
        opened.ledger.commit().unwrap();
        let end = usize::try_from(opened.ledger.head().offset).unwrap();
        let (after, len) = (dir.files()[name].clone(), dir.files()[name].len());
        drop(opened);
        let first_sector = start / 512;
        let sectors = end.div_ceil(512) - first_sector;
        for kept in 0u32..1 << sectors.min(12) {
            for cut in [false, true] {
                let mut bytes = before[name].clone();
                bytes.resize(len, 0);
                for sector in (0..sectors).filter(|sector| kept >> sector & 1 == 1) {
                    let from = ((first_sector + sector) * 512).max(start);
                    let to = ((first_sector + sector + 1) * 512).min(len);
                    bytes[from..to].copy_from_slice(&after[from..to]);
                }
                if cut {
                    bytes.truncate(end);
                }
                let torn = dir.copy();
                torn.put(name, &bytes);
                torn.put("HEAD", &before["HEAD"]);
                let whole = bytes[..end] == after[..end] || bytes[..end - 1] == after[..end - 1];
                let report = verify_in(&torn, 1, &|_, _| {}).unwrap();
                assert_eq!(report.findings, [], "{candidates} candidates, sectors {kept:b}");
                let report = opens_with(&torn, &seen, if whole { seen.records.len() } else { acknowledged });
                let lost_all = bytes[start..end].iter().all(|byte| *byte == 0);
                assert_eq!(report.quarantined.is_some(), !whole && !lost_all);
            }
        }
    }
}

#[test]
fn a_tail_without_a_sign_of_tearing_is_damage() {
    let sample = sample(false);
    let last_batch = usize::try_from(sample.ends[2]).unwrap();
    let text = refused(&with_file(&sample, LAST, |bytes| bytes[last_batch + 40] = b'?'));
    assert!(text.contains("this is damage and not a torn write: it does not end early"), "{text}");
    // With a whole line of another batch behind it.
    let line = sample.dir.files()[LAST][..usize::try_from(sample.ends[0]).unwrap()].to_vec();
    let end = usize::try_from(sample.ends[3]).unwrap();
    let text = refused(&with_file(&sample, LAST, |bytes| {
        bytes.truncate(end - 30);
        bytes.push(b'\n');
        bytes.extend_from_slice(&line);
        bytes.extend_from_slice(b"{\"seq");
    }));
    assert!(text.contains("a whole line of batch 4 (seq 12) lies in it, where only batch 7 can be"), "{text}");
    // The same damage to what HEAD names.
    let text = refused(&with_file(&sample, LAST, |bytes| bytes[last_batch - 2] = 0));
    assert!(text.contains("HEAD names batch 6, so batch 6 was durable once"), "{text}");
}

#[test]
fn a_tail_longer_than_a_batch_is_damage() {
    let sample = sample(false);
    let text = refused(&with_file(&sample, LAST, |bytes| {
        bytes.truncate(usize::try_from(sample.ends[3]).unwrap());
        bytes.resize(orch_ledger::line::MAX_BATCH_BYTES + 8192, 0);
        bytes.push(b'x');
    }));
    assert!(text.contains("bytes are more than one batch can have"), "{text}");
}

#[test]
fn garbage_in_claimed_space_is_put_away() {
    let sample = sample(true);
    let dir = with_file(&sample, LAST, |bytes| bytes.extend_from_slice(&[0, 1, 2]));
    let report = opens_with(&dir, &sample.seen, sample.seen.records.len());
    let quarantined = report.quarantined.unwrap();
    assert!(matches!(quarantined.sign, Sign::EndsInsideLine), "{quarantined:?}");
}

#[test]
fn options_change_nothing_of_the_format() {
    let dir = MemoryDir::new();
    for (claim_bytes, zero_bytes) in [(0, 0), (1 << 16, 0), (1 << 16, 1 << 15), (100, 1 << 20)] {
        let options = orch_ledger::OpenOptions { claim_bytes, zero_bytes, ..options() };
        let (mut opened, _) = support::open_with(&dir, options).unwrap();
        commit(&mut opened.ledger, &judged(1, 20));
        commit(&mut opened.ledger, &judged(2, 0));
    }
    let report = verify_in(&dir, 2, &|_, _| {}).unwrap();
    assert_eq!((report.findings, report.batches), (vec![], 12));
}

#[test]
fn every_flipped_bit_is_refused_and_located() {
    let total = Mutex::new(flips::Tally::default());
    on_all(cores::count(), |seed| {
        let head = if seed == 0 { flips::Head::Text } else { flips::Head::Nothing };
        let tally = replay::told(&flips::command(seed), || flips::all(seed, head));
        let mut total = total.lock().unwrap();
        total.add(&tally);
        total.bytes < 64 << 10
    });
    println!("{:?}", total.lock().unwrap());
}

#[test]
fn cut_at_every_byte_exactly_the_whole_batches_stay() {
    let total = Mutex::new(cuts::Tally::default());
    on_all(cores::count(), |seed| {
        let tally = replay::told(&cuts::command(seed), || cuts::all(seed));
        let mut total = total.lock().unwrap();
        total.add(&tally);
        total.bytes < 128 << 10
    });
    println!("{:?}", total.lock().unwrap());
}

#[test]
fn nothing_wrong_is_accepted_whatever_blocks_a_disk_mixes_up() {
    let (pool, total) = (blocks::Pool::new(), Mutex::new(blocks::Tally::default()));
    on_all(cores::count(), |seed| {
        let tally = replay::told(&blocks::command(seed), || blocks::case(&pool, seed));
        let mut total = total.lock().unwrap();
        total.add(&tally);
        total.cases < 20_000
    });
    println!("{:?}", total.lock().unwrap());
}

#[test]
fn a_reader_names_the_place_that_a_verification_names() {
    let sample = support::damage::sample::Sample::of(3, 4);
    let until = sample.head.seq;
    let read = |dir: &MemoryDir| {
        let mut follower = Follower::new_in(std::sync::Arc::new(dir.clone()), orch_core::id::Seq(1));
        loop {
            match follower.next_line(until) {
                Ok(Some(_)) => {}
                Ok(None) => panic!("nothing was noticed"),
                Err(error) => return error.to_string(),
            }
        }
    };
    for segment in &sample.segments {
        for at in (0..segment.bytes.len()).step_by(13) {
            let mut bytes = segment.bytes.clone();
            bytes[at] ^= 1;
            let line = segment.lines.partition_point(|start| *start <= at);
            let place = format!("{} line {line} (byte {}): expected ", segment.name, segment.lines[line - 1]);
            let text = read(&sample.with(&segment.name, &bytes));
            assert!(text.contains(&place), "{place}: {text}");
        }
    }
    // Cut behind a whole line, it says what is missing.
    let last = sample.segments.last().unwrap();
    let (end, _, seq) = last.ends[0];
    for zeros in [0, 600] {
        let mut bytes = last.bytes[..end].to_vec();
        bytes.resize(end + zeros, 0);
        let line = last.lines.iter().position(|start| *start == end).unwrap() + 1;
        let expected = format!(
            "{} line {line} (byte {end}): expected records up to seq {until}, which are durable, found the end of the \
             ledger after seq {seq}: acknowledged records are missing; run next: orchctl ledger verify /memory",
            last.name
        );
        let text = read(&sample.with(&last.name, &bytes));
        assert!(text.ends_with(&expected), "{text}\n{expected}");
    }
}

//! The ledger as anybody can read it: files of JSON lines.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// The segments of a data directory, in order.
pub fn segments(data: &Path) -> Vec<PathBuf> {
    let Ok(folder) = std::fs::read_dir(data.join("ledger")) else { return Vec::new() };
    let mut files: Vec<PathBuf> = folder.map(|entry| entry.unwrap().path()).collect();
    files.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    files.sort();
    files
}

/// Every whole line of the ledger. Behind the last one there may be space that was claimed and is not used yet.
pub fn lines(data: &Path) -> Vec<String> {
    let mut lines = Vec::new();
    for segment in segments(data) {
        let bytes = std::fs::read(segment).unwrap();
        let used = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
        let text = String::from_utf8(bytes[..used].to_vec()).unwrap();
        lines.extend(text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')).map(str::to_owned));
    }
    lines
}

/// How many candidates the ledger has accepted: cheap enough to ask all the time.
pub fn accepted_count(data: &Path) -> usize {
    let newest = segments(data);
    let count = |path: &PathBuf| {
        let text = std::fs::read(path).unwrap_or_default();
        text.split(|byte| *byte == b'\n').filter(|line| event_is(line, b"\"candidate_accepted\"")).count()
    };
    newest.iter().map(count).sum()
}

/// Whether a line has this event. Its name stands within the first 200 bytes, before anything that users write.
fn event_is(line: &[u8], name: &[u8]) -> bool {
    line[..line.len().min(200)].windows(name.len()).any(|window| window == name)
}

/// Every record's seq and event, with the event's name.
pub fn records(data: &Path) -> Vec<(u64, String, Value)> {
    let record = |line: &String| {
        let record: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let (name, event) = record["event"].as_object().unwrap().iter().next().unwrap();
        (record["seq"].as_u64().unwrap(), name.clone(), event.clone())
    };
    lines(data).iter().map(record).collect()
}

/// The events of this name.
pub fn events(data: &Path, name: &str) -> Vec<Value> {
    records(data).into_iter().filter(|(_, event, _)| event == name).map(|(_, _, event)| event).collect()
}

/// Holds the ledger to its first promise: seqs without gap, and no identity accepted twice. Gives the number accepted.
#[track_caller]
pub fn check_accepted_once(data: &Path) -> usize {
    let mut digests = HashSet::new();
    for (at, (seq, name, event)) in records(data).into_iter().enumerate() {
        assert_eq!(seq, at as u64 + 1, "a gap in {}", data.display());
        if name == "candidate_accepted" {
            let digest = event["digest"].as_str().unwrap().to_owned();
            assert!(digests.insert(digest), "accepted twice: seq {seq}, {event}");
        }
    }
    digests.len()
}

//! How large the ledger is on disk.

use std::path::Path;

/// Bytes and number of the segments, as the file system has them.
pub fn size(data: &Path) -> (u64, u64) {
    let Ok(files) = std::fs::read_dir(data.join(orch_ledger::layout::LEDGER)) else { return (0, 0) };
    let is_segment = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.ends_with(".jsonl"));
    let sizes = files.flatten().filter(|file| is_segment(&file.file_name()));
    let sizes = sizes.filter_map(|file| file.metadata().ok()).map(|metadata| metadata.len());
    sizes.fold((0, 0), |(bytes, segments), size| (bytes + size, segments + 1))
}

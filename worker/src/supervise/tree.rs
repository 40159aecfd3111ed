//! The children of this process, as `/proc` shows them.

use std::fs;

use rustix::process::{Pid, getpid};

/// Its children, those of its threads included. One that comes meanwhile may be missing.
pub(super) fn children() -> Vec<Pid> {
    listed().unwrap_or_else(searched)
}

/// As the kernel lists them for each thread: quick enough to catch a process that lives for a moment only. None: it has no
/// such lists (`CONFIG_PROC_CHILDREN`).
fn listed() -> Option<Vec<Pid>> {
    let mut found = Vec::new();
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(text) => found.extend(text.split_whitespace().filter_map(|pid| Pid::from_raw(pid.parse().ok()?))),
            // A thread that has ended.
            Err(_) if !thread.path().exists() => {}
            Err(_) => return None,
        }
    }
    Some(found)
}

/// By looking at the parent of every process there is.
pub(super) fn searched() -> Vec<Pid> {
    let me = getpid().as_raw_nonzero().get();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let is_mine = |entry: &fs::DirEntry| {
        fs::read_to_string(entry.path().join("stat")).is_ok_and(|stat| parent_in(&stat) == Some(me))
    };
    entries.filter(is_mine).filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// The parent in a line of `/proc/PID/stat`: `PID (NAME) STATE PARENT ...`, where the name may hold anything.
fn parent_in(stat: &str) -> Option<i32> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_anything() {
        assert_eq!(parent_in("12 (sh) S 7 12 7 0"), Some(7));
        assert_eq!(parent_in("12 (a) S 1 (b) ) R 9 1"), Some(9));
        assert_eq!(parent_in("12 (sh"), None);
    }

    #[test]
    fn a_child_is_found_in_either_way() {
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = Pid::from_child(&child);
        assert!(children().contains(&pid) && searched().contains(&pid));
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!children().contains(&pid) && !searched().contains(&pid));
    }
}

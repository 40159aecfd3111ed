//! What jobs leave to the worker itself.
//!
//! A job runs as the worker's own user, so it can kill its supervisor. Its processes then become the worker's children,
//! if the worker is their reaper; whoever is its child and no supervisor is ended.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use rustix::process::{Pid, Signal, WaitOptions, getpid, kill_process, set_child_subreaper, waitpid};

use super::tree;

/// Whether orphans come here.
static ADOPTS: AtomicBool = AtomicBool::new(false);

/// The supervisors that run.
static SUPERVISORS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

/// Makes this process the reaper of what jobs leave.
pub(super) fn adopt() {
    match set_child_subreaper(Some(getpid())) {
        Ok(()) => ADOPTS.store(true, Ordering::Relaxed),
        Err(error) => tracing::warn!(%error, "processes of a job that kills its supervisor will not be ended"),
    }
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

/// Starts a supervisor, known before anybody looks for orphans.
pub(super) fn start<T>(spawn: impl FnOnce() -> io::Result<(T, Option<Pid>)>) -> io::Result<(T, Option<Pid>)> {
    let mut supervisors = SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner);
    let (started, pid) = spawn()?;
    supervisors.extend(pid.map(number));
    Ok((started, pid))
}

/// A supervisor has ended. If not `by_itself`, whatever it should have ended is ended now.
pub(super) fn ended(supervisor: Pid, by_itself: bool) {
    let mut supervisors = SUPERVISORS.lock().unwrap_or_else(PoisonError::into_inner);
    supervisors.remove(&number(supervisor));
    if by_itself || !ADOPTS.load(Ordering::Relaxed) {
        return;
    }
    // Each round may bring the children of those that it ended; a supervisor that ends just now has none left.
    loop {
        let orphans_of = |found: Vec<Pid>| -> Vec<Pid> {
            found.into_iter().filter(|pid| !supervisors.contains(&number(*pid))).collect()
        };
        let mut orphans = orphans_of(tree::children());
        if orphans.is_empty() {
            // The quick list may miss one while others come and go: that there is none is worth a search.
            orphans = orphans_of(tree::searched());
        }
        if orphans.is_empty() {
            return;
        }
        for pid in orphans {
            tracing::warn!(pid = number(pid), "a process of a job outlived its supervisor and is ended");
            let _ = kill_process(pid, Signal::KILL);
            let _ = waitpid(Some(pid), WaitOptions::empty());
        }
    }
}

//! LOCK: one writer per data directory, by the kernel's lock. A crash leaves nothing to clean up.

use std::io;
use std::sync::Arc;

use crate::disk::{self, Access, Dir, File};
use crate::layout;

/// The lock, held until dropped.
#[derive(Debug)]
pub(crate) struct LockGuard {
    file: Arc<dyn File>,
}

/// What came of trying.
#[derive(Debug)]
pub(crate) enum Attempt {
    Taken(LockGuard),
    /// Another process has it; the text is what it wrote about itself.
    Held(String),
}

/// Takes the lock if nobody has it.
pub(crate) fn try_take(dir: &dyn Dir) -> io::Result<Attempt> {
    let file = dir.open(layout::LOCK, Access::Create)?;
    // A verification looks at the lock for a moment (`is_held`), which must not stop a start.
    for _ in 0..100 {
        if file.try_lock()? {
            return Ok(Attempt::Taken(LockGuard { file }));
        }
        std::thread::yield_now();
    }
    let bytes = disk::read_file(dir, layout::LOCK, 1024).unwrap_or_default();
    let text = String::from_utf8_lossy(&bytes).trim().to_owned();
    Ok(Attempt::Held(if text.is_empty() { "another process".to_owned() } else { text }))
}

/// Takes the lock if its file is there, and writes nothing: for a directory that must not change. `None` without a file.
pub(crate) fn try_take_existing(dir: &dyn Dir) -> io::Result<Option<Attempt>> {
    let file = match dir.open(layout::LOCK, Access::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    // As above: somebody may be looking.
    for _ in 0..100 {
        if file.try_lock()? {
            return Ok(Some(Attempt::Taken(LockGuard { file })));
        }
        std::thread::yield_now();
    }
    Ok(Some(Attempt::Held(String::new())))
}

/// Whether a process holds the lock now. Takes nothing that stays.
pub(crate) fn is_held(dir: &dyn Dir) -> io::Result<bool> {
    match dir.open(layout::LOCK, Access::Read) {
        Ok(file) => Ok(!file.try_lock()?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

impl LockGuard {
    /// Says in LOCK who holds it: for messages, so it is not synced and an error is of no account.
    pub(crate) fn describe(&self, pid: u32, host: &str, epoch: u64) {
        let text = format!("process {pid} on {host}, epoch {epoch}\n");
        let _ = self.file.set_len(0).and_then(|()| disk::write_all_at(&*self.file, text.as_bytes(), 0));
    }
}

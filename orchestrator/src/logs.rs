//! Job logs: what runners wrote to their standard error, one bounded file an attempt.
//!
//! They are no part of the ledger: a lost line of a log loses no result. Files are opened for each write and each
//! read, so that no number of jobs holds more than a few files open at once; a semaphore keeps it so.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::id::JobId;
use tokio::sync::{Semaphore, watch};

/// The most bytes of one attempt's log; what comes after is dropped and counted.
pub const MAX_LOG_BYTES: u64 = 1 << 20;

/// The most log files open at once.
const MAX_OPEN: usize = 64;

/// What became of a piece of a log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Appended {
    /// Bytes written.
    pub kept: u64,
    /// Bytes beyond the bound.
    pub dropped: u64,
}

/// The log files of a data directory. Cheap to clone.
#[derive(Clone, Debug)]
pub struct JobLogs {
    dir: PathBuf,
    open: Arc<Semaphore>,
    /// Counts appends, so that those who follow a log wake up.
    appended: watch::Sender<u64>,
}

impl JobLogs {
    /// The logs of this data directory; their folder is made with the first one.
    pub fn new(data: &Path) -> Self {
        Self { dir: data.join("logs"), open: Arc::new(Semaphore::new(MAX_OPEN)), appended: watch::Sender::new(0) }
    }

    /// Numbers only: nothing that a worker says becomes part of a path.
    fn path(&self, job: JobId, attempt: u32) -> PathBuf {
        self.dir.join(format!("{job}.{attempt}.log"))
    }

    /// Appends to the log of an attempt, up to [`MAX_LOG_BYTES`].
    ///
    /// # Errors
    /// The disk's.
    pub async fn append(
        &self,
        job: JobId,
        attempt: u32,
        text: impl AsRef<[u8]> + Send + 'static,
    ) -> io::Result<Appended> {
        let (dir, path) = (self.dir.clone(), self.path(job, attempt));
        let appended = self.work(move || append(&dir, &path, text.as_ref())).await?;
        if appended.kept > 0 {
            self.appended.send_modify(|count| *count = count.wrapping_add(1));
        }
        Ok(appended)
    }

    /// At most `most` bytes of an attempt's log from `offset` on; none if the log ends there or does not exist.
    ///
    /// # Errors
    /// The disk's.
    pub async fn read(&self, job: JobId, attempt: u32, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let path = self.path(job, attempt);
        self.work(move || read(&path, offset, most)).await
    }

    /// Changes whenever some log has grown.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.appended.subscribe()
    }

    async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
        let permit = Arc::clone(&self.open).acquire_owned().await.map_err(io::Error::other)?;
        let done = tokio::task::spawn_blocking(move || {
            let _permit = permit;
            work()
        });
        done.await.map_err(io::Error::other)?
    }
}

fn append(dir: &Path, path: &Path, text: &[u8]) -> io::Result<Appended> {
    let mut file = open_to_append(dir, path)?;
    let room = MAX_LOG_BYTES.saturating_sub(file.metadata()?.len());
    let kept = text.len().min(usize::try_from(room).unwrap_or(usize::MAX));
    file.write_all(&text[..kept])?;
    Ok(Appended { kept: kept as u64, dropped: (text.len() - kept) as u64 })
}

fn open_to_append(dir: &Path, path: &Path) -> io::Result<File> {
    let open = || OpenOptions::new().append(true).create(true).open(path);
    match open() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            fs::create_dir_all(dir)?;
            open()
        }
        other => other,
    }
}

fn read(path: &Path, offset: u64, most: usize) -> io::Result<Vec<u8>> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    file.seek(SeekFrom::Start(offset))?;
    let mut bytes = Vec::new();
    file.take(most as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_log_is_bounded_and_what_is_dropped_is_counted() {
        let data = tempfile::tempdir().unwrap();
        let logs = JobLogs::new(data.path());
        let mut changes = logs.changes();
        let job = JobId::new(7);
        let first = logs.append(job, 1, "hello\n").await.unwrap();
        assert_eq!(first, Appended { kept: 6, dropped: 0 });
        assert!(changes.has_changed().unwrap());
        changes.mark_unchanged();
        let second = logs.append(job, 1, vec![b'x'; MAX_LOG_BYTES as usize]).await.unwrap();
        assert_eq!(second, Appended { kept: MAX_LOG_BYTES - 6, dropped: 6 });
        changes.mark_unchanged();
        assert_eq!(logs.append(job, 1, "more").await.unwrap(), Appended { kept: 0, dropped: 4 });
        assert!(!changes.has_changed().unwrap());
        assert_eq!(logs.read(job, 1, 2, 4).await.unwrap(), b"llo\n");
        assert_eq!(logs.read(job, 1, MAX_LOG_BYTES, 4).await.unwrap(), b"");
        assert_eq!(logs.read(job, 2, 0, 4).await.unwrap(), b"");
        assert!(data.path().join("logs/7.1.log").is_file());
    }
}

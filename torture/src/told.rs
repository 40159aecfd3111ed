//! What clients were told, kept outside the system and on disk before anybody acts on it.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use orch_sim::checker::{Acknowledged, AcknowledgedLog, check_dir};

use crate::TortureError;

/// The answers that all clients of a torture got. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Told {
    path: PathBuf,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    log: Mutex<AcknowledgedLog>,
    /// The same file, to sync it: that need not hold up those who write.
    file: File,
    count: AtomicU64,
    /// When the last answer came, in microseconds since the epoch.
    last_at: AtomicU64,
}

impl Told {
    /// An empty log.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn create(path: PathBuf) -> Result<Self, TortureError> {
        let open = || Ok((AcknowledgedLog::create(&path)?, File::options().append(true).open(&path)?));
        let (log, file) = open().map_err(TortureError::io("make the log of what was acknowledged"))?;
        Ok(Self {
            path,
            inner: Arc::new(Inner { log: Mutex::new(log), file, count: AtomicU64::new(0), last_at: AtomicU64::new(0) }),
        })
    }

    /// Notes an answer; it is on disk when this returns.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn note(&self, told: &Acknowledged) -> Result<(), TortureError> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_micros();
        self.inner.last_at.store(u64::try_from(now).unwrap_or(u64::MAX), Ordering::Relaxed);
        let noted = self.inner.log.lock().unwrap_or_else(PoisonError::into_inner).note(told);
        let synced = noted.and_then(|()| self.inner.file.sync_data());
        synced.map_err(TortureError::io("note what was acknowledged"))?;
        self.inner.count.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// How many answers were noted.
    pub fn count(&self) -> u64 {
        self.inner.count.load(Ordering::Relaxed)
    }

    /// When the last answer came, in seconds since the epoch.
    pub fn last_at(&self) -> f64 {
        self.inner.last_at.load(Ordering::Relaxed) as f64 / 1e6
    }

    /// Everything that does not hold in this data directory, given what was told.
    ///
    /// # Errors
    /// [`TortureError::Io`]: the log cannot be read.
    pub fn check(&self, data: &Path) -> Result<Vec<String>, TortureError> {
        let told = AcknowledgedLog::read(&self.path).map_err(TortureError::io("read what was acknowledged"))?;
        Ok(check_dir(data, &told).iter().map(ToString::to_string).collect())
    }
}

//! The store on disk: sled 0.34, kept at arm's length.
//!
//! A damaged sled database may panic, or open and silently lack keys. So every call is guarded, and the digest of
//! [`super::mark`] is checked by a scan before an old database is used.

use std::path::Path;

use super::guard::guarded;
use super::store::{Changes, Pairs, Store, StoreError};

/// sled's own default is 1 GiB.
pub(super) const CACHE_BYTES: u64 = 64 << 20;

pub(super) struct SledStore {
    db: sled::Db,
}

// A `From` would also catch sled errors of calls that are not guarded.
#[allow(clippy::needless_pass_by_value)]
fn failed(error: sled::Error) -> StoreError {
    StoreError::Failed(error.to_string())
}

impl SledStore {
    /// Opens or creates a database. May panic or hang on a damaged one: see [`super::guard`].
    pub(super) fn open(dir: &Path) -> Result<Self, StoreError> {
        let config = sled::Config::new().path(dir).cache_capacity(CACHE_BYTES).flush_every_ms(Some(1000));
        Ok(Self { db: config.open().map_err(failed)? })
    }
}

impl Store for SledStore {
    fn kind(&self) -> &'static str {
        "sled"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        guarded(|| Ok(self.db.get(key).map_err(failed)?.map(|value| value.to_vec())))
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StoreError> {
        guarded(|| {
            let pairs = self.db.range(from..to).take(limit);
            pairs.map(|pair| pair.map(|(key, value)| (key.to_vec(), value.to_vec())).map_err(failed)).collect()
        })
    }

    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        guarded(move || {
            let mut batch = sled::Batch::default();
            for (key, value) in changes {
                match value {
                    Some(value) => batch.insert(key, value),
                    None => batch.remove(key),
                }
            }
            self.db.apply_batch(batch).map_err(failed)
        })
    }

    fn flush(&self) {
        let flushed = guarded(|| self.db.flush().map_err(failed));
        if let Err(error) = flushed {
            tracing::warn!(%error, "the index was not flushed: the next start checks or rebuilds it");
        }
    }
}

//! A store in memory: for tests, and where sled cannot be opened at all.

use std::collections::BTreeMap;
use std::sync::RwLock;

use super::store::{Changes, Pairs, Store, StoreError};

/// A store that is gone with the process; the next start builds it again.
#[derive(Debug, Default)]
pub struct MemoryStore {
    keys: RwLock<BTreeMap<Vec<u8>, Vec<u8>>>,
}

fn poisoned<E>(_: E) -> StoreError {
    StoreError::Failed("a thread panicked while it wrote".into())
}

impl Store for MemoryStore {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError> {
        Ok(self.keys.read().map_err(poisoned)?.get(key).cloned())
    }

    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StoreError> {
        if from >= to {
            return Ok(Vec::new());
        }
        let keys = self.keys.read().map_err(poisoned)?;
        let range = keys.range::<[u8], _>((std::ops::Bound::Included(from), std::ops::Bound::Excluded(to)));
        Ok(range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn write(&self, changes: Changes) -> Result<(), StoreError> {
        let mut keys = self.keys.write().map_err(poisoned)?;
        for (key, value) in changes {
            match value {
                Some(value) => keys.insert(key, value),
                None => keys.remove(&key),
            };
        }
        Ok(())
    }
}

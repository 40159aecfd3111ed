//! What the rest of the orchestrator sees of the index: look-ups, listings, and how far it is.

use std::sync::{Arc, RwLock};
use std::time::Duration;

use orch_core::id::{JobId, Seq};
use tokio::sync::{Notify, watch};

use super::block;
use super::entry::Entry;
use super::keys;
use super::list::{self, Filter, Page};
use super::memory::MemoryStore;
use super::store::{Store, StoreError};

/// How far the index is, and whether something is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexStatus {
    /// The last record that is in it.
    pub applied: Seq,
    /// `sled` or `memory`; `opening` before the first.
    pub kind: &'static str,
    /// Why it lags or begins anew; empty while it is healthy.
    pub problem: String,
}

/// Why the index did not answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    /// It is broken and is being built again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// It did not answer in time.
    #[error("the index did not answer within {} s", .0.as_secs())]
    Slow(Duration),
}

/// No look-up takes longer, however long a listing is.
const ANSWER_LIMIT: Duration = Duration::from_secs(20);

/// What the follower's thread and the askers share.
pub(super) struct Shared {
    /// Held for reading during a whole look-up, so that what it sees is one state.
    pub(super) store: RwLock<Arc<dyn Store>>,
    pub(super) status: watch::Sender<IndexStatus>,
    /// Somebody waits: do not pause before the next step.
    pub(super) nudge: Notify,
    /// A look-up found the store broken.
    pub(super) broken: Notify,
}

impl Shared {
    pub(super) fn new() -> Arc<Self> {
        let status = IndexStatus { applied: Seq(0), kind: "opening", problem: String::new() };
        Arc::new(Self {
            store: RwLock::new(Arc::new(MemoryStore::default())),
            status: watch::Sender::new(status),
            nudge: Notify::new(),
            broken: Notify::new(),
        })
    }

    fn look_up<T>(&self, look: impl FnOnce(&dyn Store) -> Result<T, StoreError>) -> Result<T, StoreError> {
        // A thread that panicked with the lock held has not left the store half written: writes are atomic.
        let store = self.store.read().unwrap_or_else(std::sync::PoisonError::into_inner);
        look(&**store).inspect_err(|_| self.broken.notify_one())
    }
}

/// The index. Cheap to clone.
#[derive(Clone)]
pub struct Index {
    pub(super) shared: Arc<Shared>,
}

impl Index {
    /// How far it is.
    pub fn status(&self) -> IndexStatus {
        self.shared.status.borrow().clone()
    }

    /// Waits until the record at `seq` is in it, but no longer than `limit`, and says how far it is then.
    pub async fn wait_for(&self, seq: Seq, limit: Duration) -> IndexStatus {
        let mut status = self.shared.status.subscribe();
        self.shared.nudge.notify_one();
        // The sender lives as long as `self.shared`; an error can only be that the time is over.
        let _ = tokio::time::timeout(limit, status.wait_for(|status| status.applied >= seq)).await;
        self.status()
    }

    /// A job; None if the index does not know it (yet).
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn get(&self, job: JobId) -> Result<Option<Entry>, IndexError> {
        self.ask(move |store| {
            let (id, place) = block::locate(job);
            let bytes = store.get(&keys::block(id))?;
            bytes.map_or(Ok(None), |bytes| block::find(id, place, &bytes))
        })
        .await
    }

    /// The first `limit` jobs behind `after` that the filter means, by age. [`JobId`] 0 is before the first.
    ///
    /// # Errors
    /// [`IndexError`].
    pub async fn list(&self, filter: Filter, after: JobId, limit: usize) -> Result<Page, IndexError> {
        self.ask(move |store| list::list(store, &filter, after, limit.max(1))).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        look: impl FnOnce(&dyn Store) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, IndexError> {
        let shared = Arc::clone(&self.shared);
        let asked = tokio::task::spawn_blocking(move || shared.look_up(look));
        match tokio::time::timeout(ANSWER_LIMIT, asked).await {
            Ok(Ok(answer)) => Ok(answer?),
            Ok(Err(join)) => Err(StoreError::Panicked(join.to_string()).into()),
            Err(_) => Err(IndexError::Slow(ANSWER_LIMIT)),
        }
    }
}

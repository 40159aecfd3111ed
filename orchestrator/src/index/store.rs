//! What the index needs of a store: ordered keys, ranges and atomic writes. Bytes only.

/// Keys with their new values; None removes a key.
pub type Changes = Vec<(Vec<u8>, Option<Vec<u8>>)>;

/// Keys with their values, in order.
pub type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

/// Why a store did not do what it was asked. All of it means: throw it away.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The store says so itself.
    #[error("the index store failed: {0}")]
    Failed(String),
    /// The store panicked; the panic was caught.
    #[error("the index store panicked: {0}")]
    Panicked(String),
    /// What it holds is not what was written.
    #[error("the index is damaged: {0}")]
    Damaged(String),
}

/// An ordered map from bytes to bytes.
pub trait Store: Send + Sync {
    /// What it is, for status lines.
    fn kind(&self) -> &'static str;

    /// The value of a key.
    ///
    /// # Errors
    /// [`StoreError`]: the store is of no use any more.
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, StoreError>;

    /// The first `limit` keys from `from` (inclusive) to `to` (exclusive), in order, with their values.
    ///
    /// # Errors
    /// [`StoreError`]: the store is of no use any more.
    fn range(&self, from: &[u8], to: &[u8], limit: usize) -> Result<Pairs, StoreError>;

    /// Writes all of it or nothing.
    ///
    /// # Errors
    /// [`StoreError`]: the store is of no use any more.
    fn write(&self, changes: Changes) -> Result<(), StoreError>;

    /// Makes what was written survive the process, as far as the store can. Called at a stop.
    fn flush(&self) {}
}

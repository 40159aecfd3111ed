//! The index: what listings and look-ups of jobs are answered from.
//!
//! It is a cache of the ledger and nothing else. A thread ([`follower`]) reads the ledger's files behind the writer,
//! folds the records into one [`Entry`] per job ([`fold`]) and writes these, in [`block`]s and with the seq that it
//! reached and a digest over every key, in one atomic step. Whatever is wrong with what it finds at a start (missing,
//! of another version or ledger, ahead, damaged), it throws it away and builds it again by the same code. No
//! acknowledgement waits for it, and nobody concludes from a miss that something does not exist in the ledger.
//!
//! Below is a small ordered key-value [`store`]: [`sled_store`], or [`memory`] for tests and where sled cannot be
//! opened at all.

mod block;
mod bytes;
mod entry;
mod fold;
mod follower;
mod guard;
mod handle;
mod keys;
mod list;
mod mark;
mod memory;
mod open;
mod sled_store;
mod source;
mod store;

pub use entry::Entry;
pub use follower::{Follower, FollowerOptions, Read, Source, SourceError};
pub use handle::{Index, IndexError, IndexStatus};
pub use list::{Filter, Page};
pub use memory::MemoryStore;
pub use open::{SCHEMA, directory};
pub use source::LedgerSource;
pub use store::{Changes, Pairs, Store, StoreError};

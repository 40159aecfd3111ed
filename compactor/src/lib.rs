//! Takes a clean, sorted, reproducible data set out of a ledger.
//!
//! [`compact`] reads a ledger's files up to the durable head, takes no lock, and checks the whole chain as it reads.
//! The accepted candidates come out as canonical JSON, one per line, sorted by identity. The same ledger gives the
//! same bytes, whatever the memory bound; the output file is there as a whole or not at all.
//!
//! Lines need not come from files: [`Compactor`] takes them one by one, from wherever they are.
//!
//! Where to look: [`Compactor`] decides what is taken; `sort` is the external merge sort; [`AtomicFile`] is the
//! output; `source` finds and reads a ledger's files. Nothing here knows Parquet: that lives in the command.

mod compact;
mod compactor;
mod error;
mod key;
mod leases;
mod options;
mod output;
mod sort;
mod sorted;
mod source;
mod summary;

pub use compact::{compact, create_apart, read};
pub use compactor::Compactor;
pub use error::CompactError;
pub use leases::PROVENANCE_KEY;
pub use options::{DEFAULT_MEMORY, Options};
pub use output::{AtomicFile, OutputError};
pub use sort::SortError;
pub use sorted::Sorted;
pub use source::{NotALedger, locate};
pub use summary::{ContractCount, Progress, Summary};

//! Receipts: what an acknowledgement proves.

use serde::{Deserialize, Serialize};

use crate::digest::Digest;
use crate::id::Seq;

/// Proof of what was acknowledged: a record, and the chain link of the batch that holds it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Receipt {
    /// The last record that the receipt speaks for.
    pub seq: Seq,
    /// The chain link of its batch.
    pub chain: Digest,
}

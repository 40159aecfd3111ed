//! Receipts: what an acknowledgement proves.

use std::fmt;

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
    /// By what the data directory that gave it knows it again.
    #[serde(default)]
    pub mac: Mac,
}

/// An authentication code, under a secret of the data directory: so only what a copy of that directory gave counts as
/// given. All zeros: none was made, because the engine has no secret.
#[derive(Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mac(pub [u8; 16]);

impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

//! Receipts: proof of what was acknowledged.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::receipt::{Mac, Receipt};

use crate::{Bytes, v1};

impl TryFrom<v1::Receipt> for Receipt {
    type Error = String;

    fn try_from(wire: v1::Receipt) -> Result<Self, String> {
        let v1::Receipt { seq, chain, mac } = wire;
        // One without a code, or with what cannot be one, is a receipt that nobody can prove.
        let mac = mac.as_ref().try_into().map(Mac).unwrap_or_default();
        Ok(Self { seq: Seq(seq), chain: digest(&chain)?, mac })
    }
}

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { seq, chain, mac } = receipt;
        let mac = if mac == Mac::default() { Bytes::new() } else { mac.0.to_vec().into() };
        Self { seq: seq.0, chain: chain.0.to_vec().into(), mac }
    }
}

/// A SHA-256 digest from its bytes.
pub(super) fn digest(bytes: &[u8]) -> Result<Digest, String> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| format!("{} bytes: a SHA-256 digest has 32", bytes.len()))?;
    Ok(Digest(bytes))
}

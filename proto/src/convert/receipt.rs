//! Receipts: proof of what was acknowledged.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::receipt::Receipt;

use crate::v1;

impl TryFrom<v1::Receipt> for Receipt {
    type Error = String;

    fn try_from(wire: v1::Receipt) -> Result<Self, String> {
        let v1::Receipt { seq, chain } = wire;
        Ok(Self { seq: Seq(seq), chain: digest(&chain)? })
    }
}

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { seq, chain } = receipt;
        Self { seq: seq.0, chain: chain.0.to_vec().into() }
    }
}

/// A SHA-256 digest from its bytes.
pub(super) fn digest(bytes: &[u8]) -> Result<Digest, String> {
    let bytes: [u8; 32] = bytes.try_into().map_err(|_| format!("{} bytes: a SHA-256 digest has 32", bytes.len()))?;
    Ok(Digest(bytes))
}

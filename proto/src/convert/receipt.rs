//! Receipts on the wire.

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::receipt::Receipt;

use super::Faults;
use crate::v1;

impl From<Receipt> for v1::Receipt {
    fn from(receipt: Receipt) -> Self {
        let Receipt { seq, chain } = receipt;
        Self { seq: seq.0, chain: chain.0.to_vec().into() }
    }
}

impl TryFrom<v1::Receipt> for Receipt {
    type Error = Faults;

    fn try_from(wire: v1::Receipt) -> Result<Self, Faults> {
        let v1::Receipt { seq, chain } = wire;
        let Ok(chain) = <[u8; 32]>::try_from(&chain[..]) else {
            let mut faults = Faults::new();
            faults.push("chain", format!("{} bytes, a chain link has 32", chain.len()));
            return Err(faults);
        };
        Ok(Self { seq: Seq(seq), chain: Digest(chain) })
    }
}

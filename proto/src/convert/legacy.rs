//! Imports of older results: messages of the stream to checked values.

use orch_core::digest::Digest;
use orch_core::id::ContractRef;
use orch_core::job::Payload;
use prost::bytes::Bytes;

use super::Faults;
use super::receipt::digest;
use crate::v1;

/// A message of the stream.
#[derive(Clone, Debug, PartialEq)]
pub enum LegacyPart {
    /// Which file comes.
    Start(LegacyFile),
    /// Some of its lines.
    Batch {
        /// The batch's number, from 1.
        number: u64,
        /// The lines.
        lines: Vec<Bytes>,
    },
    /// That was all.
    Finish {
        /// How many batches there were.
        batches: u64,
    },
}

/// A file of older results.
#[derive(Clone, Debug, PartialEq)]
pub struct LegacyFile {
    /// SHA-256 of the whole file.
    pub sha256: Digest,
    /// Its name.
    pub name: String,
    /// The contract that judges its lines.
    pub contract: ContractRef,
    /// What stands in for a job's payload.
    pub payload: Payload,
}

impl TryFrom<v1::ImportLegacyRequest> for LegacyPart {
    type Error = Faults;

    fn try_from(wire: v1::ImportLegacyRequest) -> Result<Self, Faults> {
        use v1::import_legacy_request::Part;
        let v1::ImportLegacyRequest { part } = wire;
        let mut faults = Faults::new();
        match part {
            None => {
                faults.push("part", "is missing: send start, batches, then finish");
                Err(faults)
            }
            Some(Part::Start(start)) => Ok(Self::Start(start.try_into()?)),
            Some(Part::Batch(v1::Batch { number, candidates })) => Ok(Self::Batch { number, lines: candidates }),
            Some(Part::Finish(v1::LegacyFinish { batches })) => Ok(Self::Finish { batches }),
        }
    }
}

impl TryFrom<v1::LegacyStart> for LegacyFile {
    type Error = Faults;

    fn try_from(wire: v1::LegacyStart) -> Result<Self, Faults> {
        let v1::LegacyStart { file_sha256, name, contract, payload_json } = wire;
        let mut faults = Faults::new();
        let sha256 = faults.take("file_sha256", digest(&file_sha256));
        let contract = faults.take("contract", contract.parse::<ContractRef>());
        let payload = if payload_json.is_empty() {
            Some(Payload::default())
        } else {
            faults.take("payload_json", Payload::parse(payload_json.as_bytes()))
        };
        let (Some(sha256), Some(contract), Some(payload)) = (sha256, contract, payload) else { return Err(faults) };
        faults.or(Self { sha256, name, contract, payload })
    }
}

//! Where candidates come from: the leases under which they were found.
//!
//! A job has one lease at a time, and candidates come under a current one only. So what is kept in memory grows with
//! the jobs that are leased at one time, not with the ledger.

use std::collections::HashMap;

use orch_core::id::{JobId, LeaseId, Seq, WorkerId};
use orch_core::json;
use orch_core::record::{CandidateAccepted, Origin};
use serde_json::{Map, Value, json};

use crate::error::CompactError;

/// The key under which a candidate's origin is written. Contracts leave it to this.
pub const PROVENANCE_KEY: &str = "_orch";

/// Holds a candidate that is no object, beside [`PROVENANCE_KEY`].
const CANDIDATE_KEY: &str = "candidate";

/// A current lease.
#[derive(Debug)]
struct Granted {
    lease: LeaseId,
    attempt: u32,
    worker: WorkerId,
}

/// The current leases, by job.
#[derive(Debug, Default)]
pub(crate) struct Leases {
    granted: HashMap<JobId, Granted>,
}

impl Leases {
    pub(crate) fn grant(&mut self, job: JobId, lease: LeaseId, attempt: u32, worker: WorkerId) {
        self.granted.insert(job, Granted { lease, attempt, worker });
    }

    /// The job's lease, if it has one, is over.
    pub(crate) fn end(&mut self, job: JobId) {
        self.granted.remove(&job);
    }

    /// A candidate in canonical JSON with its origin in it.
    pub(crate) fn annotate(
        &self,
        seq: Seq,
        accepted: &CandidateAccepted,
        candidate: Value,
    ) -> Result<String, CompactError> {
        let origin = self.origin(seq, accepted)?;
        let mut object = match candidate {
            Value::Object(object) if object.contains_key(PROVENANCE_KEY) => {
                return Err(CompactError::ReservedKey { seq, contract: accepted.contract.clone() });
            }
            Value::Object(object) => object,
            other @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                Map::from_iter([(CANDIDATE_KEY.to_owned(), other)])
            }
        };
        object.insert(PROVENANCE_KEY.to_owned(), origin);
        Ok(json::canonical_text(&Value::Object(object)))
    }

    fn origin(&self, seq: Seq, accepted: &CandidateAccepted) -> Result<Value, CompactError> {
        let digest = accepted.digest.to_string();
        let seq_number = seq.0;
        match accepted.origin {
            Origin::Lease { job, lease } => {
                let granted = self.granted.get(&job).filter(|granted| granted.lease == lease);
                let Granted { attempt, worker, .. } = granted.ok_or(CompactError::NoSuchLease { seq, job, lease })?;
                let (job, worker) = (job.get(), worker.as_str());
                Ok(json!({"seq": seq_number, "job": job, "worker": worker, "attempt": attempt, "digest": digest}))
            }
            Origin::Legacy { import } => Ok(json!({
                "seq": seq_number, "job": null, "worker": null, "attempt": null, "digest": digest,
                "import": import.get(),
            })),
        }
    }
}

#[cfg(test)]
mod tests {
    use orch_core::digest::Digest;
    use orch_core::id::ImportId;
    use serde_json::value::RawValue;

    use super::*;

    fn accepted(origin: Origin) -> CandidateAccepted {
        CandidateAccepted {
            origin,
            contract: "zeros@1".parse().unwrap(),
            digest: Digest::default(),
            offsets: Vec::new(),
            candidate: RawValue::from_string("null".into()).unwrap(),
        }
    }

    fn leases() -> (Leases, Origin) {
        let mut leases = Leases::default();
        leases.grant(JobId::new(3), LeaseId::new(5), 2, WorkerId::new("w/1").unwrap());
        (leases, Origin::Lease { job: JobId::new(3), lease: LeaseId::new(5) })
    }

    #[test]
    fn the_origin_stands_where_canonical_order_puts_it() {
        let (leases, origin) = leases();
        let digest = "0".repeat(64);
        let text = leases.annotate(Seq(9), &accepted(origin), json!({"Z": 1, "a": [2]})).unwrap();
        let orch = format!("{{\"attempt\":2,\"digest\":\"{digest}\",\"job\":3,\"seq\":9,\"worker\":\"w/1\"}}");
        assert_eq!(text, format!("{{\"Z\":1,\"_orch\":{orch},\"a\":[2]}}"));
        let text = leases.annotate(Seq(9), &accepted(origin), json!([1])).unwrap();
        assert_eq!(text, format!("{{\"_orch\":{orch},\"candidate\":[1]}}"));
    }

    #[test]
    fn a_legacy_candidate_names_its_import_and_no_job() {
        let origin = Origin::Legacy { import: ImportId::new(4) };
        let text = Leases::default().annotate(Seq(6), &accepted(origin), json!({"t": 1})).unwrap();
        let digest = "0".repeat(64);
        let orch =
            format!("{{\"attempt\":null,\"digest\":\"{digest}\",\"import\":4,\"job\":null,\"seq\":6,\"worker\":null}}");
        assert_eq!(text, format!("{{\"_orch\":{orch},\"t\":1}}"));
    }

    #[test]
    fn a_candidate_without_its_lease_or_with_a_key_of_ours_is_refused() {
        let (mut leases, origin) = leases();
        let error = leases.annotate(Seq(9), &accepted(origin), json!({"_orch": 1})).unwrap_err();
        assert!(error.to_string().starts_with("candidate 9 (contract zeros@1) has a field \"_orch\""), "{error}");
        leases.end(JobId::new(3));
        let error = leases.annotate(Seq(9), &accepted(origin), json!({})).unwrap_err();
        assert!(matches!(error, CompactError::NoSuchLease { seq: Seq(9), .. }), "{error}");
    }
}

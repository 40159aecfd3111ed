//! Manifests and lines of imports.

use orch_core::id::QueueName;
use orch_core::job::JobSpec;
use orch_core::manifest::{job_from_json, parse};

/// Jobs that are looked at; a manifest may stand for millions.
const LOOK: usize = 200;

/// A manifest, and each of its lines as a line of an import.
pub fn manifest(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match parse(text) {
        Ok(manifest) => {
            let count = manifest.job_count();
            let looked = manifest.jobs().take(LOOK).inspect(read_back).count();
            assert_eq!(looked as u64, count.min(LOOK as u64), "as many jobs as were counted");
            for contract in manifest.contracts() {
                let json = serde_json::to_vec(contract).unwrap();
                assert!(serde_json::from_slice::<orch_core::contract::ContractSpec>(&json).is_ok());
            }
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    let queue = QueueName::new("q").ok();
    for line in data.split(|byte| *byte == b'\n').take(20) {
        if let Ok(job) = job_from_json(line, queue.as_ref()) {
            read_back(&job);
        }
    }
}

/// A job stands in the ledger word for word.
fn read_back(job: &JobSpec) {
    let json = serde_json::to_string(job).unwrap();
    let again: JobSpec = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(serde_json::to_string(&again).unwrap(), json);
}

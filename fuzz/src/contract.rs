//! Contracts: what is read compiles or is refused with a reason, and is read back as it was.

use std::sync::Arc;

use orch_core::contract::{Contract, ContractSpec};
use orch_core::job::Payload;

/// A contract as JSON, as it comes over the wire and stands in the ledger.
pub fn contract(data: &[u8]) {
    let Ok(spec) = serde_json::from_slice::<ContractSpec>(data) else { return };
    let Ok(text) = serde_json::to_string(&spec) else { return };
    let again: ContractSpec = serde_json::from_str(&text).unwrap();
    assert_eq!(serde_json::to_string(&again).unwrap(), text, "it is read back as it was");
    let compiled = Contract::compile(spec);
    assert_eq!(compiled.is_ok(), Contract::compile(again).is_ok(), "it compiles as before");
    let Ok(contract) = compiled else { return };
    let contract = Arc::new(contract);
    for payload in ["null", "{}", "{\"a\":-1,\"b\":6,\"eps_root\":1e-8,\"n\":3}", "[1,2]", "\"x\""] {
        let payload: Payload = serde_json::from_str(payload).unwrap();
        let _ = contract.expected_count(&payload);
        let Ok(screen) = contract.bind(&payload) else { continue };
        for candidate in [&b"{\"n\":1,\"t\":14.134725141734694,\"root_val\":0}"[..], b"{}", b"null", b"[0.5]"] {
            super::candidate::judged(&screen, candidate);
        }
    }
}

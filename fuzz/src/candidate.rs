//! Candidates: accepted ones have one canonical form and one identity, and the ledger takes them.

use std::sync::{Arc, OnceLock};

use orch_core::contract::{Contract, ContractSpec, Screen};
use orch_core::id::{ImportId, Seq};
use orch_core::job::Payload;
use orch_core::json;
use orch_core::record::{CandidateAccepted, Event, Origin};
use orch_core::time::Timestamp;

use crate::recovery::memory_ledger;

/// Contracts that between them use every rule.
const CONTRACTS: &[&str] = &[
    r#"{"contract":"zeta-zeros","version":1,"limits":{"max_bytes":4096,"max_depth":4},"schema":{"properties":{"n":{"minimum":1,"type":"integer"},"t":{"type":"number"}},"required":["n","t"],"type":"object"},"tolerance":[{"field":"root_val","abs_lt":1e-8}],"identity":[{"field":"t","quantum":1e-6}],"complete":{"count":7}}"#,
    r#"{"contract":"anything","version":1,"schema":true,"identity":[{"field":"k"}]}"#,
    r#"{"contract":"points","version":2,"schema":{"type":"object"},"identity":[{"field":"x","quantum":0.001},{"field":"y","quantum":1000},{"field":"/name/first"}]}"#,
    r#"{"contract":"bound","version":1,"schema":true,"tolerance":[{"field":"err","abs_lt":{"payload":"eps"}}],"identity":[{"field":"k"}],"limits":{"max_bytes":65536,"max_depth":64}}"#,
];

fn screens() -> &'static [Screen] {
    static SCREENS: OnceLock<Vec<Screen>> = OnceLock::new();
    SCREENS.get_or_init(|| {
        let payload: Payload = serde_json::from_str("{\"eps\":0.5}").unwrap();
        let screen = |text: &&str| {
            let spec: ContractSpec = serde_json::from_str(text).unwrap();
            Arc::new(Contract::compile(spec).unwrap()).bind(&payload).unwrap()
        };
        CONTRACTS.iter().map(screen).collect()
    })
}

/// The first byte picks a contract; the rest is a candidate.
pub fn candidate(data: &[u8]) {
    let Some((which, candidate)) = data.split_first() else { return };
    let screens = screens();
    judged(&screens[usize::from(*which) % screens.len()], candidate);
}

/// Judges a candidate and holds the verdict to its promises.
pub(crate) fn judged(screen: &Screen, candidate: &[u8]) {
    let accepted = match screen.judge(candidate) {
        Ok(accepted) => accepted,
        Err(rejection) => {
            assert!(rejection.message.chars().count() <= 4096, "a message that no record should hold");
            return;
        }
    };
    let text = accepted.candidate().get();
    let value: serde_json::Value = serde_json::from_str(text).unwrap();
    assert_eq!(json::canonical_text(&value), text, "the candidate is in canonical form");
    match screen.judge(text.as_bytes()) {
        Ok(again) => {
            assert_eq!(again.candidate().get(), text);
            assert_eq!((again.digest(), again.offsets()), (accepted.digest(), accepted.offsets()), "one identity");
        }
        // Numbers may grow in canonical form, beyond the largest size.
        Err(rejection) => assert!(text.len() > candidate.len(), "{rejection:?}: {text}"),
    }
    let (_, mut ledger) = memory_ledger();
    let event = Event::CandidateAccepted(Box::new(CandidateAccepted {
        origin: Origin::Legacy { import: ImportId(Seq(1)) },
        contract: accepted.contract().clone(),
        digest: accepted.digest(),
        offsets: accepted.offsets().to_vec(),
        candidate: accepted.into_candidate(),
    }));
    let seq = ledger.stage(Timestamp(0), &event).unwrap();
    ledger.commit().unwrap();
    let read = serde_json::to_string(&ledger.read(seq).unwrap().event).unwrap();
    assert_eq!(read, serde_json::to_string(&event).unwrap());
}

//! The miners that are part of this project, on a thread that may block.

use orch_zeta::{GramRange, Zero, ZerosError, zeros};
use prost::bytes::Bytes;
use serde::{Deserialize, Serialize};

use super::{Outcome, Output};
use crate::assignment::Assignment;
use crate::config::Builtin;
use crate::leases::StopSignal;

/// Zeros handed over at once.
const PORTION: usize = 256;

/// Runs a built-in miner to its end.
pub(crate) async fn run(builtin: Builtin, job: &Assignment, output: Output, stop: &StopSignal) -> Outcome {
    match builtin {
        Builtin::ZetaZeros => zeta_zeros(job, output, stop).await,
    }
}

/// What a `zeta-zeros` job says: the zeros of Gram indices `[a, b)`, which are number a + 2 to b + 1.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ZetaPayload {
    a: i64,
    b: i64,
    /// The tolerance by which the contract judges; the miner is always as exact as it can be.
    #[serde(default)]
    eps_root: Option<f64>,
}

/// One zero as the contract wants it.
#[derive(Serialize)]
struct ZetaCandidate {
    n: u64,
    t: f64,
    root_val: f64,
    meta: ZetaMeta,
}

#[derive(Serialize)]
struct ZetaMeta {
    method: &'static str,
    iters: u32,
}

fn zeta_range(payload: &str) -> Result<GramRange, String> {
    let example = r#"write it like {"a":-1,"b":999,"eps_root":1e-8}"#;
    let ZetaPayload { a, b, eps_root } = serde_json::from_str(payload)
        .map_err(|error| format!("the payload is no range of Gram indices: {error}; {example}"))?;
    if let Some(eps) = eps_root.filter(|eps| !(eps.is_finite() && *eps > 0.0)) {
        return Err(format!("the payload's eps_root is {eps}, it must be above 0; {example}"));
    }
    GramRange::new(a, b).map_err(|error| format!("the payload's range cannot be mined: {error}"))
}

async fn zeta_zeros(job: &Assignment, output: Output, stop: &StopSignal) -> Outcome {
    let range = match zeta_range(&job.payload) {
        Ok(range) => range,
        Err(message) => return Outcome::permanent(message),
    };
    let cancelled = tokio_util::sync::CancellationToken::new();
    let seen = cancelled.clone();
    // Raised too when this future is dropped, so that the thread never outlives its job for long.
    let guard = cancelled.clone().drop_guard();
    let mut thread = tokio::task::spawn_blocking(move || mine(range, &output, &seen));
    let timeout = super::command::elapsed(job.timeout);
    let cut = tokio::select! {
        mined = &mut thread => return finished(mined),
        limit = timeout => Outcome::timeout(limit),
        () = stop.raised() => Outcome::Stopped,
    };
    drop(guard);
    // A panic of a thread that is stopped anyway changes nothing.
    let _ = thread.await;
    cut
}

fn finished(mined: Result<Result<(), String>, tokio::task::JoinError>) -> Outcome {
    match mined {
        Ok(Ok(())) => Outcome::Complete,
        Ok(Err(message)) => Outcome::error(message),
        Err(error) => Outcome::error(format!("the miner broke: {error}")),
    }
}

fn mine(range: GramRange, output: &Output, cancelled: &tokio_util::sync::CancellationToken) -> Result<(), String> {
    let mut portion: Vec<Bytes> = Vec::with_capacity(PORTION);
    let mut found = 0_u64;
    let wanted = std::cell::Cell::new(true);
    let mut sink = |zero: Zero| {
        found += 1;
        portion.push(candidate(zero));
        if portion.len() == PORTION {
            output.progress(found as f64 / range.zeros() as f64, "");
            let full = std::mem::replace(&mut portion, Vec::with_capacity(PORTION));
            wanted.set(output.candidates_blocking(full));
        }
    };
    let keep_going = || wanted.get() && !cancelled.is_cancelled();
    match zeros(range, &keep_going, &mut sink) {
        Ok(_) => {
            output.candidates_blocking(portion);
            Ok(())
        }
        Err(error @ ZerosError::Unresolved(_)) => {
            // What was certain before the block that was not is still worth having.
            output.candidates_blocking(portion);
            Err(error.to_string())
        }
        Err(error @ ZerosError::Cancelled) => Err(error.to_string()),
    }
}

/// The zero as JSON; serde_json writes the shortest digits that give the same double back.
fn candidate(zero: Zero) -> Bytes {
    let Zero { n, t, z, method, iters } = zero;
    let candidate = ZetaCandidate { n, t, root_val: z, meta: ZetaMeta { method: method.name(), iters } };
    // Finite numbers and fixed strings are always JSON.
    serde_json::to_vec(&candidate).unwrap_or_default().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payload_faults_say_how_to_write_it() {
        let fault = |payload: &str| zeta_range(payload).unwrap_err();
        assert!(fault("null").contains("write it like {\"a\":-1,\"b\":999"), "{}", fault("null"));
        assert!(fault(r#"{"a":0,"b":5,"c":1}"#).contains("unknown field `c`"));
        assert!(fault(r#"{"a":0,"b":5,"eps_root":0}"#).contains("eps_root is 0"));
        assert!(fault(r#"{"a":5,"b":5}"#).contains("is empty"));
        assert_eq!(zeta_range(r#"{"a":-1,"b":9,"eps_root":1e-8}"#).unwrap().zeros(), 10);
    }

    #[test]
    fn candidates_keep_every_bit() {
        let range = GramRange::new(-1, 20).unwrap();
        let mut count = 0;
        zeros(range, &|| true, &mut |zero| {
            let value: serde_json::Value = serde_json::from_slice(&candidate(zero)).unwrap();
            assert_eq!(value["t"].as_f64().unwrap().to_bits(), zero.t.to_bits());
            assert_eq!(value["root_val"].as_f64().unwrap().to_bits(), zero.z.to_bits());
            assert_eq!(value["n"].as_u64(), Some(zero.n));
            count += 1;
        })
        .unwrap();
        assert_eq!(count, 21);
    }
}

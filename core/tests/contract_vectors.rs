//! The published vectors of `docs/vectors`, against this implementation and against an independent one in Python.

#![allow(clippy::disallowed_methods, reason = "the vectors are files, and Python a process")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use orch_core::contract::{AcceptedSet, Contract, Rule, Screen, Screened};
use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::job::Payload;
use orch_core::json::{self, Limits};
use serde_json::{Value, json};

const LIMITS: Limits = Limits { max_bytes: 1 << 16, max_depth: 16 };

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/vectors")
}

fn vectors(name: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(folder().join(name)).unwrap()).unwrap()
}

fn list<'a>(vectors: &'a Value, key: &str) -> &'a [Value] {
    vectors[key].as_array().map(Vec::as_slice).unwrap()
}

fn text<'a>(case: &'a Value, key: &str) -> &'a str {
    case[key].as_str().unwrap()
}

#[test]
fn canonical_form() {
    let vectors = vectors("canonical.json");
    for case in list(&vectors, "cases") {
        let value = json::parse(text(case, "input").as_bytes(), LIMITS).unwrap();
        let canonical = json::canonical_text(&value);
        assert_eq!(canonical, text(case, "canonical"), "{case}");
        assert_eq!(Digest::of(canonical.as_bytes()).to_string(), text(case, "sha256"), "{case}");
        // Canonical text is its own canonical form, whichever writer wrote it.
        let again = json::parse(canonical.as_bytes(), LIMITS).unwrap();
        assert_eq!(json::canonical(&again).get(), canonical, "{case}");
    }
    for case in list(&vectors, "numbers") {
        let bits = u64::from_str_radix(text(case, "ieee754"), 16).unwrap();
        assert_eq!(json::canonical_text(&Value::from(f64::from_bits(bits))), text(case, "canonical"), "{case}");
    }
    for case in list(&vectors, "refused") {
        assert!(json::parse(text(case, "input").as_bytes(), LIMITS).is_err(), "{case}");
    }
}

/// A screen that lets every JSON object through to identity.
fn screen(vectors: &Value, case: &Value) -> Screen {
    let contract = &vectors["contracts"][text(case, "by")];
    let (name, version) = text(contract, "contract").rsplit_once('@').unwrap();
    let spec = json!({
        "contract": name,
        "version": version.parse::<u32>().unwrap(),
        "schema": {"type": "object"},
        "identity": contract["identity"],
    });
    let contract = Contract::compile(serde_json::from_value(spec).unwrap()).unwrap();
    Arc::new(contract).bind(&Payload::default()).unwrap()
}

#[test]
fn identity() {
    let vectors = vectors("identity.json");
    for case in list(&vectors, "cases") {
        let (screen, candidate) = (screen(&vectors, case), text(case, "candidate"));
        let screened = screen.judge(candidate.as_bytes()).unwrap();
        assert_eq!(json!(screened.offsets()), case["offsets"], "{case}");
        assert_eq!(screened.digest().to_string(), text(case, "digest"), "{case}");
        let preimage = screen.contract().preimage(&serde_json::from_str(candidate).unwrap()).unwrap();
        assert_eq!(preimage, text(case, "preimage"), "{case}");
        assert_eq!(Digest::of(preimage.as_bytes()), screened.digest(), "{case}");
        for bucket in list(case, "buckets") {
            assert!(preimage.contains(&format!("{{\"bucket\":{bucket}}}")), "{case}");
        }
    }
    for case in list(&vectors, "pairs") {
        let screen = screen(&vectors, case);
        let judge = |key| screen.judge(text(case, key).as_bytes()).unwrap();
        let (first, second) = (judge("first"), judge("second"));
        assert_eq!(finds(&first, &second), case["same"].as_bool().unwrap(), "{case}");
        assert_eq!(finds(&second, &first), case["same"].as_bool().unwrap(), "the other way: {case}");
    }
    for case in list(&vectors, "refused") {
        let rejection = screen(&vectors, case).judge(text(case, "candidate").as_bytes()).unwrap_err();
        assert_eq!(rejection.rule, Rule::Identity, "{case}");
    }
}

fn finds(there: &Screened, new: &Screened) -> bool {
    let mut accepted = AcceptedSet::new();
    accepted.insert(there.digest(), there.offsets(), Seq(7));
    accepted.find(new).is_some()
}

#[test]
fn an_independent_implementation_agrees() {
    let Ok(output) = Command::new("python3").arg(folder().join("check.py")).output() else {
        println!("no python3 here: the vectors were held against this implementation only");
        return;
    };
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{out}{err}");
    assert!(out.ends_with(" values checked, 0 differ\n"), "{out}");
}

//! Contracts as their users meet them: what is refused, by which rule, in which words.

use std::sync::Arc;

use orch_core::contract::{Contract, ContractSpec, Rejection, Rule, Screen, Screened};
use orch_core::job::Payload;
use serde_json::{Value, json};

fn zeta() -> Value {
    json!({
        "contract": "zeta-zeros",
        "version": 1,
        "schema": {
            "type": "object",
            "additionalProperties": false,
            "required": ["n", "t", "root_val"],
            "properties": {
                "n": {"type": "integer", "minimum": 1},
                "t": {"type": ["number", "string"]},
                "root_val": {"type": "number"},
                "meta": {"type": "object"}
            }
        },
        "tolerance": [{"field": "root_val", "abs_lt": {"payload": "eps_root"}}],
        "identity": [{"field": "t", "quantum": 1e-6}],
        "complete": {"count": {"payload": "b", "minus": "a"}}
    })
}

fn spec(value: Value) -> ContractSpec {
    serde_json::from_value(value).unwrap()
}

fn contract(value: Value) -> Arc<Contract> {
    Arc::new(Contract::compile(spec(value)).unwrap())
}

fn payload(value: &Value) -> Payload {
    Payload::from_value(value)
}

fn zeta_screen() -> Screen {
    contract(zeta()).bind(&payload(&json!({"a": -1, "b": 9, "eps_root": 1e-8}))).unwrap()
}

fn judge(text: &str) -> Result<Screened, Rejection> {
    zeta_screen().judge(text.as_bytes())
}

#[track_caller]
fn refused(text: &str, rule: Rule, words: &str) {
    let rejection = judge(text).unwrap_err();
    assert_eq!((rejection.rule, rejection.message.as_str()), (rule, words));
}

#[test]
fn a_good_candidate_passes_and_is_canonical() {
    let screened = judge("{ \"t\": 14.134725141734695, \"root_val\": 1.0e-12, \"n\": 1.0 }").unwrap();
    assert_eq!(screened.candidate().get(), "{\"n\":1,\"root_val\":1e-12,\"t\":14.134725141734695}");
    assert_eq!(screened.contract().to_string(), "zeta-zeros@1");
    // 14134725.141734695 quanta: offset floor(0.141734695 * 2^32).
    assert_eq!(screened.offsets(), [608_745_879]);
    assert_eq!(screened.neighbours().len(), 2);
    assert_eq!(screened.neighbours().iter().map(|probe| probe.steps[0]).collect::<Vec<_>>(), [-1, 1]);
}

#[test]
fn each_gate_names_its_rule_the_field_and_the_values() {
    refused(
        "{\"n\":1,\"t\":1,\"root_val\":1e-8}",
        Rule::Tolerance,
        "root_val: |1e-8| is not less than eps_root = 1e-8",
    );
    refused(
        "{\"n\":1,\"t\":1,\"root_val\":-1.2e-7}",
        Rule::Tolerance,
        "root_val: |-1.2e-7| is not less than eps_root = 1e-8",
    );
    refused("{\"n\":0,\"t\":1,\"root_val\":0}", Rule::Schema, "n: 0 is less than 1");
    refused("{\"n\":1.5,\"t\":1,\"root_val\":0}", Rule::Schema, "n: 1.5 is not an integer");
    refused("{\"n\":1,\"root_val\":0}", Rule::Schema, "candidate: \"t\" is missing");
    refused(
        "{\"n\":1,\"t\":1,\"root_val\":0,\"x\":1}",
        Rule::Schema,
        "candidate: \"x\" is not a property of the schema",
    );
    refused("{\"n\":1,\"n\":1}", Rule::Json, "key \"n\" stands twice in one object");
    refused("{\"n\":1e400}", Rule::Json, "number at line 1 column 10 cannot be held by a double: write it as a string");
    refused("{\"n\":NaN}", Rule::Json, "not JSON: expected value at line 1 column 6");
    refused(
        &format!("{{\"n\":\"{}\"}}", "x".repeat(20_000)),
        Rule::Size,
        "20008 bytes of JSON, at most 16384 are allowed",
    );
    refused(&"[".repeat(10_000), Rule::Size, "JSON nested more than 16 levels deep");
    refused(
        "{\"n\":1,\"t\":\"0x1\",\"root_val\":0}",
        Rule::Identity,
        "t: \"0x1\": not a decimal: write it as JSON writes a number, for example \"-12.50\" or \"1e-8\"",
    );
    refused("{\"n\":1,\"t\":1e30,\"root_val\":0}", Rule::Identity, "t: 1e+30: 2^63 quanta or more away from 0");
}

#[test]
fn every_fault_of_a_contract_is_reported_with_its_place() {
    let mut bad = zeta();
    bad["version"] = json!(0);
    bad["limits"] = json!({"max_bytes": 70_000, "max_depth": 0});
    bad["schema"]["properties"]["n"]["type"] = json!("whole");
    bad["schema"]["required"] = json!("n");
    bad["tolerance"] = json!([
        {"field": "root_val"},
        {"field": "", "lt": 1, "gt": 0},
        {"field": "x", "abs_lt": 0},
        {"field": "x", "lt": {"payload": "/~"}}
    ]);
    bad["identity"] = json!([
        {"field": "t", "quantum": 0},
        {"field": "u", "quantum": "1.0000000000000001"},
        {"field": "v", "quantum": "fine"},
        {"field": "/v"},
        {"field": "v"}
    ]);
    bad["complete"] = json!({"count": {"payload": "b", "minus": ""}});
    let error = Contract::compile(spec(bad)).unwrap_err();
    assert_eq!(error.contract, "zeta-zeros@0");
    let expected = [
        "version: 0 is not a version: they count from 1",
        "limits.max_bytes: 70000 is not between 1 and 65536",
        "limits.max_depth: 0 is not between 1 and 64",
        "schema/properties/n/type: value must be one of 'array', 'boolean', 'integer', 'null', 'number', 'object', 'string'",
        "schema/properties/n/type: want array, but got string",
        "schema/required: want array, but got string",
        "tolerance[0]: has none of abs_lt, lt, le, gt, ge: exactly one is needed",
        "tolerance[1].field: is empty: write a key, or a JSON Pointer such as /meta/x",
        "tolerance[1]: has lt and gt of abs_lt, lt, le, gt, ge: exactly one is needed",
        "tolerance[2].abs_lt: 0: no magnitude is less than that",
        "tolerance[3].lt: payload \"~\": in a JSON Pointer ~ is written ~0, and / is ~1",
        "identity[0].quantum: 0 is not greater than 0",
        "identity[1].quantum: \"1.0000000000000001\" has more than 15 significant digits",
        "identity[2].quantum: \"fine\": not a decimal: write it as JSON writes a number, for example \"-12.50\" or \"1e-8\"",
        "identity[4].field: \"v\" is named before",
        "complete.count.minus: is empty: write a key, or a JSON Pointer such as /meta/x",
    ];
    assert_eq!(error.faults, expected, "{:#?}", error.faults);
}

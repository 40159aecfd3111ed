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

#[test]
fn bounds_come_from_the_payload_or_the_job_cannot_be_judged() {
    let mut spec = zeta();
    spec["tolerance"] = json!([
        {"field": "root_val", "abs_lt": {"payload": "eps"}},
        {"field": "n", "gt": {"payload": "/range/0", "plus": 1}},
    ]);
    let contract = contract(spec);
    let fault = |value: Value| contract.bind(&payload(&value)).map(drop).unwrap_err().to_string();
    let range = json!([1, 5]);
    let about = "contract zeta-zeros@1: payload field ";
    assert_eq!(fault(json!({"range": range})), format!("{about}\"eps\" is missing"));
    assert_eq!(fault(json!(null)), format!("{about}\"eps\" is missing"));
    assert_eq!(
        fault(json!({"eps": "x", "range": range})),
        format!(
            "{about}\"eps\" = \"x\": not a decimal: write it as JSON writes a number, for example \"-12.50\" or \"1e-8\""
        )
    );
    assert_eq!(fault(json!({"eps": "1e999", "range": range})), format!("{about}\"eps\" = \"1e999\" is not finite"));
    assert_eq!(fault(json!({"eps": [1], "range": range})), format!("{about}\"eps\" = an array of 1 is not a number"));
    assert_eq!(
        fault(json!({"eps": 0, "range": range})),
        format!("{about}\"eps\" makes 0 the bound of |root_val|: nothing is less")
    );
    assert_eq!(fault(json!({"eps": 1, "range": [true]})), format!("{about}\"/range/0\" = true is not a number"));

    let screen = contract.bind(&payload(&json!({"eps": "1e-8", "range": range}))).unwrap();
    let judge = |n: i64| screen.judge(json!({"n": n, "t": 1, "root_val": 0}).to_string().as_bytes());
    assert!(judge(3).is_ok());
    assert_eq!(judge(2).unwrap_err().message, "n: 2 is not greater than /range/0 + 1 = 2");
}

#[test]
fn the_count_is_exact_or_an_error() {
    let count = |rule: Value, value: Value| {
        let mut spec = zeta();
        spec["complete"] = json!({ "count": rule });
        contract(spec).expected_count(&payload(&value)).map_err(|error| error.to_string())
    };
    let about = "contract zeta-zeros@1: payload field ";
    let difference = json!({"payload": "b", "minus": "a"});
    assert_eq!(count(json!(7), json!(null)), Ok(Some(7)));
    assert_eq!(count(json!({"payload": "b"}), json!({"b": 9})), Ok(Some(9)));
    assert_eq!(count(difference.clone(), json!({"a": -1, "b": 99_999})), Ok(Some(100_000)));
    assert_eq!(
        count(difference.clone(), json!({"a": 3, "b": 2})),
        Err(format!("{about}\"b\" minus a is -1: a count is not negative"))
    );
    assert_eq!(
        count(difference.clone(), json!({"a": 0.5, "b": 2})),
        Err(format!("{about}\"a\" = 0.5 is not a whole number"))
    );
    assert_eq!(count(difference, json!({"b": 2})), Err(format!("{about}\"a\" is missing")));
    let mut spec = zeta();
    spec.as_object_mut().unwrap().remove("complete");
    assert_eq!(contract(spec).expected_count(&Payload::default()), Ok(None));
}

#[test]
fn decimals_finer_than_a_double_are_compared_as_they_stand() {
    let mut spec = zeta();
    spec["schema"] = json!(true);
    spec["tolerance"] = json!([{"field": "x", "lt": 1}, {"field": "y", "le": 1}, {"field": "z", "ge": -0.1}]);
    spec["identity"] = json!([{"field": "x"}]);
    let screen = contract(spec).bind(&Payload::default()).unwrap();
    let judge = |x: Value, y: Value, z: Value| {
        screen.judge(json!({"x": x, "y": y, "z": z}).to_string().as_bytes()).map(drop).map_err(|r| r.message)
    };
    assert_eq!(judge(json!("0.99999999999999999999"), json!("1.000"), json!("-1e-1")), Ok(()));
    assert_eq!(judge(json!("1"), json!(1), json!(0)).unwrap_err(), "x: \"1\" is not less than 1");
    assert_eq!(
        judge(json!(0), json!("1.00000000000000000001"), json!(0)).unwrap_err(),
        "y: \"1.00000000000000000001\" is not less than or equal to 1"
    );
    assert_eq!(
        judge(json!(0), json!(0), json!("-0.1000000000000000000001")).unwrap_err(),
        "z: \"-0.1000000000000000000001\" is not greater than or equal to -0.1"
    );
    assert_eq!(
        judge(json!(0), json!(null), json!(0)).unwrap_err(),
        "y: null: not a number, nor an exact decimal in a string"
    );
}

#[test]
fn a_schema_stands_alone_and_may_use_all_of_json_schema() {
    let with_schema = |schema: Value| {
        let mut spec = zeta();
        spec["schema"] = schema;
        spec["tolerance"] = json!([]);
        spec["identity"] = json!([{"field": "a"}]);
        Contract::compile(self::spec(spec))
    };
    for away in ["https://example.com/schema.json", "file:///etc/passwd", "other.json"] {
        let error = with_schema(json!({"$ref": away})).unwrap_err();
        assert!(error.faults[0].contains("lies outside the contract, which must stand alone"), "{error}");
    }
    assert!(with_schema(json!({"$schema": "http://json-schema.org/draft-07/schema#"})).is_err());
    assert!(with_schema(json!({"$schema": "https://json-schema.org/draft/2020-12/schema"})).is_ok());
    let schema = json!({
        "$defs": {"word": {"type": "string", "pattern": "^[a-z]+$"}},
        "properties": {"a": {"oneOf": [{"$ref": "#/$defs/word"}, {"type": "integer", "multipleOf": 3}]}},
        "dependentRequired": {"a": ["b"]}
    });
    let screen = Arc::new(with_schema(schema).unwrap()).bind(&Payload::default()).unwrap();
    let judge = |candidate: Value| screen.judge(candidate.to_string().as_bytes()).map(drop).map_err(|r| r.message);
    assert_eq!(judge(json!({"a": "abc", "b": 1})), Ok(()));
    assert_eq!(judge(json!({"a": 9, "b": 1})), Ok(()));
    assert_eq!(judge(json!({"a": 7, "b": 1})).unwrap_err(), "a: oneOf failed, none matched");
    assert_eq!(judge(json!({"a": "abc"})).unwrap_err(), "candidate: properties 'b' required, if 'a' property exists");
}

#[test]
fn unknown_fields_of_a_contract_are_named() {
    let fault = |change: fn(&mut Value)| {
        let mut spec = zeta();
        change(&mut spec);
        serde_json::from_value::<ContractSpec>(spec).unwrap_err().to_string()
    };
    assert_eq!(
        fault(|spec| spec["tolerance"][0]["abs_lt"] = json!({"payload": "e", "times": 2})),
        "unknown field `times`, expected `payload` or `plus`"
    );
    assert_eq!(fault(|spec| spec["complete"]["count"] = json!({"minus": "a"})), "missing field `payload`");
    assert_eq!(
        fault(|spec| spec["complete"]["count"] = json!(-1)),
        "invalid value: integer `-1`, expected a count: a whole number from 0, {payload: FIELD} or {payload: FIELD, minus: FIELD}"
    );
    assert!(fault(|spec| spec["tolerences"] = json!([])).starts_with("unknown field `tolerences`, expected one of"));
}

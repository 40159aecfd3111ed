//! What must hold for every candidate, not only for the ones that somebody thought of.

use std::sync::Arc;

use orch_core::contract::{AcceptedSet, Contract, Rejection, Rule, Screen, Screened};
use orch_core::id::Seq;
use orch_core::job::Payload;
use proptest::prelude::*;
use serde_json::{Value, json};

fn contract(identity: Value) -> Arc<Contract> {
    let spec = json!({"contract": "c", "version": 1, "schema": {"type": "object"}, "identity": identity});
    Arc::new(Contract::compile(serde_json::from_value(spec).unwrap()).unwrap())
}

fn screen(identity: Value) -> Screen {
    contract(identity).bind(&Payload::default()).unwrap()
}

fn judge(screen: &Screen, candidate: &Value) -> Screened {
    screen.judge(candidate.to_string().as_bytes()).unwrap()
}

/// Whether a set that holds `there` takes `new` for a duplicate.
fn finds(there: &Screened, new: &Screened) -> bool {
    let mut accepted = AcceptedSet::new();
    accepted.insert(there.digest(), there.offsets(), Seq(1));
    accepted.find(new) == Some(Seq(1))
}

/// `n * 10^-places`, exactly, as a decimal text.
fn decimal(n: i128, places: usize) -> String {
    let digits = format!("{:0>width$}", n.unsigned_abs(), width = places + 1);
    let (whole, part) = digits.split_at(digits.len() - places);
    format!("{}{whole}.{part}0", if n < 0 { "-" } else { "" })
}

/// The quantum is `quantum * 10^-9`; values are whole multiples of a 10^-9th part of 10^-9.
const PARTS: i128 = 1_000_000_000;

fn near() -> impl Strategy<Value = (i128, i128, i128)> {
    // Distances up to three quanta, and many close to one quantum or to nothing.
    let quantum = prop_oneof![1_i128..2000, Just(1), Just(1000)];
    quantum.prop_flat_map(|quantum| {
        let full = quantum * PARTS;
        let value = prop_oneof![-1_000_000_i128 * PARTS..1_000_000 * PARTS, -3 * full..3 * full, Just(0)];
        let apart = prop_oneof![-3 * full..=3 * full, full - 3..=full + 3, -full - 3..=3 - full, -3_i128..=3];
        (Just(quantum), value, apart)
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn closer_than_a_quantum_is_the_same_whichever_comes_first((quantum, value, apart) in near()) {
        let screen = screen(json!([{"field": "t", "quantum": decimal(quantum, 9)}]));
        let at = |n: i128| judge(&screen, &json!({"t": decimal(n, 18)}));
        let (a, b) = (at(value), at(value + apart));
        let full = quantum * PARTS;
        // Positions are cut to 2^-32 of a quantum: only a distance that differs from a quantum by less is undecided.
        let margin = full / (1 << 32) + 1;
        prop_assert_eq!(finds(&a, &b), finds(&b, &a));
        if apart.abs() <= full - margin {
            prop_assert!(finds(&a, &b));
        }
        if apart.abs() >= full {
            prop_assert!(!finds(&a, &b));
        }
    }

    #[test]
    fn the_same_in_several_fields_at_once(
        a in prop::array::uniform3(-40_i64..40),
        b in prop::array::uniform3(-3_i64..=3),
        name in 0..2,
    ) {
        let screen = screen(json!([
            {"field": "x", "quantum": 1}, {"field": "id"}, {"field": "y", "quantum": "0.5"}, {"field": "z", "quantum": 2}
        ]));
        let at = |v: [i64; 3], id: i32| {
            judge(&screen, &json!({"x": v[0] as f64 / 4.0, "y": v[1] as f64 / 8.0, "z": v[2] as f64 / 2.0, "id": id}))
        };
        let c = [a[0] + b[0], a[1] + b[1], a[2] + b[2]];
        let (first, second) = (at(a, 0), at(c, name));
        // A quantum is four steps in each field.
        let same = name == 0 && b.iter().all(|d| d.abs() < 4);
        prop_assert_eq!(finds(&first, &second), same);
        prop_assert_eq!(finds(&second, &first), same);
        prop_assert_eq!(first.neighbours().len(), 26);
    }

    #[test]
    fn a_number_and_its_text_are_the_same(t in any::<f64>().prop_filter("finite", |t| t.is_finite()), n in -1e9..1e9) {
        let screen = screen(json!([{"field": "t", "quantum": 1e-6}]));
        for t in [t, n] {
            let number = screen.judge(json!({"t": t}).to_string().as_bytes());
            // Where two shortest texts are equally near, ECMAScript's has the even digit and Rust's may not.
            let shortest = orch_core::json::canonical_text(&json!(t));
            let other = if shortest.contains('e') { shortest.replace("e+", "E") } else { format!("{shortest}e-0") };
            let text = screen.judge(json!({"t": shortest}).to_string().as_bytes());
            let exponent = screen.judge(json!({"t": other}).to_string().as_bytes());
            match (number, text, exponent) {
                (Ok(number), Ok(text), Ok(exponent)) => {
                    prop_assert_eq!((number.digest(), number.offsets()), (text.digest(), text.offsets()));
                    prop_assert_eq!((number.digest(), number.offsets()), (exponent.digest(), exponent.offsets()));
                }
                (Err(_), Err(_), Err(_)) => {}
                (number, text, exponent) => {
                    prop_assert!(false, "{t}: {:?} {:?} {:?}", number.err(), text.err(), exponent.err());
                }
            }
        }
    }

    #[test]
    fn no_bytes_make_judging_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), text in "\\PC{0,40}") {
        let screen = screen(json!([{"field": "t", "quantum": 1e-6}, {"field": "/a/0"}]));
        for raw in [bytes.as_slice(), text.as_bytes(), format!("{{\"t\":\"{text}\"}}").as_bytes()] {
            if let Err(rejection) = screen.judge(raw) {
                prop_assert!(rejection.message.chars().count() <= 300);
                prop_assert!(!rejection.message.chars().any(char::is_control), "{:?}", rejection.message);
            }
        }
    }

    #[test]
    fn no_json_makes_judging_panic_and_its_canonical_text_gets_the_same_verdict(candidate in candidates()) {
        let screen = strict_screen();
        let text = serde_json::to_string_pretty(&candidate).unwrap();
        match screen.judge(text.as_bytes()) {
            Ok(screened) => {
                let canonical = screened.candidate().get().to_owned();
                let again = screen.judge(canonical.as_bytes()).unwrap();
                prop_assert_eq!(again.candidate().get(), &canonical);
                prop_assert_eq!(again.digest(), screened.digest());
                prop_assert_eq!(again.offsets(), screened.offsets());
                prop_assert_eq!(again.neighbours(), screened.neighbours());
            }
            // A longer text, or digits that canonical form would not keep, are faults of the text alone.
            Err(Rejection { rule: Rule::Size | Rule::Json, .. }) => {}
            Err(rejection) => {
                let again = screen.judge(orch_core::json::canonical_text(&candidate).as_bytes()).unwrap_err();
                prop_assert_eq!(again.rule, rejection.rule);
                prop_assert!(rejection.message.chars().count() <= 300);
            }
        }
    }

    #[test]
    fn sort_keys_are_in_the_order_of_the_numbers(a in values(), b in values()) {
        let contract = contract(json!([{"field": "t", "quantum": 1e-6}]));
        // Exact comparison: both as whole multiples of 10^-18.
        let key = |(n, form): (i128, u8)| {
            let text = decimal(n, 18);
            let value = match form {
                0 => json!(text),
                1 => json!(format!("{n}e-18")),
                _ => json!((n / 1_000_000_000_000_000_000) as i64),
            };
            let n = if form > 1 { n / 1_000_000_000_000_000_000 * 1_000_000_000_000_000_000 } else { n };
            (n, contract.sort_key(&json!({"t": value})))
        };
        let ((a, a_key), (b, b_key)) = (key(a), key(b));
        prop_assert_eq!(a_key.cmp(&b_key), a.cmp(&b));
    }

    #[test]
    fn sort_keys_of_doubles_and_strings_are_in_their_order(
        x in any::<f64>().prop_filter("finite", |x| x.is_finite()),
        y in any::<f64>().prop_filter("finite", |y| y.is_finite()),
        s in "[\\x00ab\u{ff}é]{0,4}",
        t in "[\\x00ab\u{ff}é]{0,4}",
    ) {
        let contract = contract(json!([{"field": "a"}, {"field": "b"}]));
        let key = |a: &Value, b: &Value| contract.sort_key(&json!({"a": a, "b": b}));
        let (x, y) = (x + 0.0, y + 0.0);
        prop_assert_eq!(key(&json!(s), &json!(x)).cmp(&key(&json!(t), &json!(y))), s.cmp(&t).then(x.total_cmp(&y)));
        prop_assert_eq!(key(&json!(x), &json!(s)).cmp(&key(&json!(y), &json!(t))), x.total_cmp(&y).then(s.cmp(&t)));
        prop_assert!(key(&json!(x), &json!(1)) < key(&json!(s), &json!(0)), "numbers come before strings");
    }
}

fn values() -> impl Strategy<Value = (i128, u8)> {
    let n = prop_oneof![-1000_i128..1000, any::<i64>().prop_map(i128::from), -(1_i128 << 100)..(1_i128 << 100)];
    // Numbers of the JSON kind only where they are whole and below 2^53.
    (n, 0_u8..3).prop_map(|(n, form)| if n.abs() > 1 << 80 { (n, form % 2) } else { (n, form) })
}

/// A screen whose gates all have something to say.
fn strict_screen() -> Screen {
    let spec = json!({
        "contract": "c", "version": 1,
        "limits": {"max_bytes": 400, "max_depth": 4},
        "schema": {"type": "object", "properties": {"a": {"type": ["number", "string"]}, "b": {"maxLength": 3}}},
        "tolerance": [{"field": "a", "lt": 1e3}, {"field": "a", "abs_lt": {"payload": "x", "plus": 1}}],
        "identity": [{"field": "a", "quantum": 0.5}, {"field": "b"}]
    });
    let contract = Contract::compile(serde_json::from_value(spec).unwrap()).unwrap();
    Arc::new(contract).bind(&Payload::from_value(&json!({"x": 1e4}))).unwrap()
}

fn candidates() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        (-1100_i64..1100).prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        "-?[0-9]{0,3}(\\.[0-9]{0,40})?(e-?[0-9]{1,6})?".prop_map(Value::from),
        "\\PC{0,5}".prop_map(Value::from),
    ];
    let inner = leaf.clone().prop_recursive(3, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map("[a-c\u{e000}\u{1f600}]{1,2}", inner, 0..4)
                .prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    });
    // Most have the fields that the contract asks for.
    (leaf, inner.clone(), inner).prop_map(|(a, b, c)| json!({"a": a, "b": b, "c": c}))
}

#[test]
fn the_example_of_the_design() {
    let screen = screen(json!([{"field": "t", "quantum": 1e-6}]));
    let at = |t: f64| judge(&screen, &json!({"t": t}));
    assert_ne!(at(0.4999999).digest(), at(0.5000001).digest());
    assert!(finds(&at(0.4999999), &at(0.5000001)));
    assert!(finds(&at(0.5000001), &at(0.4999999)));
    assert!(!finds(&at(0.4999999), &at(0.5000009)));
}

#[test]
fn a_large_set_finds_what_it_holds_and_nothing_else() {
    let screen = screen(json!([{"field": "t", "quantum": "1"}]));
    let mut accepted = AcceptedSet::new();
    // Positions 3 quanta apart: each has room on both sides.
    let at = |n: i64, quarter: i64| judge(&screen, &json!({"t": (3 * n) as f64 + quarter as f64 / 4.0}));
    for n in 0..20_000 {
        let candidate = at(n, 0);
        assert_eq!(accepted.find(&candidate), None);
        accepted.insert(candidate.digest(), candidate.offsets(), Seq(n as u64 + 1));
    }
    assert_eq!(accepted.len(), 20_000);
    for n in (0..20_000).step_by(7) {
        for quarter in [-3, -1, 0, 1, 3] {
            assert_eq!(accepted.find(&at(n, quarter)), Some(Seq(n as u64 + 1)), "{n} {quarter}");
        }
        assert_eq!(accepted.find(&at(n, 5)), None);
    }
    let bytes = accepted.heap_bytes();
    assert!((20_000 * 33..20_000 * 90).contains(&bytes), "{bytes}");
}

#[test]
fn a_duplicate_of_several_is_answered_with_the_first() {
    let screen = screen(json!([{"field": "t", "quantum": 1}]));
    let at = |t: f64| judge(&screen, &json!({"t": t}));
    let mut accepted = AcceptedSet::new();
    let between = at(1.2);
    for (t, seq) in [(0.5, 1), (1.9, 2)] {
        assert_eq!(accepted.find(&at(t)), None);
        accepted.insert(at(t).digest(), at(t).offsets(), Seq(seq));
        // 1.9 lies in its own bucket, 0.5 beside it: what came later changes no answer.
        assert_eq!(accepted.find(&between), Some(Seq(1)));
    }
}

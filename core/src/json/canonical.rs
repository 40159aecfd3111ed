//! RFC 8785 for values, without the detours of a general serialiser: judging a candidate writes its canonical text
//! once, and that is a good part of what judging costs.

use std::fmt::Write as _;

use serde_json::Number;

use super::tree::Tree;

/// Appends the canonical JSON of a value.
pub fn write_canonical(tree: &Tree<'_>, out: &mut String) {
    match tree {
        Tree::Null => out.push_str("null"),
        Tree::Bool(true) => out.push_str("true"),
        Tree::Bool(false) => out.push_str("false"),
        Tree::Number(number) => write_number(number, out),
        Tree::Text(text) => write_string(text, out),
        Tree::List(values) => {
            out.push('[');
            for (i, value) in values.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_canonical(value, out);
            }
            out.push(']');
        }
        Tree::Map(members) => {
            out.push('{');
            for (i, (key, value)) in members.iter().enumerate() {
                if i > 0 {
                    out.push(',');
                }
                write_string(key, out);
                out.push(':');
                write_canonical(value, out);
            }
            out.push('}');
        }
    }
}

/// Appends a number as ECMAScript writes the double it is.
pub fn write_number(number: &Number, out: &mut String) {
    // Whole numbers up to 2^53 are doubles, and ECMAScript writes their plain digits.
    const SAFE: u64 = 1 << 53;
    let safe = number.as_i64().filter(|n| n.unsigned_abs() <= SAFE);
    if let Some(n) = safe {
        out.push_str(itoa::Buffer::new().format(n));
        return;
    }
    // Every number that serde_json holds without `arbitrary_precision` has a finite double.
    let double = number.as_f64().unwrap_or_default();
    out.push_str(ryu_js::Buffer::new().format_finite(double));
}

/// Appends a string with the fewest escapes.
pub fn write_string(text: &str, out: &mut String) {
    out.push('"');
    let mut rest = text;
    while let Some(at) = rest.bytes().position(|byte| byte < 0x20 || byte == b'"' || byte == b'\\') {
        out.push_str(&rest[..at]);
        match rest.as_bytes()[at] {
            b'"' => out.push_str("\\\""),
            b'\\' => out.push_str("\\\\"),
            0x08 => out.push_str("\\b"),
            0x09 => out.push_str("\\t"),
            0x0A => out.push_str("\\n"),
            0x0C => out.push_str("\\f"),
            0x0D => out.push_str("\\r"),
            control => {
                // Writing into a String cannot fail.
                let _ = write!(out, "\\u{control:04x}");
            }
        }
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
    out.push('"');
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::Value;

    fn text(value: &Value) -> String {
        let mut out = String::new();
        write_canonical(&Tree::from(value), &mut out);
        out
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::Bool),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            (-1000_i32..1000).prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            any::<u64>().prop_map(|bits| Value::from(f64::from_bits(bits))),
            any::<String>().prop_map(Value::from),
            "[\\x00-\\x1f\"\\\\/é\u{e000}\u{1f600}\u{ffff}]{0,6}".prop_map(Value::from),
        ];
        leaf.prop_recursive(3, 24, 5, |inner| {
            let key = "[ab\\n\u{7f}é\u{d7ff}\u{e000}\u{1f600}]{0,3}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
                prop::collection::btree_map(key, inner, 0..5).prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn a_second_implementation_writes_the_same(value in values()) {
            prop_assert_eq!(text(&value), serde_json_canonicalizer::to_string(&value).unwrap());
        }
    }
}

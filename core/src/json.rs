//! Strict JSON in, canonical JSON out.
//!
//! Input is I-JSON (RFC 7493): no duplicate keys, no number that a double cannot hold, bounded size and depth. A
//! double cannot hold 1e400, nor a whole number written out whose digits it would change: 9007199254740993 belongs
//! into a string. Output is RFC 8785, in which two texts are equal exactly when their values are; it is always input.

use std::cell::{Cell, RefCell};
use std::fmt;

use serde::Serialize;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::map::Entry;
use serde_json::value::RawValue;

mod canonical;
mod raw;

pub use canonical::{utf16_order, write_canonical, write_number, write_string};

/// How large a JSON text may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The most bytes of the text.
    pub max_bytes: usize,
    /// The deepest nesting: 0 for a bare number, 1 for `{"a":1}`.
    pub max_depth: usize,
}

/// Why a text is not strict JSON.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    /// Longer than allowed.
    #[error("{bytes} bytes of JSON, at most {max} are allowed")]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The limit.
        max: usize,
    },
    /// Nested deeper than allowed.
    #[error("JSON nested more than {max} levels deep")]
    TooDeep {
        /// The limit.
        max: usize,
    },
    /// A key stands twice in one object.
    #[error("key {key:?} stands twice in one object")]
    DuplicateKey {
        /// The key.
        key: String,
    },
    /// A number that a double cannot hold.
    #[error("number {text} cannot be held by a double: write it as a string")]
    Number {
        /// The number as written, or where it stands.
        text: String,
    },
    /// Not JSON.
    #[error("not JSON: {0}")]
    Syntax(String),
}

/// The value that a strict JSON text means.
///
/// # Errors
/// [`JsonError`], the first fault found.
pub fn parse(text: &[u8], limits: Limits) -> Result<Value, JsonError> {
    if text.len() > limits.max_bytes {
        return Err(JsonError::TooLarge { bytes: text.len(), max: limits.max_bytes });
    }
    let fault = RefCell::new(None);
    let huge = Cell::new(false);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    // Our own bound is checked in the visitor, before serde_json recurses; its fixed one of 128 stays on behind it.
    let seed = Strict { depth_left: limits.max_depth, limits, fault: &fault, huge: &huge };
    let parsed = seed.deserialize(&mut deserializer).and_then(|value| deserializer.end().map(|()| value));
    let value = parsed.map_err(|error| fault.take().unwrap_or_else(|| classify(&error)))?;
    if huge.get() {
        check_digits(text)?;
    }
    Ok(value)
}

/// Refuses whole numbers written out whose digits a double would change. serde_json makes doubles of those beyond
/// 64 bits without a word, so that they have to be looked for in the text, which is JSON.
fn check_digits(text: &[u8]) -> Result<(), JsonError> {
    let mut at = 0;
    while at < text.len() {
        match text[at] {
            b'"' => {
                at += 1;
                while at < text.len() && text[at] != b'"' {
                    at += if text[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                let end = text[at..].iter().position(|byte| !is_part(byte)).map_or(text.len(), |length| at + length);
                let number = String::from_utf8_lossy(&text[at..end]);
                if !number.contains(['.', 'e', 'E']) && !keeps_digits(&number) {
                    return Err(JsonError::Number { text: number.into_owned() });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// Whether a double has the digits of this whole number, so that canonical form writes them again.
pub(crate) fn keeps_digits(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    // 15 digits always survive.
    digits.len() <= 15
        || digits.parse().is_ok_and(|double: f64| {
            double <= MAX_SAFE_INTEGER as f64 && digits.parse().is_ok_and(|n: u64| n <= MAX_SAFE_INTEGER)
                || double.is_finite() && ryu_js::Buffer::new().format_finite(double) == digits
        })
}

/// A value in the canonical form of RFC 8785.
///
/// # Panics
/// If `value` is not representable as JSON (a map with keys that are no strings); none of our types is.
#[allow(clippy::expect_used)]
pub fn canonical<T: Serialize>(value: &T) -> Box<RawValue> {
    let text = serde_json_canonicalizer::to_string(value).expect("our types are representable as JSON");
    RawValue::from_string(text).expect("the canonicalizer writes JSON")
}

/// The canonical text of a value.
pub fn canonical_text(value: &Value) -> String {
    let mut text = String::with_capacity(256);
    write_canonical(value, &mut text);
    text
}

/// The canonical text of a value, as JSON to put into other JSON.
pub fn canonical_raw(value: &Value) -> Box<RawValue> {
    raw::raw(&canonical_text(value))
}

/// serde_json's own nesting limit, which stays on behind ours.
const SERDE_JSON_DEPTH: usize = 128;

fn classify(error: &serde_json::Error) -> JsonError {
    // serde_json has no codes for these two.
    let text = error.to_string();
    if let Some(place) = text.strip_prefix("number out of range") {
        return JsonError::Number { text: place.trim_start().to_owned() };
    }
    if text.starts_with("recursion limit exceeded") {
        return JsonError::TooDeep { max: SERDE_JSON_DEPTH };
    }
    JsonError::Syntax(text)
}

/// Builds a value and refuses what I-JSON refuses. The fault goes through a cell, because a deserializer can
/// only report text.
struct Strict<'a> {
    depth_left: usize,
    limits: Limits,
    fault: &'a RefCell<Option<JsonError>>,
    /// Set when a double is met that may have been a whole number of too many digits.
    huge: &'a Cell<bool>,
}

impl Strict<'_> {
    fn fail<E: de::Error>(&self, fault: JsonError) -> E {
        let error = E::custom(&fault);
        self.fault.replace(Some(fault));
        error
    }

    fn inner<E: de::Error>(&self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..*self }),
            None => Err(self.fail(JsonError::TooDeep { max: self.limits.max_depth })),
        }
    }
}

/// The largest whole number up to which every one is a double: 2^53.
const MAX_SAFE_INTEGER: u64 = 1 << 53;

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        if value > MAX_SAFE_INTEGER && !keeps_digits(&value.to_string()) {
            return Err(self.fail(JsonError::Number { text: value.to_string() }));
        }
        Ok(Value::from(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        if value.unsigned_abs() > MAX_SAFE_INTEGER && !keeps_digits(&value.to_string()) {
            return Err(self.fail(JsonError::Number { text: value.to_string() }));
        }
        Ok(Value::from(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        // Below, whole numbers arrive in the two functions above.
        if value.abs() >= i64::MAX as f64 {
            self.huge.set(true);
        }
        match serde_json::Number::from_f64(value) {
            Some(number) => Ok(Value::Number(number)),
            None => Err(self.fail(JsonError::Number { text: value.to_string() })),
        }
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self.inner()?)? {
            values.push(value);
        }
        Ok(Value::Array(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = serde_json::Map::new();
        while let Some(key) = access.next_key::<String>()? {
            let value = access.next_value_seed(self.inner()?)?;
            match map.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(there) => {
                    return Err(self.fail(JsonError::DuplicateKey { key: there.key().clone() }));
                }
            }
        }
        Ok(Value::Object(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits { max_bytes: 100, max_depth: 3 };

    fn fault(text: &str) -> JsonError {
        parse(text.as_bytes(), LIMITS).unwrap_err()
    }

    #[test]
    fn strict_json_names_its_fault() {
        assert_eq!(fault("{\"a\":1,\"a\":2}"), JsonError::DuplicateKey { key: "a".into() });
        assert_eq!(fault("[[[[1]]]]"), JsonError::TooDeep { max: 3 });
        assert!(matches!(fault("1e400"), JsonError::Number { .. }));
        assert!(matches!(fault("9007199254740993"), JsonError::Number { .. }));
        assert!(matches!(fault("[-9007199254740993]"), JsonError::Number { .. }));
        assert!(matches!(fault("[\"1\\\"\", 123456789012345678901234]"), JsonError::Number { .. }));
        assert!(matches!(fault("1000000000000000000000"), JsonError::Number { .. }));
        assert!(matches!(fault("NaN"), JsonError::Syntax(_)));
        assert!(matches!(fault("{} x"), JsonError::Syntax(_)));
        assert_eq!(fault(&"1".repeat(101)), JsonError::TooLarge { bytes: 101, max: 100 });
    }

    #[test]
    fn ten_thousand_levels_are_refused_without_a_stack() {
        let text = "[".repeat(10_000);
        let limits = Limits { max_bytes: 1 << 20, max_depth: 100_000 };
        assert!(parse(text.as_bytes(), limits).is_err());
    }

    #[test]
    fn canonical_form_is_the_same_for_equal_values() {
        let text = |t: &str| canonical(&parse(t.as_bytes(), LIMITS).unwrap()).get().to_owned();
        assert_eq!(text("{ \"b\": 1.0, \"a\": [1e1, -0.0] }"), "{\"a\":[10,0],\"b\":1}");
        assert_eq!(text("{\"a\":[10,0],\"b\":1}"), "{\"a\":[10,0],\"b\":1}");
        // Between 2^53 and 10^21 canonical form writes a double in full: that must be input again.
        for number in ["102740450862366820", "-102740450862366820", "100000000000000000000", "9007199254740994"] {
            assert_eq!(text(number), number);
        }
        assert_eq!(
            text("[1e20, 1e21, \"123456789012345678901234\"]"),
            "[100000000000000000000,1e+21,\"123456789012345678901234\"]"
        );
    }
}

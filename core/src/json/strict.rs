//! Reading strict JSON: what I-JSON (RFC 7493) refuses, with the fault named.

use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Number;

use super::tree::{Members, Tree};
use super::{JsonError, Limits};

/// The value that a strict JSON text means.
pub(super) fn read(text: &[u8], limits: Limits) -> Result<Tree<'_>, JsonError> {
    if text.len() > limits.max_bytes {
        return Err(JsonError::TooLarge { bytes: text.len(), max: limits.max_bytes });
    }
    let text = std::str::from_utf8(text)
        .map_err(|error| JsonError::Syntax(format!("byte {} is not UTF-8", error.valid_up_to())))?;
    let notes = Notes { limits, fault: RefCell::new(None), huge: Cell::new(false) };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    // Our own bound is checked in the visitor, before serde_json recurses; its fixed one of 128 stays on behind it.
    let seed = Strict { depth_left: limits.max_depth, notes: &notes };
    let parsed = seed.deserialize(&mut deserializer).and_then(|tree| deserializer.end().map(|()| tree));
    let tree = parsed.map_err(|error| notes.fault.take().unwrap_or_else(|| classify(&error)))?;
    if notes.huge.get() {
        check_digits(text)?;
    }
    Ok(tree)
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

/// Refuses whole numbers written out whose digits a double would change. serde_json makes doubles of those beyond
/// 64 bits without a word, so that they have to be looked for in the text, which is JSON.
fn check_digits(text: &str) -> Result<(), JsonError> {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        match bytes[at] {
            b'"' => {
                at += 1;
                while at < bytes.len() && bytes[at] != b'"' {
                    at += if bytes[at] == b'\\' { 2 } else { 1 };
                }
                at += 1;
            }
            b'-' | b'0'..=b'9' => {
                let is_part = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'-' | b'+' | b'.' | b'e' | b'E');
                let end = bytes[at..].iter().position(|byte| !is_part(byte)).map_or(bytes.len(), |length| at + length);
                let number = &text[at..end];
                if !number.contains(['.', 'e', 'E']) && !keeps_digits(number) {
                    return Err(JsonError::Number { text: number.to_owned() });
                }
                at = end;
            }
            _ => at += 1,
        }
    }
    Ok(())
}

/// The largest whole number up to which every one is a double: 2^53.
const MAX_SAFE_INTEGER: u64 = 1 << 53;

/// Whether a double has the digits of this whole number, so that canonical form writes them again.
pub(crate) fn keeps_digits(number: &str) -> bool {
    let digits = number.strip_prefix('-').unwrap_or(number);
    // 15 digits always survive.
    if digits.len() <= 15 || digits.parse().is_ok_and(|n: u64| n <= MAX_SAFE_INTEGER) {
        return true;
    }
    let double: f64 = digits.parse().unwrap_or(f64::INFINITY);
    double.is_finite() && ryu_js::Buffer::new().format_finite(double) == digits
}

/// What the visitors of one text share. A fault goes this way because a deserializer can only report text.
struct Notes {
    limits: Limits,
    fault: RefCell<Option<JsonError>>,
    /// Set when a double is met that may have been a whole number of too many digits.
    huge: Cell<bool>,
}

/// Builds a tree and refuses what I-JSON refuses.
#[derive(Clone, Copy)]
struct Strict<'n> {
    depth_left: usize,
    notes: &'n Notes,
}

impl Strict<'_> {
    fn fail<E: de::Error>(self, fault: JsonError) -> E {
        let error = E::custom(&fault);
        self.notes.fault.replace(Some(fault));
        error
    }

    fn inner<E: de::Error>(self) -> Result<Self, E> {
        match self.depth_left.checked_sub(1) {
            Some(depth_left) => Ok(Self { depth_left, ..self }),
            None => Err(self.fail(JsonError::TooDeep { max: self.notes.limits.max_depth })),
        }
    }

    fn whole<E: de::Error>(self, size: u64, number: Number) -> Result<Number, E> {
        if size > MAX_SAFE_INTEGER && !keeps_digits(&size.to_string()) {
            return Err(self.fail(JsonError::Number { text: number.to_string() }));
        }
        Ok(number)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = Tree<'de>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Tree<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = Tree<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Tree<'de>, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Tree<'de>, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Tree<'de>, E> {
        self.whole(value, value.into()).map(Tree::Number)
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Tree<'de>, E> {
        self.whole(value.unsigned_abs(), value.into()).map(Tree::Number)
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Tree<'de>, E> {
        // Smaller whole numbers arrive in the two functions above.
        if value.abs() >= i64::MAX as f64 {
            self.notes.huge.set(true);
        }
        match Number::from_f64(value) {
            Some(number) => Ok(Tree::Number(number)),
            None => Err(self.fail(JsonError::Number { text: value.to_string() })),
        }
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Tree<'de>, E> {
        Ok(Tree::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element_seed(self.inner()?)? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree<'de>, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key_seed(Key)? {
            let value = access.next_value_seed(self.inner()?)?;
            if members.is_empty() {
                // Most objects have a few members: one allocation.
                members.reserve(8);
            }
            members.push((key, value));
        }
        Members::sorted(members).map(Tree::Map).map_err(|key| self.fail(JsonError::DuplicateKey { key }))
    }
}

/// A key, borrowed if nothing in it is escaped.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(key))
    }

    fn visit_str<E>(self, key: &str) -> Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(key.to_owned()))
    }
}

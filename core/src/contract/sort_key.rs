//! Keys by which exports sort: bytes whose order is the order of identities, so that an external sort needs to know
//! nothing of contracts.

use serde_json::Value;

use super::decimal::Decimal;
use crate::json;

// The first byte of a value. All are below 0xFF, which the escape of a text's zero byte relies on.
const MISSING: u8 = 0x00;
const NULL: u8 = 0x01;
const FALSE: u8 = 0x02;
const TRUE: u8 = 0x03;
const NUMBER: u8 = 0x10;
const STRING: u8 = 0x20;
const ARRAY: u8 = 0x30;
const OBJECT: u8 = 0x40;

/// Appends the key of one field's value. In a numeric field a decimal in a string sorts as the number it is.
pub(super) fn push(value: Option<&Value>, numeric: bool, key: &mut Vec<u8>) {
    match value {
        None => key.push(MISSING),
        Some(Value::Null) => key.push(NULL),
        Some(Value::Bool(false)) => key.push(FALSE),
        Some(Value::Bool(true)) => key.push(TRUE),
        Some(value @ Value::Number(_)) => push_number(value, key),
        Some(value @ Value::String(_)) if numeric => push_number(value, key),
        Some(Value::String(text)) => push_text(STRING, text, key),
        Some(value @ Value::Array(_)) => push_text(ARRAY, &json::canonical_text(value), key),
        Some(value @ Value::Object(_)) => push_text(OBJECT, &json::canonical_text(value), key),
    }
}

fn push_number(value: &Value, key: &mut Vec<u8>) {
    match Decimal::of(value) {
        Ok(decimal) => {
            key.push(NUMBER);
            key.extend_from_slice(&decimal.sort_key());
        }
        // No accepted candidate gets here: a field with a quantum holds a decimal.
        Err(_) => push_text(STRING, &json::canonical_text(value), key),
    }
}

/// A text that may hold zero bytes, ended by one: 00 becomes 00 FF, and the end is a 00 that no FF follows.
fn push_text(class: u8, text: &str, key: &mut Vec<u8>) {
    key.push(class);
    for &byte in text.as_bytes() {
        key.push(byte);
        if byte == 0 {
            key.push(0xFF);
        }
    }
    key.push(0);
}

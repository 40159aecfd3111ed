//! Keys by which exports sort: bytes whose order is the order of identities, so that an external sort needs to know
//! nothing of contracts.

use super::decimal::Decimal;
use crate::json::Tree;

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
pub(super) fn push(value: Option<&Tree<'_>>, numeric: bool, key: &mut Vec<u8>) {
    match value {
        None => key.push(MISSING),
        Some(Tree::Null) => key.push(NULL),
        Some(Tree::Bool(false)) => key.push(FALSE),
        Some(Tree::Bool(true)) => key.push(TRUE),
        Some(value @ Tree::Number(_)) => push_number(value, key),
        Some(value @ Tree::Text(_)) if numeric => push_number(value, key),
        Some(Tree::Text(text)) => push_text(STRING, text, key),
        Some(value @ Tree::List(_)) => push_text(ARRAY, &value.canonical_text(), key),
        Some(value @ Tree::Map(_)) => push_text(OBJECT, &value.canonical_text(), key),
    }
}

fn push_number(value: &Tree<'_>, key: &mut Vec<u8>) {
    match Decimal::of(value) {
        Ok(decimal) => {
            key.push(NUMBER);
            key.extend_from_slice(&decimal.sort_key());
        }
        // No accepted candidate gets here: a field with a quantum holds a decimal.
        Err(_) => push_text(STRING, &value.canonical_text(), key),
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

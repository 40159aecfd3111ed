//! Strict JSON in, canonical JSON out.
//!
//! Input is I-JSON (RFC 7493): no duplicate keys, no number that a double cannot hold, bounded size and depth. A
//! double cannot hold 1e400, nor a whole number written out whose digits it would change: 9007199254740993 belongs
//! into a string. Output is RFC 8785, in which two texts are equal exactly when their values are; it is always input.

//!
//! `strict` reads, `canonical` writes, [`Tree`] is what lies between.

use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;

mod canonical;
mod raw;
mod strict;
mod tree;

pub use canonical::{write_canonical, write_number, write_string};
pub(crate) use strict::keeps_digits;
pub use tree::{Members, Tree, utf16_order};

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
    strict::read(text, limits).map(Value::from)
}

/// [`parse`], into a tree that borrows from the text.
///
/// # Errors
/// As [`parse`].
pub fn parse_tree(text: &[u8], limits: Limits) -> Result<Tree<'_>, JsonError> {
    strict::read(text, limits)
}

/// A value in the canonical form of RFC 8785.
///
/// # Panics
/// If `value` is not representable as JSON (a map with keys that are no strings); none of our types is.
#[allow(clippy::expect_used)]
pub fn canonical<T: Serialize>(value: &T) -> Box<RawValue> {
    let value = serde_json::to_value(value).expect("our types are representable as JSON");
    Tree::from(&value).canonical_raw()
}

/// The canonical text of a value.
pub fn canonical_text(value: &Value) -> String {
    Tree::from(value).canonical_text()
}

impl Tree<'_> {
    /// The canonical text.
    pub fn canonical_text(&self) -> String {
        let mut text = String::with_capacity(256);
        write_canonical(self, &mut text);
        text
    }

    /// The canonical text, as JSON to put into other JSON.
    pub fn canonical_raw(&self) -> Box<RawValue> {
        raw::raw(&self.canonical_text())
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

//! A JSON value that borrows its strings from the text.
//!
//! serde_json's `Value` owns every string and keeps every object in a B-tree. Candidates are read, judged and dropped
//! by the hundred thousand a second; for them this costs half as much. Members are kept in the order of canonical
//! form, which makes duplicates neighbours and writing a walk.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Number, Value};

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Tree<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number.
    Number(Number),
    /// A string.
    Text(Cow<'a, str>),
    /// An array.
    List(Vec<Tree<'a>>),
    /// An object.
    Map(Members<'a>),
}

/// The members of an object, by the order of canonical form.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Members<'a>(Vec<(Cow<'a, str>, Tree<'a>)>);

impl<'a> Members<'a> {
    /// Members in any order; a key that stands twice is the error.
    pub(super) fn sorted(mut members: Vec<(Cow<'a, str>, Tree<'a>)>) -> Result<Self, String> {
        members.sort_unstable_by(|(a, _), (b, _)| utf16_order(a, b));
        match members.windows(2).find(|pair| pair[0].0 == pair[1].0) {
            Some(pair) => Err(pair[0].0.clone().into_owned()),
            None => Ok(Self(members)),
        }
    }

    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&Tree<'a>> {
        // Up to here, comparing with each key is quicker than jumping.
        const FEW: usize = 12;
        if self.0.len() <= FEW {
            return self.0.iter().find(|(name, _)| name == key).map(|(_, value)| value);
        }
        let at = self.0.binary_search_by(|(name, _)| utf16_order(name, key)).ok()?;
        Some(&self.0[at].1)
    }

    /// The members, in the order of canonical form.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tree<'a>)> {
        self.0.iter().map(|(key, value)| (&**key, value))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<'a> From<&'a Value> for Tree<'a> {
    fn from(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.clone()),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(values) => Self::List(values.iter().map(Self::from).collect()),
            Value::Object(map) => {
                let mut members: Vec<_> = map.iter().map(|(key, value)| (Cow::from(key), Self::from(value))).collect();
                members.sort_unstable_by(|(a, _), (b, _)| utf16_order(a, b));
                Self::Map(Members(members))
            }
        }
    }
}

impl From<Tree<'_>> for Value {
    fn from(tree: Tree<'_>) -> Self {
        match tree {
            Tree::Null => Self::Null,
            Tree::Bool(value) => Self::Bool(value),
            Tree::Number(number) => Self::Number(number),
            Tree::Text(text) => Self::String(text.into_owned()),
            Tree::List(values) => values.into_iter().map(Self::from).collect(),
            Tree::Map(Members(members)) => {
                Self::Object(members.into_iter().map(|(key, value)| (key.into_owned(), value.into())).collect())
            }
        }
    }
}

/// How RFC 8785 orders keys: by UTF-16 code units.
pub fn utf16_order(a: &str, b: &str) -> Ordering {
    // The order of UTF-8 bytes is the same, but for one case: of two different characters, one lies in U+E000..FFFF
    // (lead bytes EE and EF) and the other beyond (F0 and up), which UTF-16 writes with units from D800.
    match a.bytes().zip(b.bytes()).find(|(x, y)| x != y) {
        None => a.len().cmp(&b.len()),
        Some((x, y)) if x < 0xEE || y < 0xEE => x.cmp(&y),
        Some(_) => a.encode_utf16().cmp(b.encode_utf16()),
    }
}

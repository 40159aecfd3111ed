//! YAML into a tree that knows where each of its values stands.
//!
//! Only what JSON can say gets through: no NaN, no duplicate keys, no number that a double cannot hold; `yes` and
//! `on` are strings, as in YAML 1.2. What the text can cost is bounded (depth, nodes, aliases and what they repeat).

use std::fmt;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_saphyr::options::NonFiniteFloatPolicy;
use serde_saphyr::{Options, SnippetMode, Spanned, UserMessageFormatter};

use super::{Fault, Place};
use crate::json;

/// The most bytes of a manifest.
pub(super) const MAX_BYTES: usize = 64 * 1024 * 1024;

/// The deepest nesting of a document. Reading a level costs up to 32 KiB of stack in an unoptimised build, and a
/// thread's stack is 2 MiB; deeper payloads come in as JSON lines.
const MAX_DEPTH: usize = 40;

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) at: Place,
    pub(super) value: Content,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Content {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    /// In the order of the text.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) at: Place,
    pub(super) text: String,
}

/// The documents of a text; empty ones are left out.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, Fault> {
    if text.len() > MAX_BYTES {
        let message =
            format!("is {} bytes long, at most {MAX_BYTES} are allowed: import jobs as JSON lines", text.len());
        return Err(Fault { document: None, at: None, path: String::new(), message });
    }
    let documents: Vec<Spanned<Content>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| fault(&error))?;
    Ok(documents.into_iter().map(Node::from).collect())
}

fn options() -> Options {
    serde_saphyr::options! {
        strict_booleans: true,
        with_snippet: false,
        non_finite_float_policy: NonFiniteFloatPolicy::Reject,
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 200_000 },
        budget: serde_saphyr::budget! {
            max_documents: 10_000,
            max_nodes: 2_000_000,
            max_events: 5_000_000,
            max_depth: MAX_DEPTH,
        },
    }
}

fn fault(error: &serde_saphyr::Error) -> Fault {
    let at = error.location().map(|location| Place::new(location.line(), location.column()));
    let text = error.render_with_options(serde_saphyr::render_options! {
        formatter: &UserMessageFormatter,
        snippets: SnippetMode::Off,
    });
    // The place has a field of its own.
    let message = match text.rsplit_once(" at line ") {
        Some((message, _)) if at.is_some() => message.to_owned(),
        Some(_) | None => text,
    };
    Fault { document: None, at, path: String::new(), message }
}

impl Node {
    /// The value as JSON.
    pub(super) fn json(&self) -> Value {
        match &self.value {
            Content::Null => Value::Null,
            Content::Bool(value) => Value::Bool(*value),
            Content::Number(number) => Value::Number(number.clone()),
            Content::Text(text) => Value::String(text.clone()),
            Content::List(nodes) => nodes.iter().map(Self::json).collect(),
            Content::Map(members) => {
                let members = members.iter().map(|(key, node)| (key.text.clone(), node.json()));
                Value::Object(members.collect::<Map<_, _>>())
            }
        }
    }

    /// The value of a key, if this is a map that has it.
    pub(super) fn get(&self, key: &str) -> Option<&Self> {
        match &self.value {
            Content::Map(members) => members.iter().find(|(name, _)| name.text == key).map(|(_, node)| node),
            Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) | Content::List(_) => None,
        }
    }

    /// Where the value at a path such as `tolerance[2].abs_lt` or `schema/required` stands, as far as the path goes.
    pub(super) fn place(&self, path: &str) -> Place {
        let mut node = self;
        for step in path.split(['.', '/', '[', ']']).filter(|step| !step.is_empty()) {
            let inner = match &node.value {
                Content::List(nodes) => step.parse().ok().and_then(|i: usize| nodes.get(i)),
                Content::Map(_) => node.get(step),
                Content::Null | Content::Bool(_) | Content::Number(_) | Content::Text(_) => None,
            };
            match inner {
                Some(inner) => node = inner,
                None => break,
            }
        }
        node.at
    }
}

impl From<Spanned<Content>> for Node {
    fn from(spanned: Spanned<Content>) -> Self {
        let at = Place::new(spanned.referenced.line(), spanned.referenced.column());
        Self { at, value: spanned.value }
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ContentVisitor)
    }
}

struct ContentVisitor;

fn integer<E: de::Error>(text: &str) -> Result<Content, E> {
    let number = text.parse::<i64>().map(Number::from).ok().or_else(|| Number::from_f64(text.parse().ok()?));
    match number.filter(|_| json::keeps_digits(text)) {
        Some(number) => Ok(Content::Number(number)),
        None => Err(E::custom(format!("number {text} cannot be held by a double: write it as a string"))),
    }
}

impl<'de> Visitor<'de> for ContentVisitor {
    type Value = Content;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON has too")
    }

    fn visit_unit<E>(self) -> Result<Content, E> {
        Ok(Content::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Content, E> {
        Ok(Content::Bool(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Content, E> {
        integer(&value.to_string())
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Content, E> {
        integer(&value.to_string())
    }

    fn visit_u128<E: de::Error>(self, value: u128) -> Result<Content, E> {
        integer(&value.to_string())
    }

    fn visit_i128<E: de::Error>(self, value: i128) -> Result<Content, E> {
        integer(&value.to_string())
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Content, E> {
        Number::from_f64(value).map(Content::Number).ok_or_else(|| E::custom("a number must be finite"))
    }

    fn visit_str<E>(self, value: &str) -> Result<Content, E> {
        Ok(Content::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Content, E> {
        Ok(Content::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = access.next_element::<Spanned<Content>>()? {
            nodes.push(node.into());
        }
        Ok(Content::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Content, A::Error> {
        let mut members = Vec::new();
        while let Some(key) = access.next_key::<Spanned<String>>()? {
            let key = Key { at: Place::new(key.referenced.line(), key.referenced.column()), text: key.value };
            members.push((key, access.next_value::<Spanned<Content>>()?.into()));
        }
        Ok(Content::Map(members))
    }
}

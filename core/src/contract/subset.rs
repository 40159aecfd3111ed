//! A quick checker for the JSON Schema keywords that most contracts use.
//!
//! A schema with any other keyword is left to the full validator, so that this file only has to be right about the
//! few that it knows; a property test holds it against the full one.

use serde_json::{Map, Value};

use super::message::{quoted, show};
use super::schema::place;
use crate::json::{Members, Tree};

/// A compiled schema.
pub(super) enum Subset {
    /// `true` or `false`.
    Always(bool),
    /// An object of keywords.
    Rules(Box<Rules>),
}

/// The keywords of one schema object. Absent ones ask for nothing.
#[derive(Default)]
pub(super) struct Rules {
    types: Option<Types>,
    constant: Option<Value>,
    choices: Option<Vec<Value>>,
    object: ObjectRules,
    array: ArrayRules,
    length: Range<usize>,
    number: NumberRules,
}

#[derive(Default)]
struct ObjectRules {
    required: Vec<String>,
    /// Sorted by name.
    properties: Vec<(String, Subset)>,
    additional: Option<Subset>,
    count: Range<usize>,
}

#[derive(Default)]
struct ArrayRules {
    items: Option<Subset>,
    count: Range<usize>,
}

#[derive(Default)]
struct NumberRules {
    inclusive: Range<f64>,
    exclusive: Range<f64>,
}

#[derive(Default)]
struct Range<T> {
    min: Option<T>,
    max: Option<T>,
}

/// A set of type names, as bits, and the names for messages.
struct Types {
    bits: u8,
    words: String,
}

const NULL: u8 = 1;
const BOOLEAN: u8 = 2;
const NUMBER: u8 = 4;
const INTEGER: u8 = 8;
const STRING: u8 = 16;
const ARRAY: u8 = 32;
const OBJECT: u8 = 64;

/// Keywords that assert nothing by themselves. `format` is one in draft 2020-12.
const ANNOTATIONS: [&str; 9] =
    ["$schema", "$comment", "title", "description", "default", "examples", "deprecated", "readOnly", "format"];

impl Subset {
    /// The checker for a schema that the full validator has found valid, if it knows every keyword in it.
    pub(super) fn compile(schema: &Value) -> Option<Self> {
        match schema {
            Value::Bool(always) => Some(Self::Always(*always)),
            Value::Object(map) => Rules::compile(map).map(|rules| Self::Rules(Box::new(rules))),
            Value::Null | Value::Number(_) | Value::String(_) | Value::Array(_) => None,
        }
    }

    /// Judges a value: the first fault, with its place.
    pub(super) fn check(&self, value: &Tree<'_>) -> Result<(), String> {
        self.check_at(value).map_err(|Fault { pointer, text }| {
            // The pointer was gathered from the inside out.
            let pointer: String = pointer.iter().rev().flat_map(|step| ["/", step.as_str()]).collect();
            format!("{}: {text}", place(&pointer))
        })
    }

    fn check_at(&self, value: &Tree<'_>) -> Result<(), Fault> {
        match self {
            Self::Always(true) => Ok(()),
            Self::Always(false) => Err(Fault::new("is not allowed".into())),
            Self::Rules(rules) => rules.check(value),
        }
    }
}

struct Fault {
    pointer: Vec<String>,
    text: String,
}

impl Fault {
    fn new(text: String) -> Self {
        Self { pointer: Vec::new(), text }
    }

    fn inside(mut self, step: &str) -> Self {
        self.pointer.push(step.replace('~', "~0").replace('/', "~1"));
        self
    }
}

impl Rules {
    fn compile(map: &Map<String, Value>) -> Option<Self> {
        let mut rules = Self::default();
        for (keyword, value) in map {
            match keyword.as_str() {
                "type" => rules.types = Some(Types::compile(value)?),
                "const" => rules.constant = Some(value.clone()),
                "enum" => rules.choices = Some(value.as_array()?.clone()),
                "required" => rules.object.required = strings(value)?,
                "properties" => rules.object.properties = properties(value)?,
                "additionalProperties" => rules.object.additional = Some(Subset::compile(value)?),
                "minProperties" => rules.object.count.min = Some(size(value)?),
                "maxProperties" => rules.object.count.max = Some(size(value)?),
                "items" => rules.array.items = Some(Subset::compile(value)?),
                "minItems" => rules.array.count.min = Some(size(value)?),
                "maxItems" => rules.array.count.max = Some(size(value)?),
                "minLength" => rules.length.min = Some(size(value)?),
                "maxLength" => rules.length.max = Some(size(value)?),
                "minimum" => rules.number.inclusive.min = Some(value.as_f64()?),
                "maximum" => rules.number.inclusive.max = Some(value.as_f64()?),
                "exclusiveMinimum" => rules.number.exclusive.min = Some(value.as_f64()?),
                "exclusiveMaximum" => rules.number.exclusive.max = Some(value.as_f64()?),
                annotation if ANNOTATIONS.contains(&annotation) => {}
                _ => return None,
            }
        }
        Some(rules)
    }

    fn check(&self, value: &Tree<'_>) -> Result<(), Fault> {
        if let Some(types) = &self.types
            && types.bits & type_bits(value) == 0
        {
            return Err(Fault::new(format!("{} is not {}", show(value), types.words)));
        }
        if let Some(constant) = &self.constant
            && !equal(constant, value)
        {
            return Err(Fault::new(format!("{} is not {}", show(value), show(&Tree::from(constant)))));
        }
        if let Some(choices) = &self.choices
            && !choices.iter().any(|choice| equal(choice, value))
        {
            let choices: Vec<String> = choices.iter().map(|choice| show(&Tree::from(choice))).collect();
            return Err(Fault::new(format!("{} is none of {}", show(value), choices.join(", "))));
        }
        match value {
            Tree::Map(members) => self.object.check(members),
            Tree::List(values) => self.array.check(values),
            Tree::Text(text) => self.check_length(text),
            Tree::Number(number) => self.number.check(number),
            Tree::Null | Tree::Bool(_) => Ok(()),
        }
    }

    fn check_length(&self, text: &str) -> Result<(), Fault> {
        if self.length.min.is_none() && self.length.max.is_none() {
            return Ok(());
        }
        self.length.check(text.chars().count(), "characters")
    }
}

impl ObjectRules {
    fn check(&self, members: &Members<'_>) -> Result<(), Fault> {
        self.count.check(members.len(), "properties")?;
        for name in &self.required {
            if members.get(name).is_none() {
                return Err(Fault::new(format!("{} is missing", quoted(name))));
            }
        }
        for (name, value) in members.iter() {
            let found = self.properties.binary_search_by(|(property, _)| property.as_str().cmp(name));
            match (found, &self.additional) {
                (Ok(at), _) => self.properties[at].1.check_at(value).map_err(|fault| fault.inside(name))?,
                (Err(_), Some(Subset::Always(false))) => {
                    return Err(Fault::new(format!("{} is not a property of the schema", quoted(name))));
                }
                (Err(_), Some(additional)) => additional.check_at(value).map_err(|fault| fault.inside(name))?,
                (Err(_), None) => {}
            }
        }
        Ok(())
    }
}

impl ArrayRules {
    fn check(&self, values: &[Tree<'_>]) -> Result<(), Fault> {
        self.count.check(values.len(), "items")?;
        if let Some(items) = &self.items {
            for (i, value) in values.iter().enumerate() {
                items.check_at(value).map_err(|fault| fault.inside(&i.to_string()))?;
            }
        }
        Ok(())
    }
}

impl NumberRules {
    fn check(&self, number: &serde_json::Number) -> Result<(), Fault> {
        let Some(double) = number.as_f64() else { return Ok(()) };
        let fault = |words: &str, bound: f64| {
            let value = show(&Tree::Number(number.clone()));
            Err(Fault::new(format!("{value} is {words} {}", super::bound::number_text(bound))))
        };
        match (self.inclusive.min, self.inclusive.max) {
            (Some(min), _) if double < min => return fault("less than", min),
            (_, Some(max)) if double > max => return fault("greater than", max),
            _ => {}
        }
        match (self.exclusive.min, self.exclusive.max) {
            (Some(min), _) if double <= min => fault("not greater than", min),
            (_, Some(max)) if double >= max => fault("not less than", max),
            _ => Ok(()),
        }
    }
}

impl Range<usize> {
    fn check(&self, n: usize, what: &str) -> Result<(), Fault> {
        match (self.min, self.max) {
            (Some(min), _) if n < min => Err(Fault::new(format!("has {n} {what}, at least {min} are needed"))),
            (_, Some(max)) if n > max => Err(Fault::new(format!("has {n} {what}, at most {max} are allowed"))),
            _ => Ok(()),
        }
    }
}

impl Types {
    fn compile(value: &Value) -> Option<Self> {
        let names = match value {
            Value::String(name) => vec![name.clone()],
            other => strings(other)?,
        };
        let mut bits = 0;
        for name in &names {
            bits |= match name.as_str() {
                "null" => NULL,
                "boolean" => BOOLEAN,
                "number" => NUMBER,
                "integer" => INTEGER,
                "string" => STRING,
                "array" => ARRAY,
                "object" => OBJECT,
                _ => return None,
            };
        }
        // An empty list is refused by the meta-schema.
        if bits == 0 {
            return None;
        }
        let articles: Vec<String> = names.iter().map(|name| with_article(name)).collect();
        Some(Self { bits, words: articles.join(" or ") })
    }
}

fn with_article(name: &str) -> String {
    match name {
        "null" => name.to_owned(),
        "integer" | "array" | "object" => format!("an {name}"),
        name => format!("a {name}"),
    }
}

fn type_bits(value: &Tree<'_>) -> u8 {
    match value {
        Tree::Null => NULL,
        Tree::Bool(_) => BOOLEAN,
        // 2.0 is an integer to JSON Schema.
        Tree::Number(number) => match number.as_f64() {
            Some(double) if number.is_f64() && double.fract() != 0.0 => NUMBER,
            Some(_) | None => NUMBER | INTEGER,
        },
        Tree::Text(_) => STRING,
        Tree::List(_) => ARRAY,
        Tree::Map(_) => OBJECT,
    }
}

/// Equality as JSON Schema means it: 1 and 1.0 are one number.
fn equal(a: &Value, b: &Tree<'_>) -> bool {
    match (a, b) {
        (Value::Number(a), Tree::Number(b)) => match (a.as_i64(), b.as_i64(), a.as_u64(), b.as_u64()) {
            (Some(a), Some(b), _, _) => a == b,
            (_, _, Some(a), Some(b)) => a == b,
            _ => a.as_f64() == b.as_f64(),
        },
        (Value::Array(a), Tree::List(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| equal(a, b)),
        (Value::Object(a), Tree::Map(b)) => {
            a.len() == b.len() && a.iter().all(|(key, value)| b.get(key).is_some_and(|other| equal(value, other)))
        }
        (Value::String(a), Tree::Text(b)) => a == b,
        (Value::Bool(a), Tree::Bool(b)) => a == b,
        (Value::Null, Tree::Null) => true,
        _ => false,
    }
}

fn strings(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|name| name.as_str().map(str::to_owned)).collect()
}

fn size(value: &Value) -> Option<usize> {
    usize::try_from(value.as_u64()?).ok()
}

fn properties(value: &Value) -> Option<Vec<(String, Subset)>> {
    let compile = |(name, schema): (&String, &Value)| Some((name.clone(), Subset::compile(schema)?));
    let mut properties: Vec<(String, Subset)> = value.as_object()?.iter().map(compile).collect::<Option<_>>()?;
    properties.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
    Some(properties)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::schema::Full;
    use super::*;

    fn leaves() -> impl Strategy<Value = Value> {
        prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-3_i64..4).prop_map(Value::from),
            (-6_i64..7).prop_map(|n| Value::from(n as f64 / 2.0)),
            Just(json!(9_007_199_254_740_993_u64)),
            Just(json!(9_007_199_254_740_992.0)),
            "[aé\u{1f600}]{0,3}".prop_map(Value::from),
        ]
    }

    fn values() -> impl Strategy<Value = Value> {
        leaves().prop_recursive(3, 16, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    fn keyword(inner: BoxedStrategy<Value>) -> impl Strategy<Value = (&'static str, Value)> {
        let types = prop::sample::select(vec!["null", "boolean", "number", "integer", "string", "array", "object"]);
        let bound = (-6_i64..7).prop_map(|n| if n % 2 == 0 { json!(n / 2) } else { json!(n as f64 / 2.0) });
        let size = (0_u64..4).prop_map(Value::from);
        let sizes = ["minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties"];
        let bounds = ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
        prop_oneof![
            types.clone().prop_map(|name| ("type", json!(name))),
            prop::collection::btree_set(types, 1..4).prop_map(|names| ("type", json!(names))),
            values().prop_map(|value| ("const", value)),
            prop::collection::vec(values(), 1..4).prop_map(|values| ("enum", Value::from(values))),
            prop::collection::btree_set("[a-d]", 0..3).prop_map(|names| ("required", json!(names))),
            prop::collection::btree_map("[a-d]", inner.clone(), 0..4).prop_map(|map| ("properties", json!(map))),
            inner.clone().prop_map(|schema| ("additionalProperties", schema)),
            inner.prop_map(|schema| ("items", schema)),
            (prop::sample::select(sizes.to_vec()), size),
            (prop::sample::select(bounds.to_vec()), bound),
            Just(("title", json!("t"))),
        ]
    }

    fn schemas() -> impl Strategy<Value = Value> {
        any::<bool>().prop_map(Value::from).boxed().prop_recursive(3, 12, 4, |inner| {
            prop::collection::vec(keyword(inner.boxed()), 0..5)
                .prop_map(|keywords| keywords.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
                .prop_map(Value::Object)
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 1500, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_full_validator_gives_the_same_verdict(schema in schemas(), candidates in prop::collection::vec(values(), 8)) {
            let full = Full::compile(&schema).unwrap();
            let subset = Subset::compile(&schema).unwrap();
            for candidate in candidates {
                let verdict = full.check(&candidate);
                prop_assert_eq!(subset.check(&Tree::from(&candidate)).is_ok(), verdict.is_ok(), "{} {:?}", candidate, verdict);
            }
        }
    }

    #[test]
    fn any_other_keyword_is_left_to_the_full_validator() {
        for keyword in ["pattern", "$ref", "$id", "$defs", "allOf", "not", "uniqueItems", "multipleOf", "madeUp"] {
            assert!(Subset::compile(&json!({ keyword: 1 })).is_none(), "{keyword}");
        }
    }

    #[test]
    fn a_fault_names_its_place() {
        let schema = json!({"properties": {"a": {"items": {"properties": {"b/c": {"maxLength": 2, "minLength": 1}}}}}});
        let fault =
            Subset::compile(&schema).unwrap().check(&Tree::from(&json!({"a": [{}, {"b/c": "xyz"}]}))).unwrap_err();
        assert_eq!(fault, "/a/1/b~1c: has 3 characters, at most 2 are allowed");
    }
}

//! Numbers that a contract may take from the job's payload: bounds and counts.
//!
//! Both are written as a bare number or as a small map. serde's `untagged` would do it, but answers a typo with
//! "did not match any variant"; these readers name the field.

use std::fmt;

use super::decimal::Decimal;
use super::field::Field;
use super::message::show;
use crate::json::Tree;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

/// A bound: a number, or one taken from the job's payload: `1e-8`, `{payload: eps_root}` or `{payload: a, plus: 1}`.
#[derive(Clone, Debug, PartialEq)]
pub enum Bound {
    /// The number itself.
    Number(f64),
    /// The number in this field of the payload, plus a constant.
    Payload {
        /// The field of the payload.
        payload: String,
        /// What is added, 0 if it is not said.
        plus: f64,
    },
}

/// A count: a number, or fields of the payload: `100`, `{payload: count}` or `{payload: b, minus: a}`.
#[derive(Clone, Debug, PartialEq)]
pub enum CountRule {
    /// The number itself.
    Number(u64),
    /// A field of the payload, less another one.
    Payload {
        /// The field.
        payload: String,
        /// The field that is taken away from it.
        minus: Option<String>,
    },
}

/// What is wrong with a field of a payload.
pub(super) type FieldFault = (String, String);

impl Bound {
    /// The bound for this payload, and how a message names it.
    pub(super) fn resolve(&self, payload: &Tree<'_>) -> Result<(f64, String), FieldFault> {
        match self {
            Self::Number(number) => Ok((*number, number_text(*number))),
            Self::Payload { payload: field, plus } => {
                let number = finite(field, payload)? + plus;
                if !number.is_finite() {
                    return Err((field.clone(), format!("plus {} is not finite", number_text(*plus))));
                }
                let label = match *plus {
                    0.0 => field.clone(),
                    plus if plus > 0.0 => format!("{field} + {}", number_text(plus)),
                    plus => format!("{field} - {}", number_text(-plus)),
                };
                Ok((number, format!("{label} = {}", number_text(number))))
            }
        }
    }
}

impl CountRule {
    /// The count for this payload, in whole numbers all the way.
    pub(super) fn resolve(&self, payload: &Tree<'_>) -> Result<u64, FieldFault> {
        match self {
            Self::Number(count) => Ok(*count),
            Self::Payload { payload: field, minus } => {
                let whole_part = whole(field, payload)?;
                let (count, label) = match minus {
                    None => (whole_part, "is".to_owned()),
                    Some(minus) => (whole_part - whole(minus, payload)?, format!("minus {minus} is")),
                };
                u64::try_from(count).map_err(|_| (field.clone(), format!("{label} {count}: a count is not negative")))
            }
        }
    }
}

fn lookup<'t, 'a>(field: &str, payload: &'t Tree<'a>) -> Result<&'t Tree<'a>, FieldFault> {
    let missing = || (field.to_owned(), "is missing".to_owned());
    Field::parse(field).map_err(|fault| (field.to_owned(), fault))?.get(payload).ok_or_else(missing)
}

fn finite(field: &str, payload: &Tree<'_>) -> Result<f64, FieldFault> {
    let value = lookup(field, payload)?;
    let fault = |fault: String| (field.to_owned(), fault);
    let number = match value {
        Tree::Number(number) => number.as_f64(),
        Tree::Text(text) => {
            // The decimal's grammar, so that "inf" and " 1" are no numbers here either.
            Decimal::parse(text).map_err(|why| fault(format!("= {}: {why}", show(value))))?;
            text.parse().ok()
        }
        Tree::Null | Tree::Bool(_) | Tree::List(_) | Tree::Map(_) => None,
    };
    let number = number.ok_or_else(|| fault(format!("= {} is not a number", show(value))))?;
    if number.is_finite() { Ok(number) } else { Err(fault(format!("= {} is not finite", show(value)))) }
}

fn whole(field: &str, payload: &Tree<'_>) -> Result<i128, FieldFault> {
    let value = lookup(field, payload)?;
    let number = match value {
        Tree::Number(number) => number.as_i128(),
        Tree::Null | Tree::Bool(_) | Tree::Text(_) | Tree::List(_) | Tree::Map(_) => None,
    };
    number.ok_or_else(|| (field.to_owned(), format!("= {} is not a whole number", show(value))))
}

/// A number as canonical JSON writes it.
pub(super) fn number_text(number: f64) -> String {
    if !number.is_finite() {
        return number.to_string();
    }
    ryu_js::Buffer::new().format_finite(number).to_owned()
}

impl Serialize for Bound {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_f64(*number),
            Self::Payload { payload, plus } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("payload", payload)?;
                if *plus != 0.0 {
                    map.serialize_entry("plus", plus)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(BoundVisitor)
    }
}

struct BoundVisitor;

impl<'de> Visitor<'de> for BoundVisitor {
    type Value = Bound;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a bound: a number, {payload: FIELD} or {payload: FIELD, plus: NUMBER}")
    }

    fn visit_f64<E>(self, number: f64) -> Result<Bound, E> {
        Ok(Bound::Number(number))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Bound, E> {
        Ok(Bound::Number(number as f64))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Bound, E> {
        Ok(Bound::Number(number as f64))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Bound, A::Error> {
        let (mut payload, mut plus) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "payload" => once("payload", &mut payload, map.next_value::<String>()?)?,
                "plus" => once("plus", &mut plus, map.next_value::<f64>()?)?,
                _ => return Err(de::Error::unknown_field(&key, &["payload", "plus"])),
            }
        }
        let payload = payload.ok_or_else(|| de::Error::missing_field("payload"))?;
        Ok(Bound::Payload { payload, plus: plus.unwrap_or(0.0) })
    }
}

impl Serialize for CountRule {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Number(number) => serializer.serialize_u64(*number),
            Self::Payload { payload, minus } => {
                let mut map = serializer.serialize_map(None)?;
                map.serialize_entry("payload", payload)?;
                if let Some(minus) = minus {
                    map.serialize_entry("minus", minus)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for CountRule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = CountRule;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a count: a whole number from 0, {payload: FIELD} or {payload: FIELD, minus: FIELD}")
    }

    fn visit_u64<E>(self, number: u64) -> Result<CountRule, E> {
        Ok(CountRule::Number(number))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<CountRule, E> {
        let count = u64::try_from(number).map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))?;
        Ok(CountRule::Number(count))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<CountRule, A::Error> {
        let (mut payload, mut minus) = (None, None);
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "payload" => once("payload", &mut payload, map.next_value::<String>()?)?,
                "minus" => once("minus", &mut minus, map.next_value::<String>()?)?,
                _ => return Err(de::Error::unknown_field(&key, &["payload", "minus"])),
            }
        }
        let payload = payload.ok_or_else(|| de::Error::missing_field("payload"))?;
        Ok(CountRule::Payload { payload, minus })
    }
}

fn once<T, E: de::Error>(name: &'static str, place: &mut Option<T>, value: T) -> Result<(), E> {
    match place.replace(value) {
        None => Ok(()),
        Some(_) => Err(E::duplicate_field(name)),
    }
}

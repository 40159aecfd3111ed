//! A [`RawValue`] of text that is known to be JSON.

use serde::Deserialize;
use serde::de::value::{Error, MapDeserializer};
use serde::de::{Deserializer, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::value::RawValue;

/// The raw value of a text that [`super::write_canonical`] wrote.
///
/// `RawValue::from_string` reads the whole text once more to see that it is JSON, which is a good part of what
/// judging a candidate costs. serde_json's own deserializers hand text over unread: as a map with one entry, whose key
/// is the name that the type asks for. This one does the same with the name that it is given; should serde_json
/// change its ways, `from_string` is left.
pub(super) fn raw(text: &str) -> Box<RawValue> {
    // The canonicalizer writes JSON. Null, were it not so, fails every check that the record is put to.
    let slowly = || RawValue::from_string(text.to_owned()).unwrap_or_else(|_| RawValue::NULL.to_owned());
    Box::<RawValue>::deserialize(Unread(text)).unwrap_or_else(|_| slowly())
}

struct Unread<'a>(&'a str);

impl<'de> Deserializer<'de> for Unread<'_> {
    type Error = Error;

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_map(MapDeserializer::new(std::iter::once((name, self.0))))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_str(self.0)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_way_is_open_and_keeps_the_text() {
        let text = "{\"a\":[1,\"\\u001f\",{}]}";
        assert_eq!(Box::<RawValue>::deserialize(Unread(text)).unwrap().get(), text);
        assert_eq!(raw(text).get(), text);
    }
}

//! Which columns a table has: learned from every line before the first is written.
//!
//! A field at the top level is a column. An object within is spread out, its fields named by their path:
//! `meta.method`. The type is what all values of the field have in common: whole numbers, numbers, booleans or
//! strings. Anything else (arrays, values of several types, objects with very many keys) is a column of JSON text.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde_json::Value;

/// An object with more keys than this is a map rather than a record: it becomes JSON text.
const MAX_KEYS: usize = 256;

/// The most columns of a table.
const MAX_COLUMNS: usize = 4096;

/// The column of candidates that are no objects.
pub(super) const CANDIDATE: &str = "candidate";

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Integer,
    Double,
    Boolean,
    Text,
    /// JSON as text.
    Json,
}

/// A column of the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Column {
    /// The keys that lead to the field. Empty for the line as a whole.
    pub path: Vec<String>,
    pub ty: Type,
    /// Some rows have no value.
    pub optional: bool,
}

impl Column {
    /// The column's name.
    pub(super) fn name(&self) -> String {
        if self.path.is_empty() { CANDIDATE.to_owned() } else { self.path.join(".") }
    }
}

/// What was learned of the values of one field.
#[derive(Clone, Debug, Default)]
pub(super) struct Fields {
    /// Values that are not null.
    values: u64,
    nulls: u64,
    integers: u64,
    doubles: u64,
    booleans: u64,
    texts: u64,
    objects: u64,
    /// The fields of the values that are objects.
    keys: BTreeMap<String, Fields>,
    /// There were too many keys to remember.
    many_keys: bool,
}

impl Fields {
    /// Takes notice of a value.
    pub(super) fn learn(&mut self, value: &Value) {
        self.values += 1;
        match value {
            Value::Null => {
                self.values -= 1;
                self.nulls += 1;
            }
            Value::Bool(_) => self.booleans += 1,
            Value::Number(number) if number.is_i64() => self.integers += 1,
            Value::Number(_) => self.doubles += 1,
            Value::String(_) => self.texts += 1,
            Value::Array(_) => {}
            Value::Object(object) => {
                self.objects += 1;
                for (key, value) in object {
                    self.learn_key(key, value);
                }
            }
        }
    }

    fn learn_key(&mut self, key: &str, value: &Value) {
        if self.many_keys {
            return;
        }
        if let Some(field) = self.keys.get_mut(key) {
            return field.learn(value);
        }
        self.keys.entry(key.to_owned()).or_default().learn(value);
        if self.keys.len() > MAX_KEYS {
            self.many_keys = true;
            self.keys.clear();
        }
    }

    /// The columns, in the order of their names' parts.
    ///
    /// # Errors
    /// If there are more than a table can have.
    pub(super) fn columns(&self) -> Result<Vec<Column>> {
        let mut columns = Vec::new();
        self.spread(&mut Vec::new(), self.values + self.nulls, &mut columns);
        self.part_same_names(&mut columns);
        if columns.len() > MAX_COLUMNS {
            bail!(
                "the candidates have {} fields, a table has at most {MAX_COLUMNS} columns here: take one contract with --contract, or write JSON lines",
                columns.len()
            );
        }
        Ok(columns)
    }

    /// Appends the columns of this field, at `path`, which `rows` rows could have.
    fn spread(&self, path: &mut Vec<String>, rows: u64, columns: &mut Vec<Column>) {
        let is_record = self.objects == self.values && !self.keys.is_empty() && !self.many_keys;
        if !is_record {
            columns.push(Column { path: path.clone(), ty: self.ty(), optional: self.values < rows || rows == 0 });
            return;
        }
        for (key, field) in &self.keys {
            path.push(key.clone());
            field.spread(path, rows, columns);
            path.pop();
        }
    }

    fn ty(&self) -> Type {
        match self.values {
            0 => Type::Json,
            n if n == self.integers => Type::Integer,
            n if n == self.integers + self.doubles => Type::Double,
            n if n == self.booleans => Type::Boolean,
            n if n == self.texts => Type::Text,
            _ => Type::Json,
        }
    }

    /// A key with a dot in it can make a name that a path has too: then the object of that path stays whole.
    fn part_same_names(&self, columns: &mut Vec<Column>) {
        loop {
            let mut seen: BTreeMap<String, usize> = BTreeMap::new();
            let clash = columns.iter().enumerate().find_map(|(at, column)| {
                let before = seen.insert(column.name(), at)?;
                // The longer path is the deeper one.
                Some(if columns[before].path.len() > column.path.len() { before } else { at })
            });
            let Some(at) = clash else { return };
            let outer = columns[at].path[..columns[at].path.len() - 1].to_vec();
            let rows = self.values + self.nulls;
            let optional =
                outer.iter().try_fold(self, |field, key| field.keys.get(key)).is_none_or(|f| f.values < rows);
            let whole = Column { path: outer.clone(), ty: Type::Json, optional };
            columns[at] = whole;
            let mut index = 0;
            columns.retain(|column| {
                let keep = index == at || !column.path.starts_with(&outer);
                index += 1;
                keep
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn columns(lines: &[Value]) -> Vec<(String, Type, bool)> {
        let mut fields = Fields::default();
        for line in lines {
            fields.learn(line);
        }
        fields.columns().unwrap().iter().map(|c| (c.name(), c.ty, c.optional)).collect()
    }

    #[test]
    fn a_column_has_the_type_that_all_values_share() {
        let found = columns(&[
            json!({"b": true, "d": 1, "i": 1, "j": [1], "m": 1, "n": null, "s": "x", "x": {}}),
            json!({"b": false, "d": 1.5, "i": -2, "j": [], "m": "1", "n": null, "o": 1, "s": null, "x": {}}),
        ]);
        let expected = [
            ("b", Type::Boolean, false),
            ("d", Type::Double, false),
            ("i", Type::Integer, false),
            ("j", Type::Json, false),
            ("m", Type::Json, false),
            ("n", Type::Json, true),
            ("o", Type::Integer, true),
            ("s", Type::Text, true),
            ("x", Type::Json, false),
        ];
        assert_eq!(found, expected.map(|(name, ty, optional)| (name.to_owned(), ty, optional)));
    }

    #[test]
    fn objects_are_spread_out_unless_something_else_stands_there_too() {
        let found = columns(&[
            json!({"meta": {"a": {"b": 1}, "c": "x"}, "mixed": {"a": 1}}),
            json!({"meta": {"c": "y"}, "mixed": 7}),
            json!({"meta": null, "mixed": {"a": 2}}),
        ]);
        let expected = [("meta.a.b", Type::Integer, true), ("meta.c", Type::Text, true), ("mixed", Type::Json, false)];
        assert_eq!(found, expected.map(|(name, ty, optional)| (name.to_owned(), ty, optional)));
    }

    #[test]
    fn names_are_never_the_same() {
        let found = columns(&[json!({"a": {"b": {"c": 1, "d": 2}}, "a.b.c": 3, "e": 4})]);
        let expected = [("a.b", Type::Json, false), ("a.b.c", Type::Integer, false), ("e", Type::Integer, false)];
        assert_eq!(found, expected.map(|(name, ty, optional)| (name.to_owned(), ty, optional)));
        // The object that stays whole clashes in turn.
        let found = columns(&[json!({"a": {"b": {"c": 1}}, "a.b": 2, "a.b.c": 3})]);
        let names: Vec<_> = found.iter().map(|(name, ..)| name.as_str()).collect();
        assert_eq!(names, ["a", "a.b", "a.b.c"]);
    }

    #[test]
    fn a_map_with_very_many_keys_is_one_column() {
        let map: serde_json::Map<_, _> = (0..300).map(|n| (format!("k{n}"), json!(n))).collect();
        assert_eq!(columns(&[json!({"map": map})]), [("map".to_owned(), Type::Json, false)]);
    }

    #[test]
    fn candidates_that_are_no_objects_and_no_candidates_have_one_column() {
        assert_eq!(columns(&[json!([1, 2])]), [("candidate".to_owned(), Type::Json, false)]);
        assert_eq!(columns(&[]), [("candidate".to_owned(), Type::Json, true)]);
    }
}

//! Naming a field of a candidate or payload: a key of the top level, or a JSON Pointer (RFC 6901).

use crate::json::Tree;

/// A field's path, ready to look up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Field {
    steps: Vec<String>,
}

impl Field {
    /// The path that a text names.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            return Err("is empty: write a key, or a JSON Pointer such as /meta/x".into());
        }
        let Some(pointer) = text.strip_prefix('/') else {
            return Ok(Self { steps: vec![text.to_owned()] });
        };
        let steps = pointer.split('/').map(unescape).collect::<Result<_, _>>()?;
        Ok(Self { steps })
    }

    /// The value there, if there is one.
    pub(super) fn get<'t, 'a>(&self, tree: &'t Tree<'a>) -> Option<&'t Tree<'a>> {
        self.steps.iter().try_fold(tree, |tree, step| match tree {
            Tree::Map(members) => members.get(step),
            Tree::List(values) => values.get(array_index(step)?),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) | Tree::Text(_) => None,
        })
    }
}

fn unescape(step: &str) -> Result<String, String> {
    let mut out = String::with_capacity(step.len());
    let mut chars = step.chars();
    while let Some(c) = chars.next() {
        out.push(match c {
            '~' => match chars.next() {
                Some('0') => '~',
                Some('1') => '/',
                Some(_) | None => return Err(format!("{step:?}: in a JSON Pointer ~ is written ~0, and / is ~1")),
            },
            c => c,
        });
    }
    Ok(out)
}

fn array_index(step: &str) -> Option<usize> {
    // RFC 6901: no sign, no leading zero.
    let plain = step == "0" || (!step.starts_with('0') && step.bytes().all(|byte| byte.is_ascii_digit()));
    if plain { step.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_field_is_a_key_or_a_pointer() {
        let value = json!({"a": 1, "b": {"c/d": [5, 6], "~": 7}});
        let tree = Tree::from(&value);
        let get = |text: &str| Field::parse(text).unwrap().get(&tree).cloned().map(serde_json::Value::from);
        assert_eq!(get("a"), Some(json!(1)));
        assert_eq!(get("/b/c~1d/1"), Some(json!(6)));
        assert_eq!(get("/b/~0"), Some(json!(7)));
        for absent in ["b/c", "/b/c~1d/01", "/b/c~1d/-", "/b/c~1d/+1", "/a/b", "/"] {
            assert_eq!(get(absent), None, "{absent}");
        }
        assert!(Field::parse("").is_err());
        assert!(Field::parse("/b/~2").is_err());
    }
}

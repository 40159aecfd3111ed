//! `limits:`, a map from what each limit is about to how much it is: a number, or a map with `max`, `rate`, `at_limit`.

use serde_json::{Map, Value};

use super::Fault;
use super::shape::{join, unknown};
use super::yaml::{Content, Node};
use crate::limit::{LimitSpec, LimitTarget};

const FIELDS: [&str; 3] = ["max", "rate", "at_limit"];

/// The limits, or every fault of them.
pub(super) fn read(node: &Node) -> Result<Vec<LimitSpec>, Vec<Fault>> {
    const EXAMPLE: &str = "must be a map such as {running: 8, host=*: 4, resolver=crossref: 3, gpu_slots: 4}";
    let Content::Map(members) = &node.value else {
        return Err(vec![Fault::at(node.at, "limits", EXAMPLE.to_owned())]);
    };
    let (mut limits, mut faults) = (Vec::with_capacity(members.len()), Vec::new());
    for (key, body) in members {
        let path = join("limits", &key.text);
        match key.text.parse() {
            Ok(target) => match limit(&target, body, &path) {
                Ok(limit) => limits.push(limit),
                Err(more) => faults.extend(more),
            },
            Err(error) => faults.push(Fault::at(key.at, &path, error.to_string())),
        }
    }
    if faults.is_empty() { Ok(limits) } else { Err(faults) }
}

fn limit(target: &LimitTarget, body: &Node, path: &str) -> Result<LimitSpec, Vec<Fault>> {
    let mut fields = match (&body.value, body.json()) {
        (Content::Map(members), Value::Object(map)) => {
            let extra = members.iter().filter(|(key, _)| !FIELDS.contains(&key.text.as_str()));
            let fault = |(key, _): &(super::yaml::Key, Node)| {
                Fault::at(key.at, &join(path, &key.text), unknown(&key.text, &FIELDS))
            };
            let faults: Vec<Fault> = extra.map(fault).collect();
            if !faults.is_empty() {
                return Err(faults);
            }
            map
        }
        (_, max) => Map::from_iter([("max".to_owned(), max)]),
    };
    fields.insert("limit".to_owned(), Value::String(target.to_string()));
    let spec: LimitSpec = serde_json::from_value(Value::Object(fields))
        .map_err(|error| vec![Fault::at(body.at, path, error.to_string())])?;
    let faults = spec.faults();
    if faults.is_empty() {
        return Ok(spec);
    }
    Err(faults
        .into_iter()
        .map(|(field, message)| Fault::at(body.place(&field), &join(path, &field), message))
        .collect())
}

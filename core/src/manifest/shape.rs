//! Which fields a document may have, and every fault of the ones it has.
//!
//! serde stops at the first fault. Here each field is read by itself, inside an object that is right otherwise, so
//! that every fault comes out, and at the place of the field that it is about. What a field may hold is said by the
//! types alone; what is said here again, the names, is held against them by a test.

use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};

use super::yaml::{Content, Node};
use super::{Fault, Place};

/// The fields of an object.
pub(super) struct Shape {
    pub(super) fields: &'static [&'static str],
    pub(super) required: &'static [&'static str],
    /// Fields that hold an object, or a list of objects, whose own fields are known.
    inner: &'static [(&'static str, Inner)],
    /// An object with the required fields and nothing else, that can be read.
    base: fn() -> Value,
}

enum Inner {
    Object(&'static Shape),
    ListOf(&'static Shape),
}

pub(super) static JOB: Shape = Shape {
    fields: &[
        "queue",
        "kind",
        "name",
        "payload",
        "priority",
        "fair_key",
        "keys",
        "semaphores",
        "resources",
        "labels",
        "prefer",
        "retry",
        "lease",
        "timeout",
        "delay",
        "not_before",
        "queue_timeout",
        "depends_on",
        "on_dependency_failure",
        "idempotency_key",
        "unique",
        "array",
        "gang",
    ],
    required: &["queue"],
    inner: &[
        ("retry", Inner::Object(&RETRY)),
        ("lease", Inner::Object(&LEASE)),
        ("prefer", Inner::ListOf(&PREFERENCE)),
    ],
    base: || json!({"queue": "q"}),
};

pub(super) static RANGE: Shape = Shape {
    fields: &[
        "queue",
        "kind",
        "payload",
        "priority",
        "fair_key",
        "keys",
        "semaphores",
        "resources",
        "labels",
        "prefer",
        "retry",
        "lease",
        "timeout",
        "delay",
        "not_before",
        "queue_timeout",
        "depends_on",
        "on_dependency_failure",
        "key",
        "unique",
        "range",
    ],
    required: &["queue", "range"],
    inner: &[
        ("retry", Inner::Object(&RETRY)),
        ("lease", Inner::Object(&LEASE)),
        ("prefer", Inner::ListOf(&PREFERENCE)),
        ("range", Inner::Object(&CUT)),
    ],
    base: || json!({"queue": "q", "range": (CUT.base)()}),
};

pub(super) static QUEUE: Shape = Shape {
    fields: &[
        "queue",
        "contract",
        "kind",
        "retry",
        "lease",
        "timeout",
        "queue_timeout",
        "weight",
        "fair_weights",
        "max_running",
    ],
    required: &["queue"],
    inner: &[("retry", Inner::Object(&RETRY)), ("lease", Inner::Object(&LEASE))],
    base: || json!({"queue": "q"}),
};

pub(super) static SCHEDULE: Shape = Shape {
    fields: &["schedule", "cron", "zone", "missed", "overlap", "job"],
    required: &["schedule", "cron", "job"],
    inner: &[("job", Inner::Object(&JOB))],
    base: || json!({"schedule": "s", "cron": "* * * * *", "job": (JOB.base)()}),
};

pub(super) static CONTRACT: Shape = Shape {
    fields: &["contract", "version", "description", "limits", "schema", "tolerance", "identity", "complete"],
    required: &["contract", "version", "schema", "identity"],
    inner: &[
        ("limits", Inner::Object(&LIMITS)),
        ("tolerance", Inner::ListOf(&TOLERANCE)),
        ("identity", Inner::ListOf(&IDENTITY)),
        ("complete", Inner::Object(&COMPLETE)),
    ],
    base: || json!({"contract": "c", "version": 1, "schema": true, "identity": []}),
};

static CUT: Shape = Shape {
    fields: &["from", "to", "step", "as"],
    required: &["from", "to", "step", "as"],
    inner: &[],
    base: || json!({"from": 0, "to": 1, "step": 1, "as": ["a", "b"]}),
};

static RETRY: Shape = Shape {
    fields: &["max_attempts", "backoff", "factor", "cap", "jitter", "crash_limit", "rules"],
    required: &[],
    inner: &[("rules", Inner::ListOf(&RULE))],
    base: || json!({}),
};

static RULE: Shape = Shape {
    fields: &["class", "exit_code", "message", "then", "backoff", "max_attempts", "memory", "avoid_worker"],
    required: &[],
    inner: &[("memory", Inner::Object(&MEMORY))],
    base: || json!({}),
};

static MEMORY: Shape = Shape {
    fields: &["factor", "cap"],
    required: &["factor", "cap"],
    inner: &[],
    base: || json!({"factor": 2, "cap": 1}),
};

static LEASE: Shape = Shape { fields: &["ttl", "heartbeat"], required: &[], inner: &[], base: || json!({}) };

static PREFERENCE: Shape = Shape {
    fields: &["label", "value", "weight"],
    required: &["label", "value", "weight"],
    inner: &[],
    base: || json!({"label": "l", "value": "v", "weight": 1}),
};

static LIMITS: Shape = Shape { fields: &["max_bytes", "max_depth"], required: &[], inner: &[], base: || json!({}) };

static TOLERANCE: Shape = Shape {
    fields: &["field", "abs_lt", "lt", "le", "gt", "ge"],
    required: &["field"],
    inner: &[],
    base: || json!({"field": "f"}),
};

static IDENTITY: Shape =
    Shape { fields: &["field", "quantum"], required: &["field"], inner: &[], base: || json!({"field": "f"}) };

static COMPLETE: Shape = Shape { fields: &["count"], required: &["count"], inner: &[], base: || json!({"count": 0}) };

/// Reads an object of a shape, or reports every fault of it. `path` is how messages name the object.
pub(super) fn read<T: DeserializeOwned>(node: &Node, shape: &'static Shape, path: &str) -> Result<T, Vec<Fault>> {
    let mut reader = Reader { faults: Vec::new(), reads: reads::<T> };
    reader.object(node, shape, path, &|value| value);
    if !reader.faults.is_empty() {
        return Err(reader.faults);
    }
    // Each field can be read; should they not fit together, the type's own words have to do.
    serde_json::from_value(node.json()).map_err(|error| vec![Fault::at(node.at, path, error.to_string())])
}

fn reads<T: DeserializeOwned>(value: Value) -> Result<(), String> {
    serde_json::from_value::<T>(value).map(drop).map_err(|error| error.to_string())
}

struct Reader {
    faults: Vec<Fault>,
    reads: fn(Value) -> Result<(), String>,
}

impl Reader {
    /// `wrap` puts a value of this object into an otherwise right document.
    fn object(&mut self, node: &Node, shape: &'static Shape, path: &str, wrap: &dyn Fn(Value) -> Value) {
        let Content::Map(members) = &node.value else {
            self.fault(node.at, path, format!("must be a map with {}", shape.fields.join(", ")));
            return;
        };
        for (key, value) in members {
            let path = join(path, &key.text);
            if !shape.fields.contains(&key.text.as_str()) {
                self.fault(key.at, &path, unknown(&key.text, shape.fields));
                continue;
            }
            let wrap_field = |value: Value| {
                let mut object = base(shape);
                object.insert(key.text.clone(), value);
                wrap(Value::Object(object))
            };
            self.field(value, shape, &key.text, &path, &wrap_field);
        }
        for name in shape.required {
            if node.get(name).is_none() {
                self.fault(node.at, &join(path, name), "is missing".to_owned());
            }
        }
    }

    fn field(&mut self, node: &Node, shape: &'static Shape, key: &str, path: &str, wrap: &dyn Fn(Value) -> Value) {
        let Err(words) = (self.reads)(wrap(node.json())) else { return };
        let known = self.faults.len();
        let inner = shape.inner.iter().find(|(name, _)| *name == key).map(|(_, inner)| inner);
        match (inner, &node.value) {
            (Some(Inner::Object(shape)), Content::Map(_)) => self.object(node, shape, path, wrap),
            (Some(Inner::ListOf(shape)), Content::List(nodes)) => {
                for (i, node) in nodes.iter().enumerate() {
                    self.object(node, shape, &format!("{path}[{i}]"), &|value| wrap(json!([value])));
                }
            }
            _ => {}
        }
        if self.faults.len() == known {
            self.fault(node.at, path, words);
        }
    }

    fn fault(&mut self, at: Place, path: &str, message: String) {
        self.faults.push(Fault::at(at, path, message));
    }
}

fn base(shape: &Shape) -> Map<String, Value> {
    match (shape.base)() {
        Value::Object(map) => map,
        // A shape's base is written above, and always an object.
        _ => Map::new(),
    }
}

/// A path one step longer.
pub(super) fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}

/// The words for a field that does not exist, with the nearest one that does.
pub(super) fn unknown(name: &str, fields: &[&str]) -> String {
    match nearest(name, fields.iter().copied()) {
        Some(field) => format!("is not a field: did you mean {field}?"),
        None => format!("is not a field: there are {}", fields.join(", ")),
    }
}

/// The candidate that a typing error could have turned into `name`.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let name: String = name.chars().take(64).collect();
    let limit = 1 + name.chars().count() / 4;
    candidates
        .map(|field| (distance(&name, field), field))
        .min()
        .filter(|(far, _)| *far <= limit)
        .map(|(_, field)| field)
}

/// How many letters must be changed, added, dropped or swapped with their neighbour (optimal string alignment).
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows: Vec<Vec<usize>> = vec![(0..=b.len()).collect()];
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let change = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = change.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(rows[i - 2][j - 2] + 1);
            }
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::contract::ContractSpec;
    use crate::job::JobSpec;
    use crate::manifest::range::RangeDocument;
    use crate::queue::QueueSpec;

    /// The names that serde itself lists when it meets a field that it does not know.
    fn names<T: DeserializeOwned>(shape: &Shape) -> Vec<String> {
        let mut object = base(shape);
        object.insert("no such field".to_owned(), Value::Null);
        let error = reads::<T>(Value::Object(object)).unwrap_err();
        let (_, list) = error.split_once("expected").unwrap();
        list.split('`').skip(1).step_by(2).map(str::to_owned).collect()
    }

    #[test]
    fn the_names_here_are_those_of_the_types() {
        use crate::contract::{Completeness, IdentityField, SizeLimits, ToleranceRule};
        use crate::manifest::range::Cut;
        use crate::policy::{LeasePatch, RetryPatch};
        use crate::resource::Preference;
        use crate::retry::{MoreMemory, RetryRule};
        let sorted = |mut names: Vec<String>| {
            names.sort();
            names
        };
        let written = |shape: &Shape| sorted(shape.fields.iter().map(|name| (*name).to_owned()).collect());
        assert_eq!(sorted(names::<JobSpec>(&JOB)), written(&JOB));
        assert_eq!(sorted(names::<RangeDocument>(&RANGE)), written(&RANGE));
        assert_eq!(sorted(names::<QueueSpec>(&QUEUE)), written(&QUEUE));
        assert_eq!(sorted(names::<ContractSpec>(&CONTRACT)), written(&CONTRACT));
        assert_eq!(sorted(names::<crate::timetable::ScheduleSpec>(&SCHEDULE)), written(&SCHEDULE));
        assert_eq!(sorted(names::<Preference>(&PREFERENCE)), written(&PREFERENCE));
        assert_eq!(sorted(names::<Cut>(&CUT)), written(&CUT));
        assert_eq!(sorted(names::<RetryPatch>(&RETRY)), written(&RETRY));
        assert_eq!(sorted(names::<RetryRule>(&RULE)), written(&RULE));
        assert_eq!(sorted(names::<MoreMemory>(&MEMORY)), written(&MEMORY));
        assert_eq!(sorted(names::<LeasePatch>(&LEASE)), written(&LEASE));
        assert_eq!(sorted(names::<SizeLimits>(&LIMITS)), written(&LIMITS));
        assert_eq!(sorted(names::<ToleranceRule>(&TOLERANCE)), written(&TOLERANCE));
        assert_eq!(sorted(names::<IdentityField>(&IDENTITY)), written(&IDENTITY));
        // With a single field serde names no list.
        assert_eq!(names::<Completeness>(&COMPLETE), COMPLETE.fields);
    }

    #[test]
    fn the_nearest_name_is_the_one_meant() {
        assert_eq!(nearest("oen", ["two", "one"].into_iter()), Some("one"));
        assert_eq!(nearest("max_attempt", RETRY.fields.iter().copied()), Some("max_attempts"));
        assert_eq!(nearest("colour", RETRY.fields.iter().copied()), None);
    }
}

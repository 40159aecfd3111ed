//! Job arrays: one job for each of many whole numbers, submitted as one.
//!
//! An array is a job whose spec has an [`ArraySpec`]: one record in the ledger, whatever its size. Each of its numbers is a
//! **task**, which becomes a job of its own at the moment it is leased (see [`crate::state`]). Written as HyperQueue and
//! SLURM write it: `1-10`, `1-100:5` (each fifth), `1,3,5-7`, and `%4` behind it for at most four at once.

use std::fmt;
use std::str::FromStr;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

use crate::id::{JobId, KeyName};
use crate::job::{JobSpec, Payload};
use crate::limit::{KeyValue, LimitTarget};
use crate::unique::Unique;

/// The most tasks of an array.
pub const MAX_TASKS: u64 = 1_000_000_000;

/// The most ranges that an array is written with.
pub const MAX_RANGES: usize = 1000;

/// The largest number of a task, either way: up to 2^53 every whole number is a JSON number that keeps its value.
pub const MAX_INDEX: i64 = 1 << 53;

/// The payload's field that a task's number stands in, if the array names none.
pub const TASK_FIELD: &str = "task";

/// The key that every task of an array carries, with the array's id: `limit set array=17 4` is about its running tasks.
pub const ARRAY_KEY: &str = "array";

/// Numbers `first`, `first + step` and so on, up to `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Range {
    first: i64,
    last: i64,
    step: i64,
}

impl Range {
    fn len(self) -> u64 {
        // Both are within 2^53 and the step is from 1.
        ((self.last - self.first) / self.step) as u64 + 1
    }
}

/// The numbers of an array's tasks, ascending: ranges of which each ends before the next begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tasks(Vec<Range>);

/// One number of an array, and where its piece of the range ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// The number.
    pub index: i64,
    /// One more than the last number that belongs to it: the next one's, or one more than the end of the range.
    pub end: i64,
}

/// Why a text does not name tasks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TasksError {
    /// A part of it is no range.
    #[error("{0:?} is neither a number nor a range: write it like 1-10, 1-100:5 or 1,3,5-7")]
    NotARange(String),
    /// A range ends before it begins.
    #[error("range {0} ends before it begins")]
    Backwards(String),
    /// A range has no step.
    #[error("the step of {0} is not a whole number from 1")]
    NoStep(String),
    /// A number is too large for JSON to keep.
    #[error("{0} is beyond 2^53")]
    Beyond(i64),
    /// Two ranges may have a number in common.
    #[error("{0} and {1} overlap: write ranges so that each ends before the next begins")]
    Overlap(String, String),
    /// There are too many ranges.
    #[error("has {0} ranges, at most {MAX_RANGES} are allowed")]
    TooManyRanges(usize),
    /// There are too many tasks.
    #[error("makes {0} tasks, at most {MAX_TASKS} are allowed")]
    TooMany(u64),
    /// What stands behind the `%` is not a number of tasks.
    #[error("{0:?} behind the % is not a number from 1: it is how many tasks may run at once")]
    BadMax(String),
}

impl Tasks {
    /// The numbers from `first` to `last`, each `step`-th of them.
    ///
    /// # Errors
    /// [`TasksError`].
    pub fn range(first: i64, last: i64, step: i64) -> Result<Self, TasksError> {
        Self::new(vec![Range { first, last, step }])
    }

    fn new(mut ranges: Vec<Range>) -> Result<Self, TasksError> {
        if ranges.len() > MAX_RANGES {
            return Err(TasksError::TooManyRanges(ranges.len()));
        }
        for range in &mut ranges {
            let beyond = [range.first, range.last].into_iter().find(|n| !(-MAX_INDEX..=MAX_INDEX).contains(n));
            if let Some(beyond) = beyond {
                return Err(TasksError::Beyond(beyond));
            }
            if range.last < range.first {
                return Err(TasksError::Backwards(range.to_string()));
            }
            if range.step < 1 {
                return Err(TasksError::NoStep(range.to_string()));
            }
            // A single number has no step: what is written the same is the same.
            if range.first == range.last {
                range.step = 1;
            }
        }
        ranges.sort_by_key(|range| range.first);
        for pair in ranges.windows(2) {
            if pair[1].first <= pair[0].last {
                return Err(TasksError::Overlap(pair[0].to_string(), pair[1].to_string()));
            }
        }
        let tasks = Self(ranges);
        let len = tasks.len();
        if len > MAX_TASKS { Err(TasksError::TooMany(len)) } else { Ok(tasks) }
    }

    /// How many there are: at least one.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.len()).sum()
    }

    /// The one at a place, from 0.
    pub fn at(&self, mut place: u64) -> Option<Piece> {
        for range in &self.0 {
            if place < range.len() {
                let index = range.first + i64::try_from(place).unwrap_or(0) * range.step;
                return Some(Piece { index, end: index.saturating_add(range.step).min(range.last + 1) });
            }
            place -= range.len();
        }
        None
    }

    /// The piece that has this number; None if no task has it.
    pub fn piece(&self, index: i64) -> Option<Piece> {
        let range = self.0.iter().find(|range| (range.first..=range.last).contains(&index))?;
        let is_one = (index - range.first) % range.step == 0;
        is_one.then(|| Piece { index, end: index.saturating_add(range.step).min(range.last + 1) })
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { first, last, step } = self;
        match (first == last, step) {
            (true, _) => write!(f, "{first}"),
            (false, 1) => write!(f, "{first}-{last}"),
            (false, step) => write!(f, "{first}-{last}:{step}"),
        }
    }
}

impl fmt::Display for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, range) in self.0.iter().enumerate() {
            write!(f, "{}{range}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

impl FromStr for Tasks {
    type Err = TasksError;

    fn from_str(text: &str) -> Result<Self, TasksError> {
        let parts: Vec<&str> = text.split(',').collect();
        if parts.len() > MAX_RANGES {
            return Err(TasksError::TooManyRanges(parts.len()));
        }
        Self::new(parts.into_iter().map(|part| range(part.trim())).collect::<Result<_, _>>()?)
    }
}

fn range(text: &str) -> Result<Range, TasksError> {
    let not_a_range = || TasksError::NotARange(text.chars().take(64).collect());
    let (bounds, step) = match text.split_once(':') {
        Some((bounds, step)) => {
            (bounds, step.trim().parse().map_err(|_| TasksError::NoStep(text.chars().take(64).collect()))?)
        }
        None => (text, 1),
    };
    let number = |text: &str| text.trim().parse::<i64>().map_err(|_| not_a_range());
    // A minus at the very beginning belongs to the number.
    let split = bounds.char_indices().skip(1).find(|(_, c)| *c == '-').map(|(at, _)| at);
    match split {
        Some(at) => Ok(Range { first: number(&bounds[..at])?, last: number(&bounds[at + 1..])?, step }),
        None if text.contains(':') => Err(not_a_range()),
        None => number(bounds).map(|n| Range { first: n, last: n, step }),
    }
}

impl Serialize for Tasks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Tasks {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

/// The fields of a task's payload that say which one it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Fields {
    /// This one holds its number.
    Index(String),
    /// The first holds its number, the second one more than the last that belongs to it: a range cut into pieces.
    Bounds([String; 2]),
}

impl Default for Fields {
    fn default() -> Self {
        Self::Index(TASK_FIELD.to_owned())
    }
}

impl Fields {
    /// Their names.
    pub fn names(&self) -> &[String] {
        match self {
            Self::Index(name) => std::slice::from_ref(name),
            Self::Bounds(names) => names,
        }
    }

    fn is_default(&self) -> bool {
        matches!(self, Self::Index(name) if name == TASK_FIELD)
    }
}

/// What makes a job an array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArraySpec {
    /// The numbers of its tasks.
    pub tasks: Tasks,
    /// Where in its payload a task finds its number.
    #[serde(rename = "as", skip_serializing_if = "Fields::is_default")]
    pub fields: Fields,
    /// How many of its tasks run at once, unless its limit is changed later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_running: Option<u32>,
}

impl ArraySpec {
    /// An array of these tasks.
    pub fn new(tasks: Tasks) -> Self {
        Self { tasks, fields: Fields::default(), max_running: None }
    }

    /// The payload of one of its tasks, given the array's: a map, which gets the task's number.
    pub fn payload(&self, payload: &Payload, piece: Piece) -> Payload {
        let mut map = match payload.value() {
            Value::Object(map) => map,
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
                serde_json::Map::new()
            }
        };
        for (name, number) in self.fields.names().iter().zip([piece.index, piece.end]) {
            map.insert(name.clone(), number.into());
        }
        Payload::from_value(&Value::Object(map))
    }
}

impl FromStr for ArraySpec {
    type Err = TasksError;

    /// Reads `1-100:5%4`.
    fn from_str(text: &str) -> Result<Self, TasksError> {
        let (tasks, max) = match text.split_once('%') {
            Some((tasks, max)) => {
                let bad = || TasksError::BadMax(max.chars().take(64).collect());
                (tasks, Some(max.trim().parse().ok().filter(|max| *max > 0).ok_or_else(bad)?))
            }
            None => (text, None),
        };
        Ok(Self { max_running: max, ..Self::new(tasks.parse()?) })
    }
}

/// An array as a map, with every field.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    tasks: Tasks,
    #[serde(default, rename = "as")]
    fields: Fields,
    #[serde(default)]
    max_running: Option<u32>,
}

impl<'de> Deserialize<'de> for ArraySpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = ArraySpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("tasks like 1-10, 1-100:5 or 1,3,5-7%2, or a map of tasks, as and max_running")
            }

            fn visit_i64<E: de::Error>(self, n: i64) -> Result<ArraySpec, E> {
                Tasks::range(n, n, 1).map(ArraySpec::new).map_err(E::custom)
            }

            fn visit_u64<E: de::Error>(self, n: u64) -> Result<ArraySpec, E> {
                self.visit_i64(i64::try_from(n).unwrap_or(i64::MAX))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ArraySpec, E> {
                text.parse().map_err(E::custom)
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ArraySpec, A::Error> {
                let Written { tasks, fields, max_running } = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(ArraySpec { tasks, fields, max_running })
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// Which task of which array a job is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// The array.
    pub array: JobId,
    /// The task's number.
    pub index: i64,
}

/// What a limit on an array's running tasks is about.
#[allow(clippy::expect_used)]
pub fn running_tasks(array: JobId) -> LimitTarget {
    let (name, value) = (KeyName::new(ARRAY_KEY), KeyValue::new(&array.to_string()));
    LimitTarget::Key(name.expect("a word is a name"), value.expect("a number is a value"))
}

impl JobSpec {
    /// The spec of one of its tasks, if it is an array and has a task of this number; it depends on nothing any more.
    pub fn task(&self, task: Task) -> Option<Self> {
        let array = self.array.as_ref()?;
        let piece = array.tasks.piece(task.index)?;
        let mut spec = Self {
            payload: array.payload(&self.payload, piece),
            array: None,
            depends_on: Vec::new(),
            idempotency_key: None,
            unique: Unique::default(),
            delay: None,
            not_before: None,
            ..self.clone()
        };
        if let LimitTarget::Key(name, value) = running_tasks(task.array) {
            spec.keys.insert(name, value);
        }
        Some(spec)
    }
}

/// What is wrong with a job as an array: field and message.
pub fn array_faults(spec: &JobSpec) -> Vec<(String, String)> {
    let Some(array) = &spec.array else { return Vec::new() };
    let mut faults = Vec::new();
    let mut fault = |field: &str, message: String| faults.push((field.to_owned(), message));
    let names = array.fields.names();
    if names.iter().any(|name| name.is_empty() || name.chars().count() > 128) {
        fault("array.as", "must be names of fields, of 1 to 128 characters".to_owned());
    }
    if names.len() == 2 && names[0] == names[1] {
        fault("array.as", "must be two different names".to_owned());
    }
    if array.max_running == Some(0) {
        fault("array.max_running", "0 would never run a task".to_owned());
    }
    match spec.payload.value() {
        Value::Null => {}
        Value::Object(map) => {
            if let Some(taken) = names.iter().find(|name| map.contains_key(*name)) {
                fault(&format!("payload.{taken}"), "is what the array sets for each task: leave it out".to_owned());
            }
        }
        Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            fault("payload", "must be a map, which gets each task's number".to_owned());
        }
    }
    if spec.keys.keys().any(|name| name.as_str() == ARRAY_KEY) {
        fault(&format!("keys.{ARRAY_KEY}"), "is the key that the tasks of an array have by themselves".to_owned());
    }
    faults
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn numbers(text: &str) -> Vec<i64> {
        let tasks: Tasks = text.parse().unwrap();
        (0..tasks.len()).map(|place| tasks.at(place).unwrap().index).collect()
    }

    #[test]
    fn tasks_are_written_as_elsewhere() {
        assert_eq!(numbers("1-5"), [1, 2, 3, 4, 5]);
        assert_eq!(numbers("1-100:25"), [1, 26, 51, 76]);
        assert_eq!(numbers("8,1,3,5-7"), [1, 3, 5, 6, 7, 8]);
        assert_eq!(numbers("-3--1"), [-3, -2, -1]);
        assert_eq!(numbers("7"), [7]);
        for bad in ["", "1-", "a", "5-1", "1-9:0", "1-9,9", "1-9:2,2-10:2", "1:2", "1-9007199254740993"] {
            assert!(bad.parse::<Tasks>().is_err(), "{bad:?}");
        }
        let text = "1-9:2,2-10:2".parse::<Tasks>().unwrap_err().to_string();
        assert_eq!(text, "1-9:2 and 2-10:2 overlap: write ranges so that each ends before the next begins");
    }

    #[test]
    fn a_piece_ends_where_the_next_begins_or_the_range_does() {
        let tasks = Tasks::range(-1, 24, 10).unwrap();
        let pieces: Vec<(i64, i64)> = (0..3).map(|n| tasks.at(n).map(|p| (p.index, p.end)).unwrap()).collect();
        assert_eq!(pieces, [(-1, 9), (9, 19), (19, 25)]);
        assert_eq!(tasks.at(3), None);
        assert_eq!(tasks.piece(10), None);
    }

    #[test]
    fn an_array_is_a_text_or_a_map() {
        let read = |json: &str| serde_json::from_str::<ArraySpec>(json);
        let array = read("\"1-10%3\"").unwrap();
        assert_eq!((array.tasks.len(), array.max_running), (10, Some(3)));
        assert_eq!(serde_json::to_string(&array).unwrap(), r#"{"tasks":"1-10","max_running":3}"#);
        assert_eq!(read(r#"{"tasks":"1-10","max_running":3}"#).unwrap(), array);
        assert_eq!(read("5").unwrap().tasks.len(), 1);
        let bounds = read(r#"{"tasks":"0-9:4","as":["a","b"]}"#).unwrap();
        let payload = bounds.payload(&Payload::parse(b"{\"eps\":1}").unwrap(), bounds.tasks.at(2).unwrap());
        assert_eq!(payload.as_str(), r#"{"a":8,"b":10,"eps":1}"#);
        assert!(read("true").unwrap_err().to_string().contains("1-100:5"));
        assert!(read("\"1-10%0\"").is_err());
    }

    proptest! {
        #[test]
        fn a_text_names_the_same_tasks_again(parts in prop::collection::vec((0..50i64, 0..40i64, 1..9i64), 1..6)) {
            let mut from = -60;
            let ranges = parts.into_iter().map(|(gap, width, step)| {
                let first = from + gap;
                from = first + width + 1;
                Range { first, last: first + width, step }
            });
            let tasks = Tasks::new(ranges.collect()).unwrap();
            let again: Tasks = tasks.to_string().parse().unwrap();
            let all = |tasks: &Tasks| (0..tasks.len()).map(|n| tasks.at(n).unwrap()).collect::<Vec<_>>();
            prop_assert_eq!(&again, &tasks);
            prop_assert_eq!(all(&again), all(&tasks));
            for piece in all(&tasks) {
                prop_assert_eq!(tasks.piece(piece.index), Some(piece));
            }
            let numbers: Vec<i64> = all(&tasks).iter().map(|piece| piece.index).collect();
            prop_assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}

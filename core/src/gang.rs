//! Gangs: jobs that need several workers at once.
//!
//! A gang is a job whose spec has a [`GangSpec`]. Its workers are its **members**: each runs the job's runner with its
//! **rank**, from 0. They are granted together, by one record under one lease, or not at all ([`crate::state`]), so that
//! there is nothing that two gangs could each hold half of.
//!
//! Workers come one at a time, though, and each would be given another job before the last one comes. So a gang at its turn
//! **gathers** ([`Gathering`]): workers that could be its members and ask are kept free for it until there are enough of them,
//! for its time-out at most. Only one gang of the cluster gathers at a time; the others get members as they are free.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::id::{Kind, QueueName, WorkerId};
use crate::job::JobSpec;
use crate::resource::Requirements;
use crate::time::{Span, Tick};

/// The most workers of a gang: its grant must fit into a line of the ledger.
pub const MAX_MEMBERS: u32 = 1000;

/// How long workers are kept free for a gang that says nothing about it.
pub const GATHER_TIMEOUT: Span = Span::seconds(300);

/// A gang for which there are not enough workers, whatever they do, is looked at again so much later.
const LOOK_AGAIN: Span = Span::seconds(1);

/// What makes a job a gang: written as a number of workers, or as a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GangSpec {
    /// How many workers it needs at once.
    pub workers: u32,
    /// How long workers are kept free for it at its turn.
    pub timeout: Option<Span>,
}

/// A gang as a map, with every field.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    workers: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    timeout: Option<Span>,
}

impl Serialize for GangSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Self { workers, timeout } = *self;
        match timeout {
            None => workers.serialize(serializer),
            Some(_) => Written { workers, timeout }.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for GangSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = GangSpec;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number of workers, or a map of workers and timeout")
            }

            fn visit_u64<E: de::Error>(self, workers: u64) -> Result<GangSpec, E> {
                // What is too large is said by `gang_faults`.
                Ok(GangSpec { workers: u32::try_from(workers).unwrap_or(u32::MAX), timeout: None })
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<GangSpec, A::Error> {
                let Written { workers, timeout } = Written::deserialize(MapAccessDeserializer::new(map))?;
                Ok(GangSpec { workers, timeout })
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// What is wrong with a job as a gang: field and message.
pub fn gang_faults(spec: &JobSpec) -> Vec<(String, String)> {
    let Some(GangSpec { workers, timeout }) = spec.gang else { return Vec::new() };
    let mut faults = Vec::new();
    if !(2..=MAX_MEMBERS).contains(&workers) {
        let message = format!("{workers} workers are no gang: 2 to {MAX_MEMBERS} are; leave it out for a job of one");
        faults.push(("gang.workers".to_owned(), message));
    }
    if timeout.is_some_and(|timeout| timeout < LOOK_AGAIN) {
        faults.push(("gang.timeout".to_owned(), format!("must be {LOOK_AGAIN} at least")));
    }
    faults
}

/// What a gang requires besides what it requires of each member. Two gangs that require the same are one to the choice, so
/// the kind that each member must offer belongs to it, and the queue whose jobs each must be allowed to have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gang {
    /// How many workers it needs at once.
    pub workers: u32,
    /// How long workers are kept free for it.
    pub timeout: Span,
    /// The kind that each of them must offer.
    pub kind: Kind,
    /// The queue that must be open to each of them.
    pub queue: QueueName,
}

impl Gang {
    /// Whether it requires the same for another queue.
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { workers, timeout, kind, queue: _ } = self;
        (*workers, *timeout, kind) == (other.workers, other.timeout, &other.kind)
    }
}

impl GangSpec {
    /// What such a gang requires, as a job of this kind and queue.
    pub fn required(self, kind: &Kind, queue: &QueueName) -> Gang {
        let timeout = self.timeout.unwrap_or(GATHER_TIMEOUT);
        Gang { workers: self.workers, timeout, kind: kind.clone(), queue: queue.clone() }
    }
}

/// Which gang workers are kept free for, and until when: volatile, in ticks, like [`crate::liveness`]. What is lost with it in
/// a restart is time only.
#[derive(Clone, Debug, Default)]
pub struct Gathering {
    current: Option<Current>,
    /// One gathered in vain: until then no worker is kept for any.
    rests_until: Option<Tick>,
    /// Gangs that gathered in vain, and until when no worker is kept for them.
    resting: BTreeMap<Requirements, Tick>,
}

#[derive(Clone, Debug)]
struct Current {
    required: Requirements,
    until: Tick,
    kept: BTreeSet<WorkerId>,
}

impl Gathering {
    /// Sees what time it is; whether workers that were kept are free for other jobs from now on. After a gang gathered in vain
    /// none is kept for as long again, so that at most half of the time is spent so; and then others have their chance first.
    pub fn pass(&mut self, now: Tick) -> bool {
        self.resting.retain(|_, until| *until > now);
        self.rests_until.take_if(|until| *until <= now);
        let Some(Current { required, .. }) = self.current.take_if(|current| current.until <= now) else { return false };
        let rested = now.plus(required.gang.as_ref().map_or(LOOK_AGAIN, |gang| gang.timeout));
        self.rests_until = Some(rested);
        self.resting.insert(required, rested.plus(LOOK_AGAIN));
        true
    }

    /// When to look at the time again.
    pub fn next_pass(&self) -> Option<Tick> {
        self.current.as_ref().map(|current| current.until)
    }

    /// Keeps a worker for a gang that is at its turn there, if it may: no other gang gathers, it did not gather in vain just
    /// now, and `enough` says that there are workers for it. False if not, or if the worker is kept for it already.
    pub(crate) fn keep(
        &mut self,
        required: &Requirements,
        worker: &WorkerId,
        now: Tick,
        enough: impl Fn() -> bool,
    ) -> bool {
        let Some(gang) = &required.gang else { return false };
        if let Some(current) = self.current.as_mut().filter(|current| current.required == *required) {
            return current.kept.insert(worker.clone());
        }
        if self.current.as_ref().is_some_and(|current| !current.kept.is_empty()) {
            return false;
        }
        if self.rests_until.is_some() || self.resting.contains_key(required) {
            return false;
        }
        if !enough() {
            self.resting.insert(required.clone(), now.plus(LOOK_AGAIN));
            return false;
        }
        let (required, until, kept) = (required.clone(), now.plus(gang.timeout), [worker.clone()].into());
        // One for which nobody is kept any more (it was cancelled, or others go first) gathers again when its time is over.
        if let Some(before) = self.current.replace(Current { required, until, kept }) {
            self.resting.insert(before.required, before.until);
        }
        true
    }

    /// A worker asks anew, or has left: it is kept for nothing.
    pub fn let_go(&mut self, worker: &WorkerId) {
        if let Some(current) = &mut self.current {
            current.kept.remove(worker);
        }
    }

    /// Such a gang has its workers.
    pub(crate) fn complete(&mut self, required: &Requirements) {
        self.current.take_if(|current| current.required == *required);
        self.resting.remove(required);
    }

    /// Whether a worker is kept for another gang than such a one.
    pub(crate) fn keeps_for_another(&self, worker: &WorkerId, required: &Requirements) -> bool {
        self.current.as_ref().is_some_and(|current| current.required != *required && current.kept.contains(worker))
    }

    /// Until when workers are kept for such a gang, and how many are.
    pub fn kept_for(&self, required: &Requirements) -> Option<(Tick, usize)> {
        let current = self.current.as_ref().filter(|current| current.required == *required)?;
        Some((current.until, current.kept.len()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required(workers: u32) -> Requirements {
        let gang =
            GangSpec { workers, timeout: Some(Span(5_000)) }.required(&"k".parse().unwrap(), &"q".parse().unwrap());
        Requirements { gang: Some(gang), ..Requirements::default() }
    }

    #[test]
    fn a_gang_is_a_number_or_a_map() {
        let read = |json: &str| serde_json::from_str::<GangSpec>(json);
        assert_eq!(read("3").unwrap(), GangSpec { workers: 3, timeout: None });
        assert_eq!(serde_json::to_string(&read("3").unwrap()).unwrap(), "3");
        let timed = read(r#"{"workers":4,"timeout":"10m"}"#).unwrap();
        assert_eq!(timed, GangSpec { workers: 4, timeout: Some(Span::seconds(600)) });
        assert_eq!(read(&serde_json::to_string(&timed).unwrap()).unwrap(), timed);
        assert!(read("\"many\"").unwrap_err().to_string().contains("a number of workers"));
        assert!(read(r#"{"nodes":4}"#).is_err());
    }

    #[test]
    fn one_gang_gathers_at_a_time_and_all_rest_as_long_when_it_was_in_vain() {
        let (two, three) = (required(2), required(3));
        let workers: Vec<WorkerId> = ["a", "b"].iter().map(|name| name.parse().unwrap()).collect();
        let mut gathering = Gathering::default();
        assert!(!gathering.keep(&two, &workers[0], Tick(0), || false), "there are not enough workers");
        assert!(!gathering.keep(&two, &workers[0], Tick(999), || true), "which is not looked at every time");
        assert!(!gathering.pass(Tick(1_000)));
        assert!(gathering.keep(&two, &workers[0], Tick(1_000), || true));
        assert!(!gathering.keep(&two, &workers[0], Tick(1_000), || true), "it is kept already");
        assert!(!gathering.keep(&three, &workers[1], Tick(1_000), || true), "another one gathers");
        assert!(gathering.keeps_for_another(&workers[0], &three) && !gathering.keeps_for_another(&workers[0], &two));
        assert_eq!((gathering.kept_for(&two), gathering.next_pass()), (Some((Tick(6_000), 1)), Some(Tick(6_000))));
        gathering.let_go(&workers[0]);
        assert_eq!(gathering.kept_for(&two), Some((Tick(6_000), 0)), "which gives it no more time");
        assert!(gathering.keep(&two, &workers[0], Tick(5_000), || true));
        assert!(!gathering.pass(Tick(5_999)) && gathering.pass(Tick(6_000)));
        assert!(!gathering.keep(&three, &workers[0], Tick(10_999), || true), "all rest");
        gathering.pass(Tick(11_000));
        assert!(!gathering.keep(&two, &workers[0], Tick(11_999), || true), "others have their chance first");
        assert!(gathering.keep(&three, &workers[0], Tick(11_999), || true));
        gathering.complete(&three);
        gathering.pass(Tick(12_000));
        assert!(gathering.keep(&two, &workers[0], Tick(12_000), || true));
        // One for which nobody is kept stands in no other's way, and wins no time by it.
        gathering.let_go(&workers[0]);
        assert!(gathering.keep(&three, &workers[0], Tick(13_000), || true));
        gathering.complete(&three);
        assert!(!gathering.keep(&two, &workers[0], Tick(16_999), || true));
    }
}

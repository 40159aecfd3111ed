//! Whether a worker may have a job: resources, labels, remaining time, and workers to keep away from.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{Needs, Pools, Variant};
use crate::gang::Gang;
use crate::id::WorkerId;
use crate::seeded::{self, Bug};
use crate::time::Span;

/// The most labels that a job asks for, and the most that it prefers.
pub const MAX_LABELS: usize = 16;

/// The longest label and the longest value, in characters.
const MAX_LABEL_CHARS: usize = 128;

/// A label that a job would rather have.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preference {
    /// The label.
    pub label: String,
    /// Its value.
    pub value: String,
    /// How much it counts against other preferences.
    pub weight: u32,
}

/// Everything that a job requires of its worker. Jobs of equal requirements are one class to the choice.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Requirements {
    /// Of resources, in alternatives.
    pub needs: Needs,
    /// Labels that the worker must have, with these values.
    pub labels: BTreeMap<String, String>,
    /// Labels that count for a worker.
    pub prefer: Vec<Preference>,
    /// Workers that may not have it.
    pub avoid: BTreeSet<WorkerId>,
    /// How many such workers at once, if not one.
    pub gang: Option<Gang>,
}

/// What a worker that asks for jobs has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Offer {
    /// Its resources and what is left of them.
    pub pools: Pools,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// How long it will live. None: without a limit.
    pub remaining: Option<Span>,
}

impl Requirements {
    /// Whether any worker will do.
    pub fn is_empty(&self) -> bool {
        let Self { needs, labels, prefer, avoid, gang } = self;
        needs.is_empty() && labels.is_empty() && prefer.is_empty() && avoid.is_empty() && gang.is_none()
    }

    /// Whether labels and time allow an alternative on a worker, and it is not one to avoid.
    pub fn admits(&self, worker: &WorkerId, offer: &Offer) -> bool {
        let labelled = self.labels.iter().all(|(label, value)| offer.labels.get(label) == Some(value));
        labelled && !self.avoid.contains(worker)
    }

    /// The first alternative that the worker can run now: 0 where nothing is needed.
    pub fn fits(&self, worker: &WorkerId, offer: &Offer) -> Option<usize> {
        if !self.admits(worker, offer) {
            return None;
        }
        if self.needs.is_empty() {
            return Some(0);
        }
        self.needs.0.iter().position(|variant| in_time(variant, offer) && offer.pools.fits(variant))
    }

    /// Whether it requires the same of workers, for whichever queue.
    pub fn is_like(&self, other: &Self) -> bool {
        let Self { needs, labels, prefer, avoid, gang } = other;
        let gangs = match (&self.gang, gang) {
            (Some(gang), Some(other)) => gang.is_like(other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        };
        gangs && (&self.needs, &self.labels, &self.prefer, &self.avoid) == (needs, labels, prefer, avoid)
    }

    /// How many workers it takes at once.
    pub fn workers(&self) -> u32 {
        self.gang.as_ref().map_or(1, |gang| gang.workers)
    }

    /// What the preferences say of a worker: more is better.
    pub fn score(&self, offer: &Offer) -> u64 {
        let has = |preference: &&Preference| offer.labels.get(&preference.label) == Some(&preference.value);
        self.prefer.iter().filter(has).map(|preference| u64::from(preference.weight)).sum()
    }

    /// What an alternative takes; nothing where nothing is needed.
    pub fn variant(&self, place: usize) -> Variant {
        self.needs.0.get(place).cloned().unwrap_or_default()
    }
}

/// Whether the worker lives for as long as the alternative asks.
pub(crate) fn in_time(variant: &Variant, offer: &Offer) -> bool {
    match (variant.min_time, offer.remaining) {
        (Some(wanted), Some(left)) => left >= wanted || seeded::on(Bug::MinTimeForgotten),
        (Some(_) | None, None) | (None, Some(_)) => true,
    }
}

/// The faults of labels that a job names: field and message.
pub fn label_faults(labels: &BTreeMap<String, String>, prefer: &[Preference]) -> Vec<(String, String)> {
    let mut faults = Vec::new();
    for (field, count) in [("labels", labels.len()), ("prefer", prefer.len())] {
        if count > MAX_LABELS {
            faults.push((field.to_owned(), format!("has {count} labels, at most {MAX_LABELS} are allowed")));
        }
    }
    let bad =
        |text: &str| text.is_empty() || text.chars().count() > MAX_LABEL_CHARS || text.chars().any(char::is_control);
    let preferred = prefer.iter().map(|p| ("prefer", &p.label, &p.value));
    for (field, label, value) in labels.iter().map(|(label, value)| ("labels", label, value)).chain(preferred) {
        if bad(label) || bad(value) {
            faults.push((
                field.to_owned(),
                format!("must be 1 to {MAX_LABEL_CHARS} characters, none a control character"),
            ));
        }
    }
    faults
}

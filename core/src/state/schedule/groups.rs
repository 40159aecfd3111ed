//! Sets of what is next, one for each group, in one flat tree: most have a single group of a few, and looking into a tree in a
//! tree would cost twice as many cache misses.

use std::collections::BTreeSet;
use std::ops::Bound::{Excluded, Unbounded};

use super::fair::Passes;

/// Values by what their jobs have to pass, the smallest of each group first.
#[derive(Debug)]
pub(super) struct Groups<T>(BTreeSet<(Passes, T)>);

impl<T> Default for Groups<T> {
    fn default() -> Self {
        Self(BTreeSet::new())
    }
}

/// Has a value that no other is above.
pub(super) trait Greatest {
    const GREATEST: Self;
}

impl<T: Copy + Ord + Greatest> Groups<T> {
    /// Adds a value. Whether it is the first of its group.
    pub(super) fn add(&mut self, passes: Passes, value: T) -> bool {
        let alone = !self.has_others(passes, value);
        self.0.insert((passes, value));
        alone
    }

    /// Takes a value away. Whether it was the last of its group.
    pub(super) fn remove(&mut self, passes: Passes, value: T) -> bool {
        self.0.remove(&(passes, value)) && !self.has_others(passes, value)
    }

    /// Puts a value of a group where another one of it was.
    pub(super) fn replace(&mut self, passes: Passes, before: T, value: T) {
        self.0.remove(&(passes, before));
        self.0.insert((passes, value));
    }

    /// Whether the group has values besides this one.
    fn has_others(&self, passes: Passes, value: T) -> bool {
        let key = (passes, value);
        if let Some(only) = self.only() {
            return only == passes && (self.0.len() > 1 || self.0.first() != Some(&key));
        }
        let same = |(other, _): &(Passes, T)| *other == passes;
        self.0.range(..key).next_back().is_some_and(same)
            || self.0.range((Excluded(key), Unbounded)).next().is_some_and(same)
    }

    /// Each group, with its smallest value.
    pub(super) fn firsts(&self) -> impl Iterator<Item = (Passes, T)> {
        std::iter::successors(self.0.first().copied(), |(passes, _)| self.after(*passes))
    }

    /// The group, if there is just one: no search is needed then.
    fn only(&self) -> Option<Passes> {
        let ((first, _), (last, _)) = (self.0.first()?, self.0.last()?);
        (first == last).then_some(*first)
    }

    fn after(&self, passes: Passes) -> Option<(Passes, T)> {
        if self.0.last().is_none_or(|(last, _)| *last == passes) {
            return None;
        }
        self.0.range((Excluded((passes, T::GREATEST)), Unbounded)).next().copied()
    }

    /// The values of a group, the smallest first.
    pub(super) fn of(&self, passes: Passes, first: T) -> impl Iterator<Item = T> {
        let group = self.0.range((passes, first)..=(passes, T::GREATEST));
        group.map(|(_, value)| *value)
    }
}

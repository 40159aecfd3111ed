//! The queues, by name and by the number that the schedule gave them: an event of a job finds its queue without comparing
//! names.

use std::collections::BTreeMap;

use super::{JobCounts, Queue};
use crate::id::QueueName;
use crate::queue::QueueSpec;

/// Every queue that was defined.
#[derive(Debug, Default)]
pub struct Queues {
    by_number: Vec<Queue>,
    numbers: BTreeMap<QueueName, u32>,
}

impl Queues {
    /// The queue of this name.
    pub fn get(&self, name: &QueueName) -> Option<&Queue> {
        self.numbers.get(name).map(|number| &self.by_number[*number as usize])
    }

    /// The number of the queue of this name, from 0 in the order of definitions.
    pub fn number(&self, name: &QueueName) -> Option<u32> {
        self.numbers.get(name).copied()
    }

    /// Whether there is a queue of this name.
    pub fn contains_key(&self, name: &QueueName) -> bool {
        self.numbers.contains_key(name)
    }

    /// The names, in order.
    pub fn keys(&self) -> impl Iterator<Item = &QueueName> {
        self.numbers.keys()
    }

    /// The queues, in the order of their names.
    pub fn values(&self) -> impl Iterator<Item = &Queue> {
        self.iter().map(|(_, queue)| queue)
    }

    /// Names and queues, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&QueueName, &Queue)> {
        self.numbers.iter().map(|(name, number)| (name, &self.by_number[*number as usize]))
    }

    pub(super) fn get_mut(&mut self, name: &QueueName) -> Option<&mut Queue> {
        self.numbers.get(name).map(|number| &mut self.by_number[*number as usize])
    }

    pub(super) fn at(&self, number: u32) -> Option<&Queue> {
        self.by_number.get(number as usize)
    }

    pub(super) fn at_mut(&mut self, number: u32) -> Option<&mut Queue> {
        self.by_number.get_mut(number as usize)
    }

    /// Takes a definition. A queue's number is the schedule's, which counts from 0 in the order of the definitions.
    pub(super) fn define(&mut self, number: u32, spec: &QueueSpec) {
        match self.at_mut(number) {
            Some(queue) => queue.spec = spec.clone(),
            None => {
                self.by_number.push(Queue { spec: spec.clone(), paused: None, jobs: JobCounts::default() });
                self.numbers.insert(spec.name.clone(), number);
            }
        }
    }
}

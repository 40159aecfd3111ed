//! Classes: the requirements that jobs have of their worker. Jobs of equal requirements share one, so that what does not
//! fit a worker is found out once, however many jobs wait with it.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};

use super::fair::{Open, Passes};
use super::slots::Slots;
use crate::resource::Requirements;

pub(super) type ClassId = u32;

/// The class of jobs that require nothing.
pub(super) const ANY_WORKER: ClassId = 0;

#[derive(Debug)]
struct Class {
    requirements: Requirements,
    lanes: u64,
}

/// Every class that a lane has.
#[derive(Debug)]
pub(super) struct Classes {
    classes: Slots<Class>,
    by_requirements: HashMap<Requirements, ClassId>,
    /// Ready jobs that require something, by kind and class.
    ready: BTreeMap<(u32, ClassId), u64>,
}

impl Default for Classes {
    fn default() -> Self {
        let mut classes = Self { classes: Slots::default(), by_requirements: HashMap::new(), ready: BTreeMap::new() };
        // The first place, and never given back: no lane has to be counted for it.
        classes.classes.insert(Class { requirements: Requirements::default(), lanes: 0 });
        classes
    }
}

impl Classes {
    pub(super) fn at(&self, id: ClassId) -> &Requirements {
        &self.classes.at(id).requirements
    }

    /// The class of such jobs, made if there is none. It is there until as many lanes have left it as joined it.
    pub(super) fn find(&mut self, requirements: &Requirements) -> ClassId {
        if requirements.is_empty() {
            return ANY_WORKER;
        }
        if let Some(id) = self.by_requirements.get(requirements) {
            return *id;
        }
        let id = self.classes.insert(Class { requirements: requirements.clone(), lanes: 0 });
        self.by_requirements.insert(requirements.clone(), id);
        id
    }

    pub(super) fn join(&mut self, id: ClassId) {
        self.classes.at_mut(id).lanes += 1;
    }

    pub(super) fn part(&mut self, id: ClassId) {
        let class = self.classes.at_mut(id);
        class.lanes -= 1;
        if class.lanes == 0 && id != ANY_WORKER {
            let requirements = self.classes.remove(id).map(|class| class.requirements);
            self.by_requirements.remove(&requirements.unwrap_or_default());
        }
    }

    /// So many more jobs of a kind are ready.
    pub(super) fn more(&mut self, kind: u32, id: ClassId, jobs: u64) {
        if id != ANY_WORKER {
            *self.ready.entry((kind, id)).or_default() += jobs;
        }
    }

    /// So many are not ready any more.
    pub(super) fn less(&mut self, kind: u32, id: ClassId, jobs: u64) {
        let Some(count) = self.ready.get_mut(&(kind, id)) else { return };
        *count = count.saturating_sub(jobs);
        if *count == 0 {
            self.ready.remove(&(kind, id));
        }
    }

    /// Ready jobs that require something: kind, class and how many.
    pub(super) fn ready(&self) -> impl Iterator<Item = (u32, &Requirements, u64)> {
        self.ready.iter().map(|((kind, class), count)| (*kind, self.at(*class), *count))
    }
}

/// What is open to one worker that asks: wide gates that are not closed, and classes that fit it, each looked at once.
pub(super) struct Asking<'a> {
    closed: u64,
    classes: &'a Classes,
    fits: &'a dyn Fn(&Requirements) -> bool,
    known: RefCell<HashMap<ClassId, bool>>,
}

impl<'a> Asking<'a> {
    pub(super) fn new(closed: u64, classes: &'a Classes, fits: &'a dyn Fn(&Requirements) -> bool) -> Self {
        Self { closed, classes, fits, known: RefCell::default() }
    }
}

impl Open for Asking<'_> {
    fn lets(&self, passes: Passes) -> bool {
        let Passes { class, gates } = passes;
        if gates & self.closed != 0 {
            return false;
        }
        class == ANY_WORKER
            || *self.known.borrow_mut().entry(class).or_insert_with(|| (self.fits)(self.classes.at(class)))
    }
}

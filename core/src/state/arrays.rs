//! Arrays: jobs that stand for many tasks, each of which becomes a job when it is leased.
//!
//! An array is a job like any other to the schedule, the limits, to dependencies and idempotency keys. It stands in its lane
//! once, for all of its tasks that were not made yet, and the counts of ready, blocked and delayed jobs count those. When it
//! is at its turn, the same decision makes the next task a job (`task_made`) and grants it. A task is then a job in every
//! respect: it is fenced, retried, listed and explained by itself. The array ends (`array_ended`) with the last of its tasks.
//!
//! Tasks carry the key `array=ID`, so that a limit on how many of them run is a limit like any other. To limits that do not
//! let jobs wait, an array is one job, with all its tasks.

use std::collections::{BTreeMap, BTreeSet};

use super::seqs::SeqMap;
use super::{JobState, State};
use crate::array::{ArraySpec, Piece, Task, running_tasks};
use crate::id::JobId;
use crate::record::{CancelCause, Event};

/// An array that is open or failed.
#[derive(Clone, Debug)]
pub struct Array {
    /// Its tasks, and where their number goes.
    pub spec: ArraySpec,
    /// Tasks that are not made yet.
    pub left: u64,
    /// Tasks that are done.
    pub done: u64,
    /// Tasks that failed for good.
    pub failed: u64,
    /// Tasks that were cancelled after they were made.
    pub cancelled: u64,
    /// Tasks that were made and are open or failed.
    held: BTreeSet<JobId>,
}

impl Array {
    pub(super) fn new(spec: &ArraySpec) -> Self {
        let left = spec.tasks.len();
        Self { spec: spec.clone(), left, done: 0, failed: 0, cancelled: 0, held: BTreeSet::new() }
    }

    /// How many tasks it has.
    pub fn tasks(&self) -> u64 {
        self.left + self.done + self.cancelled + self.held.len() as u64
    }

    /// How many of its tasks were made and have not ended.
    pub fn open(&self) -> u64 {
        (self.held.len() as u64).saturating_sub(self.failed)
    }

    /// The jobs that are tasks of it and open or failed.
    pub fn held(&self) -> &BTreeSet<JobId> {
        &self.held
    }

    /// The task that is made next.
    pub(super) fn next(&self) -> Option<Piece> {
        if self.left == 0 { None } else { self.spec.tasks.at(self.tasks() - self.left) }
    }
}

/// Arrays, and which jobs are tasks of them.
#[derive(Debug, Default)]
pub(super) struct Arrays {
    by_id: BTreeMap<JobId, Array>,
    tasks: SeqMap<JobId, Task>,
}

impl Arrays {
    pub(super) fn insert(&mut self, id: JobId, spec: &ArraySpec) {
        self.by_id.insert(id, Array::new(spec));
    }

    pub(super) fn get(&self, id: JobId) -> Option<&Array> {
        self.by_id.get(&id)
    }

    pub(super) fn task(&self, job: JobId) -> Option<Task> {
        self.tasks.get(&job).copied()
    }

    /// How many jobs of the counts a job stands for.
    pub(super) fn weight(&self, job: JobId) -> u64 {
        self.by_id.get(&job).map_or(1, |array| array.left)
    }

    /// The next task of an array was made, as this job. How many are left.
    pub(super) fn made(&mut self, job: JobId, task: Task) -> u64 {
        self.tasks.insert(job, task);
        self.by_id.get_mut(&task.array).map_or(0, |array| {
            array.left -= 1;
            array.held.insert(job);
            array.left
        })
    }

    /// A job went from one state into another.
    pub(super) fn moved(&mut self, job: JobId, before: &JobState, after: &JobState) {
        let Some(array) = self.tasks.get(&job).and_then(|task| self.by_id.get_mut(&task.array)) else { return };
        match (before.is_open(), after.is_open()) {
            (true, false) => array.failed += 1,
            (false, true) => array.failed = array.failed.saturating_sub(1),
            (true, true) | (false, false) => {}
        }
    }

    /// A job has left the state, done or cancelled.
    pub(super) fn left(&mut self, job: JobId, before: &JobState, done: bool) {
        self.by_id.remove(&job);
        let Some(task) = self.tasks.remove(&job) else { return };
        let Some(array) = self.by_id.get_mut(&task.array) else { return };
        array.held.remove(&job);
        if !before.is_open() {
            array.failed = array.failed.saturating_sub(1);
        }
        *(if done { &mut array.done } else { &mut array.cancelled }) += 1;
    }
}

impl State {
    /// An array that is open or failed.
    pub fn array(&self, id: JobId) -> Option<&Array> {
        self.arrays.get(id)
    }

    /// Which task of which array a job is that is open or failed.
    pub fn task(&self, job: JobId) -> Option<Task> {
        self.arrays.task(job)
    }

    /// The events that follow if this decision ends tasks, made before or by this decision itself: the ends of arrays of which
    /// they were the last. Those arrays, and whether each is done.
    pub(super) fn ends_of_arrays(&self, ended: &[JobId], done: bool, events: &mut Vec<Event>) -> Vec<(JobId, bool)> {
        /// Tasks of one array that the decision ends.
        #[derive(Default)]
        struct Ends {
            made_now: u64,
            were_failed: u64,
            cancelled: u64,
            all: u64,
        }
        let made_now =
            events.iter().find_map(|event| if let Event::TaskMade { array, .. } = event { Some(*array) } else { None });
        let cancels = |event: &Event| if let Event::JobCancelled { job, .. } = event { Some(*job) } else { None };
        let cancelled: BTreeSet<JobId> = events.iter().filter_map(cancels).collect();
        let mut touched: BTreeMap<JobId, Ends> = BTreeMap::new();
        for job in ended {
            let made_now = made_now.filter(|_| !self.jobs.contains_key(job));
            let Some(array) = made_now.or_else(|| self.task(*job).map(|task| task.array)) else { continue };
            let ends = touched.entry(array).or_default();
            ends.made_now += u64::from(made_now.is_some());
            ends.were_failed += u64::from(self.jobs.get(job).is_some_and(|known| !known.state.is_open()));
            ends.cancelled += u64::from(!done && cancelled.contains(job));
            ends.all += 1;
        }
        let mut over = Vec::new();
        for (id, Ends { made_now, were_failed, cancelled, all }) in touched {
            let Some(array) = self.arrays.get(id) else { continue };
            let left = array.left - made_now;
            let open = array.open() - (all - made_now - were_failed);
            let failed = array.failed + if done { 0 } else { all - cancelled } - were_failed;
            let has_ended = self.jobs.get(&id).is_some_and(|known| !known.state.is_open());
            // One that has failed already ends anew only if the last of its failed tasks is gone.
            if left > 0 || open > 0 || (has_ended && failed > 0) {
                continue;
            }
            let cancelled = array.cancelled + cancelled;
            let done = array.done + if done { all } else { 0 };
            events.push(Event::ArrayEnded { array: id, done, failed, cancelled });
            if failed == 0 {
                events.extend(self.lifted_with(id));
            }
            over.push((id, failed + cancelled == 0));
        }
        over
    }

    /// The limit on an array's running tasks goes with it.
    fn lifted_with(&self, array: JobId) -> Option<Event> {
        let limit = running_tasks(array);
        self.schedule.limit(&limit).is_some().then_some(Event::LimitUnset { limit })
    }

    /// The events that cancel a job; if it is an array, with all of its tasks.
    pub(super) fn cancelled(&self, job: JobId, cause: &CancelCause, reason: &str, events: &mut Vec<Event>) {
        let event = |job| Event::JobCancelled { job, cause: cause.clone(), reason: reason.to_owned() };
        if let Some(array) = self.arrays.get(job) {
            events.extend(array.held.iter().map(|task| event(*task)));
        }
        events.push(event(job));
        if self.arrays.get(job).is_some() {
            events.extend(self.lifted_with(job));
        }
    }
}

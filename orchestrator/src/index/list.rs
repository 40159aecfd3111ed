//! Listings: which jobs a filter means, page by page, by age.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap, VecDeque};

use orch_core::id::{JobId, Kind, QueueName, WorkerId};
use orch_core::record::FailureClass;
use orch_core::summary::{JobPhase, JobSummary};
use orch_core::time::Timestamp;

use super::entry::Entry;
use super::keys;
use super::store::{Store, StoreError};

/// Which jobs are meant. Every condition that is set must hold; none set means all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Of this queue.
    pub queue: Option<QueueName>,
    /// Of this kind.
    pub kind: Option<Kind>,
    /// In one of these phases; empty for any.
    pub phases: Vec<JobPhase>,
    /// Held by this worker, now or last.
    pub worker: Option<WorkerId>,
    /// One of these; empty for any.
    pub jobs: Vec<JobId>,
    /// Failed last in this way.
    pub class: Option<FailureClass>,
    /// Changed at this time or later.
    pub since: Option<Timestamp>,
    /// Of this name.
    pub name: Option<String>,
}

/// Some of the jobs that a filter means.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// By age.
    pub jobs: Vec<(JobId, JobSummary)>,
    /// Where the next page goes on; None if there is nothing more. A page may be short and still have a next one:
    /// the work of one call is bounded, too.
    pub next: Option<JobId>,
}

/// The most entries that one call looks at.
const MAX_LOOKED_AT: usize = 200_000;

/// How many keys are read at once.
const CHUNK: usize = 512;

impl Filter {
    fn matches(&self, summary: &JobSummary) -> bool {
        let Self { queue, kind, phases, worker, jobs: _, class, since, name } = self;
        queue.as_ref().is_none_or(|queue| *queue == summary.queue)
            && kind.as_ref().is_none_or(|kind| *kind == summary.kind)
            && (phases.is_empty() || phases.contains(&summary.phase))
            && worker.as_ref().is_none_or(|worker| summary.worker.as_ref() == Some(worker))
            && class.is_none_or(|class| summary.class == Some(class))
            && since.is_none_or(|since| summary.changed_at >= since)
            && name.as_ref().is_none_or(|name| summary.name.as_ref() == Some(name))
    }
}

/// The first `limit` jobs behind `after` that the filter means.
pub(super) fn list(store: &dyn Store, filter: &Filter, after: JobId, limit: usize) -> Result<Page, StoreError> {
    let mut source = Candidates::new(store, filter, after)?;
    let mut page = Page::default();
    for _ in 0..MAX_LOOKED_AT {
        let Some((job, value)) = source.next(store)? else {
            page.next = None;
            return Ok(page);
        };
        page.next = Some(job);
        let value = match value {
            Some(value) => value,
            // Whoever names jobs one by one may name what is none.
            None => match store.get(&keys::entry(job))? {
                Some(value) => value,
                None => continue,
            },
        };
        let summary = Entry::decode_summary(&value)
            .ok_or_else(|| StoreError::Damaged(format!("the entry of job {job} cannot be read")))?;
        if filter.matches(&summary) {
            page.jobs.push((job, summary));
        }
        if page.jobs.len() >= limit {
            return Ok(page);
        }
    }
    Ok(page)
}

/// Jobs that may be meant, by age, from the narrowest set of keys that holds them all.
enum Candidates {
    /// Named one by one.
    Named(VecDeque<JobId>),
    /// Every entry.
    All(Run),
    /// Listings of queues and phases, merged by age.
    Listed { runs: Vec<Run>, heads: BinaryHeap<Reverse<(JobId, usize)>> },
}

/// A job that may be meant, with its entry if that was read along.
type Candidate = (JobId, Option<Vec<u8>>);

/// A run of keys, read in chunks.
struct Run {
    from: Vec<u8>,
    to: Vec<u8>,
    read: VecDeque<(JobId, Vec<u8>)>,
    ended: bool,
}

impl Run {
    fn new(from: Vec<u8>, to: Vec<u8>) -> Self {
        Self { from, to, read: VecDeque::new(), ended: false }
    }

    fn next(&mut self, store: &dyn Store) -> Result<Option<(JobId, Vec<u8>)>, StoreError> {
        if self.read.is_empty() && !self.ended {
            let pairs = store.range(&self.from, &self.to, CHUNK)?;
            self.ended = pairs.len() < CHUNK;
            if let Some((key, _)) = pairs.last() {
                self.from.clone_from(key);
                self.from.push(0);
            }
            self.read.extend(pairs.into_iter().filter_map(|(key, value)| keys::job(&key).map(|job| (job, value))));
        }
        Ok(self.read.pop_front())
    }
}

impl Candidates {
    fn new(store: &dyn Store, filter: &Filter, after: JobId) -> Result<Self, StoreError> {
        let first = JobId::new(after.get().saturating_add(1));
        if !filter.jobs.is_empty() {
            let jobs: BTreeSet<JobId> = filter.jobs.iter().copied().filter(|job| *job > after).collect();
            return Ok(Self::Named(jobs.into_iter().collect()));
        }
        if filter.queue.is_none() && filter.phases.is_empty() {
            return Ok(Self::All(Run::new(keys::entry(first), keys::ENTRIES_END.to_vec())));
        }
        let queues = match &filter.queue {
            Some(queue) => vec![queue.to_string()],
            None => queues(store)?,
        };
        let phases: BTreeSet<u8> = filter.phases.iter().map(|phase| keys::phase_code(*phase)).collect();
        let mut runs = Vec::new();
        for queue in &queues {
            for phase in keys::PHASES {
                if phases.is_empty() || phases.contains(&keys::phase_code(phase)) {
                    runs.push(Run::new(keys::listed(queue, phase, first), keys::listed_end(queue, phase)));
                }
            }
        }
        let mut heads = BinaryHeap::new();
        for (index, run) in runs.iter_mut().enumerate() {
            heads.extend(run.next(store)?.map(|(job, _)| Reverse((job, index))));
        }
        Ok(Self::Listed { runs, heads })
    }

    fn next(&mut self, store: &dyn Store) -> Result<Option<Candidate>, StoreError> {
        match self {
            Self::Named(jobs) => Ok(jobs.pop_front().map(|job| (job, None))),
            Self::All(run) => Ok(run.next(store)?.map(|(job, value)| (job, Some(value)))),
            Self::Listed { runs, heads } => {
                let Some(Reverse((job, index))) = heads.pop() else { return Ok(None) };
                heads.extend(runs[index].next(store)?.map(|(job, _)| Reverse((job, index))));
                Ok(Some((job, None)))
            }
        }
    }
}

/// Every queue that has jobs: one look a queue, however many jobs it has.
fn queues(store: &dyn Store) -> Result<Vec<String>, StoreError> {
    let mut found = Vec::new();
    let mut from = b"l".to_vec();
    loop {
        let pairs = store.range(&from, keys::MARK, 1)?;
        let Some(queue) = pairs.first().and_then(|(key, _)| keys::listed_queue(key)) else { return Ok(found) };
        from = keys::queue_end(queue);
        found.push(queue.to_owned());
    }
}

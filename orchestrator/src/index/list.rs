//! Listings: which jobs a filter means, page by page, by age.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};

use orch_core::access::Queues;
use orch_core::id::{JobId, Kind, QueueName, WorkerId};
use orch_core::record::FailureClass;
use orch_core::summary::{JobPhase, JobSummary};
use orch_core::time::Timestamp;

use super::block::{self, BlockId};
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
    /// A task of this array.
    pub array: Option<JobId>,
    /// Of the queues that the caller may touch.
    pub within: Queues,
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
const CHUNK: usize = 64;

impl Filter {
    fn matches(&self, summary: &JobSummary) -> bool {
        let Self { queue, kind, phases, worker, jobs: _, class, since, name, array, within } = self;
        within.contain(&summary.queue)
            && queue.as_ref().is_none_or(|queue| *queue == summary.queue)
            && kind.as_ref().is_none_or(|kind| *kind == summary.kind)
            && (phases.is_empty() || phases.contains(&summary.phase))
            && worker
                .as_ref()
                .is_none_or(|worker| summary.worker.as_ref() == Some(worker) || summary.members.contains(worker))
            && class.is_none_or(|class| summary.class == Some(class))
            && since.is_none_or(|since| summary.changed_at >= since)
            && name.as_ref().is_none_or(|name| summary.name.as_ref() == Some(name))
            && array.is_none_or(|array| summary.task.is_some_and(|task| task.array == array))
    }
}

/// The first `limit` jobs behind `after` that the filter means.
pub(super) fn list(store: &dyn Store, filter: &Filter, after: JobId, limit: usize) -> Result<Page, StoreError> {
    // A task is younger than its array.
    let after = after.max(filter.array.unwrap_or(after));
    let mut source = Candidates::new(store, filter, after)?;
    let mut page = Page::default();
    let mut looked_at = 0;
    while let Some(Candidate { block, places, bytes }) = source.next(store)? {
        let bytes = match bytes {
            Some(bytes) => bytes,
            // Whoever names jobs one by one may name what is none.
            None => match store.get(&keys::block(block))? {
                Some(bytes) => bytes,
                None => continue,
            },
        };
        for (place, entry) in block::entries(&bytes).ok_or_else(|| block.unreadable())? {
            let job = block.job(place);
            if places & 1 << place == 0 || job <= after {
                continue;
            }
            let summary = Entry::decode_summary(entry).ok_or_else(|| block.unreadable())?;
            if filter.matches(&summary) {
                page.jobs.push((job, summary));
            }
            looked_at += 1;
            if page.jobs.len() >= limit || looked_at >= MAX_LOOKED_AT {
                page.next = Some(job);
                return Ok(page);
            }
        }
    }
    Ok(page)
}

/// Jobs that may be meant, by age, from the narrowest set of keys that holds them all.
enum Candidates {
    /// Named one by one: places by block.
    Named(BTreeMap<BlockId, u64>),
    /// Every block.
    All(Run),
    /// Listings of queues and phases, merged by block. The bitmap of each head is with it.
    Listed { runs: Vec<Run>, heads: BinaryHeap<Reverse<(BlockId, usize, u64)>> },
}

/// Places of a block that may be meant, with the block's bytes if they were read along.
struct Candidate {
    block: BlockId,
    places: u64,
    bytes: Option<Vec<u8>>,
}

/// A run of keys, read in chunks.
struct Run {
    from: Vec<u8>,
    to: Vec<u8>,
    read: VecDeque<(BlockId, Vec<u8>)>,
    ended: bool,
}

impl Run {
    fn new(from: Vec<u8>, to: Vec<u8>) -> Self {
        Self { from, to, read: VecDeque::new(), ended: false }
    }

    fn next(&mut self, store: &dyn Store) -> Result<Option<(BlockId, Vec<u8>)>, StoreError> {
        if self.read.is_empty() && !self.ended {
            let pairs = store.range(&self.from, &self.to, CHUNK)?;
            self.ended = pairs.len() < CHUNK;
            if let Some((key, _)) = pairs.last() {
                self.from.clone_from(key);
                self.from.push(0);
            }
            self.read.extend(pairs.into_iter().filter_map(|(key, value)| keys::block_of(&key).map(|id| (id, value))));
        }
        Ok(self.read.pop_front())
    }

    /// The next block and the bitmap that is its value.
    fn next_bitmap(&mut self, store: &dyn Store) -> Result<Option<(BlockId, u64)>, StoreError> {
        let Some((id, value)) = self.next(store)? else { return Ok(None) };
        block::bitmap(&value).map(|bits| Some((id, bits))).ok_or_else(|| id.unreadable())
    }
}

impl Candidates {
    fn new(store: &dyn Store, filter: &Filter, after: JobId) -> Result<Self, StoreError> {
        let (first, _) = block::locate(JobId::new(after.get().saturating_add(1)));
        if !filter.jobs.is_empty() {
            let mut named: BTreeMap<BlockId, u64> = BTreeMap::new();
            for (id, place) in filter.jobs.iter().filter(|job| **job > after).map(|job| block::locate(*job)) {
                *named.entry(id).or_default() |= 1 << place;
            }
            return Ok(Self::Named(named));
        }
        if filter.queue.is_none() && filter.phases.is_empty() {
            return Ok(Self::All(Run::new(keys::block(first), keys::BLOCKS_END.to_vec())));
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
            heads.extend(run.next_bitmap(store)?.map(|(id, bits)| Reverse((id, index, bits))));
        }
        Ok(Self::Listed { runs, heads })
    }

    fn next(&mut self, store: &dyn Store) -> Result<Option<Candidate>, StoreError> {
        match self {
            Self::Named(named) => Ok(named.pop_first().map(|(block, places)| Candidate { block, places, bytes: None })),
            Self::All(run) => {
                let next = run.next(store)?;
                Ok(next.map(|(block, bytes)| Candidate { block, places: u64::MAX, bytes: Some(bytes) }))
            }
            Self::Listed { runs, heads } => {
                let Some(Reverse((block, _, _))) = heads.peek().copied() else { return Ok(None) };
                let mut places = 0;
                // Every run that has this block: a block's jobs may be of several queues and phases.
                while let Some(Reverse((_, index, bits))) =
                    heads.peek().copied().filter(|Reverse(head)| head.0 == block)
                {
                    heads.pop();
                    places |= bits;
                    heads.extend(runs[index].next_bitmap(store)?.map(|(id, bits)| Reverse((id, index, bits))));
                }
                Ok(Some(Candidate { block, places, bytes: None }))
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

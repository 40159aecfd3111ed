//! One step of the index: some records, folded into one change per block, and the mark that goes with them.

use std::collections::{BTreeMap, HashMap, hash_map};

use orch_core::id::{JobId, QueueName};
use orch_core::record::{Event, Record};
use orch_core::summary::{JobPhase, job_of};

use super::block::{self, BlockId, Place};
use super::entry::Entry;
use super::keys;
use super::mark::Mark;
use super::store::{Changes, Store, StoreError};

/// Blocks as they were before the step, and the entries that it changes.
pub(super) struct Step<'a> {
    store: &'a dyn Store,
    mark: Mark,
    blocks: HashMap<BlockId, OpenBlock>,
    jobs: usize,
}

#[derive(Default)]
struct OpenBlock {
    before: Option<Vec<u8>>,
    changed: BTreeMap<Place, Changed>,
}

struct Changed {
    was: Option<(QueueName, JobPhase)>,
    entry: Entry,
}

/// Places that a queue and phase gains and loses in a block.
#[derive(Default)]
struct Moves {
    gained: u64,
    lost: u64,
}

impl<'a> Step<'a> {
    /// A step of this store, which stands at this mark.
    pub(super) fn new(store: &'a dyn Store, mark: Mark) -> Self {
        Self { store, mark, blocks: HashMap::new(), jobs: 0 }
    }

    /// How many jobs it changes so far.
    pub(super) fn jobs(&self) -> usize {
        self.jobs
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &Record, witness: u32) -> Result<(), StoreError> {
        self.mark.applied = record.seq;
        self.mark.witness = witness;
        if let Some((job, entry)) = Entry::begin(record) {
            let (id, place) = block::locate(job);
            self.open(id)?.changed.insert(place, Changed { was: None, entry });
            self.jobs += 1;
            return Ok(());
        }
        if let Event::TaskMade { array, index: _ } = &record.event {
            let unfit = || StoreError::Damaged(format!("record {} is no task of array {array}", record.seq));
            let (job, entry) = Entry::begin_task(self.entry(*array, record)?, record).ok_or_else(unfit)?;
            let (id, place) = block::locate(job);
            self.open(id)?.changed.insert(place, Changed { was: None, entry });
            self.jobs += 1;
            return Ok(());
        }
        let Some(job) = job_of(record) else { return Ok(()) };
        let entry = self.entry(job, record)?;
        let Some(task) = entry.summary.task else {
            entry.take(record);
            return Ok(());
        };
        // What becomes of a task concerns its array, too.
        let before = entry.summary.clone();
        entry.take(record);
        let after = entry.summary.clone();
        self.entry(task.array, record)?.summary.follow(Some(&before), &after);
        Ok(())
    }

    fn open(&mut self, id: BlockId) -> Result<&mut OpenBlock, StoreError> {
        match self.blocks.entry(id) {
            hash_map::Entry::Occupied(there) => Ok(there.into_mut()),
            hash_map::Entry::Vacant(place) => {
                let before = self.store.get(&keys::block(id))?;
                Ok(place.insert(OpenBlock { before, changed: BTreeMap::new() }))
            }
        }
    }

    /// The entry of a job that must be known.
    fn entry(&mut self, job: JobId, record: &Record) -> Result<&mut Entry, StoreError> {
        let (id, place) = block::locate(job);
        let open = self.open(id)?;
        if !open.changed.contains_key(&place) {
            let found = open.before.as_ref().map(|bytes| block::find(id, place, bytes)).transpose()?.flatten();
            let missing =
                || StoreError::Damaged(format!("job {job} is missing, of which record {} speaks", record.seq));
            let entry = found.ok_or_else(missing)?;
            let was = Some((entry.summary.queue.clone(), entry.summary.phase));
            open.changed.insert(place, Changed { was, entry });
            self.jobs += 1;
        }
        let open = self.open(id)?;
        open.changed.get_mut(&place).map(|changed| &mut changed.entry).ok_or_else(|| id.unreadable())
    }

    /// What to write, and the mark that is then true. The mark is among the changes.
    pub(super) fn finish(self) -> Result<(Changes, Mark), StoreError> {
        let Self { store, mut mark, blocks, jobs: _ } = self;
        let mut changes = Changes::with_capacity(blocks.len() * 3 + 1);
        for (id, OpenBlock { before, changed }) in blocks {
            let mut moves: HashMap<(QueueName, JobPhase), Moves> = HashMap::new();
            let mut encoded: BTreeMap<Place, Vec<u8>> = BTreeMap::new();
            for (place, Changed { was, entry }) in changed {
                encoded.insert(place, entry.encode());
                let now = (entry.summary.queue, entry.summary.phase);
                if was.as_ref() != Some(&now) {
                    moves.entry(now).or_default().gained |= 1 << place;
                    if let Some(was) = was {
                        moves.entry(was).or_default().lost |= 1 << place;
                    }
                }
            }
            let key = keys::block(id);
            let kept = match &before {
                Some(bytes) => block::entries(bytes).ok_or_else(|| id.unreadable())?,
                None => Vec::new(),
            };
            let mut all: BTreeMap<Place, &[u8]> = kept.into_iter().collect();
            all.extend(encoded.iter().map(|(place, entry)| (*place, &entry[..])));
            let value = block::encode(all.into_iter());
            replace(&mut mark, &mut changes, key, before.as_deref(), Some(value));
            for ((queue, phase), Moves { gained, lost }) in moves {
                let key = keys::listed(queue.as_str(), phase, id);
                // A block that is new is listed nowhere.
                let before = if before.is_some() { store.get(&key)? } else { None };
                let bits = match &before {
                    Some(bytes) => block::bitmap(bytes).ok_or_else(|| id.unreadable())?,
                    None => 0,
                };
                let bits = bits & !lost | gained;
                let value = (bits != 0).then(|| bits.to_be_bytes().to_vec());
                replace(&mut mark, &mut changes, key, before.as_deref(), value);
            }
        }
        // Sorted, so that neighbours in the tree are written together.
        changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        changes.push((keys::MARK.to_vec(), Some(mark.encode())));
        Ok((changes, mark))
    }
}

/// Puts a key's new value among the changes, and keeps the mark true.
fn replace(mark: &mut Mark, changes: &mut Changes, key: Vec<u8>, before: Option<&[u8]>, value: Option<Vec<u8>>) {
    if let Some(before) = before {
        mark.remove(&key, before);
    }
    if let Some(value) = &value {
        mark.add(&key, value);
    }
    changes.push((key, value));
}

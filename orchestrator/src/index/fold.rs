//! One step of the index: some records, folded into one change per job, and the mark that goes with them.

use std::collections::HashMap;
use std::collections::hash_map;

use orch_core::id::JobId;
use orch_core::record::Record;
use orch_core::summary::job_of;

use super::entry::Entry;
use super::keys;
use super::mark::Mark;
use super::store::{Changes, Store, StoreError};

/// Jobs as they were before the step and as they are now.
pub(super) struct Step<'a> {
    store: &'a dyn Store,
    mark: Mark,
    jobs: HashMap<JobId, Changed>,
}

struct Changed {
    before: Option<Vec<u8>>,
    entry: Entry,
}

impl<'a> Step<'a> {
    /// A step of this store, which stands at this mark.
    pub(super) fn new(store: &'a dyn Store, mark: Mark) -> Self {
        Self { store, mark, jobs: HashMap::new() }
    }

    /// How many jobs it changes so far.
    pub(super) fn jobs(&self) -> usize {
        self.jobs.len()
    }

    /// Takes the next record.
    pub(super) fn take(&mut self, record: &Record, witness: u32) -> Result<(), StoreError> {
        self.mark.applied = record.seq;
        self.mark.witness = witness;
        if let Some((job, entry)) = Entry::begin(record) {
            self.jobs.insert(job, Changed { before: None, entry });
            return Ok(());
        }
        let Some(job) = job_of(record) else { return Ok(()) };
        let changed = match self.jobs.entry(job) {
            hash_map::Entry::Occupied(there) => there.into_mut(),
            hash_map::Entry::Vacant(place) => {
                let missing =
                    || StoreError::Damaged(format!("job {job} is missing, of which record {} speaks", record.seq));
                let before = self.store.get(&keys::entry(job))?.ok_or_else(missing)?;
                let entry = Entry::decode(&before).ok_or_else(|| unreadable(job))?;
                place.insert(Changed { before: Some(before), entry })
            }
        };
        changed.entry.take(record);
        Ok(())
    }

    /// What to write, and the mark that is then true. The mark is among the changes.
    pub(super) fn finish(self) -> Result<(Changes, Mark), StoreError> {
        let Self { store: _, mut mark, jobs } = self;
        let mut changes = Changes::with_capacity(jobs.len() * 2 + 1);
        for (job, Changed { before, entry }) in jobs {
            let key = keys::entry(job);
            let listed = keys::listed(entry.summary.queue.as_str(), entry.summary.phase, job);
            let mut relist = true;
            if let Some(before) = before {
                let was = Entry::decode_summary(&before).ok_or_else(|| unreadable(job))?;
                mark.remove(&key, &before);
                let was_listed = keys::listed(was.queue.as_str(), was.phase, job);
                relist = was_listed != listed;
                if relist {
                    mark.remove(&was_listed, &[]);
                    changes.push((was_listed, None));
                }
            }
            let value = entry.encode();
            mark.add(&key, &value);
            changes.push((key, Some(value)));
            if relist {
                mark.add(&listed, &[]);
                changes.push((listed, Some(Vec::new())));
            }
        }
        // Sorted, so that neighbours in the tree are written together.
        changes.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        changes.push((keys::MARK.to_vec(), Some(mark.encode())));
        Ok((changes, mark))
    }
}

fn unreadable(job: JobId) -> StoreError {
    StoreError::Damaged(format!("the entry of job {job} cannot be read"))
}

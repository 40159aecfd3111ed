//! A file as its readers see it and as the platter has it.

use std::collections::BTreeMap;

use super::content::{Content, Sector, touched};

/// A file, apart from its names.
#[derive(Clone, Default)]
pub(super) struct Inode {
    /// What a read sees.
    pub(super) now: Content,
    /// What was there after the last sync.
    pub(super) durable: Content,
    /// The sectors that were changed since.
    pub(super) unsynced: BTreeMap<usize, Unsynced>,
    /// The lengths that it had since, but for the one that it has now.
    pub(super) lengths: Vec<usize>,
    pub(super) locked: bool,
}

/// A sector that may or may not be on the platter, in any of its versions.
#[derive(Clone, Default)]
pub(super) struct Unsynced {
    /// The versions between the durable one and the one that is read.
    pub(super) between: Vec<Sector>,
    /// A sync failed, and the page cache takes it for clean: no later sync writes it, unless it is changed again.
    pub(super) taken_for_clean: bool,
}

impl Inode {
    /// A file that is on the platter as it is.
    pub(super) fn synced(content: Content) -> Self {
        Self { now: content.clone(), durable: content, ..Self::default() }
    }

    pub(super) fn write(&mut self, bytes: &[u8], offset: usize) {
        for sector in touched(offset, bytes.len()) {
            self.about_to_change(sector);
        }
        let before = self.now.len;
        self.now.write(bytes, offset);
        if bytes.is_empty() {
            self.now.len = before;
        }
        self.note_length(before);
    }

    /// Cuts or lengthens. A sector that is cut off reads as zeros if the file grows again, which is a change too.
    pub(super) fn set_len(&mut self, len: usize) {
        let before = self.now.len;
        if len < before {
            let cut: Vec<usize> = self.now.sectors_from(len / super::SECTOR).collect();
            for sector in cut {
                self.about_to_change(sector);
            }
        }
        self.now.set_len(len);
        self.note_length(before);
    }

    fn about_to_change(&mut self, sector: usize) {
        let version = self.now.sector(sector);
        self.unsynced
            .entry(sector)
            .and_modify(|unsynced| {
                unsynced.between.push(version);
                unsynced.taken_for_clean = false;
            })
            .or_default();
    }

    fn note_length(&mut self, before: usize) {
        if self.now.len != before {
            self.lengths.push(before);
        }
    }

    /// Everything is on the platter, but for what a failed sync had left.
    pub(super) fn sync(&mut self) {
        let Self { now, durable, unsynced, lengths, locked: _ } = self;
        unsynced.retain(|sector, state| {
            if !state.taken_for_clean {
                durable.set_sector(*sector, now.sector(*sector));
            }
            state.taken_for_clean
        });
        durable.set_len(now.len);
        lengths.clear();
    }

    /// A sync failed: what it was to write may be on the platter or not, and the next sync will not write it. The
    /// length is the file system's own, which keeps it in its journal and tries again.
    pub(super) fn sync_failed(&mut self) {
        for unsynced in self.unsynced.values_mut() {
            unsynced.taken_for_clean = true;
        }
    }
}

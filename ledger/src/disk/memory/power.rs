//! What a loss of power may leave.
//!
//! Everything that was synced is there. Of the rest, each thing fares by itself, so writes may be lost, reordered or
//! torn: the entry of each name that was created, renamed or removed; each file's length; and each sector of 512 bytes,
//! in any version that it had since the last sync. A directory that is not there takes its files along.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::content::{Content, SECTOR, Sector};
use super::inode::Inode;
use super::lock;
use super::random::Random;
use super::tree::{Names, SharedInode, Tree, parent};

/// A question that the accident decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// 0: as after the last sync of the directory, 1: as it was seen.
    Entry,
    /// Which of the file's lengths; it comes before the questions about the file's sectors.
    Length,
    /// 0: as after the last sync, then the later versions, the last one last.
    Sector,
}

/// Decides a question by a number below the one given.
type Decide<'a> = dyn FnMut(Question, usize) -> usize + 'a;

impl Tree {
    /// A loss of power, decided by chance.
    pub(super) fn power_loss(&self, random: &mut Random) -> Self {
        let mut fate = Fate::Any;
        self.after(&mut |question, of| match question {
            Question::Entry => random.below(of),
            Question::Length => {
                fate = Fate::draw(random);
                random.below(of)
            }
            Question::Sector => fate.of_sector(of, random),
        })
    }

    /// Every loss of power that differs, if they are at most so many.
    pub(super) fn power_losses(&self, at_most: usize) -> Option<Vec<Self>> {
        let mut losses = Vec::new();
        let mut odometer = Odometer::default();
        loop {
            losses.push(self.after(&mut |_, of| odometer.digit(of)));
            if losses.len() > at_most {
                return None;
            }
            if !odometer.turn() {
                return Some(losses);
            }
        }
    }

    fn after(&self, decide: &mut Decide<'_>) -> Self {
        let mut left = Self { capacity: self.capacity, file_system: self.file_system, ..Self::default() };
        let (now, durable) = (&self.now, &self.durable);
        let dirs: BTreeSet<&String> = now.dirs.union(&durable.dirs).collect();
        let mut kept = BTreeSet::new();
        for dir in dirs {
            let (seen, synced) = (now.dirs.contains(dir), durable.dirs.contains(dir));
            if if seen == synced || decide(Question::Entry, 2) == 1 { seen } else { synced } {
                kept.insert(dir.clone());
            }
        }
        (left.now.dirs, left.durable.dirs) = (kept.clone(), kept);
        let files: BTreeSet<&String> = now.files.keys().chain(durable.files.keys()).collect();
        for name in files {
            if let Some(inode) = entry(now, durable, name, decide)
                && left.now.has_dir(parent(name))
            {
                left.put(name, Inode::synced(platter(&lock(inode), decide)));
            }
        }
        left
    }
}

/// Which file has the name.
fn entry<'a>(now: &'a Names, durable: &'a Names, name: &str, decide: &mut Decide<'_>) -> Option<&'a SharedInode> {
    let (seen, synced) = (now.files.get(name), durable.files.get(name));
    let same = match (seen, synced) {
        (Some(seen), Some(synced)) => Arc::ptr_eq(seen, synced),
        (None, None) => true,
        (Some(_), None) | (None, Some(_)) => false,
    };
    if same || decide(Question::Entry, 2) == 1 { seen } else { synced }
}

/// What the platter has of a file.
fn platter(inode: &Inode, decide: &mut Decide<'_>) -> Content {
    let Inode { now, durable, unsynced, lengths, locked: _ } = inode;
    let mut content = durable.clone();
    if unsynced.is_empty() && now.len == durable.len && lengths.is_empty() {
        return content;
    }
    // A file grows as its sectors are written, so it may also end with any of those.
    let grown = durable.len..now.len;
    let ends = unsynced.keys().map(|sector| (sector + 1) * SECTOR).filter(|end| grown.contains(end));
    let mut possible: Vec<usize> = ends.chain(lengths.iter().copied()).collect();
    possible.sort_unstable();
    possible.dedup();
    possible.retain(|len| *len != now.len && *len != durable.len);
    possible.push(durable.len);
    if now.len != durable.len {
        possible.push(now.len);
    }
    let len = possible[decide(Question::Length, possible.len())];
    for (sector, state) in unsynced.range(..len.div_ceil(SECTOR)) {
        let mut versions = vec![durable.sector(*sector)];
        for version in state.between.iter().cloned().chain([now.sector(*sector)]) {
            // What was written over with the same bytes leaves nothing to decide.
            if !versions.iter().any(|other| same(other, &version)) {
                versions.push(version);
            }
        }
        if versions.len() > 1 {
            let version = decide(Question::Sector, versions.len());
            content.set_sector(*sector, versions.swap_remove(version));
        }
    }
    // Sectors of a longer past are cut off, and what is behind the end is zero.
    content.len = content.len.max(now.len).max(len);
    content.set_len(len);
    content
}

fn same(a: &Sector, b: &Sector) -> bool {
    let bytes = |sector: &Sector| sector.as_ref().map_or([0; SECTOR], |sector| **sector);
    bytes(a) == bytes(b)
}

/// How the un-synced sectors of one file fare: chance alone would hardly ever keep or lose all of many.
#[derive(Clone, Copy)]
enum Fate {
    None,
    All,
    Any,
    /// Most are there.
    FewLost,
    /// Most are lost.
    FewKept,
    /// The first so many are there.
    Prefix(usize),
}

impl Fate {
    fn draw(random: &mut Random) -> Self {
        match random.below(8) {
            0 => Self::None,
            1 => Self::All,
            2 => Self::FewLost,
            3 => Self::FewKept,
            4 | 5 => Self::Prefix(random.below(16)),
            _ => Self::Any,
        }
    }

    fn of_sector(&mut self, of: usize, random: &mut Random) -> usize {
        match self {
            Self::None => 0,
            Self::All => of - 1,
            Self::Any => random.below(of),
            Self::FewLost => {
                if random.below(6) == 0 {
                    random.below(of)
                } else {
                    of - 1
                }
            }
            Self::FewKept => {
                if random.below(6) == 0 {
                    random.below(of)
                } else {
                    0
                }
            }
            Self::Prefix(left) => {
                let there = *left > 0;
                *left = left.saturating_sub(1);
                if there { of - 1 } else { 0 }
            }
        }
    }
}

/// Counts through all answers to questions of which the later may depend on the earlier.
#[derive(Default)]
struct Odometer {
    /// The answer, and how many there are.
    digits: Vec<(usize, usize)>,
    at: usize,
}

impl Odometer {
    fn digit(&mut self, of: usize) -> usize {
        if self.at == self.digits.len() {
            self.digits.push((0, of));
        }
        self.at += 1;
        self.digits[self.at - 1].0
    }

    /// Goes on to the next answers. False: there are none.
    fn turn(&mut self) -> bool {
        self.at = 0;
        while let Some((digit, of)) = self.digits.pop() {
            if digit + 1 < of {
                self.digits.push((digit + 1, of));
                return true;
            }
        }
        false
    }
}

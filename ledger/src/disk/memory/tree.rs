//! Names: which files and directories there are, as readers see them and as the platter has them.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use super::super::FileSystem;
use super::inode::Inode;
use super::lock;

pub(super) type SharedInode = Arc<Mutex<Inode>>;

/// Everything but what watches it.
#[derive(Default)]
pub(super) struct Tree {
    /// What a caller sees.
    pub(super) now: Names,
    /// What was there after the last sync of each directory.
    pub(super) durable: Names,
    pub(super) capacity: Option<u64>,
    pub(super) file_system: Option<FileSystem>,
}

/// Names, each with its path below the data directory, which itself is always there.
#[derive(Clone, Default)]
pub(super) struct Names {
    pub(super) files: BTreeMap<String, SharedInode>,
    pub(super) dirs: BTreeSet<String>,
}

/// The directory that a name is in.
pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(dir, _)| dir)
}

impl Names {
    pub(super) fn has_dir(&self, name: &str) -> bool {
        name.is_empty() || self.dirs.contains(name)
    }
}

impl Tree {
    /// The entries of a directory are on the platter.
    pub(super) fn sync_dir(&mut self, name: &str) {
        let within = |entry: &str| parent(entry) == name;
        let Self { now, durable, .. } = self;
        durable.files.retain(|file, _| !within(file));
        durable.dirs.retain(|dir| !within(dir));
        let files = now.files.iter().filter(|(file, _)| within(file));
        durable.files.extend(files.map(|(file, inode)| (file.clone(), Arc::clone(inode))));
        durable.dirs.extend(now.dirs.iter().filter(|dir| within(dir)).cloned());
    }

    /// Puts a file and its directory there, on the platter.
    pub(super) fn put(&mut self, name: &str, inode: Inode) {
        let inode = Arc::new(Mutex::new(inode));
        for names in [&mut self.now, &mut self.durable] {
            if !parent(name).is_empty() {
                names.dirs.insert(parent(name).to_owned());
            }
            names.files.insert(name.to_owned(), Arc::clone(&inode));
        }
    }

    /// A copy that shares nothing with this one, and whose files nobody has locked.
    pub(super) fn killed(&self) -> Self {
        let mut inodes: BTreeMap<*const Mutex<Inode>, SharedInode> = BTreeMap::new();
        let mut names = |names: &Names| {
            let file = |(name, inode): (&String, &SharedInode)| {
                let copy = match inodes.entry(Arc::as_ptr(inode)) {
                    Entry::Occupied(copy) => Arc::clone(copy.get()),
                    Entry::Vacant(place) => {
                        let copy = Inode { locked: false, ..lock(inode).clone() };
                        Arc::clone(place.insert(Arc::new(Mutex::new(copy))))
                    }
                };
                (name.clone(), copy)
            };
            Names { files: names.files.iter().map(file).collect(), dirs: names.dirs.clone() }
        };
        let (now, durable) = (names(&self.now), names(&self.durable));
        Self { now, durable, capacity: self.capacity, file_system: self.file_system }
    }
}

//! A disk in memory, for tests: everything written is there at once, space can run out, and calls can be made to fail.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Access, Dir, File, FileSystem};

/// A call that a [`MemoryDir`] is about to carry out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Call {
    Write { bytes: usize },
    SetLen,
    Allocate,
    SyncData,
    SyncAll,
    SyncDir,
    Create,
    Rename,
    Remove,
}

/// What happens instead of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mishap {
    /// It fails with this error number and does nothing.
    Error(i32),
    /// A write writes only that many bytes.
    Short(usize),
}

type Hook = Box<dyn FnMut(Call, &str) -> Option<Mishap> + Send>;

#[derive(Default)]
struct Tree {
    files: BTreeMap<String, Arc<Mutex<Inode>>>,
    dirs: BTreeSet<String>,
    capacity: Option<u64>,
    file_system: Option<FileSystem>,
    hook: Option<Hook>,
}

#[derive(Default)]
struct Inode {
    bytes: Vec<u8>,
    locked: bool,
}

/// A data directory in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDir {
    path: PathBuf,
    tree: Arc<Mutex<Tree>>,
}

/// ENOSPC on every system that we build for.
const NO_SPACE: i32 = 28;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A test that panicked while it held the lock has failed already.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Default for MemoryDir {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for MemoryDir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryDir").field("files", &lock(&self.tree).files.len()).finish_non_exhaustive()
    }
}

impl MemoryDir {
    /// An empty directory.
    pub fn new() -> Self {
        Self { path: PathBuf::from("/memory"), tree: Arc::default() }
    }

    /// The most bytes that all files together may have.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        lock(&self.tree).capacity = bytes;
    }

    /// The file system that it says it is.
    pub fn set_file_system(&self, file_system: FileSystem) {
        lock(&self.tree).file_system = Some(file_system);
    }

    /// Is asked before every call that changes something, with the file's name.
    pub fn set_hook(&self, hook: impl FnMut(Call, &str) -> Option<Mishap> + Send + 'static) {
        lock(&self.tree).hook = Some(Box::new(hook));
    }

    /// No call fails any more.
    pub fn clear_hook(&self) {
        lock(&self.tree).hook = None;
    }

    /// A copy that shares nothing with this one: what a crash of the process leaves.
    pub fn copy(&self) -> Self {
        let copy = Self::new();
        for (name, bytes) in self.files() {
            copy.put(&name, &bytes);
        }
        lock(&copy.tree).dirs.clone_from(&lock(&self.tree).dirs);
        copy
    }

    /// Every file with its bytes.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        lock(&self.tree).files.iter().map(|(name, inode)| (name.clone(), lock(inode).bytes.clone())).collect()
    }

    /// Puts a file there, and its directory, replacing what was there.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let inode = Inode { bytes: bytes.to_vec(), locked: false };
        let mut tree = lock(&self.tree);
        tree.dirs.insert(name.rsplit_once('/').map_or("", |(dir, _)| dir).to_owned());
        tree.files.insert(name.to_owned(), Arc::new(Mutex::new(inode)));
    }

    fn before(&self, call: Call, name: &str) -> io::Result<Option<usize>> {
        let mut tree = lock(&self.tree);
        match tree.hook.as_mut().and_then(|hook| hook(call, name)) {
            None => Ok(None),
            Some(Mishap::Short(n)) => Ok(Some(n)),
            Some(Mishap::Error(number)) => Err(io::Error::from_raw_os_error(number)),
        }
    }

    fn file(&self, name: &str, inode: Arc<Mutex<Inode>>) -> Arc<dyn File> {
        Arc::new(MemoryFile { dir: self.clone(), name: name.to_owned(), inode, holds_lock: Mutex::new(false) })
    }

    /// How many bytes a file of `len` may grow to.
    fn room(&self, len: usize) -> usize {
        let tree = lock(&self.tree);
        let Some(capacity) = tree.capacity else { return usize::MAX };
        let used: usize = tree.files.values().map(|inode| lock(inode).bytes.len()).sum();
        len + usize::try_from(capacity).unwrap_or(usize::MAX).saturating_sub(used)
    }
}

impl Dir for MemoryDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        let memory = FileSystem { name: Some("memory"), magic: 0, unfit: None };
        Ok(lock(&self.tree).file_system.unwrap_or(memory))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        lock(&self.tree).dirs.insert(name.to_owned());
        Ok(())
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let tree = lock(&self.tree);
        if !tree.dirs.contains(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let prefix = if name.is_empty() { String::new() } else { format!("{name}/") };
        let names = tree.files.keys().filter_map(|file| file.strip_prefix(&prefix));
        Ok(names.filter(|rest| !rest.contains('/')).map(str::to_owned).collect())
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        self.before(Call::SyncDir, name).map(|_| ())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let found = lock(&self.tree).files.get(name).cloned();
        match (found, access) {
            (Some(inode), _) => Ok(self.file(name, inode)),
            (None, Access::Create) => self.create_new(name),
            (None, Access::Read | Access::Write) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.before(Call::Create, name)?;
        let mut tree = lock(&self.tree);
        if tree.files.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let inode = Arc::<Mutex<Inode>>::default();
        tree.files.insert(name.to_owned(), Arc::clone(&inode));
        Ok(self.file(name, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before(Call::Rename, from)?;
        let mut tree = lock(&self.tree);
        let inode = tree.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
        tree.files.insert(to.to_owned(), inode);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.before(Call::Remove, name)?;
        lock(&self.tree).files.remove(name).map(|_| ()).ok_or_else(|| io::ErrorKind::NotFound.into())
    }
}

#[derive(Debug)]
struct MemoryFile {
    dir: MemoryDir,
    name: String,
    inode: Arc<Mutex<Inode>>,
    holds_lock: Mutex<bool>,
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes", self.bytes.len())
    }
}

impl Drop for MemoryFile {
    fn drop(&mut self) {
        if *lock(&self.holds_lock) {
            lock(&self.inode).locked = false;
        }
    }
}

fn index(offset: u64) -> io::Result<usize> {
    usize::try_from(offset).map_err(|_| io::ErrorKind::FileTooLarge.into())
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let inode = lock(&self.inode);
        let rest = inode.bytes.get(index(offset)?..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        buffer[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let short = self.dir.before(Call::Write { bytes: bytes.len() }, &self.name)?;
        let offset = index(offset)?;
        let len = lock(&self.inode).bytes.len();
        let wanted = short.unwrap_or(bytes.len()).min(bytes.len());
        let n = wanted.min(self.dir.room(len).max(len).saturating_sub(offset));
        if n == 0 && wanted > 0 {
            return Err(io::Error::from_raw_os_error(NO_SPACE));
        }
        let mut inode = lock(&self.inode);
        if inode.bytes.len() < offset + n {
            inode.bytes.resize(offset + n, 0);
        }
        inode.bytes[offset..offset + n].copy_from_slice(&bytes[..n]);
        Ok(n)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.dir.before(Call::SetLen, &self.name)?;
        lock(&self.inode).bytes.resize(index(len)?, 0);
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.dir.before(Call::Allocate, &self.name)?;
        let end = index(offset + len)?;
        let now = lock(&self.inode).bytes.len();
        if end > now {
            if end > self.dir.room(now) {
                return Err(io::Error::from_raw_os_error(NO_SPACE));
            }
            lock(&self.inode).bytes.resize(end, 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.dir.before(Call::SyncData, &self.name).map(|_| ())
    }

    fn sync_all(&self) -> io::Result<()> {
        self.dir.before(Call::SyncAll, &self.name).map(|_| ())
    }

    fn try_lock(&self) -> io::Result<bool> {
        let mut inode = lock(&self.inode);
        if inode.locked {
            return Ok(false);
        }
        inode.locked = true;
        *lock(&self.holds_lock) = true;
        Ok(true)
    }
}

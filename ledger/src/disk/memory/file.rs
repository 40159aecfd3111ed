//! The calls: each asks the hook, does its work, and tells the watch.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::super::{Access, Dir, File, FileSystem};
use super::tree::{SharedInode, parent};
use super::{Call, Inode, MemoryDir, Mishap, errno, lock};

impl MemoryDir {
    /// Asks the hook. Gives the number of bytes that a read or a write is cut to.
    fn before(&self, call: Call, name: &str) -> io::Result<Option<usize>> {
        match lock(&self.hook).as_mut().and_then(|hook| hook(call, name)) {
            None => Ok(None),
            Some(Mishap::Short(n)) => Ok(Some(n)),
            Some(Mishap::Error(number)) => Err(io::Error::from_raw_os_error(number)),
        }
    }

    fn changed(&self) {
        if let Some(watch) = lock(&self.watch).as_mut() {
            watch(self);
        }
    }

    fn file(&self, name: &str, inode: SharedInode) -> Arc<dyn File> {
        Arc::new(MemoryFile { dir: self.clone(), name: name.to_owned(), inode, holds_lock: Mutex::new(false) })
    }

    /// How many bytes a file of `len` may grow to.
    fn room(&self, len: usize) -> usize {
        let tree = lock(&self.tree);
        let Some(capacity) = tree.capacity else { return usize::MAX };
        let used: usize = tree.now.files.values().map(|inode| lock(inode).now.len).sum();
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

    /// Like the real one: a new directory's entry is synced at once.
    fn create_dir(&self, name: &str) -> io::Result<()> {
        if lock(&self.tree).now.has_dir(name) {
            return Ok(());
        }
        self.before(Call::CreateDir, name)?;
        lock(&self.tree).now.dirs.insert(name.to_owned());
        self.changed();
        self.sync_dir(parent(name))
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        let tree = lock(&self.tree);
        if !tree.now.has_dir(name) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let names = tree.now.files.keys().filter(|file| parent(file) == name);
        Ok(names.map(|file| file.rsplit('/').next().unwrap_or_default().to_owned()).collect())
    }

    /// If it fails, the entries stay un-synced: they are the file system's own, which keeps them in its journal.
    fn sync_dir(&self, name: &str) -> io::Result<()> {
        let allowed = self.before(Call::SyncDir, name);
        if allowed.is_ok() {
            lock(&self.tree).sync_dir(name);
        }
        self.changed();
        allowed.map(|_| ())
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let found = lock(&self.tree).now.files.get(name).cloned();
        match (found, access) {
            (Some(inode), _) => Ok(self.file(name, inode)),
            (None, Access::Create) => self.create_new(name),
            (None, Access::Read | Access::Write) => Err(io::ErrorKind::NotFound.into()),
        }
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn File>> {
        self.before(Call::Create, name)?;
        let inode = SharedInode::default();
        {
            let mut tree = lock(&self.tree);
            if tree.now.files.contains_key(name) {
                return Err(io::ErrorKind::AlreadyExists.into());
            }
            if !tree.now.has_dir(parent(name)) {
                return Err(io::ErrorKind::NotFound.into());
            }
            tree.now.files.insert(name.to_owned(), Arc::clone(&inode));
        }
        self.changed();
        Ok(self.file(name, inode))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.before(Call::Rename, from)?;
        {
            let mut tree = lock(&self.tree);
            let inode = tree.now.files.remove(from).ok_or(io::ErrorKind::NotFound)?;
            tree.now.files.insert(to.to_owned(), inode);
        }
        self.changed();
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.before(Call::Remove, name)?;
        lock(&self.tree).now.files.remove(name).ok_or(io::ErrorKind::NotFound)?;
        self.changed();
        Ok(())
    }
}

#[derive(Debug)]
struct MemoryFile {
    dir: MemoryDir,
    name: String,
    inode: SharedInode,
    holds_lock: Mutex<bool>,
}

impl fmt::Debug for Inode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} bytes, {} sectors un-synced", self.now.len, self.unsynced.len())
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

impl MemoryFile {
    fn change(&self, change: impl FnOnce(&mut Inode)) {
        change(&mut lock(&self.inode));
        self.dir.changed();
    }

    fn sync(&self, call: Call) -> io::Result<()> {
        let allowed = self.dir.before(call, &self.name);
        self.change(|inode| if allowed.is_ok() { inode.sync() } else { inode.sync_failed() });
        allowed.map(|_| ())
    }
}

impl File for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(lock(&self.inode).now.len as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let short = self.dir.before(Call::Read { bytes: buffer.len() }, &self.name)?;
        let wanted = short.unwrap_or(buffer.len()).min(buffer.len());
        Ok(lock(&self.inode).now.read(&mut buffer[..wanted], index(offset)?))
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        let short = self.dir.before(Call::Write { bytes: bytes.len() }, &self.name)?;
        let offset = index(offset)?;
        let len = lock(&self.inode).now.len;
        let wanted = short.unwrap_or(bytes.len()).min(bytes.len());
        let n = wanted.min(self.dir.room(len).max(len).saturating_sub(offset));
        if n == 0 && wanted > 0 {
            return Err(io::Error::from_raw_os_error(errno::ENOSPC));
        }
        self.change(|inode| inode.write(&bytes[..n], offset));
        Ok(n)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.dir.before(Call::SetLen, &self.name)?;
        let len = index(len)?;
        self.change(|inode| inode.set_len(len));
        Ok(())
    }

    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        self.dir.before(Call::Allocate, &self.name)?;
        let end = index(offset + len)?;
        let now = lock(&self.inode).now.len;
        if end > now {
            let room = self.dir.room(now);
            if end > room {
                // What there is stays taken, as on ext4.
                self.change(|inode| inode.set_len(room.max(now)));
                return Err(io::Error::from_raw_os_error(errno::ENOSPC));
            }
            self.change(|inode| inode.set_len(end));
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.sync(Call::SyncData)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync(Call::SyncAll)
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

//! The file system.

use std::fs;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Access, Dir, File, FileSystem};

/// A directory of the file system.
#[derive(Debug)]
pub struct RealDir {
    path: PathBuf,
}

impl RealDir {
    /// The directory at `path`, which need not exist yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned() }
    }

    fn at(&self, name: &str) -> PathBuf {
        if name.is_empty() { self.path.clone() } else { self.path.join(name) }
    }
}

impl Dir for RealDir {
    fn path(&self) -> &Path {
        &self.path
    }

    fn file_system(&self) -> io::Result<FileSystem> {
        #[cfg(target_os = "linux")]
        {
            let found = rustix::fs::statfs(&self.path)?;
            // The field's width and sign differ between architectures; magic numbers are 32 bits.
            #[allow(clippy::cast_sign_loss, clippy::unnecessary_cast)]
            Ok(FileSystem::of_magic(u64::from(found.f_type as u32)))
        }
        #[cfg(not(target_os = "linux"))]
        Ok(FileSystem::of_magic(0))
    }

    fn create_dir(&self, name: &str) -> io::Result<()> {
        let path = self.at(name);
        let missing: Vec<&Path> = path.ancestors().take_while(|dir| !is_there(dir)).collect();
        // A process that was killed here may have left the last one that is there without a durable entry. Who may not
        match path.ancestors().nth(missing.len()).map_or(Ok(()), sync_parent) {
            Err(error) if error.kind() != io::ErrorKind::PermissionDenied => return Err(error),
            Ok(()) | Err(_) => {}
        }
        for dir in missing.into_iter().rev() {
            match fs::create_dir(dir) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                Ok(()) | Err(_) => sync_parent(dir)?,
            }
        }
        Ok(())
    }

    fn list(&self, name: &str) -> io::Result<Vec<String>> {
        fs::read_dir(self.at(name))?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    fn sync_dir(&self, name: &str) -> io::Result<()> {
        fs::File::open(self.at(name))?.sync_all()
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>> {
        let mut options = fs::OpenOptions::new();
        options.read(true);
        match access {
            Access::Read => {}
            Access::Write => {
                options.write(true);
            }
            Access::Create => {
                options.write(true).create(true).truncate(false);
            }
        }
        Ok(Arc::new(RealFile(options.open(self.at(name))?)))
    }

    fn create_new(&self, name: &str) -> io::Result<Arc<dyn File>> {
        let file = fs::OpenOptions::new().read(true).write(true).create_new(true).open(self.at(name))?;
        Ok(Arc::new(RealFile(file)))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.at(from), self.at(to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        fs::remove_file(self.at(name))
    }
}

/// The empty path is the working directory.
fn is_there(dir: &Path) -> bool {
    dir.as_os_str().is_empty() || dir.is_dir()
}

/// Makes the entry of a directory durable, which is its parent's.
fn sync_parent(dir: &Path) -> io::Result<()> {
    match dir.parent() {
        Some(parent) if parent.as_os_str().is_empty() => fs::File::open(".")?.sync_all(),
        Some(parent) => fs::File::open(parent)?.sync_all(),
        // The root, or the working directory, which somebody else made.
        None => Ok(()),
    }
}

/// A file of the file system.
#[derive(Debug)]
struct RealFile(fs::File);

impl File for RealFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.0.read_at(buffer, offset)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize> {
        self.0.write_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.0.set_len(len)
    }

    #[cfg(target_os = "linux")]
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()> {
        // With the file's length growing along, so that a later sync of data has no new length to record.
        Ok(rustix::fs::fallocate(&self.0, rustix::fs::FallocateFlags::empty(), offset, len)?)
    }

    #[cfg(not(target_os = "linux"))]
    fn allocate(&self, _offset: u64, _len: u64) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn sync_all(&self) -> io::Result<()> {
        self.0.sync_all()
    }

    fn try_lock(&self) -> io::Result<bool> {
        match self.0.try_lock() {
            Ok(()) => Ok(true),
            Err(fs::TryLockError::WouldBlock) => Ok(false),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }
}

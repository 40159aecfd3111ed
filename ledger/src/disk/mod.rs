//! Every access to a file goes through here: two small traits, so that a test can stand in for the disk.
//!
//! [`real::RealDir`] is the file system; [`memory::MemoryDir`] keeps everything in memory and can be told to fail.
//! Names are relative to the data directory and use `/`. No method retries or loops: what the kernel says is what
//! the caller gets, and the loops that make sense ([`write_all_at`], [`read_full_at`], [`read_on_at`]) stand once, below.

pub mod filesystem;
pub mod memory;
pub mod real;

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;

pub use filesystem::FileSystem;

/// How to open a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// It must be there and is only read.
    Read,
    /// It must be there.
    Write,
    /// It is created, empty, if it is not there.
    Create,
}

/// A data directory.
pub trait Dir: Send + Sync + fmt::Debug {
    /// Where it is, for messages.
    fn path(&self) -> &Path;
    /// The kind of file system that it lies on.
    ///
    /// # Errors
    /// As the system says.
    fn file_system(&self) -> io::Result<FileSystem>;
    /// Makes a directory in it; fine if it is there already. The empty name is the data directory itself.
    ///
    /// # Errors
    /// As the system says.
    fn create_dir(&self, name: &str) -> io::Result<()>;
    /// The names of the files in one of its directories, in no order.
    ///
    /// # Errors
    /// As the system says.
    fn list(&self, name: &str) -> io::Result<Vec<String>>;
    /// Makes the entries of a directory durable: its renames, creations and removals.
    ///
    /// # Errors
    /// As the system says.
    fn sync_dir(&self, name: &str) -> io::Result<()>;
    /// Opens a file.
    ///
    /// # Errors
    /// As the system says.
    fn open(&self, name: &str, access: Access) -> io::Result<Arc<dyn File>>;
    /// Creates a file that must not be there.
    ///
    /// # Errors
    /// As the system says.
    fn create_new(&self, name: &str) -> io::Result<Arc<dyn File>>;
    /// Renames a file, replacing what has the new name.
    ///
    /// # Errors
    /// As the system says.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;
    /// Removes a file.
    ///
    /// # Errors
    /// As the system says.
    fn remove(&self, name: &str) -> io::Result<()>;
}

/// An open file. Reads and writes name their offset, so that a handle has no position to get wrong.
// A length of 0 is nothing special here.
#[allow(clippy::len_without_is_empty)]
pub trait File: Send + Sync + fmt::Debug {
    /// Its length in bytes.
    ///
    /// # Errors
    /// As the system says.
    fn len(&self) -> io::Result<u64>;
    /// Reads some bytes; 0 at the end.
    ///
    /// # Errors
    /// As the system says.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes some of the bytes, perhaps not all, and says how many.
    ///
    /// # Errors
    /// As the system says.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<usize>;
    /// Cuts or lengthens it; what is added reads as zeros.
    ///
    /// # Errors
    /// As the system says.
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Claims space for a range, lengthening the file if needed; what is added reads as zeros.
    ///
    /// # Errors
    /// As the system says; `Unsupported` where the file system cannot do it.
    fn allocate(&self, offset: u64, len: u64) -> io::Result<()>;
    /// Makes its bytes durable, and its length as far as reading them back needs it.
    ///
    /// # Errors
    /// As the system says.
    fn sync_data(&self) -> io::Result<()>;
    /// Makes its bytes and everything about it durable.
    ///
    /// # Errors
    /// As the system says.
    fn sync_all(&self) -> io::Result<()>;
    /// Takes the kernel's exclusive lock on it, held until the last handle is dropped. `false`: another has it.
    ///
    /// # Errors
    /// As the system says.
    fn try_lock(&self) -> io::Result<bool>;
}

/// Writes all bytes: goes on after a short write or an interruption.
///
/// # Errors
/// The first other error. How much was written until then is unknown.
pub fn write_all_at(file: &dyn File, mut bytes: &[u8], mut offset: u64) -> io::Result<()> {
    while !bytes.is_empty() {
        match file.write_at(bytes, offset) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::WriteZero, "the system wrote none of the bytes")),
            Ok(n) => {
                bytes = &bytes[n..];
                offset += n as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Reads until the buffer is full or the file ends, and says how many bytes that were.
///
/// # Errors
/// The first error other than an interruption.
pub fn read_full_at(file: &dyn File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(n) => done += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}

/// Zeros, to be compared and copied many at once: one at a time they take most of the time of a build that is not optimised.
pub(crate) static ZEROS: [u8; 4096] = [0; 4096];

/// Lengthens a buffer by so many zeros.
pub(crate) fn add_zeros(buffer: &mut Vec<u8>, count: usize) {
    let mut left = count;
    buffer.reserve(left);
    while left > 0 {
        let some = left.min(ZEROS.len());
        buffer.extend_from_slice(&ZEROS[..some]);
        left -= some;
    }
}

/// Reads up to `len` bytes behind what is in the buffer, and says how many there were until the file's end.
///
/// # Errors
/// As [`read_full_at`]; the buffer is then as it was.
pub fn read_on_at(file: &dyn File, buffer: &mut Vec<u8>, len: usize, offset: u64) -> io::Result<usize> {
    let had = buffer.len();
    add_zeros(buffer, len);
    let read = read_full_at(file, &mut buffer[had..], offset);
    buffer.truncate(had + read.as_ref().copied().unwrap_or(0));
    read
}

/// A small file as a whole, at most `limit` bytes of it.
///
/// # Errors
/// As the system says.
pub fn read_file(dir: &dyn Dir, name: &str, limit: usize) -> io::Result<Vec<u8>> {
    let file = dir.open(name, Access::Read)?;
    let len = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(limit);
    let mut bytes = Vec::new();
    read_on_at(&*file, &mut bytes, len, 0)?;
    Ok(bytes)
}

/// Writes a small file as a whole, in the place of what has its name: whoever reads it later, also after a power loss, finds
/// all of the old bytes or all of the new. When it returns the new ones are durable.
///
/// # Errors
/// As the system says. The file is then the old one or the new one; `{name}.tmp` may be left and is written over next time.
pub fn replace_file(dir: &dyn Dir, name: &str, bytes: &[u8]) -> io::Result<()> {
    let temporary = format!("{name}.tmp");
    let file = dir.open(&temporary, Access::Create)?;
    file.set_len(0)?;
    write_all_at(&*file, bytes, 0)?;
    file.sync_all()?;
    dir.rename(&temporary, name)?;
    dir.sync_dir(name.rsplit_once('/').map_or("", |(parent, _)| parent))
}

/// Whether an error says that the disk, the quota or the largest file size is used up. All three get the same
/// treatment: the bytes are taken back and the ledger waits for space.
pub fn is_no_space(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

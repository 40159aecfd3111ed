//! An output file that is there as a whole or not at all.
//!
//! It is written without a name beside its place, synced, and only then takes the name of the old one, whose bytes
//! stay until that moment. Where the system can make files without a name, nothing is left behind even by `kill -9`.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

/// How much is written at once.
const WRITE: usize = 256 << 10;

/// Why an output cannot be written. What was there before is there still.
#[derive(Debug, thiserror::Error)]
pub enum OutputError {
    /// There is no directory to write into.
    #[error("there is no directory {} to write {} into: make it first", .dir.display(), .path.display())]
    NoDirectory {
        /// The directory.
        dir: PathBuf,
        /// The output.
        path: PathBuf,
    },
    /// Something that is not a file has the name.
    #[error("{} is {what}, not a file: name a file, or `-` for standard output", .path.display())]
    NotAFile {
        /// The output.
        path: PathBuf,
        /// What it is.
        what: &'static str,
    },
    /// It would stand among the ledger's own files, where it would stop the orchestrator's next start.
    #[error("{} would lie among the ledger's own files: name a file elsewhere", .path.display())]
    OfLedger {
        /// The output.
        path: PathBuf,
    },
    /// The system failed.
    #[error("failed to {doing} {}", .path.display())]
    Io {
        /// What failed.
        doing: &'static str,
        /// The output.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// A file on its way. Dropped without [`AtomicFile::commit`], it leaves nothing.
#[derive(Debug)]
pub struct AtomicFile {
    path: PathBuf,
    dir: PathBuf,
    draft: Draft,
}

/// What is written to.
#[derive(Debug)]
enum Draft {
    #[cfg(target_os = "linux")]
    Nameless(BufWriter<File>),
    Named(BufWriter<tempfile::NamedTempFile>),
}

impl AtomicFile {
    /// Begins a file that will have this path. If a link is there, the file that it leads to is meant.
    ///
    /// # Errors
    /// [`OutputError`].
    pub fn create(path: &Path) -> Result<Self, OutputError> {
        let path = match fs::metadata(path) {
            Ok(metadata) if metadata.is_file() => path.canonicalize().map_err(|source| OutputError::Io {
                doing: "find",
                path: path.to_owned(),
                source,
            })?,
            Ok(metadata) => {
                let what = if metadata.is_dir() { "a directory" } else { "a device or a pipe" };
                return Err(OutputError::NotAFile { path: path.to_owned(), what });
            }
            Err(_) => path.to_owned(),
        };
        if path.file_name().is_none() {
            return Err(OutputError::NotAFile { path, what: "no name of a file" });
        }
        let dir = match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
            Some(_) | None => PathBuf::from("."),
        };
        if !dir.is_dir() {
            return Err(OutputError::NoDirectory { dir, path });
        }
        let draft =
            Draft::create(&dir).map_err(|source| OutputError::Io { doing: "make", path: path.clone(), source })?;
        Ok(Self { path, dir, draft })
    }

    /// The path that it will have.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory that it lies in.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Makes it durable and gives it its name.
    ///
    /// # Errors
    /// [`OutputError::Io`].
    pub fn commit(self) -> Result<(), OutputError> {
        let Self { path, dir, draft } = self;
        let failed = |doing: &'static str| move |source| (doing, source);
        let finish = || {
            match draft {
                #[cfg(target_os = "linux")]
                Draft::Nameless(file) => {
                    let file = file.into_inner().map_err(|e| e.into_error()).map_err(failed("write to"))?;
                    file.sync_all().map_err(failed("sync"))?;
                    name(&file, &dir, &path).map_err(failed("rename into place"))?;
                }
                Draft::Named(file) => {
                    let file = file.into_inner().map_err(|e| e.into_error()).map_err(failed("write to"))?;
                    file.as_file().sync_all().map_err(failed("sync"))?;
                    file.persist(&path).map_err(|error| ("rename into place", error.error))?;
                }
            }
            // The new name is the directory's to make durable.
            File::open(&dir).and_then(|dir| dir.sync_all()).map_err(failed("sync the directory of"))
        };
        finish().map_err(|(doing, source)| OutputError::Io { doing, path: path.clone(), source })
    }
}

impl Write for AtomicFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.draft {
            #[cfg(target_os = "linux")]
            Draft::Nameless(file) => file.write(bytes),
            Draft::Named(file) => file.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match &mut self.draft {
            #[cfg(target_os = "linux")]
            Draft::Nameless(file) => file.flush(),
            Draft::Named(file) => file.flush(),
        }
    }
}

impl Draft {
    fn create(dir: &Path) -> io::Result<Self> {
        #[cfg(target_os = "linux")]
        if let Some(file) = nameless(dir) {
            return Ok(Self::Nameless(BufWriter::with_capacity(WRITE, file)));
        }
        let mut builder = tempfile::Builder::new();
        builder.prefix(".").suffix(".tmp");
        #[cfg(unix)]
        {
            // Like any new file: what the umask leaves of it.
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(fs::Permissions::from_mode(0o666));
        }
        Ok(Self::Named(BufWriter::with_capacity(WRITE, builder.tempfile_in(dir)?)))
    }
}

/// A file without a name; `None` where it cannot be made, or could not be given one later.
#[cfg(target_os = "linux")]
fn nameless(dir: &Path) -> Option<File> {
    use rustix::fs::{Mode, OFlags};
    let mode = Mode::from_bits_truncate(0o666);
    let file: File = rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::CLOEXEC, mode).ok()?.into();
    fd_path(&file).exists().then_some(file)
}

#[cfg(target_os = "linux")]
fn fd_path(file: &File) -> PathBuf {
    use std::os::fd::AsRawFd;
    PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()))
}

/// Gives a nameless file a name beside its place and moves it there: a link cannot replace a file, a rename can.
#[cfg(target_os = "linux")]
fn name(file: &File, dir: &Path, path: &Path) -> io::Result<()> {
    use rustix::fs::{AtFlags, CWD};
    let mut number = 0;
    let link = loop {
        let link = dir.join(link_name(path, number));
        match rustix::fs::linkat(CWD, fd_path(file), CWD, &link, AtFlags::SYMLINK_FOLLOW) {
            Ok(()) => break link,
            // Left by a process that was killed at just this point, or another one's that is there now.
            Err(rustix::io::Errno::EXIST) if number < 1000 => number += 1,
            Err(error) => return Err(error.into()),
        }
    };
    fs::rename(&link, path).inspect_err(|_| {
        // The rename's error is the one to tell.
        let _ = fs::remove_file(&link);
    })
}

#[cfg(target_os = "linux")]
fn link_name(path: &Path, number: u32) -> OsString {
    let mut name = OsString::from(".");
    // Cut, because a name has 255 bytes at most.
    let file_name: String = path.file_name().unwrap_or(OsStr::new("out")).to_string_lossy().chars().take(40).collect();
    name.push(file_name);
    name.push(format!(".{}.{number}.tmp", std::process::id()));
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(dir: &Path) -> Vec<String> {
        let entries = fs::read_dir(dir).unwrap();
        let mut names: Vec<String> = entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    fn named(path: &Path) -> AtomicFile {
        let dir = path.parent().unwrap().to_owned();
        let file = tempfile::Builder::new().prefix(".").tempfile_in(&dir).unwrap();
        AtomicFile { path: path.to_owned(), dir, draft: Draft::Named(BufWriter::new(file)) }
    }

    #[test]
    fn the_old_file_stays_until_the_new_one_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        for make in [|path: &Path| AtomicFile::create(path).unwrap(), named] {
            fs::write(&path, "old").unwrap();
            let mut file = make(&path);
            file.write_all(b"new").unwrap();
            file.flush().unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), "old");
            drop(file);
            assert_eq!(
                (fs::read_to_string(&path).unwrap(), names(dir.path())),
                ("old".into(), vec!["out.jsonl".into()])
            );
            let mut file = make(&path);
            file.write_all(b"new").unwrap();
            file.commit().unwrap();
            assert_eq!(
                (fs::read_to_string(&path).unwrap(), names(dir.path())),
                ("new".into(), vec!["out.jsonl".into()])
            );
        }
    }

    #[test]
    fn what_a_killed_process_left_is_in_nobodys_way() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out.jsonl");
        fs::write(dir.path().join(link_name(&path, 0)), "left").unwrap();
        let mut file = AtomicFile::create(&path).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
    }

    #[test]
    fn a_link_stays_a_link() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("far")).unwrap();
        let (target, link) = (dir.path().join("far/out"), dir.path().join("link"));
        fs::write(&target, "old").unwrap();
        std::os::unix::fs::symlink(&target, &link).unwrap();
        let mut file = AtomicFile::create(&link).unwrap();
        file.write_all(b"new").unwrap();
        file.commit().unwrap();
        assert_eq!(fs::read_to_string(&target).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }

    #[test]
    fn what_cannot_be_an_output_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let text = |path: &Path| AtomicFile::create(path).unwrap_err().to_string();
        let at = dir.path().display();
        assert_eq!(
            text(dir.path()),
            format!("{at} is a directory, not a file: name a file, or `-` for standard output")
        );
        let device = text(Path::new("/dev/null"));
        assert_eq!(device, "/dev/null is a device or a pipe, not a file: name a file, or `-` for standard output");
        let missing = text(&dir.path().join("no/out"));
        assert_eq!(missing, format!("there is no directory {at}/no to write {at}/no/out into: make it first"));
    }
}

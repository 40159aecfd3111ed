//! A log file of bounded size: `FILE`, and behind it `FILE.1`, the newest, to `FILE.N`.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// A file that is put aside when the next line would make it too large. A line is never split between files.
///
/// A line that cannot be written, on a full disk say, is lost: a log must not stop what it tells of.
#[derive(Debug)]
pub struct RollingFile {
    path: PathBuf,
    file: File,
    len: u64,
    max_bytes: u64,
    backups: u32,
}

impl RollingFile {
    /// Goes on with the file at `path`, making it if it is not there. Up to `backups` older ones are kept.
    ///
    /// # Errors
    /// As the system says.
    pub fn open(path: &Path, max_bytes: u64, backups: u32) -> io::Result<Self> {
        let file = File::options().create(true).append(true).open(path)?;
        let len = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, len, max_bytes, backups })
    }

    fn backup(&self, number: u32) -> PathBuf {
        let mut name = self.path.clone().into_os_string();
        name.push(format!(".{number}"));
        name.into()
    }

    /// Puts the file aside and begins a new one.
    fn roll(&mut self) -> io::Result<()> {
        for number in (1..self.backups).rev() {
            // One that is not there yet is no fault.
            let _ = fs::rename(self.backup(number), self.backup(number + 1));
        }
        if self.backups > 0 {
            fs::rename(&self.path, self.backup(1))?;
        } else {
            fs::remove_file(&self.path)?;
        }
        self.file = File::options().create(true).append(true).open(&self.path)?;
        self.len = 0;
        Ok(())
    }
}

impl Write for RollingFile {
    /// Takes a whole line: the subscriber formats each event into one buffer and writes it with one call.
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.len > 0 && self.len + line.len() as u64 > self.max_bytes {
            // If it cannot be put aside it grows on: a log that is too large is better than none.
            let _ = self.roll();
        }
        self.file.write_all(line)?;
        self.len += line.len() as u64;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &Path) -> String {
        fs::read_to_string(path).unwrap()
    }

    #[test]
    fn it_rolls_by_size_between_lines_and_keeps_so_many() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.log");
        let mut log = RollingFile::open(&path, 10, 2).unwrap();
        for line in ["one 1\n", "two\n", "three\n", "a line longer than ten bytes\n", "five\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        assert_eq!(read(&path), "five\n");
        assert_eq!(read(&dir.path().join("orch.log.1")), "a line longer than ten bytes\n");
        assert_eq!(read(&dir.path().join("orch.log.2")), "three\n");
        assert!(!dir.path().join("orch.log.3").exists(), "the oldest is gone");
        // A second start goes on with the file.
        let mut log = RollingFile::open(&path, 10, 2).unwrap();
        log.write_all(b"six\n").unwrap();
        assert_eq!(read(&path), "five\nsix\n");
    }

    #[test]
    fn without_backups_it_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("orch.log");
        let mut log = RollingFile::open(&path, 6, 0).unwrap();
        log.write_all(b"first\n").unwrap();
        log.write_all(b"second\n").unwrap();
        assert_eq!(read(&path), "second\n");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }
}

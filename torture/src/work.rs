//! Where a torture keeps its files: gone if all went well, kept and named if not.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::TortureError;

/// The folder of one torture.
#[derive(Debug)]
pub struct Work {
    dir: TempDir,
}

impl Work {
    /// A new folder, in `parent` or in the system's folder for such.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub fn new(title: &str, parent: Option<&Path>) -> Result<Self, TortureError> {
        let mut builder = tempfile::Builder::new();
        let prefix = format!("orch-torture-{title}-");
        builder.prefix(&prefix);
        let dir = parent.map_or_else(|| builder.tempdir(), |parent| builder.tempdir_in(parent));
        Ok(Self { dir: dir.map_err(TortureError::io("make a folder for the files of the torture"))? })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// A path in the folder.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Keeps the folder and says where it is.
    pub fn keep(self) -> PathBuf {
        self.dir.keep()
    }
}

/// Copies a folder with everything in it, links excepted: a data directory has none.
///
/// # Errors
/// [`TortureError::Io`].
pub fn copy_folder(from: &Path, to: &Path) -> Result<(), TortureError> {
    let copy = || {
        std::fs::create_dir_all(to)?;
        for entry in std::fs::read_dir(from)? {
            let entry = entry?;
            let target = to.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                copy_folder(&entry.path(), &target).map_err(std::io::Error::other)?;
            } else {
                std::fs::copy(entry.path(), target)?;
            }
        }
        Ok(())
    };
    copy().map_err(TortureError::io(format!("copy {} to {}", from.display(), to.display())))
}

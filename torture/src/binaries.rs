//! Where the programs under torture are.

use std::path::{Path, PathBuf};

use crate::TortureError;

/// A folder with our programs.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
}

/// What builds them.
const BUILD: &str = "cargo build --release --bins";

impl Binaries {
    /// The programs in this folder; without one, those that a release build of this project left.
    ///
    /// # Errors
    /// [`TortureError::NoBinary`].
    pub fn find(dir: Option<PathBuf>) -> Result<Self, TortureError> {
        let project = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| project.join("target"), PathBuf::from);
        let dir = dir.unwrap_or_else(|| target.join("release"));
        let dir = std::path::absolute(&dir).map_err(TortureError::io(format!("find {}", dir.display())))?;
        let found = Self { dir };
        for name in ["orchestrator", "worker", "orchctl"] {
            let path = found.path(name);
            if !path.is_file() {
                return Err(TortureError::NoBinary { path, how: BUILD.to_owned() });
            }
        }
        Ok(found)
    }

    /// The path of a program.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
}

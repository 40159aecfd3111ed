//! The YAML file.

use std::io;
use std::path::{Path, PathBuf};

use super::Layer;

/// Why a file of settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("failed to read the configuration {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// It is not what a configuration looks like.
    #[error("configuration {}: {message}", .path.display())]
    Parse {
        /// The file.
        path: PathBuf,
        /// What is wrong, with its place.
        message: String,
    },
}

impl Layer {
    /// The layer that a YAML file describes. An empty file sets nothing.
    ///
    /// # Errors
    /// [`FileError`], also for a key that is none of ours.
    pub fn from_file(path: &Path) -> Result<Self, FileError> {
        let read = |source| FileError::Read { path: path.to_owned(), source };
        let text = std::fs::read_to_string(path).map_err(read)?;
        let parsed = serde_saphyr::from_str::<Option<Self>>(&text);
        let message =
            |error: serde_saphyr::Error| FileError::Parse { path: path.to_owned(), message: error.to_string() };
        Ok(parsed.map_err(message)?.unwrap_or_default())
    }
}

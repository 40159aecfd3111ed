//! The secret of a data directory: a file that only its owner can read, and that its copies and backups have, too.
//!
//! The ledger itself has no use for it. It lies beside the ledger because it must go wherever the ledger goes: with it
//! an orchestrator knows the receipts again that this directory, or a newer copy of it, gave.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use orch_core::digest::Digest;

use crate::layout;

/// The secret in the directory; none if it has no such file.
///
/// # Errors
/// As the system says; [`io::ErrorKind::InvalidData`] if the file does not hold 64 hex digits.
pub fn read(dir: &Path) -> io::Result<Option<Digest>> {
    match fs::read_to_string(dir.join(layout::SECRET)) {
        Ok(text) => text.trim_end().parse().map(Some).map_err(|_| io::ErrorKind::InvalidData.into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Puts the secret into the directory, so that the file is whole or not there, and durable when this returns.
///
/// # Errors
/// As the system says.
pub fn put(dir: &Path, secret: Digest) -> io::Result<()> {
    let unfinished = dir.join(layout::SECRET_TMP);
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    writeln!(file, "{secret}")?;
    file.sync_all()?;
    fs::rename(&unfinished, dir.join(layout::SECRET))?;
    fs::File::open(dir)?.sync_all()
}

/// Takes the secret of one directory along to another. One that has none takes none away.
///
/// # Errors
/// As the system says.
pub fn take_along(from: &Path, to: &Path) -> io::Result<()> {
    match read(from)? {
        Some(secret) if read(to)? != Some(secret) => put(to, secret),
        Some(_) | None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_secret_goes_along_and_only_its_owner_reads_it() {
        let (from, to) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        take_along(from.path(), to.path()).unwrap();
        assert_eq!(read(to.path()).unwrap(), None);
        put(from.path(), Digest::of(b"secret")).unwrap();
        take_along(from.path(), to.path()).unwrap();
        assert_eq!(read(to.path()).unwrap(), Some(Digest::of(b"secret")));
        let mode = fs::metadata(to.path().join(layout::SECRET)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        fs::write(to.path().join(layout::SECRET), "no").unwrap();
        assert_eq!(read(to.path()).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}

//! Space ahead of the writes, so that a full disk shows before a batch is decided.

use std::io;

use crate::disk::{self, is_no_space};

use super::Ledger;
use super::append::{Active, CommitError};

/// There is no space. The ledger is as it was and goes on working when there is space again.
#[derive(Debug, thiserror::Error)]
#[error("no space for {needed} more bytes in {segment}")]
pub struct NoSpace {
    /// The segment, below the data directory.
    pub segment: String,
    /// How many bytes were to be written or claimed.
    pub needed: u64,
    /// What the system said: the disk, the quota or the largest size of a file is used up.
    pub source: io::Error,
}

impl Ledger {
    /// Makes sure that the next `bytes` of the active segment have their space. Cheap while they have. A caller that
    /// reserves what a batch can become sees a full disk here, before it decides anything.
    ///
    /// After [`CommitError::NoSpace`], [`Ledger::maybe_roll`] and this tell when there is space again.
    ///
    /// # Errors
    /// [`CommitError`]; at `NoSpace`, staged records stay staged.
    pub fn reserve(&mut self, bytes: u64) -> Result<(), CommitError> {
        self.check_alive()?;
        self.active.claim(bytes, self.options.claim_bytes).map_err(|error| self.classify("claim space", bytes, error))
    }

    /// A lack of space leaves the ledger usable, any other error does not.
    pub(super) fn classify(&mut self, doing: &'static str, needed: u64, source: io::Error) -> CommitError {
        if is_no_space(&source) {
            return CommitError::NoSpace(NoSpace { segment: self.active.name.clone(), needed, source });
        }
        self.fatal(doing, source)
    }
}

impl Active {
    /// Claims space up to `bytes` behind the end, and `ahead` more if it can be had.
    pub(super) fn claim(&mut self, bytes: u64, ahead: u64) -> io::Result<()> {
        let need = self.end + bytes;
        if need <= self.claimed || ahead == 0 || !self.can_claim {
            return Ok(());
        }
        match self.claim_to(need + ahead) {
            Err(error) if is_no_space(&error) => self.claim_to(need),
            Err(error) if error.kind() == io::ErrorKind::Unsupported => {
                // Without claims a full disk shows at the write, which is taken back then.
                self.can_claim = false;
                Ok(())
            }
            result => result,
        }
    }

    fn claim_to(&mut self, to: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        loop {
            match file.allocate(self.claimed, to - self.claimed) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    // ext4 leaves the file with what it could give: that is for the index and the others who write here.
                    if is_no_space(&error) {
                        file.set_len(self.claimed.max(self.touched).max(self.end))?;
                    }
                    return Err(error);
                }
                Ok(()) => break,
            }
        }
        self.claimed = to;
        Ok(())
    }

    /// Writes a batch at the end. Behind a small one it writes zeros into claimed space, so that the next batches
    /// overwrite blocks that were written before: their sync then has no allocation to record.
    pub(super) fn write(&mut self, batch: &mut Vec<u8>, zeros: u64) -> io::Result<()> {
        let Some(file) = &self.file else { return Err(io::ErrorKind::NotFound.into()) };
        let len = batch.len();
        let end = self.end + len as u64;
        if end > self.touched && (len as u64) < zeros / 2 {
            let zeros = zeros.min(self.claimed.saturating_sub(end));
            disk::add_zeros(batch, usize::try_from(zeros).unwrap_or(0));
        }
        disk::write_all_at(&**file, batch, self.end)?;
        self.touched = self.touched.max(self.end + batch.len() as u64);
        batch.truncate(len);
        Ok(())
    }

    /// Cuts the segment back to its last durable batch, durably: what a failed write left is gone.
    pub(super) fn take_back(&mut self) -> io::Result<()> {
        self.trim()
    }

    /// Gives claimed space back, durably.
    pub(super) fn trim(&mut self) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        file.set_len(self.end)?;
        file.sync_all()?;
        self.claimed = self.end;
        self.touched = self.end;
        Ok(())
    }
}

//! Lines on their way into a backup, and its end.

use std::sync::Arc;

use orch_core::id::Seq;
use orch_core::record::{Event, knows_format};

use crate::chain::{ChainChecker, Link};
use crate::disk::{self, File};
use crate::head::Head;
use crate::identity::{self, Identity};
use crate::layout;
use crate::line::{self, Line};
use crate::verify::{VerifyError, verify_in};

use super::{BackedUp, Backup, BackupError, failed};

/// So many bytes are written at once, if no batch is larger.
const LARGE: usize = 4 << 20;

/// The segment that is written.
#[derive(Debug)]
pub(super) struct Out {
    pub(super) first: Seq,
    pub(super) file: Arc<dyn File>,
    /// The end of what was written, whole batches all of it.
    pub(super) end: u64,
    /// It has its name: its first batch is durable.
    pub(super) named: bool,
}

impl Backup {
    /// Takes the next line, without its newline, in the order of the ledger from [`Backup::start`] on.
    ///
    /// # Errors
    /// [`BackupError`]. The backup can be begun again; what was taken until then is kept as far as it was written.
    pub fn take(&mut self, raw: &[u8]) -> Result<(), BackupError> {
        if !self.met && self.before.seq.0 > 0 {
            return self.meet(raw);
        }
        let line = self.checker.check(raw).map_err(|fault| BackupError::Line { fault })?;
        if line.event_json.starts_with("{\"segment_opened\"") {
            self.next_segment(&line)?;
        } else if line.event_json.starts_with("{\"booted\"")
            && let Ok(Event::Booted { epoch, .. }) = line.event()
        {
            self.epoch = epoch;
        }
        self.buffer.extend_from_slice(raw);
        self.buffer.push(b'\n');
        let Some(found) = line.chain else { return Ok(()) };
        self.whole = self.buffer.len();
        let Link { seq, chain: expected, .. } = self.target;
        if line.seq == seq && found != expected {
            return Err(self.parted(seq, expected, found));
        }
        if self.whole >= LARGE { self.flush() } else { Ok(()) }
    }

    /// The first line must be the one that the backup ends with.
    fn meet(&mut self, raw: &[u8]) -> Result<(), BackupError> {
        let line = line::decode(raw).map_err(|fault| BackupError::Line { fault: fault.into() })?;
        let Link { seq, chain: expected, .. } = self.before;
        let found = line.chain.unwrap_or_default();
        if line.seq != seq || found != expected {
            return Err(self.parted(seq, expected, found));
        }
        self.met = true;
        Ok(())
    }

    fn parted(&self, seq: Seq, expected: orch_core::digest::Digest, found: orch_core::digest::Digest) -> BackupError {
        BackupError::Diverged { dir: self.dir.path().to_owned(), seq, expected, found }
    }

    /// A header: what came before it is finished, and a file of its own begins.
    fn next_segment(&mut self, line: &Line<'_>) -> Result<(), BackupError> {
        let event = line.event().map_err(|fault| BackupError::Line { fault: fault.into() })?;
        let Event::SegmentOpened { ledger, format, .. } = event else { return Ok(()) };
        if ledger != self.identity.ledger {
            let (dir, expected) = (self.dir.path().to_owned(), self.identity.ledger.clone());
            return Err(BackupError::OtherLedger { dir, expected, found: ledger });
        }
        if !knows_format(format) {
            return Err(BackupError::Format { dir: self.dir.path().to_owned(), found: format });
        }
        self.identity.format = self.identity.format.max(format);
        self.flush()?;
        if let Some(out) = &self.out {
            out.file.sync_all().map_err(self.failed("sync a segment"))?;
        }
        let file = self.dir.create_new(layout::NEXT_TMP).map_err(self.failed("make a segment"))?;
        self.out = Some(Out { first: line.seq, file, end: 0, named: false });
        Ok(())
    }

    /// Writes the whole batches. A new segment gets its name when they are durable.
    fn flush(&mut self) -> Result<(), BackupError> {
        let failed = self.failed("write a segment");
        let Some(out) = self.out.as_mut().filter(|_| self.whole > 0) else { return Ok(()) };
        disk::write_all_at(&*out.file, &self.buffer[..self.whole], out.end).map_err(&failed)?;
        out.end += self.whole as u64;
        self.buffer.drain(..self.whole);
        self.whole = 0;
        if !out.named {
            out.file.sync_all().map_err(&failed)?;
            self.dir.rename(layout::NEXT_TMP, &layout::segment(out.first)).map_err(&failed)?;
            self.dir.sync_dir(layout::LEDGER).map_err(&failed)?;
            out.named = true;
        }
        Ok(())
    }

    /// Makes everything durable, in the order that never shows more than there is: segments, HEAD, LEDGER_ID. Then
    /// verifies the backup from the disk. A batch that is not all there is left out.
    ///
    /// # Errors
    /// [`BackupError`]. The backup is not done, and can be begun again.
    pub fn finish(mut self) -> Result<BackedUp, BackupError> {
        let link = self.checker.link();
        if !self.met && self.before.seq.0 > 0 {
            let (dir, source_seq) = (self.dir.path().to_owned(), self.target.seq);
            return Err(BackupError::Behind { dir, backup: self.before.seq, source_seq });
        }
        if link.seq < self.target.seq {
            return Err(BackupError::Short { expected: self.target.seq, found: link.seq });
        }
        self.checker = ChainChecker::after(link);
        self.flush()?;
        self.sync(link)?;
        let Self { dir, lock, identity, before, .. } = self;
        // Verification takes a ledger whose lock is held for one that is being written.
        drop(lock);
        let report = verify_in(&*dir, 1, &|_, _| {}).map_err(|error| match error {
            VerifyError::Io { source, .. } => failed(&*dir, "verify the backup")(source),
            VerifyError::NoLedger { dir } => BackupError::NoLedger { dir },
            VerifyError::Format { dir, found } => BackupError::Format { dir, found },
        })?;
        if let Some(refusal) = report.findings.into_iter().next() {
            return Err(BackupError::Damaged { refusal: Box::new(refusal) });
        }
        let added = link.seq.0 - before.seq.0;
        Ok(BackedUp { identity, link, added, segments: report.segments, bytes: report.bytes })
    }

    fn sync(&mut self, link: Link) -> Result<(), BackupError> {
        if let Some(out) = &self.out {
            out.file.sync_all().map_err(self.failed("sync a segment"))?;
            let (Link { seq, batch, chain }, segment, offset) = (link, out.first, out.end);
            let head = Head { generation: 0, epoch: self.epoch, batch, seq, segment, offset, chain };
            self.dir.sync_dir(layout::LEDGER).map_err(self.failed("sync the segments' directory"))?;
            let failed = self.failed("write HEAD");
            self.head_file.write(head).and_then(|()| self.head_file.sync()).map_err(failed)?;
        }
        if self.identified.as_ref() != Some(&self.identity) {
            let Identity { ledger, format } = &self.identity;
            identity::create(&*self.dir, ledger, *format).map_err(self.failed("write LEDGER_ID"))?;
        }
        Ok(())
    }
}

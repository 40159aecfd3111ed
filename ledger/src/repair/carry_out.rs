//! Writes the repaired ledger into a new directory.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use orch_core::record::Event;

use crate::chain::Link;
use crate::disk::{self, Access, Dir};
use crate::fault::Fault;
use crate::head::{Head, HeadFile};
use crate::identity;
use crate::layout;
use crate::lock::{self, Attempt};
use crate::open::OpenOptions;
use crate::recovery::examine::examine;
use crate::segment::check::CheckError;
use crate::target;
use crate::verify::{VerifyError, verify_in};
use crate::writer::Ledger;

use super::{KeptSegment, Repair, RepairError, RepairPlan, Repaired, Signature};

impl Repair<'_> {
    /// Writes the repaired ledger into `to`, an empty directory or none yet. When it returns, the copy was verified
    /// and is durable.
    ///
    /// # Errors
    /// [`RepairError`]. What was written until then is no ledger and can be removed.
    pub fn carry_out(self, to: Arc<dyn Dir>, signature: Signature) -> Result<Repaired, RepairError> {
        let work = Work { from: self.from, to, plan: &self.plan };
        let done = work.run(signature)?;
        work.verify()?;
        Ok(done)
    }
}

struct Work<'a> {
    from: &'a dyn Dir,
    to: Arc<dyn Dir>,
    plan: &'a RepairPlan,
}

impl Work<'_> {
    fn dir(&self) -> PathBuf {
        self.to.path().to_owned()
    }

    fn failed(&self, doing: &'static str) -> impl Fn(io::Error) -> RepairError + use<> {
        let dir = self.dir();
        move |source| RepairError::Io { doing, dir: dir.clone(), source }
    }

    /// The order that never shows a ledger before it is one: HEAD, the segments, the record of the repair, LEDGER_ID.
    fn run(&self, signature: Signature) -> Result<Repaired, RepairError> {
        let to = &*self.to;
        if let Some(found) = target::occupant(to).map_err(self.failed("look into the new directory"))? {
            return Err(RepairError::NotEmpty { dir: self.dir(), found });
        }
        to.create_dir("").map_err(self.failed("make the directory"))?;
        let lock = match lock::try_take(to).map_err(self.failed("take the lock"))? {
            Attempt::Taken(lock) => lock,
            Attempt::Held(_) => return Err(RepairError::Locked { dir: self.dir() }),
        };
        let make_dirs = || {
            to.create_dir(layout::LEDGER)?;
            to.create_dir(layout::QUARANTINE)?;
            to.sync_dir("")
        };
        make_dirs().map_err(self.failed("make its directories"))?;
        let (head, head_file) = self.write_head().map_err(self.failed("write HEAD"))?;
        let mut quarantined = Vec::new();
        for segment in &self.plan.segments {
            self.copy(segment).map_err(self.failed("copy a segment"))?;
            if segment.behind > 0 {
                quarantined.push(self.put_away(segment).map_err(self.failed("fill the quarantine"))?);
            }
        }
        to.sync_dir(layout::LEDGER).map_err(self.failed("sync the ledger's directory"))?;
        to.sync_dir(layout::QUARANTINE).map_err(self.failed("sync the quarantine"))?;

        let id = &self.plan.identity;
        let examined = examine(to, &id.ledger, &head, &mut |_, _| Ok(())).map_err(|error| match error {
            CheckError::Io(source) => self.failed("read the copy")(source),
            CheckError::Fault(_, fault) => self.copy_fault(fault),
        })?;
        let options = OpenOptions { claim_bytes: 0, zero_bytes: 0, ..OpenOptions::new(signature.at, "", "", 0) };
        let to_own = Arc::clone(&self.to);
        let mut ledger = Ledger::start(to_own, lock, options, id.clone(), head_file, head.batch, &examined);
        let repaired = ledger.record_repair(signature.at, self.event(signature.by));
        let link = repaired.map_err(|error| self.failed("record the repair")(io::Error::other(error)))?;
        // HEAD names the record before the lock is dropped with the ledger.
        ledger.close().map_err(|error| self.failed("level HEAD")(io::Error::other(error)))?;
        identity::create(to, &id.ledger, id.format).map_err(self.failed("make LEDGER_ID"))?;
        Ok(Repaired { link, quarantined })
    }

    /// What the ledger remembers of this.
    fn event(&self, by: String) -> Event {
        let reason = self.plan.findings.first().map(ToString::to_string).unwrap_or_default();
        let lost_to = self.plan.loss.acknowledged_to;
        Event::LedgerRepaired { lost_from: self.plan.loss.from, lost_to, reason, by }
    }

    /// HEAD of the last kept batch. It stands there first: with it, an unfinished copy cannot be taken for a new ledger.
    fn write_head(&self) -> io::Result<(Head, HeadFile)> {
        let Link { seq, batch, chain } = self.plan.kept;
        let last = self.plan.segments.last();
        let offset = last.map_or(0, |segment| segment.bytes + u64::from(segment.newline_missing));
        let segment = last.map(|segment| segment.first).unwrap_or_default();
        let head = Head { generation: 0, epoch: self.plan.epoch, batch, seq, segment, offset, chain };
        Ok((head, HeadFile::create(&*self.to, head)?))
    }

    fn copy(&self, segment: &KeptSegment) -> io::Result<()> {
        let name = layout::segment(segment.first);
        let file = self.to.create_new(&name)?;
        let source = self.from.open(&name, Access::Read)?;
        target::copy_range(&*source, 0..segment.bytes, &*file)?;
        if segment.newline_missing {
            disk::write_all_at(&*file, b"\n", segment.bytes)?;
        }
        file.sync_all()
    }

    fn put_away(&self, segment: &KeptSegment) -> io::Result<String> {
        let name = format!("{}/{:020}-{}.damaged", layout::QUARANTINE, segment.first.0, segment.bytes);
        let source = self.from.open(&layout::segment(segment.first), Access::Read)?;
        let file = self.to.create_new(&name)?;
        target::copy_range(&*source, segment.bytes..segment.bytes + segment.behind, &*file)?;
        file.sync_all()?;
        Ok(name)
    }

    fn copy_fault(&self, fault: Fault) -> RepairError {
        RepairError::Copy { dir: self.dir(), fault: Box::new(fault) }
    }

    fn verify(&self) -> Result<(), RepairError> {
        let report = verify_in(&*self.to, 1, &|_, _| {}).map_err(|error| match error {
            VerifyError::Io { source, .. } => self.failed("verify the copy")(source),
            VerifyError::NoLedger { dir } => RepairError::NoLedger { dir },
            VerifyError::Format { dir, found } => RepairError::Format { dir, found },
        })?;
        match report.findings.into_iter().next() {
            Some(refusal) => Err(self.copy_fault(refusal.fault)),
            None => Ok(()),
        }
    }
}

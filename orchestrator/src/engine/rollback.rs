//! A ledger that went back in time, and what is done about it.
//!
//! Whoever holds a receipt that this ledger did not give was told of records by a newer copy of it: an older copy of the
//! data directory is in use. Going on would lease jobs that are done and give their seqs to others, so nothing is written
//! any more until a person decides: puts the newer copy back, or starts once with `--accept-rollback` and accepts that
//! what is missing is lost. What was found is kept beside the ledger, in [`FILE`]: a restart alone decides nothing.
//!
//! A receipt counts only with the code that a copy of this very directory gave it ([`crate::access::Keys`]): anybody can
//! make up a number, and must not stop a cluster with it. A lease's number alone proves nothing either; its grant came
//! with a receipt, and that does.

use std::io;
use std::sync::Arc;

use orch_core::id::Seq;
use orch_core::receipt::Receipt;
use orch_core::time::Now;
use orch_ledger::disk::{self, Dir};
use serde::{Deserialize, Serialize};

use super::{Command, Engine, Step};

/// The file that keeps the finding, in the data directory.
pub const FILE: &str = "ROLLED_BACK";

/// A receipt that the ledger did not give.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error(
    "{holder} holds a receipt of this ledger for record {seq}, which it did not give: an older copy of the data \
     directory is in use, then at record {last}. Nothing is leased or accepted until somebody decides: stop it and put \
     the newer copy back; or, if there is none, start it once with --accept-rollback {seq}, and what is missing is lost"
)]
pub struct Missing {
    /// Who presented it.
    pub holder: String,
    /// The record it speaks of.
    pub seq: Seq,
    /// The last record of the ledger then.
    pub last: Seq,
}

/// What is known of a rollback.
#[derive(Debug, Default)]
pub(super) struct Rollback {
    dir: Option<Arc<dyn Dir>>,
    /// Receipts for records up to this one that are not known are accepted as lost.
    accepted: Seq,
    missing: Option<Missing>,
    /// The same in words.
    reason: Option<String>,
}

impl Rollback {
    /// Why nothing may be written, if so.
    pub(super) fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    fn hold(&mut self, missing: Missing) {
        // The newest receipt tells how much must be accepted.
        if self.missing.as_ref().is_some_and(|known| known.seq >= missing.seq) {
            return;
        }
        tracing::error!("{missing}");
        if let Some(dir) = &self.dir
            && let Err(error) = keep(&**dir, &missing)
        {
            tracing::error!(%error, "this could not be kept in {FILE}: a restart would forget it");
        }
        self.set(missing);
    }

    fn set(&mut self, missing: Missing) {
        self.reason = Some(missing.to_string());
        self.missing = Some(missing);
    }
}

fn keep(dir: &dyn Dir, missing: &Missing) -> io::Result<()> {
    disk::replace_file(dir, FILE, &serde_json::to_vec(missing)?)
}

fn kept(dir: &dyn Dir) -> io::Result<Option<Missing>> {
    match disk::read_file(dir, FILE, 4096) {
        Ok(bytes) => Ok(Some(serde_json::from_slice(&bytes)?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// What a receipt says of the ledger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presented {
    /// This ledger gave it, as far back as that is known.
    Known,
    /// It did not, and that was accepted: whoever holds it should forget it, and what was told with it.
    Lost,
    /// It did not: the ledger went back in time, and nothing is written any more.
    RolledBack(Missing),
    /// It did not, and neither did any copy of this data directory: whoever holds it made it up, or has it of a
    /// directory whose secret was lost.
    Forged(Seq),
}

/// Presents what this very ledger is said to have given.
pub struct Present {
    /// Who holds it, in words.
    pub holder: String,
    /// The newest receipt.
    pub receipt: Receipt,
}

impl Command for Present {
    type Answer = Presented;
    const WRITES: bool = false;

    fn run(&mut self, engine: &mut Engine, _now: Now) -> Step<Presented> {
        if engine.gave(&self.receipt) {
            return Step::Answer(Presented::Known);
        }
        let (holder, seq) = (self.holder.clone(), self.receipt.seq);
        // Anybody can name a record that is not there. Only what a copy of this very directory gave proves that it was.
        if !engine.proves(&self.receipt) {
            tracing::warn!(holder, seq = seq.0, "presented a receipt that no copy of this data directory gave");
            return Step::Answer(Presented::Forged(seq));
        }
        if seq <= engine.rollback.accepted {
            tracing::warn!(holder, seq = seq.0, "holds a receipt for a record that was accepted as lost");
            return Step::Answer(Presented::Lost);
        }
        let missing = Missing { holder, seq, last: engine.state.last_seq() };
        engine.rollback.hold(missing.clone());
        Step::Answer(Presented::RolledBack(missing))
    }
}

impl Engine {
    /// Keeps in [`FILE`] what is found of a rollback, and takes up what was found before. Receipts for records up to
    /// `accepted` that are not known count as lost.
    ///
    /// # Errors
    /// If the file is there and cannot be read or removed.
    pub fn keep_rollback(&mut self, dir: Arc<dyn Dir>, accepted: Seq) -> io::Result<()> {
        match kept(&*dir)? {
            Some(missing) if missing.seq <= accepted => {
                dir.remove(FILE)?;
                dir.sync_dir("")?;
                tracing::warn!(seq = missing.seq.0, "the rollback was accepted: what is missing is lost");
            }
            Some(missing) => {
                tracing::error!("{missing}");
                self.rollback.set(missing);
            }
            None => {}
        }
        self.rollback.accepted = accepted;
        self.rollback.dir = Some(dir);
        Ok(())
    }

    /// The newest receipt that was presented and that this ledger did not give, if nobody decided yet.
    pub fn missing(&self) -> Option<&Missing> {
        self.rollback.missing.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use orch_ledger::disk::memory::{MemoryDir, Mishap, Random, errno};

    use super::*;

    fn missing(seq: u64) -> Missing {
        Missing { holder: "worker w1".to_owned(), seq: Seq(seq), last: Seq(1) }
    }

    #[test]
    fn a_finding_is_kept_whole_or_not_at_all() {
        let dir = MemoryDir::new();
        dir.create_dir("").unwrap();
        keep(&dir, &missing(5)).unwrap();
        // At every call of the second the process ends, or the power does.
        for seed in 0..200 {
            let dir = dir.copy();
            let mut calls = 0;
            dir.set_hook(move |_, _| {
                calls += 1;
                (calls == seed % 8).then_some(Mishap::Error(errno::EIO))
            });
            let done = keep(&dir, &missing(9)).is_ok();
            dir.clear_hook();
            for after in [dir.kill(), dir.power_loss(&mut Random::new(seed))] {
                let seq = kept(&after).unwrap().unwrap().seq.0;
                assert!(seq == 9 || (seq == 5 && !done), "seed {seed}: {seq}");
            }
        }
    }
}

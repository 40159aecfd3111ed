//! What a backup and a restoration came to.

use orch_core::digest::Digest;
use orch_ledger::Link;
use orch_ledger::backup::{BackedUp, Restored};
use serde::Serialize;

use crate::output::{Cell, Page, Tint, View, key_values};

/// A backup that is whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackupView {
    pub backup: String,
    pub ledger: String,
    pub format: u32,
    /// The last record, batch and link: the proof of all before them.
    pub seq: u64,
    pub batch: u64,
    pub chain: Digest,
    /// Records that came newly into it.
    pub added: u64,
    pub segments: u64,
    pub bytes: u64,
    pub seconds: f64,
}

impl BackupView {
    /// The view of a backup in `backup`.
    pub fn new(backup: String, done: BackedUp, seconds: f64) -> Self {
        let BackedUp { identity, link: Link { seq, batch, chain }, added, segments, bytes } = done;
        let (ledger, format) = (identity.ledger, identity.format);
        Self { backup, ledger, format, seq: seq.0, batch, chain, added, segments, bytes, seconds }
    }
}

impl View for BackupView {
    fn table(&self, page: &Page) -> String {
        let Self { backup, ledger, format: _, seq, batch, chain, added, segments, bytes, seconds } = self;
        let pairs = [
            ("backup", Cell::from(backup)),
            ("ledger", ledger.into()),
            ("verdict", Cell::tinted("whole: verified from the disk, and durable", Tint::Good)),
            ("last seq", format!("{seq} (batch {batch})").into()),
            ("chain", chain.into()),
            ("added", format!("{added} records in {seconds:.1} s").into()),
            ("size", format!("{segments} segments, {bytes} bytes").into()),
        ];
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.chain.to_string()]
    }
}

/// A data directory made of a backup.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RestoreView {
    pub backup: String,
    pub dir: String,
    pub ledger: String,
    /// Where it stands: everything acknowledged later is lost.
    pub seq: u64,
    pub batch: u64,
    pub chain: Digest,
    pub segments: u64,
    pub bytes: u64,
    pub seconds: f64,
}

impl RestoreView {
    /// The view of what was restored from `backup` to `dir`.
    pub fn new(backup: String, dir: String, restored: Restored, seconds: f64) -> Self {
        let Restored { identity, link: Link { seq, batch, chain }, segments, bytes } = restored;
        Self { backup, dir, ledger: identity.ledger, seq: seq.0, batch, chain, segments, bytes, seconds }
    }
}

impl View for RestoreView {
    fn table(&self, page: &Page) -> String {
        let Self { backup, dir, ledger, seq, batch, chain, segments, bytes, seconds } = self;
        let lost = format!("everything that was acknowledged after seq {seq}");
        let refused = "when one presents a receipt for it, the orchestrator stops writing and names the record; started \
            once with --accept-rollback and that seq, it has those results computed again";
        let pairs = [
            ("restored", Cell::from(format!("{backup} to {dir}"))),
            ("ledger", ledger.into()),
            ("verdict", Cell::tinted("whole: verified from the disk, and durable", Tint::Good)),
            ("stands at", format!("seq {seq} (batch {batch})").into()),
            ("chain", chain.into()),
            ("size", format!("{segments} segments, {bytes} bytes, {seconds:.1} s").into()),
            ("lost", Cell::tinted(lost, Tint::Warn)),
            ("workers", Cell::tinted(refused, Tint::Warn)),
            ("next", format!("orchestrator --data {dir}").into()),
        ];
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.dir.clone()]
    }
}

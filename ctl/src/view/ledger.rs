//! Where a ledger ends, and whether it is whole.

use std::collections::BTreeMap;

use orch_core::digest::Digest;
use orch_core::time::Timestamp;
use orch_ledger::{Head, Place, Tail, VerifyReport};
use serde::Serialize;

use super::stats::LedgerView;
use crate::output::{Cell, Page, Tint, View, key_values};

/// Where a ledger ends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HeadView {
    pub seq: u64,
    pub batch: u64,
    /// The chain link, in hex; null for an empty ledger.
    pub chain: Option<Digest>,
    pub epoch: u64,
}

impl From<Head> for HeadView {
    fn from(head: Head) -> Self {
        let Head { generation: _, epoch, batch, seq, segment: _, offset: _, chain } = head;
        Self { seq: seq.0, batch, chain: (batch > 0).then_some(chain), epoch }
    }
}

impl From<LedgerView> for HeadView {
    fn from(ledger: LedgerView) -> Self {
        let LedgerView {
            ledger: _,
            seq,
            batch,
            chain,
            epoch,
            bytes: _,
            segments: _,
            read_only_reason: _,
            missing_seq: _,
        } = ledger;
        Self { seq, batch, chain, epoch }
    }
}

impl View for HeadView {
    fn table(&self, page: &Page) -> String {
        let pairs = [
            ("seq", Cell::from(self.seq)),
            ("batch", self.batch.into()),
            ("chain", Cell::maybe(self.chain.as_ref())),
            ("epoch", self.epoch.into()),
        ];
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.seq.to_string()]
    }
}

/// Whether a ledger is whole.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct VerifyView {
    pub dir: String,
    pub ledger: Option<String>,
    pub whole: bool,
    /// The last good record, batch and link.
    pub head: HeadView,
    pub segments: u64,
    pub batches: u64,
    pub records: u64,
    pub bytes: u64,
    pub boots: u64,
    pub first_at: Option<Timestamp>,
    pub last_at: Option<Timestamp>,
    pub events: BTreeMap<String, u64>,
    /// `clean`, `torn`, `newline_missing` or `in_use`.
    pub tail: &'static str,
    /// Bytes of a torn, never acknowledged write.
    pub torn_bytes: u64,
    pub notes: Vec<String>,
    pub findings: Vec<FindingView>,
    pub seconds: f64,
}

/// A fault of a ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FindingView {
    pub file: String,
    /// From 1; 0 if the file as a whole is meant.
    pub line: u64,
    pub offset: u64,
    pub fault: String,
}

impl From<&orch_ledger::Refusal> for FindingView {
    fn from(refusal: &orch_ledger::Refusal) -> Self {
        let orch_ledger::Refusal { dir: _, place: Place { file, line, offset }, fault } = refusal;
        Self { file: file.clone(), line: *line, offset: *offset, fault: fault.to_string() }
    }
}

impl VerifyView {
    /// The view of a report on the ledger in `dir`.
    pub fn new(dir: String, report: VerifyReport, seconds: f64) -> Self {
        let VerifyReport {
            identity,
            head,
            link,
            segments,
            batches,
            records,
            bytes,
            events,
            boots,
            times,
            tail,
            head_slot_damaged,
            findings,
        } = report;
        let mut notes = Vec::new();
        if head_slot_damaged {
            notes.push("one slot of HEAD cannot be read; the other one stands in for it".to_owned());
        }
        let (tail, torn_bytes) = match tail {
            Tail::Clean => ("clean", 0),
            Tail::Torn { sign: _, offset, bytes } => {
                notes.push(format!(
                    "{bytes} bytes at byte {offset} of the last segment were torn by a crash and never acknowledged: \
                     the next start puts them into the quarantine"
                ));
                ("torn", bytes)
            }
            Tail::NewlineMissing => {
                notes.push("the last line lacks its newline: the next start adds it".to_owned());
                ("newline_missing", 0)
            }
            Tail::InUse => {
                notes.push("a running orchestrator writes to it: checked up to the durable head".to_owned());
                ("in_use", 0)
            }
        };
        Self {
            dir,
            ledger: identity.map(|identity| identity.ledger),
            whole: findings.is_empty(),
            head: HeadView {
                seq: link.seq.0,
                batch: link.batch,
                chain: (link.batch > 0).then_some(link.chain),
                epoch: head.map_or(boots, |head| head.epoch),
            },
            segments,
            batches,
            records,
            bytes,
            boots,
            first_at: times.map(|(first, _)| first),
            last_at: times.map(|(_, last)| last),
            events,
            tail,
            torn_bytes,
            notes,
            findings: findings.iter().map(FindingView::from).collect(),
            seconds,
        }
    }
}

impl View for VerifyView {
    fn table(&self, page: &Page) -> String {
        let whole = match self.whole {
            true => Cell::tinted("whole: every line, batch and link is right", Tint::Good),
            false => Cell::tinted("DAMAGED", Tint::Bad),
        };
        let rate = if self.seconds > 0.0 { self.bytes as f64 / self.seconds / 1e6 } else { 0.0 };
        let times = self.first_at.zip(self.last_at).map(|(first, last)| format!("{first} to {last}"));
        let counts = format!(
            "{} records in {} batches in {} segments, {} bytes ({:.1} s, {rate:.0} MB/s)",
            self.records, self.batches, self.segments, self.bytes, self.seconds
        );
        let mut pairs = vec![
            ("ledger", Cell::maybe(self.ledger.as_ref())),
            ("verdict", whole),
            ("checked", counts.into()),
            ("last seq", self.head.seq.into()),
            ("chain", Cell::maybe(self.head.chain.as_ref())),
            ("boots", self.boots.into()),
            ("times", Cell::maybe(times.as_ref())),
        ];
        pairs.extend(self.events.iter().map(|(name, count)| ("event", Cell::from(format!("{name} {count}")))));
        pairs.extend(self.notes.iter().map(|note| ("note", Cell::tinted(note, Tint::Warn))));
        for FindingView { file, line, offset, fault } in &self.findings {
            let place = if *line > 0 { format!("{file} line {line} (byte {offset})") } else { file.clone() };
            pairs.push(("finding", Cell::tinted(format!("{place}: {fault}"), Tint::Bad)));
        }
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        self.ledger.iter().cloned().collect()
    }
}

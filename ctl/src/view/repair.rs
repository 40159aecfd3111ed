//! What a repair of a ledger loses and keeps.

use std::collections::BTreeMap;

use orch_core::digest::Digest;
use orch_ledger::Link;
use orch_ledger::repair::{Loss, RepairPlan, Repaired, Tally};
use serde::Serialize;

use super::ledger::{FindingView, HeadView};
use crate::output::{Cell, Page, Tint, View, key_values};

/// A repair, planned or done.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RepairView {
    pub dir: String,
    /// The repaired copy; null if it was only planned.
    pub to: Option<String>,
    pub ledger: String,
    pub findings: Vec<FindingView>,
    pub kept: KeptView,
    pub lost: LostView,
    /// What HEAD names; null if it cannot be read.
    pub head: Option<HeadView>,
    /// Damaged ends, below the repaired copy.
    pub quarantined: Vec<String>,
    /// The repaired ledger's last record; null if it was only planned.
    pub repaired: Option<EndView>,
}

/// A last record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EndView {
    pub seq: u64,
    pub batch: u64,
    pub chain: Digest,
}

impl From<Link> for EndView {
    fn from(link: Link) -> Self {
        let Link { seq, batch, chain } = link;
        Self { seq: seq.0, batch, chain }
    }
}

/// What is kept.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeptView {
    pub seq: u64,
    pub batch: u64,
    pub chain: Digest,
    pub segments: usize,
    pub bytes: u64,
}

/// What is lost.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LostView {
    /// The first seq that is lost.
    pub from_seq: u64,
    /// The last record that HEAD names, if it is lost; null if none is, or if HEAD cannot be read.
    pub acknowledged_to_seq: Option<u64>,
    /// Lost records that were acknowledged for sure; null if HEAD cannot be read.
    pub acknowledged_records: Option<u64>,
    pub bytes: u64,
    pub unreadable_bytes: u64,
    /// Lines that are still readable, for information: no chain vouches for them.
    pub readable_records: u64,
    pub readable_seqs: Option<(u64, u64)>,
    pub readable_batches: Option<(u64, u64)>,
    pub jobs: u64,
    pub leases: u64,
    pub candidates: u64,
    pub completions: u64,
    pub events: BTreeMap<String, u64>,
    /// Files that are no part of the copy.
    pub left_behind: Vec<String>,
}

impl From<&Loss> for LostView {
    fn from(loss: &Loss) -> Self {
        let Loss { from, acknowledged_to, head_unknown, bytes, readable, unreadable_bytes, left_behind } = loss;
        let Tally { records, batches: _, seqs, numbers, events } = readable;
        let acknowledged = acknowledged_to.map_or(0, |to| to.0 + 1 - from.0);
        Self {
            from_seq: from.0,
            acknowledged_to_seq: acknowledged_to.map(|to| to.0),
            acknowledged_records: (!head_unknown).then_some(acknowledged),
            bytes: *bytes,
            unreadable_bytes: *unreadable_bytes,
            readable_records: *records,
            readable_seqs: seqs.map(|(low, high)| (low.0, high.0)),
            readable_batches: *numbers,
            jobs: readable.of("job_submitted"),
            leases: readable.of("lease_granted"),
            candidates: readable.of("candidate_accepted"),
            completions: readable.of("job_completed"),
            events: events.clone(),
            left_behind: left_behind.clone(),
        }
    }
}

impl RepairView {
    /// The view of a plan for the ledger in `dir`.
    pub fn new(dir: String, plan: &RepairPlan) -> Self {
        let RepairPlan { identity, head, kept, kept_bytes, segments, findings, loss, .. } = plan;
        let Link { seq, batch, chain } = *kept;
        Self {
            dir,
            to: None,
            ledger: identity.ledger.clone(),
            findings: findings.iter().map(FindingView::from).collect(),
            kept: KeptView { seq: seq.0, batch, chain, segments: segments.len(), bytes: *kept_bytes },
            lost: loss.into(),
            head: head.map(HeadView::from),
            quarantined: Vec::new(),
            repaired: None,
        }
    }

    /// The same, carried out.
    pub fn done(self, to: String, repaired: Repaired) -> Self {
        let Repaired { link, quarantined } = repaired;
        Self { to: Some(to), quarantined, repaired: Some(link.into()), ..self }
    }
}

impl LostView {
    fn acknowledged(&self) -> Cell {
        match (self.acknowledged_records, self.acknowledged_to_seq) {
            (None, _) => Cell::tinted("nobody can tell what was acknowledged: HEAD cannot be read", Tint::Bad),
            (Some(0), _) | (Some(_), None) => {
                Cell::tinted("nothing that HEAD names is lost; at most the one batch after it", Tint::Good)
            }
            (Some(records), Some(to)) => {
                let text = format!("{records} records (seq {} to {to}) that HEAD names as durable", self.from_seq);
                Cell::tinted(text, Tint::Bad)
            }
        }
    }

    fn readable(&self) -> String {
        let Self { readable_records, jobs, leases, candidates, completions, .. } = self;
        let mut text = format!(
            "{readable_records} records: {candidates} accepted candidates, {jobs} jobs, {leases} leases, {completions} \
             completions"
        );
        if let (Some((from, to)), Some((first, last))) = (self.readable_seqs, self.readable_batches) {
            text.push_str(&format!("; seq {from} to {to}, batch {first} to {last}"));
        }
        text
    }
}

impl View for RepairView {
    fn table(&self, page: &Page) -> String {
        let KeptView { seq, batch, chain: _, segments, bytes } = &self.kept;
        let mut pairs = vec![("ledger", Cell::from(format!("{} in {}", self.ledger, self.dir)))];
        for FindingView { file, line, offset, fault } in &self.findings {
            let place = if *line > 0 { format!("{file} line {line} (byte {offset})") } else { file.clone() };
            pairs.push(("finding", Cell::tinted(format!("{place}: {fault}"), Tint::Bad)));
        }
        pairs.push(("kept", format!("up to seq {seq} (batch {batch}), {segments} segments, {bytes} bytes").into()));
        pairs
            .push(("lost", format!("everything from seq {} on, {} bytes", self.lost.from_seq, self.lost.bytes).into()));
        pairs.push(("acknowledged", self.lost.acknowledged()));
        pairs.push(("readable", self.lost.readable().into()));
        pairs.push(("unreadable", format!("{} bytes", self.lost.unreadable_bytes).into()));
        for file in &self.lost.left_behind {
            pairs.push(("left behind", file.into()));
        }
        for file in &self.quarantined {
            pairs.push(("quarantine", file.into()));
        }
        if let (Some(to), Some(EndView { seq, batch: _, chain })) = (&self.to, &self.repaired) {
            pairs.push(("repaired", Cell::tinted(format!("{to}, recorded as seq {seq}"), Tint::Good)));
            pairs.push(("chain", chain.into()));
            let refused = "when one presents a receipt for what is lost, the orchestrator stops writing and names the \
                record; start it once with --accept-rollback and that seq";
            pairs.push(("workers", Cell::tinted(refused, Tint::Warn)));
            pairs.push(("next", format!("orchestrator --data {to}").into()));
        }
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        self.to.iter().cloned().collect()
    }
}

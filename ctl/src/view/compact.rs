//! What a data set came to.

use orch_compactor::{ContractCount, Summary};
use orch_core::digest::Digest;
use serde::Serialize;

use crate::output::{Cell, Page, Tint, View, key_values};

/// What a data set came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CompactView {
    /// The file; `-` for standard output.
    pub out: String,
    pub ledger: Option<String>,
    /// The last record that was taken into account, its batch, and the link that stands for everything before it.
    pub seq: u64,
    pub batch: u64,
    pub chain: Digest,
    pub records: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
    /// Candidates in the file.
    pub written: u64,
    pub bytes: u64,
    pub contracts: Vec<ContractCount>,
    pub seconds: f64,
}

impl CompactView {
    /// The view of what was written to `out`.
    pub fn new(out: String, summary: Summary, seconds: f64) -> Self {
        let Summary {
            ledger,
            seq,
            batch,
            chain,
            records,
            accepted,
            duplicates,
            rejected,
            written,
            bytes,
            contracts,
            spilled_runs: _,
        } = summary;
        Self {
            out,
            ledger,
            seq: seq.0,
            batch,
            chain,
            records,
            accepted,
            duplicate: duplicates,
            rejected,
            written,
            bytes,
            contracts,
            seconds,
        }
    }
}

impl View for CompactView {
    fn table(&self, page: &Page) -> String {
        let Self { out, seq, batch, chain, records, accepted, duplicate, rejected, written, bytes, seconds, .. } = self;
        let mut pairs = vec![
            ("records", Cell::from(format!("{records}, up to seq {seq} (batch {batch})"))),
            ("chain", Cell::tinted(format!("verified, {chain}"), Tint::Good)),
            ("candidates", format!("{accepted} accepted, {duplicate} duplicate, {rejected} rejected").into()),
        ];
        for ContractCount { contract, written } in &self.contracts {
            pairs.push(("contract", format!("{contract}: {written} written").into()));
        }
        pairs.push(("written", format!("{written} candidates, {bytes} bytes, to {out} in {seconds:.1} s").into()));
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.out.clone()]
    }
}

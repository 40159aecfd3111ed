//! The counts, for people and for programs.

use std::fmt::Write as _;
use std::path::Path;

use orch_compactor::Summary;
use serde_json::{Value, json};

use crate::args::{Format, Report};
use crate::size;

/// What is told at the end.
pub struct Told<'a> {
    /// What was read and written.
    pub summary: &'a Summary,
    /// Where it was written to.
    pub out: &'a Path,
    /// How.
    pub format: Format,
    /// How long it took, in seconds.
    pub seconds: f64,
}

impl Told<'_> {
    /// The counts as text, with a newline at the end.
    pub fn text(&self, report: Report) -> String {
        match report {
            Report::Table => self.table(),
            Report::Json => format!("{}\n", self.json()),
        }
    }

    fn table(&self) -> String {
        let Summary { seq, batch, chain, records, accepted, duplicates, rejected, written, bytes, contracts, .. } =
            self.summary;
        let mut text = String::new();
        let mut row = |name: &str, value: String| {
            // Writing into a String cannot fail.
            let _ = writeln!(text, "{name:<11} {value}");
        };
        row("records", format!("{records}, up to seq {seq} (batch {batch})"));
        row("chain", format!("verified, {chain}"));
        row("candidates", format!("{accepted} accepted, {duplicates} duplicate, {rejected} rejected"));
        for count in contracts {
            row("contract", format!("{}: {} written", count.contract, count.written));
        }
        let to = if self.out == Path::new("-") { "standard output".to_owned() } else { self.out.display().to_string() };
        row("written", format!("{written} candidates, {}, to {to} in {:.1} s", size::show(*bytes), self.seconds));
        text
    }

    fn json(&self) -> Value {
        let mut value = serde_json::to_value(self.summary).unwrap_or_default();
        value["out"] = json!(self.out.display().to_string());
        value["format"] = json!(match self.format {
            Format::Jsonl => "jsonl",
            Format::Parquet => "parquet",
        });
        value["seconds"] = json!(self.seconds);
        value
    }
}

#[cfg(test)]
mod tests {
    use orch_compactor::ContractCount;
    use orch_core::digest::Digest;
    use orch_core::id::Seq;

    use super::*;

    #[test]
    fn the_counts_are_told_in_a_few_lines() {
        let count = ContractCount { contract: "zeros@1".parse().unwrap(), written: 4 };
        let summary = Summary {
            seq: Seq(20),
            batch: 9,
            chain: Digest::default(),
            records: 20,
            accepted: 4,
            duplicates: 1,
            rejected: 2,
            written: 4,
            bytes: 2048,
            contracts: vec![count],
            ..Summary::default()
        };
        let told = Told { summary: &summary, out: Path::new("out.jsonl"), format: Format::Jsonl, seconds: 0.25 };
        let zeros = "0".repeat(64);
        assert_eq!(
            told.text(Report::Table),
            format!(
                "records     20, up to seq 20 (batch 9)\n\
                 chain       verified, {zeros}\n\
                 candidates  4 accepted, 1 duplicate, 2 rejected\n\
                 contract    zeros@1: 4 written\n\
                 written     4 candidates, 2.00 KiB, to out.jsonl in 0.2 s\n"
            )
        );
        let json: Value = serde_json::from_str(&told.text(Report::Json)).unwrap();
        assert_eq!((&json["written"], &json["seq"], &json["format"]), (&json!(4), &json!(20), &json!("jsonl")));
        assert_eq!(json["contracts"], json!([{"contract": "zeros@1", "written": 4}]));
    }
}

//! Where everything lies in a data directory.

use orch_core::id::Seq;

/// Locked by the process that writes; its text (process, host, epoch) is information only.
pub const LOCK: &str = "LOCK";
/// Which ledger this is, and the version of its format.
pub const LEDGER_ID: &str = "LEDGER_ID";
/// [`LEDGER_ID`] before it is complete.
pub const LEDGER_ID_TMP: &str = "LEDGER_ID.tmp";
/// The secret of the data directory: 64 hex digits, for its owner alone. By it receipts and sessions are known again.
pub const SECRET: &str = "SECRET";
/// [`SECRET`] before it is complete.
pub const SECRET_TMP: &str = "SECRET.tmp";
/// The witness of the last durable batch.
pub const HEAD: &str = "HEAD";
/// The segments.
pub const LEDGER: &str = "ledger";
/// The next segment, before it has its name.
pub const NEXT_TMP: &str = "ledger/next.tmp";
/// What was cut off a torn segment.
pub const QUARANTINE: &str = "quarantine";

/// The name of the segment whose first record is `first`, below the data directory.
pub fn segment(first: Seq) -> String {
    format!("{LEDGER}/{:020}.jsonl", first.0)
}

/// The first seq that a file name in [`LEDGER`] stands for. `None` for a file that is no segment.
pub fn segment_seq(file_name: &str) -> Option<Seq> {
    let digits = file_name.strip_suffix(".jsonl")?;
    if digits.len() != 20 || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().filter(|seq| *seq > 0).map(Seq)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_named_by_its_first_seq() {
        assert_eq!(segment(Seq(42)), "ledger/00000000000000000042.jsonl");
        assert_eq!(segment_seq("00000000000000000042.jsonl"), Some(Seq(42)));
        for bad in ["42.jsonl", "0000000000000000042x.jsonl", "00000000000000000000.jsonl", "next.tmp", ""] {
            assert_eq!(segment_seq(bad), None, "{bad}");
        }
    }
}

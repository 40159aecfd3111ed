//! What a run on this machine came to.

use orch_core::digest::Digest;
use orch_local::{Ended, Progress, RunResult, Summary};
use serde::Serialize;

use crate::output::{Cell, Page, Tint, View, key_values};

/// What a run on this machine came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct LocalRunView {
    /// `done`, `failed` or `interrupted`.
    pub ended: &'static str,
    pub file: String,
    pub data: String,
    pub out: String,
    pub workers: usize,
    pub seconds: f64,
    /// Jobs of the manifest, and how many of them an earlier run had submitted.
    pub jobs: u64,
    pub jobs_existed: u64,
    /// Jobs of the ledger.
    pub jobs_open: u64,
    pub jobs_done: u64,
    pub jobs_failed: u64,
    pub jobs_cancelled: u64,
    pub accepted: u64,
    pub duplicate: u64,
    pub rejected: u64,
    /// Over this run.
    pub accepted_per_second: f64,
    /// What was verified and written; null if the run was interrupted.
    pub result: Option<ResultView>,
}

/// What was verified and written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ResultView {
    /// Records and bytes of the ledger, all verified.
    pub records: u64,
    pub ledger_bytes: u64,
    pub seq: u64,
    /// The link that stands for every byte of the ledger.
    pub chain: Digest,
    /// Candidates in the file.
    pub written: u64,
}

impl From<RunResult> for ResultView {
    fn from(result: RunResult) -> Self {
        let RunResult { records, ledger_bytes, seq, chain, written } = result;
        Self { records, ledger_bytes, seq: seq.0, chain, written }
    }
}

impl LocalRunView {
    /// The view of a run of `file` with its data in `data`.
    pub fn new(file: String, data: String, out: String, workers: usize, summary: Summary) -> Self {
        let Summary { ended, progress, jobs, jobs_existed, result, elapsed } = summary;
        let Progress { open, done, failed, cancelled, accepted, duplicate, rejected, accepted_per_second, .. } =
            progress;
        Self {
            ended: match ended {
                Ended::Done => "done",
                Ended::Failed => "failed",
                Ended::Interrupted => "interrupted",
            },
            file,
            data,
            out,
            workers,
            seconds: elapsed.as_secs_f64(),
            jobs,
            jobs_existed,
            jobs_open: open,
            jobs_done: done,
            jobs_failed: failed,
            jobs_cancelled: cancelled,
            accepted,
            duplicate,
            rejected,
            accepted_per_second,
            result: result.map(Into::into),
        }
    }
}

impl View for LocalRunView {
    fn table(&self, page: &Page) -> String {
        let Self { ended, seconds, workers, jobs, jobs_existed, jobs_done, jobs_failed, jobs_open, .. } = self;
        let tint = match *ended {
            "done" => Tint::Good,
            "failed" => Tint::Bad,
            _ => Tint::Warn,
        };
        let known = if *jobs_existed > 0 { format!(" ({jobs_existed} from an earlier run)") } else { String::new() };
        let candidates = format!(
            "{} accepted ({:.0}/s), {} duplicate, {} rejected",
            self.accepted, self.accepted_per_second, self.duplicate, self.rejected
        );
        let mut pairs = vec![
            ("run", Cell::tinted(format!("{ended} after {seconds:.1} s with {workers} workers"), tint)),
            ("jobs", format!("{jobs} in the manifest{known}").into()),
            (
                "",
                format!("{jobs_done} done, {jobs_failed} failed, {} cancelled, {jobs_open} open", self.jobs_cancelled)
                    .into(),
            ),
            ("candidates", candidates.into()),
        ];
        if let Some(ResultView { records, ledger_bytes, seq, chain, written }) = &self.result {
            let ledger = format!("{}: whole, {records} records, {ledger_bytes} bytes, last seq {seq}", self.data);
            pairs.push(("ledger", ledger.into()));
            pairs.push(("chain", Cell::tinted(chain, Tint::Dim)));
            pairs.push(("data set", format!("{}: {written} candidates, clean and sorted", self.out).into()));
        } else {
            pairs.push(("ledger", Cell::from(&self.data)));
        }
        key_values(page, &pairs)
    }

    fn names(&self) -> Vec<String> {
        vec![self.out.clone()]
    }
}

//! What an import of jobs came to.

use serde::Serialize;

use crate::output::{Page, View};

/// A line that did not become a job.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LineError {
    /// From 1.
    pub line: u64,
    /// A stable word: `INVALID_LINE` if it was never sent, otherwise the server's reason.
    pub reason: String,
    pub message: String,
}

/// What an import came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ImportView {
    pub file: String,
    /// Lines that hold something.
    pub lines: u64,
    /// New jobs.
    pub submitted: u64,
    /// Jobs that were there from an earlier import.
    pub existed: u64,
    /// Lines that did not become a job.
    pub refused: u64,
    /// The first of them, at most 100.
    pub errors: Vec<LineError>,
    pub seconds: f64,
    /// The last durable record that speaks of the import.
    pub seq: Option<u64>,
}

impl View for ImportView {
    fn table(&self, _page: &Page) -> String {
        let Self { file, lines, submitted, existed, refused, errors: _, seconds, seq: _ } = self;
        let rate = if *seconds > 0.0 { *lines as f64 / seconds } else { 0.0 };
        format!(
            "{file}: {lines} lines in {seconds:.1} s ({rate:.0}/s): {submitted} submitted, {existed} known before, \
             {refused} refused"
        )
    }

    /// An import has no ids to name: it may have millions.
    fn names(&self) -> Vec<String> {
        Vec::new()
    }
}

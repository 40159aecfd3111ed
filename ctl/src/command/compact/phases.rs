//! A bar for each phase of a compaction.

use orch_compactor::Progress;

use crate::progress::{Bar, Bars, Unit};

/// Shows one bar while the ledger is read, and another while the data set is written.
#[derive(Debug)]
pub struct Phases {
    bars: Bars,
    reading: Option<Bar>,
    writing: Option<Bar>,
}

impl Phases {
    /// Nothing shown yet.
    pub fn new(bars: Bars) -> Self {
        Self { bars, reading: None, writing: None }
    }

    /// Shows how far it is.
    pub fn show(&mut self, progress: Progress) {
        let (bar, done, total) = match progress {
            Progress::Reading { done, total } => {
                let bar = self.reading.get_or_insert_with(|| self.bars.start("read", Some(total), Unit::Bytes));
                (bar, done, total)
            }
            Progress::Writing { done, total } => {
                self.reading = None;
                let bar = self.writing.get_or_insert_with(|| self.bars.start("write", Some(total), Unit::Things));
                (bar, done, total)
            }
        };
        bar.set_total(total);
        bar.set(done);
    }
}

//! The progress bar, on a terminal only.

use std::io::{IsTerminal as _, stderr};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use orch_compactor::Progress;

/// One bar for reading, then one for writing.
pub struct Bar {
    bar: ProgressBar,
    phase: Option<&'static str>,
}

impl Bar {
    /// A bar that shows itself if it is wanted and standard error is a terminal.
    pub fn new(wanted: bool) -> Self {
        let target =
            if wanted && stderr().is_terminal() { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { bar: ProgressBar::with_draw_target(Some(0), target), phase: None }
    }

    /// Shows how far the work has come.
    pub fn show(&mut self, progress: Progress) {
        let (phase, counts, done, total) = match progress {
            Progress::Reading { done, total } => ("reading", "{bytes}/{total_bytes} {bytes_per_sec}", done, total),
            Progress::Writing { done, total } => ("writing", "{human_pos}/{human_len} {per_sec}", done, total),
        };
        if self.phase != Some(phase) {
            self.phase = Some(phase);
            self.bar.reset();
            let template = format!("{phase} [{{bar:32}}] {counts} ETA {{eta}}");
            // The template is ours and well-formed; were it not, the default one would do.
            if let Ok(style) = ProgressStyle::with_template(&template) {
                self.bar.set_style(style.progress_chars("=> "));
            }
        }
        self.bar.set_length(total);
        self.bar.set_position(done);
    }

    /// Takes the bar away.
    pub fn end(&self) {
        self.bar.finish_and_clear();
    }
}

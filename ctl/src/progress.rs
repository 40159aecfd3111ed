//! Progress bars on standard error, only on a terminal, gone when the command ends, however it ends.

use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

/// The bars of one command.
#[derive(Clone, Debug)]
pub struct Bars {
    all: MultiProgress,
    visible: bool,
}

/// What a bar counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Things: jobs, lines, candidates.
    Things,
    /// Bytes.
    Bytes,
    /// Things, with everything about them in the word beside the bar.
    Told,
}

/// A bar that vanishes when it is dropped.
#[derive(Debug)]
pub struct Bar {
    bar: ProgressBar,
}

impl Bars {
    /// Visible bars, or ones that are never drawn.
    pub fn new(visible: bool) -> Self {
        let target = if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        Self { all: MultiProgress::with_draw_target(target), visible }
    }

    /// A bar up to `total`, or a spinner if nobody knows the end.
    pub fn start(&self, what: &str, total: Option<u64>, unit: Unit) -> Bar {
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let bar = self.all.add(bar);
        let template = match (total.is_some(), unit) {
            (true, Unit::Things) => "{prefix} {bar:30} {human_pos}/{human_len} {rate} {elapsed} eta {eta} {wide_msg}",
            (true, Unit::Bytes) => "{prefix} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {wide_msg}",
            (true, Unit::Told) => "{prefix} {bar:20} {human_pos}/{human_len} {elapsed} {wide_msg}",
            (false, Unit::Told) => "{spinner} {prefix} {human_pos} {elapsed} {wide_msg}",
            (false, Unit::Things) => "{spinner} {prefix} {human_pos} {rate} {elapsed} {wide_msg}",
            (false, Unit::Bytes) => "{spinner} {prefix} {bytes} {bytes_per_sec} {elapsed} {wide_msg}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            bar.set_style(style.with_key("rate", rate).progress_chars("=> "));
        }
        bar.set_prefix(what.to_owned());
        bar.enable_steady_tick(Duration::from_millis(200));
        Bar { bar }
    }

    /// Whether anybody sees them.
    pub fn visible(&self) -> bool {
        self.visible
    }

    /// Does something that writes to the terminal, with the bars out of its way.
    pub fn suspend<T>(&self, write: impl FnOnce() -> T) -> T {
        self.all.suspend(write)
    }

    /// Takes every bar off the terminal for good: the command was interrupted.
    pub fn clear(&self) {
        // An error here means that the terminal is gone; so are the bars.
        let _ = self.all.clear();
        self.all.set_draw_target(ProgressDrawTarget::hidden());
    }
}

impl Bar {
    /// So far when it began: what was done before counts for no rate.
    pub fn begin_at(&self, position: u64) {
        self.bar.set_position(position);
        self.bar.reset_eta();
    }

    /// So far.
    pub fn set(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// So much more.
    pub fn add(&self, delta: u64) {
        self.bar.inc(delta);
    }

    /// Up to here, as is known now.
    pub fn set_total(&self, total: u64) {
        self.bar.set_length(total);
    }

    /// A word beside it.
    pub fn say(&self, text: impl Into<String>) {
        self.bar.set_message(text.into());
    }
}

/// Things a second, without decimals that mean nothing.
fn rate(state: &ProgressState, text: &mut dyn std::fmt::Write) {
    // A bar that cannot be written is not worth an error.
    let _ = write!(text, "{:.0}/s", state.per_sec());
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

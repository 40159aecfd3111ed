//! What every command has at hand: settings, standard output in the asked format, notes, progress, the clock.

use std::io::IsTerminal as _;
use std::time::SystemTime;

use orch_core::time::Timestamp;

use crate::args::{Color, Format};
use crate::connect::Client;
use crate::exit::Failure;
use crate::output::{self, Page, View};
use crate::progress::Bars;
use crate::settings::Settings;

/// What every command has at hand.
#[derive(Debug)]
pub struct Context {
    pub settings: Settings,
    pub bars: Bars,
}

impl Context {
    /// For these settings.
    pub fn new(settings: Settings) -> Self {
        let bars = Bars::new(!settings.quiet.value && std::io::stderr().is_terminal());
        Self { settings, bars }
    }

    /// The wall clock. Only for ages and for turning "2h ago" into a time: nothing is decided by it.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }

    /// The asked format, or this command's own.
    pub fn format_or(&self, default: Format) -> Format {
        self.settings.output.value.unwrap_or(default)
    }

    /// What tables depend on.
    pub fn page(&self) -> Page {
        let color = match self.settings.color.value {
            Color::Always => true,
            Color::Never => false,
            Color::Auto => std::io::stdout().is_terminal(),
        };
        Page { now: self.now(), color }
    }

    /// Prints a result.
    ///
    /// # Errors
    /// As [`output::emit`].
    pub fn print<V: View>(&self, view: &V) -> Result<(), Failure> {
        let text = output::render(view, self.format_or(Format::Table), &self.page())?;
        self.bars.suspend(|| output::emit(&text))
    }

    /// Says something beside the result, on standard error; nothing with --quiet.
    pub fn note(&self, text: &str) {
        if !self.settings.quiet.value {
            self.complain(text);
        }
    }

    /// Says something on standard error even with --quiet: part of an error.
    #[allow(clippy::print_stderr)]
    pub fn complain(&self, text: &str) {
        self.bars.suspend(|| eprintln!("{text}"));
    }

    /// The server.
    ///
    /// # Errors
    /// If none answers.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let Settings { token, .. } = &self.settings;
        Client::connect(&self.settings.dial()?, &token.value, self.settings.call_timeout()).await
    }
}

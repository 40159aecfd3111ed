//! `orchctl config`.

use crate::args::ConfigCommand;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::SettingsView;

/// Shows the settings. That they can be understood was checked before any command starts.
pub fn run(context: &Context, command: &ConfigCommand) -> Result<Exit, Failure> {
    let view = SettingsView::from(&context.settings);
    match command {
        ConfigCommand::Show => context.print(&view)?,
        ConfigCommand::Check => context.note("the settings can be understood"),
    }
    Ok(Exit::Done)
}

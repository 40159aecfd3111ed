//! What each command does, one idea a file. A command reads its input, asks the server or a file, and prints a view.

mod backup;
mod cert;
mod compact;
mod completion;
mod config;
mod contract;
mod doctor;
mod drain;
mod enqueue;
mod import;
mod input;
mod job;
mod ledger;
mod legacy;
mod limit;
mod local;
mod queue;
mod restore;
mod retries;
mod retry;
mod schedule;
mod state;
mod stats;
mod submit;
mod token;
mod top;
mod worker;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory as _, FromArgMatches as _};

use crate::args::{Cli, Command};
use crate::context::Context;
use crate::exit::{Exit, Failure, report};
use crate::settings::{Environment, Settings};

/// Runs the command that these arguments ask for, and says how it ended.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let parsed = Cli::command().try_get_matches_from(args).and_then(|matches| {
        let cli = Cli::from_arg_matches(&matches)?;
        Ok((cli, matches))
    });
    let (cli, matches) = match parsed {
        Ok(parsed) => parsed,
        Err(error) => {
            // Help and usage errors. If they cannot be written nobody is there to be told.
            let _ = error.print();
            return if error.use_stderr() { Exit::Usage } else { Exit::Done }.into();
        }
    };
    let settings = match Settings::resolve(&cli.global, &matches, &Environment::of_process()) {
        Ok(settings) => settings,
        Err(failure) => return complain(&failure),
    };
    let context = Context::new(settings);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return complain(&Failure::error("cannot start the runtime").because(error)),
    };
    let ended = runtime.block_on(async {
        match cli.command {
            // It stops in order, and so hears the signals itself.
            Command::Local(command) => local::run(&context, command).await,
            command => until_interrupted(&context, dispatch(&context, command)).await,
        }
    });
    // Threads that read a file or a terminal do not hold up the end.
    runtime.shutdown_background();
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => complain(&failure),
    }
}

/// Ctrl-C drops the command where it is, and its bars with it.
async fn until_interrupted(
    context: &Context,
    command: impl Future<Output = Result<Exit, Failure>>,
) -> Result<Exit, Failure> {
    tokio::select! {
        ended = command => ended,
        Ok(()) = tokio::signal::ctrl_c() => {
            context.bars.clear();
            Ok(Exit::Interrupted)
        }
    }
}

#[allow(clippy::print_stderr)]
fn complain(failure: &Failure) -> ExitCode {
    let text = report(failure);
    if !text.is_empty() {
        eprintln!("{text}");
    }
    failure.exit.into()
}

async fn dispatch(context: &Context, command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Local(command) => local::run(context, command).await,
        Command::Submit(args) => submit::run(context, &args).await,
        Command::Enqueue(args) => enqueue::run(context, *args).await,
        Command::Import(args) => import::run(context, args).await,
        Command::Run(args) => drain::run(context, &args).await,
        Command::Stats(args) => stats::run(context, &args).await,
        Command::Top(args) => top::run(context, &args).await,
        Command::RetryFailed(args) => retry::run(context, args).await,
        Command::Job(command) => job::run(context, command).await,
        Command::Queue(command) => queue::run(context, command).await,
        Command::Limit(command) => limit::run(context, command).await,
        Command::Schedule(command) => schedule::run(context, command).await,
        Command::Token(command) => token::run(context, command).await,
        Command::Audit(args) => token::audit(context, args).await,
        Command::Whoami => token::whoami(context).await,
        Command::Retries(command) => retries::run(context, command).await,
        Command::Worker(command) => worker::run(context, command).await,
        Command::Contract(command) => contract::run(context, command).await,
        Command::Ledger(command) => ledger::run(context, command).await,
        Command::Backup(args) => backup::run(context, args).await,
        Command::Restore(args) => restore::run(context, args).await,
        Command::State(command) => state::run(context, command).await,
        Command::ImportLegacy(args) => legacy::run(context, args).await,
        Command::Compact(args) => compact::run(context, args).await,
        Command::Cert(command) => cert::run(context, command),
        Command::Config(command) => config::run(context, &command),
        Command::Doctor => doctor::run(context).await,
        Command::Completion(args) => completion::run(&args),
    }
}

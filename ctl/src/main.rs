//! `orchctl`, the command line of an Orch cluster.
//!
//! `args` says what can be asked, `settings` what is in force, `command` does it (one idea a file), `view` is what
//! comes out (the stable JSON shapes), `output` writes it in the asked format. Wire values become views in `view`
//! and nowhere else; the core judges contracts and reads manifests, so that nothing is decided twice.

mod args;
mod command;
mod connect;
mod context;
mod exit;
mod output;
mod progress;
mod settings;
mod view;

use std::process::ExitCode;

/// As the orchestrator, which runs in this process for `local run`.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // `local run` starts jobs, each below a supervisor, which is this program again.
    if let Some(ended) = orch_local::take_over() {
        return ended;
    }
    command::run(std::env::args_os())
}

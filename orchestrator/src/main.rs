//! The `orchestrator` command.

use std::process::ExitCode;

use anyhow::Context as _;
use clap::Parser as _;
use orch_orchestrator::config::{self, Args, OrchestratorConfig};
use orch_orchestrator::serve;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// See `Cargo.toml` for why.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match run(Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("orchestrator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: Args) -> anyhow::Result<()> {
    let print = args.print_config;
    let config = args.resolve()?;
    if print {
        println!("{}", serde_json::to_string_pretty(&config.to_json())?);
        return Ok(());
    }
    config::install_logging(&config).context("failed to open the log file: name another one with --log-file")?;
    raise_open_files();
    let runtime = tokio::runtime::Runtime::new().context("failed to start the runtime")?;
    let served = runtime.block_on(serve(config));
    // A call that hangs in a disk must not hold the process: everything that matters is closed.
    runtime.shutdown_background();
    served
}

/// Every worker is a connection, and many systems allow a process 1,024 open files unless it asks for what it may have.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }) {
        tracing::warn!(%error, ?current, "the number of open files, and with it of workers, stays limited");
    }
}

async fn serve(config: OrchestratorConfig) -> anyhow::Result<()> {
    let drain = config.drain;
    let data = config.data.clone();
    let mut signals = Signals::new().context("failed to listen for signals")?;
    // From now on it does not end the process.
    let mut reload = signal(SignalKind::hangup()).context("failed to listen for signals")?;
    let mut running = tokio::select! {
        started = serve::start(config) => started?,
        // Nothing was acknowledged yet: the replay can be given up at any point.
        name = signals.next() => {
            eprintln!("orchestrator: {name} during the start: it ends at once");
            return Ok(());
        }
    };
    let serve::Started { ledger: _, epoch: _, seq, open_jobs, replayed_in } = running.started();
    eprintln!(
        "orchestrator: listening on {}, data in {}, ledger at record {seq} (replayed in {replayed_in}), {open_jobs} open jobs",
        running.local_addr(),
        data.display(),
    );
    let mut drained = std::pin::pin!(running.drained());
    loop {
        tokio::select! {
            name = signals.next() => eprintln!("orchestrator: {name}: stopping; a second one ends it at once"),
            _ = reload.recv() => {
                running.reload_certificates();
                continue;
            }
            ended = running.failed() => ended?,
            () = &mut drained, if drain => eprintln!("orchestrator: nothing is open any more: stopping"),
        }
        break;
    }
    tokio::select! {
        stopped = running.stop() => stopped?,
        name = signals.next() => anyhow::bail!("a second signal ({name}): ended at once; nothing acknowledged is lost"),
    }
    eprintln!("orchestrator: stopped");
    Ok(())
}

/// SIGTERM and Ctrl-C.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    /// Never waited for. Somebody listens to it, so that a write beyond the largest allowed size of a file (`ulimit -f`)
    /// is refused like one to a full disk, which the engine knows how to wait out, instead of killing the process.
    _file_too_large: Signal,
}

impl Signals {
    fn new() -> std::io::Result<Self> {
        let file_too_large = SignalKind::from_raw(rustix::process::Signal::XFSZ.as_raw());
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _file_too_large: signal(file_too_large)?,
        })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "Ctrl-C",
        }
    }
}

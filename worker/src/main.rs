//! The `worker` program: flags and environment in, exit code out.

use std::io::{IsTerminal as _, Write as _};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Parser, Subcommand, ValueEnum};
use orch_core::access::Secret;
use orch_core::id::WorkerId;
use orch_core::resource::{Pool, PoolError, ResourceName};
use orch_core::text::one_line;
use orch_proto::credentials::{self, TokenError};
use orch_transport::ClientTls;
use orch_worker::config::Server;
use orch_worker::config::file::{self, LogFormat};
use orch_worker::config::merge::{Effective, Settings, merge};
use orch_worker::{CancellationToken, WorkerError, hardware, supervise};
use tracing::{info, warn};

/// Leases jobs from an Orch orchestrator, computes them, and streams the results back.
#[derive(Parser)]
#[command(name = "worker", version, about, after_long_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Option<Command>,
}

const EXAMPLES: &str = "\
Examples:
  Mine zeta zeros with two jobs at once, for an orchestrator on this machine:
    worker --server http://127.0.0.1:50051 --slots 2

  Over TLS, with a certificate of its own:
    worker --server https://orch.example.org:50051 --tls-ca ca.pem --tls-cert worker.pem --tls-key worker-key.pem

  Run your own programs: write them into a file, check it, start:
    cat > worker.yaml <<END
    server: https://orch.example.org:50051
    kinds:
      thumbs: {runner: command, argv: [python3, thumbs.py], timeout: 60s}
      model:  {runner: serve, argv: [python3, model.py], start_timeout: 5m}
    END
    worker config check --config worker.yaml
    worker --config worker.yaml --name gpu-7

  What a worker would tell of this machine:
    worker hwdetect

  Offer two FPGAs and half of the GPUs, for the four hours that a batch system gives:
    worker --server http://orch:50051 --resource 'fpga=sum(2)' --resource 'gpus=range(0-1)' --time-limit 4h

A flag goes before its environment variable, that before the file. Ctrl-C or SIGTERM drains: no more jobs are leased,
running ones may finish within --grace, the rest is given back without charge. A second signal ends at once.

Exit codes: 0 drained or idle for --idle-timeout, 1 error, 2 usage, 8 no orchestrator within --give-up-after.
How to write a runner: docs/runners.md";

#[derive(clap::Args)]
struct Flags {
    /// Where the orchestrator is; several addresses are tried in turn
    #[arg(long, env = "ORCH_SERVER", value_name = "URL[,URL]", value_delimiter = ',', global = true)]
    server: Vec<Server>,
    /// The authorities of the orchestrator's certificate, as PEM [default: those that this machine trusts]
    #[arg(long, env = "ORCH_TLS_CA", value_name = "FILE", global = true)]
    tls_ca: Option<PathBuf>,
    /// The certificate that this worker shows, as PEM
    #[arg(long, env = "ORCH_TLS_CERT", value_name = "FILE", global = true)]
    tls_cert: Option<PathBuf>,
    /// Its key, as PEM
    #[arg(long, env = "ORCH_TLS_KEY", value_name = "FILE", global = true)]
    tls_key: Option<PathBuf>,
    /// The name in the orchestrator's certificate, if it is not the one in the address
    #[arg(long, env = "ORCH_TLS_DOMAIN", value_name = "NAME", global = true)]
    tls_domain: Option<String>,
    /// Jobs at once [default: the number of CPUs]
    #[arg(long, env = "ORCH_WORKER_SLOTS", value_name = "N", global = true)]
    slots: Option<NonZeroUsize>,
    /// YAML file: which kinds of jobs this worker runs, and how [default: the built-in kinds]
    #[arg(long, env = "ORCH_WORKER_CONFIG", value_name = "FILE", global = true)]
    config: Option<PathBuf>,
    /// The worker's name, the only one of this name [default: host name and process number]
    #[arg(long, env = "ORCH_WORKER_NAME", value_name = "NAME", global = true)]
    name: Option<WorkerId>,
    /// How long running jobs may finish when the worker drains [default: 30s]
    #[arg(long, env = "ORCH_WORKER_GRACE", value_name = "TIME", value_parser = time, global = true)]
    grace: Option<Duration>,
    /// What it has, such as fpga=sum(2), gpus=range(0-3) or nic=[a,b]; may be given several times
    /// [default: cpus, mem and gpus as found]
    #[arg(long = "resource", value_name = "NAME=WHAT", value_parser = resource, global = true)]
    resources: Vec<(ResourceName, Pool)>,
    /// A label that jobs may ask for, such as zone=eu; may be given several times
    #[arg(long = "label", value_name = "LABEL=VALUE", value_parser = label, global = true)]
    labels: Vec<(String, String)>,
    /// Drain after so long; jobs that need more time than is left go elsewhere [default: work for ever]
    #[arg(long, env = "ORCH_WORKER_TIME_LIMIT", value_name = "TIME", value_parser = time, global = true)]
    time_limit: Option<Duration>,
    /// Leave, with exit code 0, after so long without anything to do [default: wait for ever]
    #[arg(long, env = "ORCH_WORKER_IDLE_TIMEOUT", value_name = "TIME", value_parser = time, global = true)]
    idle_timeout: Option<Duration>,
    /// End with exit code 8 when no orchestrator answers for so long [default: try for ever]
    #[arg(long, env = "ORCH_WORKER_GIVE_UP_AFTER", value_name = "TIME", value_parser = time, global = true)]
    give_up_after: Option<Duration>,
    /// A file with the token to show; it is read again when it changes. Or put the token into ORCH_TOKEN
    #[arg(long, env = "ORCH_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// An OpenTelemetry collector (OTLP/gRPC) that gets the spans of runs, of jobs that the orchestrator traces
    #[arg(long, env = "ORCH_OTLP_ENDPOINT", value_name = "URL", global = true)]
    otlp_endpoint: Option<Server>,
    /// Which log lines: error, warn, info, debug, trace, or by module [default: info]
    #[arg(long, env = "ORCH_LOG", value_name = "LEVEL", global = true)]
    log_level: Option<String>,
    /// How log lines look, on standard error [default: text]
    #[arg(long, env = "ORCH_WORKER_LOG_FORMAT", value_name = "FORMAT", global = true)]
    log_format: Option<LogFormat>,
}

#[derive(Subcommand)]
enum Command {
    /// Show what this machine has, as the orchestrator would be told
    Hwdetect {
        /// How to write it
        #[arg(short, long, value_name = "FORMAT", default_value = "text")]
        output: Format,
    },
    /// Show or check the settings in force
    #[command(subcommand)]
    Config(ConfigCommand),
}

#[derive(Clone, Copy, ValueEnum)]
enum Format {
    Text,
    Json,
}

#[derive(Clone, Copy, Subcommand)]
enum ConfigCommand {
    /// Print the settings in force as YAML that can be used as a file
    Show,
    /// Say whether the settings are sound; every fault is listed
    Check,
}

fn resource(text: &str) -> Result<(ResourceName, Pool), String> {
    let (name, pool) = text.split_once('=').ok_or_else(|| format!("{text:?} has no =: write it like fpga=sum(2)"))?;
    let name = ResourceName::new(name).map_err(|error| error.to_string())?;
    Ok((name, pool.parse().map_err(|error: PoolError| error.to_string())?))
}

fn label(text: &str) -> Result<(String, String), String> {
    let pair = text.split_once('=').filter(|(label, value)| !label.is_empty() && !value.is_empty());
    let (label, value) = pair.ok_or_else(|| format!("{text:?} is not a label: write it like zone=eu"))?;
    Ok((label.to_owned(), value.to_owned()))
}

fn time(text: &str) -> Result<Duration, String> {
    text.parse::<orch_core::time::Span>().map(orch_core::time::Span::duration)
}

/// Settings that are no good: exit code 2.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);

fn main() -> ExitCode {
    if let Some(ended) = supervise::take_over() {
        return ended;
    }
    let Cli { flags, command } = Cli::parse();
    let result = match command {
        Some(Command::Hwdetect { output }) => hwdetect(output),
        Some(Command::Config(command)) => settings(flags).and_then(|settings| config(command, &settings)),
        None => settings(flags).and_then(work),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("worker: {error:#}");
            let unreachable = matches!(error.downcast_ref(), Some(WorkerError::Unreachable { .. }));
            ExitCode::from(if unreachable { 8 } else { 1 + u8::from(error.is::<Usage>()) })
        }
    }
}

fn hwdetect(format: Format) -> anyhow::Result<()> {
    let hardware = hardware::detect();
    let mut text = match format {
        Format::Text => hardware.to_string(),
        Format::Json => serde_json::to_string_pretty(&hardware)?,
    };
    if !text.ends_with('\n') {
        text.push('\n');
    }
    std::io::stdout().write_all(text.as_bytes()).context("cannot write")
}

fn settings(flags: Flags) -> anyhow::Result<Effective> {
    let Flags {
        server,
        tls_ca,
        tls_cert,
        tls_key,
        tls_domain,
        slots,
        config,
        name,
        grace,
        resources,
        labels,
        time_limit,
        idle_timeout,
        give_up_after,
        otlp_endpoint,
        token_file,
        log_level,
        log_format,
    } = flags;
    let tls = ClientTls { ca: tls_ca, cert: tls_cert, key: tls_key, domain: tls_domain };
    if let Some(level) = &log_level {
        file::level(level).map_err(|message| Usage(format!("--log-level: {message}")))?;
    }
    let read = match &config {
        Some(path) => file::read(path).map_err(|faults| Usage(format!("the configuration is not sound:\n{faults}")))?,
        None => file::FileConfig::default(),
    };
    let token = token_of_environment().map_err(|error| Usage(error.to_string()))?;
    let settings = Settings {
        servers: server,
        tls,
        slots,
        name,
        grace,
        resources,
        labels,
        time_limit,
        idle_timeout,
        give_up_after,
        otlp_endpoint,
        token_file,
        token,
        log_level,
        log_format,
    };
    merge(settings, read, config).map_err(|error| Usage(error.to_string()).into())
}

/// The token, where the environment has it. It is no flag: every user of the machine sees those.
fn token_of_environment() -> Result<Option<Secret>, TokenError> {
    match std::env::var("ORCH_TOKEN") {
        Ok(text) if !text.trim().is_empty() => credentials::checked(text.trim(), "ORCH_TOKEN").map(Some),
        Ok(_) | Err(_) => Ok(None),
    }
}

fn config(command: ConfigCommand, settings: &Effective) -> anyhow::Result<()> {
    let text = match command {
        ConfigCommand::Show => settings.to_string(),
        ConfigCommand::Check => {
            let kinds: Vec<&str> = settings.worker.kinds.keys().map(orch_core::id::Kind::as_str).collect();
            format!("sound: worker {} would run {}\n", settings.worker.name, kinds.join(", "))
        }
    };
    std::io::stdout().write_all(text.as_bytes()).context("cannot write")
}

fn work(settings: Effective) -> anyhow::Result<()> {
    start_log(&settings)?;
    supervise::adopt_orphans();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("cannot start threads")?;
    let ended = runtime.block_on(async {
        let (drain, kill) = (CancellationToken::new(), CancellationToken::new());
        tokio::spawn(obey_signals(drain.clone(), kill.clone()));
        orch_worker::run(settings.worker, drain, kill).await
    });
    // A thread that cannot be stopped must not keep the process.
    runtime.shutdown_background();
    ended?;
    Ok(())
}

fn start_log(settings: &Effective) -> anyhow::Result<()> {
    let filter = tracing_subscriber::EnvFilter::try_new(&settings.log_level).context("the log level is not sound")?;
    let colours = std::io::stderr().is_terminal();
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours);
    match settings.log_format {
        LogFormat::Text => log.with_writer(move || Lines { colours }).with_target(false).init(),
        LogFormat::Json => log.with_writer(std::io::stderr).json().init(),
    }
    Ok(())
}

/// Writes each event to standard error as one line, whatever an orchestrator or a runner put into it.
struct Lines {
    colours: bool,
}

impl std::io::Write for Lines {
    /// An event comes whole, with the newline that ends it.
    fn write(&mut self, event: &[u8]) -> std::io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let mut line = one_line(text.strip_suffix('\n').unwrap_or(&text), self.colours).into_owned();
        line.push('\n');
        std::io::stderr().write_all(line.as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

/// The first signal drains, the second ends at once.
async fn obey_signals(drain: CancellationToken, kill: CancellationToken) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut term), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt())) else {
        warn!("signals cannot be watched: the worker ends without draining");
        return;
    };
    for (told, token) in [("a signal came: draining; a second one ends at once", drain), ("ending at once", kill)] {
        tokio::select! {
            _ = term.recv() => {}
            _ = interrupt.recv() => {}
        }
        info!("{told}");
        token.cancel();
    }
}

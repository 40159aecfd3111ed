//! A worker's whole life: register, work, drain, leave.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_core::id::Kind;
use orch_proto::credentials::{Credentials, TokenError};
use orch_proto::v1;
use orch_telemetry::{Exporter, Origin};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use crate::ahead::Ahead;
use crate::config::WorkerConfig;
use crate::hardware::Hardware;
use crate::leases::{Leases, StopReason};
use crate::logs::Logs;
use crate::pace::Pace;
use crate::report::{Counters, WorkerReport};
use crate::resources::Resources;
use crate::runner::Runners;
use crate::session::{Session, told, with_timeout};
use crate::submit::Delivery;
use crate::submit::message::Bounds;
use crate::{heartbeat, lease_loop, logs, session, submit, supervise};

/// How long stopped jobs may take to end and to be given back, beyond what their processes are granted to stop.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// How long the farewell may take.
const FAREWELL: Duration = Duration::from_secs(2);

/// How long the farewell may take when there is no time.
const LAST_WORD: Duration = Duration::from_millis(500);

/// The bytes that may be under way until the orchestrator says how many.
const FIRST_WINDOW: usize = 1 << 20;

/// Why a worker ended other than drained.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// It was to show a token, and there is none.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The configuration keeps jobs to some files, and the system cannot.
    #[error(
        "jobs of kind {kind} are to be kept to some files, and this system cannot do that: it takes Linux 5.13 with \
             Landlock; without it, run the worker as a user of its own and take `files` out of the configuration"
    )]
    NoLandlock {
        /// The first such kind.
        kind: Kind,
    },
    /// The orchestrator does not want this worker.
    #[error("the orchestrator at {server} refuses this worker: {message}")]
    Refused {
        /// The server.
        server: String,
        /// Why.
        message: String,
    },
    /// No orchestrator answered for as long as the configuration allows.
    #[error("no orchestrator answered for {} ({servers}): {last}", humantime::format_duration(Duration::from_secs(.away.as_secs())))]
    Unreachable {
        /// The servers that were tried.
        servers: String,
        /// For how long.
        away: Duration,
        /// The last failure.
        last: String,
    },
}

/// What all tasks of a worker share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub config: WorkerConfig,
    pub hardware: Hardware,
    pub resources: Arc<Resources>,
    /// When the worker drains by itself.
    pub ends_at: Option<Instant>,
    pub session: Session,
    pub credentials: Credentials,
    pub leases: Leases,
    pub delivery: Delivery,
    pub runners: Runners,
    pub logs: Logs,
    pub counters: Counters,
    /// One permit per slot; whoever computes holds one.
    pub slots: Semaphore,
    pub ahead: Mutex<Ahead>,
    /// The way of spans to a collector, if there is one.
    pub exporter: Option<Exporter>,
    /// No more jobs; what runs may finish.
    pub drain: CancellationToken,
    /// What runs is given back without waiting for it.
    pub terminate: CancellationToken,
}

/// Runs a worker until it is drained.
///
/// `drain` lets running jobs finish for the configured grace time and gives the rest back; `kill` ends everything at
/// once. The orchestrator may order either. Every process that the worker started is gone when this returns.
///
/// # Errors
/// [`WorkerError`] if the orchestrator refuses the worker for good, or is away for longer than configured.
pub async fn run(
    config: WorkerConfig,
    drain: CancellationToken,
    kill: CancellationToken,
) -> Result<WorkerReport, WorkerError> {
    let hardware = tokio::task::spawn_blocking(crate::hardware::detect).await.unwrap_or_default();
    let credentials = Credentials::new(config.token.clone())?;
    let kept = config.kinds.iter().find(|(_, runner)| runner.process().is_some_and(|process| process.files.is_some()));
    if let Some((kind, _)) = kept.filter(|_| !supervise::can_restrict()) {
        return Err(WorkerError::NoLandlock { kind: kind.clone() });
    }
    let (logs, pump) = logs::channel();
    let pools = crate::resources::offered(&hardware, &config.resources);
    let instance = config.name.to_string();
    let origin = Origin { service: "worker", instance, version: env!("CARGO_PKG_VERSION") };
    let exporter = config.otlp_endpoint.clone().map(|endpoint| Exporter::start(endpoint, origin));
    let worker = Arc::new(Worker {
        exporter,
        resources: Resources::new(pools),
        ends_at: config.time_limit.and_then(|limit| Instant::now().checked_add(limit)),
        hardware,
        session: Session::default(),
        credentials,
        leases: Leases::default(),
        delivery: Delivery::new(Bounds { window: FIRST_WINDOW, keep: config.keep_bytes }),
        runners: Runners::new(&config.kinds),
        logs,
        counters: Counters::default(),
        slots: Semaphore::new(config.slots.get().min(Semaphore::MAX_PERMITS)),
        ahead: Mutex::default(),
        // The orchestrator may order to drain; that must not cancel the caller's token.
        drain: drain.child_token(),
        terminate: CancellationToken::new(),
        config,
    });
    announce(&worker.config);
    let mut tasks = JoinSet::new();
    tasks.spawn(supervised("the heartbeat", Arc::clone(&worker), heartbeat::run));
    tasks.spawn(supervised("the delivery", Arc::clone(&worker), submit::stream::run));
    tasks.spawn(logs::run(Arc::clone(&worker), pump));
    let mut jobs = JoinSet::new();
    let ended = tokio::select! {
        error = session::keep(Arc::clone(&worker)) => Err(error),
        () = live(&worker, &mut jobs, &kill) => Ok(()),
        () = drain_in_time(&worker) => Ok(()),
        () = drain_when_idle(&worker) => Ok(()),
        () = kill.cancelled() => Ok(()),
    };
    end_jobs(&worker, &mut jobs).await;
    if kill.is_cancelled() {
        // Nothing runs any more; should the orchestrator listen, it need not wait for the leases to expire.
        let _ = tokio::time::timeout(LAST_WORD, farewell(&worker)).await;
    }
    tasks.shutdown().await;
    if let Some(exporter) = &worker.exporter {
        exporter.flush(LAST_WORD).await;
    }
    let report = worker.counters.report();
    info!("ended: {report}");
    ended.map(|()| report)
}

impl Worker {
    /// How long it goes on working; None: without a limit.
    pub(crate) fn remaining(&self) -> Option<Duration> {
        self.ends_at.map(|end| end.saturating_duration_since(Instant::now()))
    }
}

/// Drains the worker when its time is over; never ends.
async fn drain_in_time(worker: &Worker) {
    if let Some(end) = worker.ends_at {
        tokio::time::sleep_until(end).await;
        info!("the time limit is over: draining");
        worker.drain.cancel();
    }
    std::future::pending().await
}

/// Drains the worker when it had nothing to do for as long as configured; never ends.
async fn drain_when_idle(worker: &Worker) {
    if let Some(most) = worker.config.idle_timeout {
        let mut changes = worker.leases.watch();
        loop {
            changes.mark_unchanged();
            let quiet = async {
                match worker.leases.counts().0 {
                    0 => tokio::time::sleep(most).await,
                    _ => std::future::pending().await,
                }
            };
            tokio::select! {
                // The sender lives as long as the worker: no error here.
                _ = changes.changed() => {}
                () = quiet => break,
            }
        }
        info!("nothing to do for {}: draining", humantime::format_duration(most));
        worker.drain.cancel();
    }
    std::future::pending().await
}

/// Runs a task for ever: one that panics is a fault of ours, and a worker that holds leases must not die of it.
async fn supervised<F>(name: &'static str, worker: Arc<Worker>, task: impl Fn(Arc<Worker>) -> F)
where
    F: Future<Output = ()> + Send + 'static,
{
    let mut pace = Pace::of_calls();
    loop {
        let ended = AbortOnDropHandle::new(tokio::spawn(task(Arc::clone(&worker)))).await;
        error!("{name} broke, which is a fault of this program: {ended:?}; it is started again");
        worker.delivery.disconnected();
        tokio::time::sleep(pace.next_wait()).await;
    }
}

fn announce(config: &WorkerConfig) {
    let kinds: Vec<&str> = config.kinds.keys().map(Kind::as_str).collect();
    let servers: Vec<&str> = config.servers.iter().map(crate::config::Server::as_str).collect();
    let (name, slots) = (&config.name, config.slots);
    info!("worker {name}: {slots} slots for {}, orchestrator {}", kinds.join(", "), servers.join(", "));
}

/// Works until the worker is to drain, then drains and says farewell.
async fn live(worker: &Arc<Worker>, jobs: &mut JoinSet<()>, kill: &CancellationToken) {
    lease_loop::run(worker, jobs).await;
    let (held, running) = worker.leases.counts();
    let grace = humantime::format_duration(worker.config.grace);
    info!("draining: {running} jobs run, {} wait for their acknowledgement; up to {grace}", held - running);
    tokio::select! {
        () = idle(worker) => {}
        () = worker.terminate.cancelled() => {}
        () = tokio::time::sleep(worker.config.grace) => {
            warn!("the grace time is over: giving back what still runs");
        }
    }
    worker.leases.stop_all(StopReason::Drained);
    // Jobs release their leases themselves; results that nobody acknowledged by then stay the orchestrator's loss.
    if tokio::time::timeout(stop_patience(worker), idle(worker)).await.is_err() {
        let (held, _) = worker.leases.counts();
        warn!(leases = held, kept_bytes = worker.delivery.kept_bytes(), "leaving with leases that nobody answered for");
    }
    if !kill.is_cancelled() && tokio::time::timeout(FAREWELL, farewell(worker)).await.is_err() {
        warn!("the orchestrator did not hear the farewell: it will notice by itself");
    }
}

/// Waits until no lease is held.
async fn idle(worker: &Worker) {
    let mut changes = worker.leases.watch();
    while worker.leases.counts().0 > 0 {
        // The sender lives as long as the worker: no error here.
        let _ = changes.changed().await;
    }
}

async fn farewell(worker: &Worker) {
    let connected = worker.session.connected().await;
    let request = v1::DeregisterWorkerRequest { worker: worker.config.name.to_string() };
    match connected.client().deregister_worker(with_timeout(request, FAREWELL)).await {
        Ok(_) => info!("deregistered"),
        Err(status) => warn!("not deregistered: {}", told(&status)),
    }
}

/// Ends whatever still runs, at once, and waits until its processes are gone.
async fn end_jobs(worker: &Worker, jobs: &mut JoinSet<()>) {
    worker.leases.stop_all(StopReason::Killed);
    let ended = async { while jobs.join_next().await.is_some() {} };
    if tokio::time::timeout(STOP_PATIENCE, ended).await.is_err() {
        warn!("some jobs do not end: their processes are killed");
    }
    // What is left is dropped, and a dropped process group is a killed one.
    jobs.shutdown().await;
    worker.runners.shut_down().await;
}

/// Enough for the most patient runner to stop its processes, and for the releases behind it.
fn stop_patience(worker: &Worker) -> Duration {
    let most = worker.config.kinds.values().map(crate::config::RunnerConfig::stop_grace).max().unwrap_or_default();
    most + STOP_PATIENCE
}

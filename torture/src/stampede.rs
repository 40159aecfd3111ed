//! Thousands of connected workers, and then all of them at once.
//!
//! Every worker has its own connection, a lease, a heartbeat and a long poll, as a real one. The orchestrator is killed
//! and started again, and all of them come back together. No lease may end by that.
//!
//! Clients and orchestrator share the machine, and thousands of clients in one process wait for each other above all. So they
//! are a crowd that gives way, and one in a hundred, a *sample*, is measured on a thread that does not.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::crowd::Crowd;
use crate::dice::Dice;
use crate::latency::{Latencies, memory};
use crate::process::until;
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::wire;

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers.
    pub workers: u64,
    /// How long it is quiet, before and after.
    pub quiet: Duration,
    /// Between two heartbeats of a worker.
    pub heartbeat: Duration,
    /// Decides how workers spread.
    pub seed: u64,
}

/// The lease of each worker's job. After a restart it has a whole one again.
const TTL: Duration = Duration::from_secs(60);

/// One worker in so many is of the sample.
const SAMPLED: u64 = 100;

/// How long all of them may take to be there, or to be back.
const PATIENCE: Duration = Duration::from_secs(300);

/// What all workers share.
#[derive(Debug, Default)]
struct Tally {
    /// Which start of the orchestrator is the current one.
    start: AtomicU64,
    /// Workers whose lease was confirmed since that start.
    back: AtomicU64,
    registrations: AtomicU64,
}

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done, for example because too few files may be open.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    allow_open_files(options.workers)?;
    let mut report = Report::new("stampede");
    let mut server = Server::new(binaries, folder, "data")?;
    server.start().await?;
    let mut admin = wire::admin(&server.url()).await?;
    let define = wire::definitions(wire::QUEUE, wire::KIND, TTL, options.heartbeat.min(TTL / 4));
    admin.submit(define).await.map_err(TortureError::call("define the queue"))?;
    let mut left = options.workers;
    while left > 0 {
        let job = v1::JobSpec { queue: wire::QUEUE.into(), ..v1::JobSpec::default() };
        let count = left.min(5000);
        let jobs = vec![job; usize::try_from(count).unwrap_or(0)];
        let submitted = admin.submit(v1::SubmitRequest { jobs, ..v1::SubmitRequest::default() }).await;
        submitted.map_err(TortureError::call("submit"))?;
        left -= count;
    }
    drop(admin);

    let tally = Arc::new(Tally::default());
    let stop = CancellationToken::new();
    let mut workers = JoinSet::new();
    let (sender, mut latencies) = mpsc::unbounded_channel();
    let crowd = Crowd::new()?;
    let began = Instant::now();
    for n in 0..options.workers {
        let sampled = n % SAMPLED == 0;
        let worker = Worker {
            name: format!("worker-{n}"),
            url: server.url(),
            heartbeat: options.heartbeat,
            dice: Dice::new(options.seed, n),
            tally: Arc::clone(&tally),
            latencies: sender.clone(),
            sampled,
            started: Instant::now(),
        };
        match sampled {
            true => workers.spawn(worker.live(stop.clone())),
            false => workers.spawn_on(worker.live(stop.clone()), &crowd.threads),
        };
    }
    drop(sender);
    all_back(&tally, options.workers, progress, &mut workers).await?;
    report.fact("all connected after", format_args!("{:.1?}", began.elapsed()));
    collect(&mut latencies, Duration::ZERO).await.tell(&mut report, "while they come");
    collect(&mut latencies, options.quiet).await.tell(&mut report, "while it is quiet");
    let pid = server.process()?.pid();
    report.fact("memory with all connected", format_args!("{} MiB", memory(pid).0 >> 20));

    server.kill9().await?;
    tally.back.store(0, Ordering::Relaxed);
    tally.start.fetch_add(1, Ordering::Relaxed);
    let again = Instant::now();
    server.start().await?;
    all_back(&tally, options.workers, progress, &mut workers).await?;
    report.fact("all back after", format_args!("{:.1?}", again.elapsed()));
    collect(&mut latencies, Duration::ZERO).await.tell(&mut report, "in the stampede");
    collect(&mut latencies, options.quiet).await.tell(&mut report, "after it");

    let mut admin = wire::admin(&server.url()).await?;
    let stats = wire::stats(&mut admin).await?;
    let attempts = stats.attempts.unwrap_or_default();
    if (attempts.leases_granted, attempts.crashes, attempts.released) != (options.workers, 0, 0) {
        report.violation(format!("leases ended although their workers live: {attempts:?}"));
    }
    stop.cancel();
    while let Some(ended) = workers.join_next().await {
        match ended {
            Ok(Ok(())) => {}
            Ok(Err(wrong)) => report.violation(wrong),
            Err(error) => report.violation(format!("a worker broke: {error}")),
        }
    }
    server.stop().await?;
    report.violations(server.panics());
    report.fact("workers", options.workers);
    report.fact("registrations", tally.registrations.load(Ordering::Relaxed));
    Ok(report)
}

/// Raises the limit on open files as far as it goes.
fn allow_open_files(workers: u64) -> Result<(), TortureError> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // Each process has one connection per worker, and some files.
    let needed = workers + 500;
    if maximum.is_some_and(|maximum| maximum < needed) {
        let why = format!("at most {} open files are allowed, {needed} are needed", maximum.unwrap_or(0));
        return Err(TortureError::NoTool { tool: "a higher limit on open files", why, fix: "raise it: ulimit -Hn" });
    }
    let raised = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).map_err(std::io::Error::from);
    raised.map_err(TortureError::io("raise the limit on open files"))
}

/// Waits until every worker's lease was confirmed by the current orchestrator.
async fn all_back(
    tally: &Tally,
    workers: u64,
    progress: &Progress,
    running: &mut JoinSet<Result<(), String>>,
) -> Result<(), TortureError> {
    until("every worker to be there", PATIENCE, async || {
        if let Some(Ok(Err(wrong))) = running.try_join_next() {
            return Err(TortureError::Call { doing: "keep a worker alive".to_owned(), message: wrong });
        }
        let back = tally.back.load(Ordering::Relaxed);
        progress.say(format_args!("{back} of {workers} workers are there"));
        Ok((back >= workers).then_some(()))
    })
    .await
}

/// How long heartbeats took: those of the sample, and those of the crowd.
#[derive(Debug, Default)]
struct Beats {
    sample: Latencies,
    crowd: Latencies,
}

impl Beats {
    fn note(&mut self, (sampled, took): (bool, Duration)) {
        if sampled { self.sample.note(took) } else { self.crowd.note(took) }
    }

    fn tell(self, report: &mut Report, when: &str) {
        report.fact(format!("heartbeats {when}, the sample's"), self.sample.summary());
        report.fact(format!("heartbeats {when}, the crowd's"), self.crowd.summary());
    }
}

/// What came in, and comes within `time`.
async fn collect(latencies: &mut mpsc::UnboundedReceiver<(bool, Duration)>, time: Duration) -> Beats {
    let (mut all, began) = (Beats::default(), Instant::now());
    while let Ok(took) = latencies.try_recv() {
        all.note(took);
    }
    while let Ok(Some(took)) = tokio::time::timeout(time.saturating_sub(began.elapsed()), latencies.recv()).await {
        all.note(took);
    }
    all
}

struct Worker {
    name: String,
    url: String,
    heartbeat: Duration,
    dice: Dice,
    tally: Arc<Tally>,
    latencies: mpsc::UnboundedSender<(bool, Duration)>,
    /// Whether its thread gives way to nobody.
    sampled: bool,
    started: Instant,
}

impl Worker {
    /// Connects, registers, holds its lease, and comes back whenever the connection breaks.
    async fn live(mut self, stop: CancellationToken) -> Result<(), String> {
        let mut lease = None;
        // The start for which it was counted last, plus one.
        let mut counted = 0;
        loop {
            let broke = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                broke = self.session(&mut lease, &mut counted) => broke,
            };
            if let Err(Wrong(text)) = broke {
                return Err(format!("{}: {text}", self.name));
            }
            let pause = self.dice.between(Duration::from_millis(10), Duration::from_millis(200));
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// One connection until it breaks.
    async fn session(&mut self, lease: &mut Option<u64>, counted: &mut u64) -> Result<(), Wrong> {
        let Ok(channel) = wire::connect(&self.url).await else { return Ok(()) };
        let mut client = WorkerServiceClient::new(channel);
        let register = v1::RegisterWorkerRequest {
            leases: lease.iter().copied().collect(),
            uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            slots: 2,
            ..wire::registration(&self.name, wire::KIND)
        };
        let Ok(registered) = client.register_worker(wire::timed(register)).await else { return Ok(()) };
        self.tally.registrations.fetch_add(1, Ordering::Relaxed);
        let lost = registered.into_inner().lost;
        if !lost.is_empty() {
            return Err(Wrong(format!("lost its lease {lost:?} although it lives")));
        }
        let held = match *lease {
            Some(held) => held,
            None => match ask(&mut client, &self.name, wire::KIND, 10_000).await {
                Ok(Some(held)) => *lease.insert(held),
                Ok(None) | Err(_) => return Ok(()),
            },
        };
        let mut poll = client.clone();
        let name = self.name.clone();
        // It has a slot left: a real worker would ask for a job to fill it. There is none of this kind.
        let polling = async move { while ask(&mut poll, &name, "no-such-kind", 60_000).await.is_ok() {} };
        tokio::select! {
            beaten = self.beat(client, held, counted) => beaten,
            () = polling => Ok(()),
        }
    }

    async fn beat(
        &mut self,
        mut client: WorkerServiceClient<Channel>,
        lease: u64,
        counted: &mut u64,
    ) -> Result<(), Wrong> {
        // Not all at the same moment: they started at different times.
        let mut wait = self.dice.between(Duration::ZERO, self.heartbeat);
        loop {
            let start = self.tally.start.load(Ordering::Relaxed) + 1;
            let leases = vec![v1::LeaseProgress { lease, fraction: -1.0, ..v1::LeaseProgress::default() }];
            let beat = v1::HeartbeatRequest { worker: self.name.clone(), leases, last_receipt: None };
            let began = Instant::now();
            let Ok(beat) = client.heartbeat(wire::timed(beat)).await else { return Ok(()) };
            let _ = self.latencies.send((self.sampled, began.elapsed()));
            let beat = beat.into_inner();
            if beat.order() == v1::WorkerOrder::Register {
                return Ok(());
            }
            if beat.leases.first().map(v1::LeaseStanding::order) != Some(v1::LeaseOrder::Extended) {
                return Err(Wrong(format!("lost lease {lease} although it lives: {beat:?}")));
            }
            if *counted < start {
                *counted = start;
                self.tally.back.fetch_add(1, Ordering::Relaxed);
            }
            tokio::time::sleep(wait).await;
            wait = self.heartbeat;
        }
    }
}

/// A false expiry.
struct Wrong(String);

async fn ask(
    client: &mut WorkerServiceClient<Channel>,
    name: &str,
    kind: &str,
    wait_ms: u64,
) -> Result<Option<u64>, Status> {
    let ask = v1::LeaseJobRequest {
        worker: name.to_owned(),
        kinds: vec![kind.to_owned()],
        max: 1,
        wait_ms,
        ..v1::LeaseJobRequest::default()
    };
    let leased = client.lease_job(ask).await?.into_inner();
    if leased.order() == v1::WorkerOrder::Register {
        return Err(Status::unavailable("to be registered"));
    }
    Ok(leased.leases.first().map(|lease| lease.lease))
}

//! A disk that fills up: a file system of 16 MiB on a loop device, filled by the load itself.
//!
//! The orchestrator must turn read-only, go on answering reads and heartbeats, tell everybody why, and go on by itself
//! when space returns. Nothing acknowledged may be lost, and a worker's results wait with it. Needs root, for the mount.

mod image;

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::client::{Client, Wrong};
use crate::process::{PATIENCE, until};
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::wire;
use crate::workers::{GATED, Gates, Worker};
use image::Image;

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a disk is filled.
    pub cycles: u64,
    /// Clients that fill it.
    pub clients: u64,
}

/// The size of the disk.
const DISK: u64 = 16 << 20;

/// What is deleted to make space.
const BALLAST: u64 = 4 << 20;

/// The size of a payload.
const FILL: usize = 20_000;

/// Calls that must be answered while the disk is full.
const LOOKS: u32 = 20;

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done, for example without root.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    image::check()?;
    let mut report = Report::new("disk");
    for cycle in 0..options.cycles {
        let folder = folder.join(format!("{cycle}"));
        std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
        one(binaries, folder, options, &mut report).await?;
        progress.say(format_args!("{} of {} disks filled", cycle + 1, options.cycles));
    }
    report.fact("disks filled", options.cycles);
    Ok(report)
}

async fn one(binaries: &Binaries, folder: PathBuf, options: &Options, report: &mut Report) -> Result<(), TortureError> {
    // Before everything that uses it: it is unmounted last.
    let disk = Image::mount(&folder, DISK).await?;
    let ballast = disk.path().join("ballast");
    std::fs::write(&ballast, vec![1_u8; usize::try_from(BALLAST).unwrap_or(0)])
        .map_err(TortureError::io("fill a file"))?;
    let told = Told::create(folder.join("acknowledged.jsonl"))?;
    let gates = Gates::new(folder.join("gates"))?;
    let mut server = Server::new(binaries, &folder, "orchestrator")?.args(["--segment-bytes=1048576"]);
    server.set_data(disk.path().join("data"));
    server.start().await?;
    let mut admin = wire::admin(&server.url()).await?;
    let hour = Duration::from_secs(3600);
    for (queue, kind) in [(wire::QUEUE, wire::KIND), ("gates", GATED)] {
        let define = wire::definitions(queue, kind, hour, Duration::from_millis(200));
        admin.submit(define).await.map_err(TortureError::call("define a queue"))?;
    }
    // A worker in the middle of a job, and one that only says that it lives.
    let gated = v1::JobSpec { queue: "gates".into(), payload_json: gates.payload(10), ..v1::JobSpec::default() };
    let submit = v1::SubmitRequest { jobs: vec![gated], ..v1::SubmitRequest::default() };
    let job = admin.submit(submit).await.map_err(TortureError::call("submit"))?.into_inner();
    let job = job.jobs.first().map_or(0, |job| job.job);
    let worker = Worker::start(binaries, &folder, "worker", &server.url())?;
    until("the job to run", PATIENCE, async || Ok(gates.pids(1))).await?;
    let mut beater = wire::worker(&server.url()).await?;
    let register = wire::registration("beater", "nothing");
    beater.register_worker(register).await.map_err(TortureError::call("register"))?;

    let stop = CancellationToken::new();
    let mut clients = JoinSet::new();
    for n in 0..options.clients {
        let client = Client::new(format!("client-{n}"), server.url(), told.clone());
        clients.spawn(fill(client, n, stop.clone()));
    }
    let before = until("the disk to be full", PATIENCE, async || {
        let before = was_writable(&server.process()?.said());
        let ledger = wire::stats(&mut admin).await?.ledger.unwrap_or_default();
        Ok((!ledger.read_only_reason.is_empty()).then_some(before))
    })
    .await?;
    let full_at = Instant::now();
    stop.cancel();
    let acknowledged = told.count();

    // The job ends now: its results have to wait.
    gates.open_all()?;
    for look in 0..LOOKS {
        let beat = v1::HeartbeatRequest { worker: "beater".into(), ..v1::HeartbeatRequest::default() };
        let beaten = beater.heartbeat(wire::timed(beat)).await.map(|beat| beat.into_inner().order());
        if !matches!(beaten, Ok(v1::WorkerOrder::Run)) {
            report.violation(format!("heartbeat {look} on a full disk: {beaten:?}"));
        }
        let shown = admin.get_job(wire::timed(v1::GetJobRequest { job })).await;
        let state = shown.map(|shown| shown.into_inner().summary.map(|seen| seen.state()));
        // It says that it can be written again before it takes anything in.
        let full = was_writable(&server.process()?.said()) == before;
        match state {
            Ok(Some(v1::JobState::Leased)) => {}
            Ok(Some(v1::JobState::Done)) if !full => {}
            state => report.violation(format!("the job with waiting results, look {look} on a full disk: {state:?}")),
        }
        let refused = admin.submit(wire::timed(submission("refused", look.into()))).await;
        let full = was_writable(&server.process()?.said()) == before;
        match refused.map_err(|status| WireError::from(&status)) {
            Err(WireError { reason: Reason::ReadOnly, retry_after: Some(_), .. }) => {}
            Ok(_) if !full => {}
            other => report.violation(format!("a submit to a full disk: {other:?}")),
        }
    }
    let meanwhile = was_writable(&server.process()?.said()) - before;
    std::fs::remove_file(&ballast).map_err(TortureError::io("make space"))?;
    let freed_at = Instant::now();
    until("the orchestrator to go on", PATIENCE, async || {
        let ledger = wire::stats(&mut admin).await?.ledger.unwrap_or_default();
        Ok(ledger.read_only_reason.is_empty().then_some(()))
    })
    .await?;
    let resumed = freed_at.elapsed();
    let mut first_refusal: Option<Instant> = None;
    while let Some(ended) = clients.join_next().await {
        match ended {
            Ok(Ok(client)) => {
                let refused = client.first_read_only();
                first_refusal = [first_refusal, refused].into_iter().flatten().min();
            }
            Ok(Err(wrong)) => report.violation(wrong.to_string()),
            Err(error) => report.violation(format!("a client broke: {error}")),
        }
    }
    let done = until("the worker's job to be done", PATIENCE, async || {
        let shown = admin.get_job(wire::timed(v1::GetJobRequest { job })).await;
        let shown = shown.map_err(TortureError::call("ask for the job"))?.into_inner();
        Ok(shown.summary.filter(|seen| seen.state() == v1::JobState::Done))
    })
    .await?;
    if (done.accepted, done.attempts, done.crashes) != (2, 1, 0) {
        report.violation(format!("the worker that waited came to {done:?}"));
    }
    if !server.process()?.said().contains("read-only until there is space") {
        report.violation("the orchestrator did not say that it is read-only");
    }
    worker.stop().await?;
    server.kill9().await?;
    report.violations(told.check(server.data())?);
    server.start().await?;
    server.stop().await?;
    report.violations(told.check(server.data())?);
    report.violations(server.panics());
    let seen = first_refusal.map_or(Duration::ZERO, |at| full_at.saturating_duration_since(at));
    report.fact("acknowledged before it was full, and after", format_args!("{acknowledged}, {}", told.count()));
    report.fact("read-only after the first refusal", format_args!("{seen:.1?}"));
    report.fact("writable for a moment while it was full", meanwhile);
    report.fact("writable after space came back", format_args!("{resumed:.1?}"));
    disk.unmount().await
}

/// How often it found space again. The file system takes its time to count what the index and the ledger gave back, so
/// that a disk filled to the brim may have room for a batch a moment later.
fn was_writable(said: &str) -> usize {
    said.matches("the ledger can be written again").count()
}

/// Submits large jobs until it is told to stop; the last one is asked for until it is taken in.
async fn fill(mut client: Client, n: u64, stop: CancellationToken) -> Result<Client, Wrong> {
    for job in 0_u64.. {
        if stop.is_cancelled() {
            break;
        }
        client.submit(&format!("{n}-{job}"), &format!("{{\"fill\":\"{}\"}}", "x".repeat(FILL))).await?;
    }
    Ok(client)
}

fn submission(name: &str, n: u64) -> v1::SubmitRequest {
    let payload_json = format!("{{\"n\":{n},\"fill\":\"{}\"}}", "x".repeat(FILL));
    let job = v1::JobSpec { queue: wire::QUEUE.into(), name: name.into(), payload_json, ..v1::JobSpec::default() };
    v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() }
}

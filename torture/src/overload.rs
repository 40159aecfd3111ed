//! Ten times the load that the orchestrator can sustain.
//!
//! First a few clients find out how many calls a second it sustains: half of them submit a job, half ask a question that
//! walks over every open job. Many jobs wait, so that a question costs the orchestrator milliseconds and its client a message:
//! that is how clients on the same machine can ask for ten times what there is. Then calls are made at ten times that rate,
//! whether or not the ones before were answered. What was truly offered is counted, and told as a multiple.
//! It must refuse what it cannot take at once, with a hint when to come back, keep its memory and its workers, lose
//! nothing that it took, and be its old self soon after.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orch_core::id::JobId;
use orch_core::receipt::Receipt;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_sim::checker::Acknowledged;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tonic::Status;
use tonic::transport::Channel;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::latency::memory;
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::wire;

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long the flood lasts.
    pub flood: Duration,
    /// How many times the sustained rate.
    pub times: u64,
    /// Jobs that wait from the beginning: they make questions dear.
    pub waiting: u64,
}

/// What the memory may grow by: the queue's 8,192 commands of some KiB, the connections' windows, and the jobs.
const MEMORY: u64 = 512 << 20;

/// The most calls that the flood has under way: what is beyond is refused by this machine, not by the orchestrator.
const UNDER_WAY: usize = 30_000;

/// Enough to have more calls under way than the orchestrator takes: it allows 1,024 on each.
const CONNECTIONS: usize = 40;

/// A call of the flood is given up after this. Not sooner: thousands of calls that are taken back look like an attack to
/// HTTP/2, and the orchestrator closes the connection on which they come, as it should.
const GIVE_UP: Duration = Duration::from_secs(60);

/// The lease that must live through it.
const TTL: Duration = Duration::from_secs(10);

/// What came of the calls.
#[derive(Debug, Default)]
struct Counts {
    offered: AtomicU64,
    answered: AtomicU64,
    busy: AtomicU64,
    without_hint: AtomicU64,
    given_up: AtomicU64,
    held_back: AtomicU64,
    others: std::sync::Mutex<Vec<String>>,
}

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    let mut report = Report::new("overload");
    let told = Told::create(folder.join("acknowledged.jsonl"))?;
    let mut server = Server::new(binaries, folder, "data")?;
    server.start().await?;
    let mut channels = Vec::new();
    for _ in 0..CONNECTIONS {
        channels.push(wire::admin(&server.url()).await?);
    }
    prepare(&mut channels[0], options.waiting).await?;
    let stop = CancellationToken::new();
    // In a thread of its own: this process is busy with the flood, and its worker must not be.
    let (url, stopped) = (server.url(), stop.clone());
    let beating = tokio::task::spawn_blocking(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.map_err(|error| error.to_string())?.block_on(keep_alive(url, stopped))
    });

    progress.say(format_args!("what it sustains"));
    let sustained = sustain(&channels, &told, options.flood / 4).await;
    let pid = server.process()?.pid();
    let (before, _) = memory(pid);
    let counts = Arc::new(Counts::default());
    let began = Instant::now();
    flood(&channels, &told, options, sustained, &counts, progress).await;
    let took = began.elapsed();
    let (_, most) = memory(pid);

    // What is still under way was given up: a client that comes now is served.
    let calm = Instant::now();
    let mut admin = wire::admin(&server.url()).await?;
    let normal = loop {
        let began = Instant::now();
        let served = admin.submit(wire::timed(one_job())).await.is_ok();
        if served && began.elapsed() < Duration::from_secs(1) {
            break calm.elapsed();
        }
        if calm.elapsed() > crate::process::PATIENCE {
            report.violation("it does not serve normally again");
            break calm.elapsed();
        }
    };
    stop.cancel();
    match beating.await {
        Ok(Ok(refused)) => report.fact("heartbeats refused", refused),
        Ok(Err(lost)) => report.violation(lost),
        Err(error) => report.violation(format!("the heartbeats broke: {error}")),
    }
    let get = |count: &AtomicU64| count.load(Ordering::Relaxed);
    if get(&counts.without_hint) > 0 {
        report.violation(format!("{} refusals without a hint when to come back", get(&counts.without_hint)));
    }
    report.violations(counts.others.lock().map(|mut others| std::mem::take(&mut *others)).unwrap_or_default());
    let grown = most.saturating_sub(before);
    if grown > MEMORY {
        report.violation(format!("its memory grew by {} MiB", grown >> 20));
    }
    server.kill9().await?;
    report.violations(told.check(server.data())?);
    report.violations(server.panics());
    let rate = |count: u64| format!("{:.0} a second", count as f64 / took.as_secs_f64());
    let times = get(&counts.offered) as f64 / took.as_secs_f64() / sustained;
    report.fact("sustained", format_args!("{sustained:.0} calls a second"));
    report.fact("offered", rate(get(&counts.offered)));
    report.fact("times the sustained", format_args!("{times:.1} of {} wanted", options.times));
    report.fact("answered", rate(get(&counts.answered)));
    report.fact("refused as busy, with a hint", rate(get(&counts.busy)));
    report.fact("given up by the client", rate(get(&counts.given_up)));
    report.fact("not sent for want of room here", rate(get(&counts.held_back)));
    report.fact("memory before the flood, and at most", format_args!("{} MiB, {} MiB", before >> 20, most >> 20));
    report.fact("normal again after", format_args!("{normal:.1?}"));
    report.fact("jobs acknowledged", told.count());
    Ok(report)
}

/// Defines the queues, and fills one with jobs that nobody runs.
async fn prepare(admin: &mut AdminServiceClient<Channel>, waiting: u64) -> Result<(), TortureError> {
    for (queue, kind, ttl) in [(wire::QUEUE, wire::KIND, Duration::from_secs(600)), ("held", "held", TTL)] {
        let define = wire::definitions(queue, kind, ttl, ttl / 10);
        admin.submit(define).await.map_err(TortureError::call("define a queue"))?;
    }
    let mut left = waiting;
    while left > 0 {
        let count = left.min(5000);
        let jobs = vec![one_job().jobs.remove(0); usize::try_from(count).unwrap_or(0)];
        let submitted = admin.submit(v1::SubmitRequest { jobs, ..v1::SubmitRequest::default() }).await;
        submitted.map_err(TortureError::call("submit"))?;
        left -= count;
    }
    let job = v1::JobSpec { queue: "held".into(), ..v1::JobSpec::default() };
    let submitted = admin.submit(v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() }).await;
    submitted.map_err(TortureError::call("submit")).map(|_| ())
}

/// A worker that holds a lease and says so every second; an error says that it lost it.
async fn keep_alive(url: String, stop: CancellationToken) -> Result<u64, String> {
    let text = |error: TortureError| error.in_full();
    let mut worker = wire::worker(&url).await.map_err(text)?;
    worker.register_worker(wire::registration("holder", "held")).await.map_err(|status| status.to_string())?;
    let ask = v1::LeaseJobRequest {
        worker: "holder".into(),
        kinds: Vec::new(),
        max: 1,
        wait_ms: 10_000,
        ..v1::LeaseJobRequest::default()
    };
    let leased = worker.lease_job(wire::timed(ask)).await.map_err(|status| status.to_string())?.into_inner();
    let lease = leased.leases.first().map(|lease| lease.lease).ok_or("the worker got no lease")?;
    let mut refused = 0;
    // When the last heartbeat that was answered was sent: the lease lives at least for its time from then on.
    let mut heard = Instant::now();
    loop {
        let sent = Instant::now();
        let leases = vec![v1::LeaseProgress { lease, fraction: -1.0, ..v1::LeaseProgress::default() }];
        let beat = v1::HeartbeatRequest { worker: "holder".into(), leases, last_receipt: None };
        match worker.heartbeat(wire::timed(beat)).await {
            Ok(beat) => {
                let beat = beat.into_inner();
                let extended = beat.leases.first().map(v1::LeaseStanding::order) == Some(v1::LeaseOrder::Extended);
                if !extended && sent.duration_since(heard) < TTL / 2 {
                    return Err(format!("a worker that said that it lives lost its lease: {beat:?}"));
                }
                if !extended {
                    // This machine did not let it speak: then it is as good as dead.
                    return Ok(refused);
                }
                heard = sent;
            }
            Err(_) => refused += 1,
        }
        tokio::select! {
            () = stop.cancelled() => return Ok(refused),
            () = tokio::time::sleep(Duration::from_millis(500)) => {}
        }
    }
}

/// Calls a second that 16 clients get answered, each waiting for its answer.
async fn sustain(channels: &[AdminServiceClient<Channel>], told: &Told, time: Duration) -> f64 {
    let began = Instant::now();
    let mut clients = JoinSet::new();
    for n in 0..16 {
        let (mut admin, told) = (channels[n % channels.len()].clone(), told.clone());
        clients.spawn(async move {
            let mut answered = 0_u64;
            for call in n as u64.. {
                if began.elapsed() > time {
                    break;
                }
                answered += u64::from(one_call(&mut admin, call, &told).await.is_ok());
            }
            answered
        });
    }
    let mut answered = 0;
    while let Some(count) = clients.join_next().await {
        answered += count.unwrap_or(0);
    }
    answered as f64 / began.elapsed().as_secs_f64()
}

/// Makes calls at a multiple of the rate, whether or not they are answered.
async fn flood(
    channels: &[AdminServiceClient<Channel>],
    told: &Told,
    options: &Options,
    sustained: f64,
    counts: &Arc<Counts>,
    progress: &Progress,
) {
    let room = Arc::new(Semaphore::new(UNDER_WAY));
    let (began, mut made) = (Instant::now(), 0_u64);
    let mut calls = JoinSet::new();
    let mut tick = tokio::time::interval(Duration::from_millis(5));
    while began.elapsed() < options.flood {
        tick.tick().await;
        while calls.try_join_next().is_some() {}
        let due = (began.elapsed().as_secs_f64() * sustained * options.times as f64) as u64;
        for call in made..due {
            let Ok(room) = Arc::clone(&room).try_acquire_owned() else {
                counts.held_back.fetch_add(due - call, Ordering::Relaxed);
                break;
            };
            counts.offered.fetch_add(1, Ordering::Relaxed);
            let mut admin = channels[usize::try_from(call).unwrap_or(0) % channels.len()].clone();
            let (told, counts) = (told.clone(), Arc::clone(counts));
            calls.spawn(async move {
                let answer = tokio::time::timeout(GIVE_UP, one_call(&mut admin, call, &told)).await;
                take_note(answer, &counts);
                drop(room);
            });
        }
        made = due;
        progress.say(format_args!("{} calls offered", counts.offered.load(Ordering::Relaxed)));
    }
    calls.shutdown().await;
}

fn take_note(answer: Result<Result<(), Status>, tokio::time::error::Elapsed>, counts: &Counts) {
    let count = match answer {
        Ok(Ok(())) => &counts.answered,
        Err(_) => &counts.given_up,
        Ok(Err(status)) => match WireError::from(&status) {
            // The second says that the index is behind.
            WireError { reason: Reason::Busy | Reason::Unavailable, retry_after: Some(_), .. } => &counts.busy,
            WireError { reason: Reason::Busy, retry_after: None, .. } => &counts.without_hint,
            _ => {
                if let Ok(mut others) = counts.others.lock()
                    && others.len() < 10
                {
                    others.push(format!("a call of the flood failed otherwise: {status}"));
                }
                return;
            }
        },
    };
    count.fetch_add(1, Ordering::Relaxed);
}

/// A submit or a question, in turn.
async fn one_call(admin: &mut AdminServiceClient<Channel>, call: u64, told: &Told) -> Result<(), Status> {
    if call.is_multiple_of(2) {
        let filter = v1::JobFilter { worker: "nobody".into(), ..v1::JobFilter::default() };
        let look = v1::CancelJobsRequest { filter: Some(filter), dry_run: true, ..v1::CancelJobsRequest::default() };
        return admin.cancel_jobs(look).await.map(|_| ());
    }
    let answer = admin.submit(one_job()).await?.into_inner();
    let internal = |error: TortureError| Status::internal(error.in_full());
    for job in answer.jobs {
        let job = JobId::new(job.job);
        told.note(&Acknowledged::Submitted { job, key: None, payload: None }).map_err(internal)?;
    }
    if let Some(Ok(receipt)) = answer.receipt.map(Receipt::try_from) {
        told.note(&Acknowledged::Receipt(receipt)).map_err(internal)?;
    }
    Ok(())
}

fn one_job() -> v1::SubmitRequest {
    let job = v1::JobSpec { queue: wire::QUEUE.into(), ..v1::JobSpec::default() };
    v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() }
}

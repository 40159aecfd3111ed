//! A worker that is stopped for longer than its lease lives, and wakes.
//!
//! At each of eight points of a job's life the worker's process is stopped (SIGSTOP) while its program may go on. Its
//! lease ends, another worker does the job. Then it wakes, with results, an end, or a lease answer in its hands that are
//! worth nothing any more: nothing of it may be accepted, and its program must be gone soon.

use std::path::{Path, PathBuf};
use std::time::Duration;

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use rustix::process::Signal;
use tokio::task::JoinSet;
use tonic::transport::Channel;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::process::{PATIENCE, until};
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::wire;
use crate::workers::{GATED, Gates, Worker};

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How many workers are stopped, point after point.
    pub runs: u64,
    /// How many at once.
    pub parallel: usize,
}

/// Where in the life of a job its worker is stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Point {
    /// It waits for a lease, which is granted while it sleeps.
    Waiting,
    /// The lease is granted; its answer may be on its way.
    Granted,
    /// The program runs and has found nothing.
    Running,
    /// Some results were accepted.
    Streaming,
    /// Some results were accepted; more come, and the end, while it sleeps.
    ResultsAsleep,
    /// All results were accepted; the end comes while it sleeps.
    EndAsleep,
    /// It was told to drain and finishes what it has.
    Draining,
    /// Some results were accepted; the orchestrator is killed and started again while it sleeps.
    Restart,
}

const POINTS: [Point; 8] = [
    Point::Waiting,
    Point::Granted,
    Point::Running,
    Point::Streaming,
    Point::ResultsAsleep,
    Point::EndAsleep,
    Point::Draining,
    Point::Restart,
];

/// The time to live of a lease: short, and still long enough for a heartbeat of a worker on a busy machine.
const TTL: Duration = Duration::from_secs(2);

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
    // They wait for processes most of the time: one thread does for all.
    tokio::task::LocalSet::new().run_until(all(binaries, folder, options, progress)).await
}

async fn all(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    let mut report = Report::new("pause");
    let mut running = JoinSet::new();
    let (mut started, mut done) = (0, 0);
    while done < options.runs {
        while started < options.runs && running.len() < options.parallel.max(1) {
            let point = POINTS[usize::try_from(started).unwrap_or(0) % POINTS.len()];
            let (folder, binaries) = (folder.join(format!("{started}")), binaries.clone());
            running.spawn_local(async move { (point, folder.clone(), one(&binaries, folder, point).await) });
            started += 1;
        }
        let Some(ended) = running.join_next().await else { break };
        let (point, folder, found) =
            ended.map_err(|error| TortureError::io("run a torture")(std::io::Error::other(error)))?;
        let found = found?;
        if found.is_empty() {
            let _ = std::fs::remove_dir_all(folder);
        }
        report.violations(found.into_iter().map(|text| format!("stopped while {point:?}: {text}")));
        done += 1;
        progress.say(format_args!("{done} of {} workers stopped", options.runs));
    }
    report.fact("workers stopped", done);
    report.fact("points", POINTS.len());
    Ok(report)
}

/// One worker is stopped at one point.
async fn one(binaries: &Binaries, folder: PathBuf, point: Point) -> Result<Vec<String>, TortureError> {
    let gates = Gates::new(folder.join("gates"))?;
    let mut server = Server::new(binaries, &folder, "data")?;
    server.start().await?;
    let mut admin = wire::admin(&server.url()).await?;
    let define = wire::definitions(wire::QUEUE, GATED, TTL, TTL / 10);
    admin.submit(define).await.map_err(TortureError::call("define the queue"))?;
    let mut sleeper = Worker::start(binaries, &folder, "sleeper", &server.url())?;
    sleeper.process.until_said("registered").await?;

    if point == Point::Waiting {
        until("the worker to wait for a job", PATIENCE, async || sleeper.process.is_idle().await).await?;
        sleeper.process.freeze().await?;
    }
    let job = v1::JobSpec { queue: wire::QUEUE.into(), payload_json: gates.payload(10), ..v1::JobSpec::default() };
    let submit = v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() };
    let submitted = admin.submit(submit).await.map_err(TortureError::call("submit"))?.into_inner();
    let job = submitted.jobs.first().map_or(0, |job| job.job);
    let leased = until_job(&mut admin, job, "to be leased", |seen| seen.worker == "sleeper");
    if tokio::time::timeout(5 * TTL, leased).await.is_err() {
        // It fell asleep before it asked: it is stopped with the grant, then.
        sleeper.process.signal(Signal::CONT)?;
        until_job(&mut admin, job, "to be leased", |seen| seen.worker == "sleeper").await?;
    }
    reach(point, &gates, &mut admin, job, &mut sleeper).await?;
    sleeper.process.freeze().await?;
    match point {
        Point::ResultsAsleep | Point::EndAsleep => {
            ["more-1", "end-1"].into_iter().try_for_each(|gate| gates.open(gate))?;
            until("the program to end", PATIENCE, async || Ok(gates.alive(1).is_empty().then_some(()))).await?;
        }
        Point::Restart => {
            server.kill9().await?;
            server.start().await?;
            admin = wire::admin(&server.url()).await?;
        }
        Point::Waiting | Point::Granted | Point::Running | Point::Streaming | Point::Draining => {}
    }

    gates.open("open")?;
    let heir = Worker::start(binaries, &folder, "heir", &server.url())?;
    let done = until_job(&mut admin, job, "to be done", |seen| seen.state() == v1::JobState::Done).await?;
    let seq = last_seq(&mut admin).await?;
    sleeper.process.signal(Signal::CONT)?;
    // It hears of it from a heartbeat or a refused batch, or registers anew, or leaves.
    until("the sleeper to see that its lease is lost", PATIENCE, async || {
        let said = sleeper.process.said();
        let heard = ["LEASE_LOST", "lease is lost", "registering again", "registering anew"];
        let heard = heard.iter().any(|word| said.contains(word)) || sleeper.process.has_ended()?.is_some();
        Ok(heard.then_some(()))
    })
    .await?;
    let gone =
        until("its program to be gone", Duration::from_secs(30), async || Ok(gates.alive(1).is_empty().then_some(())));
    let mut wrong = Vec::new();
    if gone.await.is_err() {
        wrong.push(format!("processes {:?} of the lost lease live on", gates.alive(1)));
    }
    let after = until_job(&mut admin, job, "to be there", |_| true).await?;
    if after != done {
        wrong.push(format!("the job was {done:?} and is {after:?}"));
    }
    let seq_after = last_seq(&mut admin).await?;
    if seq_after != seq {
        wrong.push(format!("the ledger grew from {seq} to {seq_after} by what the sleeper brought"));
    }
    if (done.worker.as_str(), done.crashes) == ("sleeper", 0) {
        wrong.push("its lease did not end while it slept".to_owned());
    }
    heir.stop().await?;
    sleeper.stop().await?;
    server.stop().await?;
    wrong.extend(Told::create(folder.join("acknowledged.jsonl"))?.check(server.data())?);
    wrong.extend(server.panics());
    Ok(wrong)
}

/// Brings the job to the point at which its worker is to be stopped.
async fn reach(
    point: Point,
    gates: &Gates,
    admin: &mut AdminServiceClient<Channel>,
    job: u64,
    sleeper: &mut Worker,
) -> Result<(), TortureError> {
    if matches!(point, Point::Waiting | Point::Granted) {
        return Ok(());
    }
    until("the program to start", PATIENCE, async || Ok(gates.pids(1))).await?;
    match point {
        Point::Waiting | Point::Granted | Point::Running => {}
        Point::Draining => {
            sleeper.process.signal(Signal::TERM)?;
            sleeper.process.until_said("draining").await?;
        }
        Point::Streaming | Point::ResultsAsleep | Point::Restart => {
            gates.open("find-1")?;
            until_job(admin, job, "to have a result", |seen| seen.accepted == 1).await?;
        }
        Point::EndAsleep => {
            gates.open("find-1")?;
            gates.open("more-1")?;
            until_job(admin, job, "to have its results", |seen| seen.accepted == 2).await?;
        }
    }
    Ok(())
}

async fn last_seq(admin: &mut AdminServiceClient<Channel>) -> Result<u64, TortureError> {
    Ok(wire::stats(admin).await?.ledger.map_or(0, |ledger| ledger.seq))
}

/// Waits until the job is like this, and gives it.
async fn until_job(
    admin: &mut AdminServiceClient<Channel>,
    job: u64,
    what: &str,
    is: impl Fn(&v1::JobSummary) -> bool,
) -> Result<v1::JobSummary, TortureError> {
    until(&format!("the job {what}"), PATIENCE, async || {
        let shown = admin.get_job(wire::timed(v1::GetJobRequest { job })).await;
        let shown = shown.map_err(TortureError::call("ask for the job"))?.into_inner();
        Ok(shown.summary.filter(|seen| is(seen)))
    })
    .await
}

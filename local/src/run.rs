//! A manifest from its start to its clean data set.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use orch_core::digest::Digest;
use orch_core::id::Seq;
use orch_core::manifest::{self, ManifestError};
use orch_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::cluster::{Cluster, ClusterOptions};
use crate::progress::{Meter, Progress};

/// What to run, and where.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The cluster.
    pub cluster: ClusterOptions,
    /// The manifest's text.
    pub manifest: String,
    /// Where the clean data set goes.
    pub out: PathBuf,
    /// How often the caller hears of progress.
    pub every: Duration,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Nothing is open any more, and nothing failed.
    Done,
    /// Nothing is open any more, but jobs failed for good.
    Failed,
    /// The caller interrupted it; the same run goes on from here.
    Interrupted,
}

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Summary {
    /// How it ended.
    pub ended: Ended,
    /// How far it was at its end.
    pub progress: Progress,
    /// Jobs of the manifest.
    pub jobs: u64,
    /// How many of them an earlier run had submitted.
    pub jobs_existed: u64,
    /// What the ledger and the data set came to; None if it was interrupted.
    pub result: Option<RunResult>,
    /// How long all of it took.
    pub elapsed: Duration,
}

/// A verified ledger and the data set out of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunResult {
    /// Records of the ledger, all verified.
    pub records: u64,
    /// Bytes of the ledger, all verified.
    pub ledger_bytes: u64,
    /// The last record.
    pub seq: Seq,
    /// The chain link that stands for every byte of the ledger.
    pub chain: Digest,
    /// Candidates written to the clean data set.
    pub written: u64,
}

/// Why a run could not go on.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// The manifest has faults.
    #[error("the manifest has faults")]
    Manifest(#[from] ManifestError),
    /// The cluster could not be started.
    #[error("failed to start the local cluster")]
    Start(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The cluster could not be stopped cleanly.
    #[error("failed to stop the local cluster")]
    Stop(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The orchestrator refused a request.
    #[error("the orchestrator refused: {}", .0.message())]
    Refused(#[from] Box<tonic::Status>),
    /// The ledger could not be verified.
    #[error("failed to verify the ledger")]
    Verify(#[from] orch_ledger::VerifyError),
    /// The ledger is not as it must be.
    #[error("the ledger is damaged: {0}; run next: {next}", next = .0.next_command())]
    Damaged(Box<orch_ledger::Refusal>),
    /// The clean data set could not be written.
    #[error("failed to write the clean data set")]
    Compact(#[from] orch_compactor::CompactError),
}

impl LocalError {
    pub(crate) fn start(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Start(error.into())
    }

    pub(crate) fn stop(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Stop(error.into())
    }
}

impl From<tonic::Status> for LocalError {
    fn from(status: tonic::Status) -> Self {
        Self::Refused(Box::new(status))
    }
}

/// Runs a manifest to its end, or until `interrupt`. A second run with the same data directory goes on where the
/// first one was.
///
/// # Errors
/// [`LocalError`]. What was acknowledged before it is in the ledger.
pub async fn run(
    options: RunOptions,
    interrupt: CancellationToken,
    mut observe: impl FnMut(&Progress),
) -> Result<Summary, LocalError> {
    let started = Instant::now();
    let manifest = manifest::parse(&options.manifest)?;
    let cluster = Cluster::start(&options.cluster).await?;
    let mut meter = Meter::start();
    let worked = async {
        let mut client = cluster.client().await?;
        let (jobs, existed) = crate::submit::submit(&mut client, &manifest, &options.manifest).await?;
        loop {
            let stats = client.stats(v1::StatsRequest {}).await?.into_inner();
            let progress = meter.read(&stats);
            observe(&progress);
            if progress.open == 0 || interrupt.is_cancelled() {
                return Ok::<_, LocalError>((jobs, existed, progress));
            }
            let wait_ms = u64::try_from(options.every.as_millis()).unwrap_or(u64::MAX);
            let wait = client.wait_jobs(v1::WaitJobsRequest { timeout_ms: wait_ms, ..Default::default() });
            tokio::select! {
                answer = wait => drop(answer?),
                () = interrupt.cancelled() => {}
            }
        }
    }
    .await;
    let interrupted = interrupt.is_cancelled();
    let stopped = cluster.stop(interrupted || worked.is_err()).await;
    let (jobs, jobs_existed, progress) = worked?;
    stopped?;
    let mut summary = Summary {
        ended: match progress {
            Progress { open: 0, failed: 0, .. } => Ended::Done,
            Progress { open: 0, .. } => Ended::Failed,
            Progress { .. } => Ended::Interrupted,
        },
        progress,
        jobs,
        jobs_existed,
        result: None,
        elapsed: started.elapsed(),
    };
    if summary.ended == Ended::Interrupted {
        return Ok(summary);
    }
    let finish = tokio::task::spawn_blocking(move || finish(&options.cluster.data, &options.out)).await;
    summary.result = Some(finish.map_err(LocalError::stop)??);
    summary.elapsed = started.elapsed();
    Ok(summary)
}

/// Verifies the whole ledger, then writes the clean data set.
fn finish(data: &Path, out: &Path) -> Result<RunResult, LocalError> {
    let threads = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    let report = orch_ledger::verify(data, threads, &|_, _| ())?;
    if let Some(refusal) = report.findings.into_iter().next() {
        return Err(LocalError::Damaged(Box::new(refusal)));
    }
    let summary = orch_compactor::compact(data, out, &orch_compactor::Options::default(), &mut |_| ())?;
    Ok(RunResult {
        records: report.records,
        ledger_bytes: report.bytes,
        seq: summary.seq,
        chain: summary.chain,
        written: summary.written,
    })
}

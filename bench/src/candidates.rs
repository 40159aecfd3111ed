//! P3: candidates accepted: contract, tolerance, identity, duplicates, synced.

use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use tokio::task::JoinSet;

use crate::harness::{Cluster, candidate, jobs};
use crate::report::Sample;

/// Streams that deliver at once.
const STREAMS: u64 = 8;

/// Candidates of one batch.
const BATCH: u64 = 1000;

/// Batches of one stream that await their verdicts.
const WINDOW: u64 = 8;

/// Delivers candidates for `span`.
pub async fn measure(cluster: &Cluster, span: Duration) -> anyhow::Result<Sample> {
    cluster.admin(0).submit(v1::SubmitRequest { jobs: jobs(STREAMS as usize), ..Default::default() }).await?;
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    for stream in 0..STREAMS {
        let mut worker = cluster.worker(stream as usize).await?;
        tasks.spawn(async move {
            let lease = worker.lease(1).await?[0].lease;
            let (mut sent, mut answered, mut accepted) = (0, 0, 0u64);
            while started.elapsed() < span || answered < sent {
                while started.elapsed() < span && sent < answered + WINDOW {
                    let first = (stream << 40) + sent * BATCH;
                    let candidates = (first..first + BATCH).map(candidate).collect();
                    sent += 1;
                    worker.send(lease, Action::Batch(v1::Batch { number: sent, candidates })).await?;
                }
                if let v1::submit_results_response::Answer::Verdicts(verdicts) = worker.answer().await? {
                    answered += 1;
                    let is_accepted = |v: &&v1::Verdict| matches!(v.verdict, Some(v1::verdict::Verdict::Accepted(_)));
                    accepted += verdicts.verdicts.iter().filter(is_accepted).count() as u64;
                }
            }
            Ok::<u64, anyhow::Error>(accepted)
        });
    }
    let mut accepted = 0;
    while let Some(result) = tasks.join_next().await {
        accepted += result??;
    }
    let rate = accepted as f64 / started.elapsed().as_secs_f64();
    Ok(vec![("candidates of about 170 bytes accepted", rate, "candidates/s")])
}

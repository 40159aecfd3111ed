//! P4: jobs imported in bulk.

use std::time::{Duration, Instant};

use orch_proto::v1;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{Cluster, jobs};
use crate::report::Sample;

/// Jobs of one chunk.
const CHUNK: usize = 1000;

/// Imports jobs for `span`.
pub async fn measure(cluster: &Cluster, span: Duration) -> anyhow::Result<Sample> {
    let (sender, receiver) = mpsc::channel(8);
    let started = Instant::now();
    let feed = tokio::spawn(async move {
        let mut chunk = 0;
        while started.elapsed() < span {
            chunk += 1;
            if sender.send(v1::ImportJobsRequest { chunk, jobs: jobs(CHUNK) }).await.is_err() {
                break;
            }
        }
    });
    let mut answers = cluster.admin(0).import_jobs(ReceiverStream::new(receiver)).await?.into_inner();
    let mut submitted = 0;
    while let Some(answer) = answers.message().await? {
        anyhow::ensure!(answer.faults.is_empty(), "refused: {}", answer.faults[0].message);
        submitted += answer.submitted;
    }
    feed.await?;
    Ok(vec![("jobs imported", submitted as f64 / started.elapsed().as_secs_f64(), "jobs/s")])
}

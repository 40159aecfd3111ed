//! P1 and P2: the life of a no-op job: submit, lease, one candidate, complete.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use tokio::task::JoinSet;

use crate::harness::{Cluster, candidate, jobs};
use crate::report::Sample;

/// Runs `workers` clients, each with `batch` jobs at a time, for `span`.
pub async fn measure(cluster: &Cluster, workers: usize, batch: usize, span: Duration) -> anyhow::Result<Sample> {
    let numbers = std::sync::Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    let until = started + span;
    for n in 0..workers {
        let mut admin = cluster.admin(n);
        let mut worker = cluster.worker(n).await?;
        let numbers = std::sync::Arc::clone(&numbers);
        tasks.spawn(async move {
            let mut done = 0u64;
            while Instant::now() < until {
                admin.submit(v1::SubmitRequest { jobs: jobs(batch), ..Default::default() }).await?;
                // Another worker may have taken some of these jobs; then there are as many of another one's.
                let leases = worker.lease(u32::try_from(batch)?).await?;
                let count = leases.len();
                for lease in leases {
                    let number = numbers.fetch_add(1, Ordering::Relaxed);
                    let candidates = vec![candidate(number)];
                    worker.send(lease.lease, Action::Batch(v1::Batch { number: 1, candidates })).await?;
                    worker.send(lease.lease, Action::Complete(v1::Complete { batches: 1 })).await?;
                }
                for _ in 0..2 * count {
                    worker.answer().await?;
                }
                done += count as u64;
            }
            Ok::<u64, anyhow::Error>(done)
        });
    }
    let mut done = 0;
    while let Some(result) = tasks.join_next().await {
        done += result??;
    }
    Ok(vec![("jobs submitted, leased, delivered, completed", done as f64 / started.elapsed().as_secs_f64(), "jobs/s")])
}

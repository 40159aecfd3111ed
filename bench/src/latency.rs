//! P5: from a submit to the lease in an idle worker's hand.

use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;

use crate::harness::{Cluster, candidate, jobs};
use crate::report::Sample;

/// Submits one job at a time to a worker that waits for it.
pub async fn measure(cluster: &Cluster, span: Duration) -> anyhow::Result<Sample> {
    let mut worker = cluster.worker(0).await?;
    let mut admin = cluster.admin(1);
    let mut latencies = Vec::new();
    let started = Instant::now();
    let mut number = 0;
    while started.elapsed() < span {
        let mut waiting = worker.client.clone();
        let request =
            v1::LeaseJobRequest { worker: worker.name.clone(), max: 1, wait_ms: 10_000, ..Default::default() };
        let lease = tokio::spawn(async move {
            let leased = waiting.lease_job(request).await;
            (leased, Instant::now())
        });
        // The poll has to be waiting before the clock starts: a query behind it on another connection is no proof, so
        // the worker's own connection is asked something that is answered in turn.
        let heartbeat = v1::HeartbeatRequest { worker: worker.name.clone(), ..Default::default() };
        worker.client.heartbeat(heartbeat).await?;
        let submitted = Instant::now();
        admin.submit(v1::SubmitRequest { jobs: jobs(1), ..Default::default() }).await?;
        let (leased, at) = lease.await?;
        latencies.push((at - submitted).as_secs_f64() * 1e3);
        for lease in leased?.into_inner().leases {
            number += 1;
            let batch = v1::Batch { number: 1, candidates: vec![candidate(number)] };
            worker.send(lease.lease, Action::Batch(batch)).await?;
            worker.send(lease.lease, Action::Complete(v1::Complete { batches: 1 })).await?;
            worker.answer().await?;
            worker.answer().await?;
        }
    }
    latencies.sort_by(f64::total_cmp);
    let at = |quantile: f64| latencies[((latencies.len() - 1) as f64 * quantile) as usize];
    Ok(vec![("submit to lease, p50", at(0.5), "ms"), ("submit to lease, p99", at(0.99), "ms")])
}

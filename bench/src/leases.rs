//! P6: leasing from a thousand jobs in one queue, and from a million in a thousand queues with ten thousand keys.
//!
//! Each client leases some jobs and gives them back, so that as many stay queued as there were.

use std::time::{Duration, Instant};

use orch_proto::v1;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::Cluster;
use crate::report::Sample;

/// Clients, and how many jobs each leases at a time.
const CLIENTS: usize = 8;
const AT_ONCE: u32 = 50;

/// What is queued.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    pub jobs: usize,
    pub queues: usize,
    /// Distinct values of the key `host`; 0: no keys.
    pub hosts: usize,
}

/// Fills the queues and leases for `span`.
pub async fn measure(cluster: &Cluster, load: Load, span: Duration) -> anyhow::Result<Sample> {
    fill(cluster, load).await?;
    indexed(cluster).await?;
    let mut tasks = JoinSet::new();
    let started = Instant::now();
    let until = started + span;
    for n in 0..CLIENTS {
        let mut worker = cluster.worker(n).await?;
        tasks.spawn(async move {
            let mut leased = 0u64;
            while Instant::now() < until {
                let leases: Vec<u64> = worker.lease(AT_ONCE).await?.into_iter().map(|lease| lease.lease).collect();
                leased += leases.len() as u64;
                let request = v1::ReleaseLeasesRequest { worker: worker.name.clone(), leases };
                worker.client.release_leases(request).await?;
            }
            Ok::<u64, anyhow::Error>(leased)
        });
    }
    let mut leased = 0;
    while let Some(result) = tasks.join_next().await {
        leased += result??;
    }
    let name = if load.hosts > 0 {
        "leased of 1,000,000 in 1,000 queues, 10,000 keys"
    } else {
        "leased of 1,000 in one queue"
    };
    Ok(vec![(name, leased as f64 / started.elapsed().as_secs_f64(), "leases/s")])
}

/// Waits until the index has what was filled in: what it does about that is not what a lease costs.
async fn indexed(cluster: &Cluster) -> anyhow::Result<()> {
    let behind = async || {
        let stats = cluster.admin(0).stats(v1::StatsRequest {}).await?.into_inner();
        let (ledger, index) = (stats.ledger.unwrap_or_default(), stats.index.unwrap_or_default());
        Ok::<bool, anyhow::Error>(index.applied_seq < ledger.seq)
    };
    while behind().await? {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Ok(())
}

async fn fill(cluster: &Cluster, load: Load) -> anyhow::Result<()> {
    let queue = |n: usize| v1::QueueSpec {
        queue: format!("q{n}"),
        contract: "bench@1".into(),
        kind: "noop".into(),
        ..Default::default()
    };
    let limit = |limit: &str, max| v1::Limit { limit: limit.into(), max: Some(max), ..Default::default() };
    let limits = vec![limit("host=*", 4), limit("host=h1", 2), limit("running", 100_000)];
    let limits = if load.hosts > 0 { limits } else { Vec::new() };
    let queues = (0..load.queues).map(queue).collect();
    cluster.admin(0).submit(v1::SubmitRequest { queues, limits, ..Default::default() }).await?;
    let (sender, receiver) = mpsc::channel(8);
    let feed = tokio::spawn(async move {
        // A stride that shares no factor with the numbers of queues and hosts mixes them.
        let job = |n: usize| v1::JobSpec {
            queue: format!("q{}", n % load.queues),
            payload_json: "{\"n\":1}".into(),
            keys: (load.hosts > 0)
                .then(|| ("host".to_owned(), format!("h{}", n * 7919 % load.hosts)))
                .into_iter()
                .collect(),
            ..Default::default()
        };
        for chunk in 0..load.jobs.div_ceil(1000) {
            let jobs = (chunk * 1000..(chunk * 1000 + 1000).min(load.jobs)).map(job).collect();
            if sender.send(v1::ImportJobsRequest { chunk: chunk as u64 + 1, jobs }).await.is_err() {
                break;
            }
        }
    });
    let mut answers = cluster.admin(0).import_jobs(ReceiverStream::new(receiver)).await?.into_inner();
    while let Some(answer) = answers.message().await? {
        anyhow::ensure!(answer.faults.is_empty(), "refused: {}", answer.faults[0].message);
    }
    feed.await?;
    Ok(())
}

//! P6: leasing from a thousand jobs in one queue, and from a million in a thousand queues with ten thousand keys.
//!
//! Each client leases some jobs and gives them back, so that as many stay queued as there were. Two orchestrators take
//! turns of half a second, so that whatever else the machine does comes to both; a ratio is that of two turns side by side.

use std::time::{Duration, Instant};

use orch_proto::v1;
use rustix::time::{ClockId, clock_gettime};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use crate::harness::{Cluster, Settings, Worker};
use crate::report::Sample;

/// Clients, and how many jobs each leases at a time.
const CLIENTS: usize = 8;
const AT_ONCE: u32 = 50;

/// How long one of the two works before it is the other's turn.
const TURN: Duration = Duration::from_millis(500);

/// What is queued.
#[derive(Clone, Copy, Debug)]
struct Load {
    jobs: usize,
    queues: usize,
    /// Distinct values of the key `host`; 0: no keys.
    hosts: usize,
}

const FEW: Load = Load { jobs: 1000, queues: 1, hosts: 0 };
const MANY: Load = Load { jobs: 1_000_000, queues: 1000, hosts: 10_000 };

/// Fills the queues of two orchestrators and leases for `span` from each.
pub async fn measure(settings: &Settings, span: Duration) -> anyhow::Result<Sample> {
    let mut few = Side::start(settings, FEW).await?;
    let mut many = Side::start(settings, MANY).await?;
    let turns = (span.as_secs_f64() / TURN.as_secs_f64()).ceil() as usize;
    let (mut by_rate, mut by_processor) = (Vec::new(), Vec::new());
    for turn in 0..turns {
        // Who comes after the other differs.
        let (few, many) = if turn % 2 == 0 {
            let few = few.turn().await?;
            (few, many.turn().await?)
        } else {
            let many = many.turn().await?;
            (few.turn().await?, many)
        };
        by_rate.push(many.rate() / few.rate());
        by_processor.push(few.processor() / many.processor());
    }
    let sample = vec![
        ("1,000 jobs in one queue", few.total.rate(), "leases/s"),
        ("1,000,000 jobs in 1,000 queues, 10,000 keys", many.total.rate(), "leases/s"),
        ("processor time with 1,000 jobs", few.total.processor(), "us/lease"),
        ("processor time with 1,000,000 jobs", many.total.processor(), "us/lease"),
        ("rate with many, of that with few", median(by_rate), ""),
        ("the same by processor time", median(by_processor), ""),
    ];
    for side in [few, many] {
        if let Some(spans) = side.cluster.stop().await? {
            eprintln!("p6: {spans} spans came");
        }
    }
    Ok(sample)
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// One of the two, with its clients.
struct Side {
    cluster: Cluster,
    workers: Vec<Worker>,
    total: Turn,
}

/// What was done, in how much time, and in how much of all processors together.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    leased: u64,
    time: Duration,
    processor: Duration,
}

impl Turn {
    /// Leases a second.
    fn rate(&self) -> f64 {
        self.leased as f64 / self.time.as_secs_f64()
    }

    /// Microseconds of processors a lease, clients and all.
    fn processor(&self) -> f64 {
        self.processor.as_secs_f64() * 1e6 / self.leased as f64
    }
}

impl Side {
    async fn start(settings: &Settings, load: Load) -> anyhow::Result<Self> {
        let cluster = Cluster::start(settings).await?;
        fill(&cluster, load).await?;
        indexed(&cluster).await?;
        let mut workers = Vec::new();
        for n in 0..CLIENTS {
            workers.push(cluster.worker(n).await?);
        }
        let mut side = Self { cluster, workers, total: Turn::default() };
        // The first turn finds everything cold.
        side.turn().await?;
        side.total = Turn::default();
        Ok(side)
    }

    /// All clients lease and give back for a while. The index's share comes after the leases and belongs to them.
    async fn turn(&mut self) -> anyhow::Result<Turn> {
        let (started, processor) = (Instant::now(), processor_time());
        let until = started + TURN;
        let mut tasks = JoinSet::new();
        for mut worker in self.workers.drain(..) {
            tasks.spawn(async move {
                let mut leased = 0u64;
                while Instant::now() < until {
                    let leases: Vec<u64> = worker.lease(AT_ONCE).await?.into_iter().map(|lease| lease.lease).collect();
                    leased += leases.len() as u64;
                    let request = v1::ReleaseLeasesRequest { worker: worker.name.clone(), leases };
                    worker.client.release_leases(request).await?;
                }
                Ok::<_, anyhow::Error>((leased, worker))
            });
        }
        let mut leased = 0;
        while let Some(result) = tasks.join_next().await {
            let (count, worker) = result??;
            leased += count;
            self.workers.push(worker);
        }
        let time = started.elapsed();
        indexed(&self.cluster).await?;
        let turn = Turn { leased, time, processor: processor_time().saturating_sub(processor) };
        self.total.leased += turn.leased;
        self.total.time += turn.time;
        self.total.processor += turn.processor;
        Ok(turn)
    }
}

/// What this process has had of all processors.
fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(u64::try_from(time.tv_sec).unwrap_or(0), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Waits until the index has everything: what it does for one side is not to fall into the turn of the other.
async fn indexed(cluster: &Cluster) -> anyhow::Result<()> {
    let behind = async || {
        let stats = cluster.admin(0).stats(v1::StatsRequest {}).await?.into_inner();
        let (ledger, index) = (stats.ledger.unwrap_or_default(), stats.index.unwrap_or_default());
        Ok::<bool, anyhow::Error>(index.applied_seq < ledger.seq)
    };
    // Seldom: with a thousand queues each of these questions costs what fifty leases do.
    while behind().await? {
        tokio::time::sleep(Duration::from_millis(250)).await;
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

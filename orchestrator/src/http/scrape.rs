//! One look at everything that `/metrics` tells: a single question to the engine, then the index, the files, the process.

use std::collections::BTreeMap;

use orch_core::id::{QueueName, WorkerId};
use orch_core::liveness::Order;
use orch_core::state::{Counts, JobCounts, LimitUsage};
use orch_core::time::Span;

use super::Sources;
use super::process::Process;
use crate::engine::{CallError, Measures};
use crate::segments;

/// So many queues are told each by itself; the jobs of the others are told together.
pub const MAX_QUEUES: usize = 500;

/// So many limits are told, the fullest.
const MAX_LIMITS: usize = 200;

/// Everything that a scrape tells.
pub struct Scraped {
    /// Totals since the ledger began.
    pub counts: Counts,
    /// Measurements since the start.
    pub measures: Measures,
    /// Each queue, the first [`MAX_QUEUES`] by name.
    pub queues: BTreeMap<QueueName, QueueScrape>,
    /// The jobs of all other queues.
    pub other_queues: Option<JobCounts>,
    /// Limits and their use, the fullest [`MAX_LIMITS`].
    pub limits: Vec<LimitUsage>,
    /// Leases that are held.
    pub leases: u64,
    /// Known workers that take work.
    pub live: u64,
    /// Known workers that finish what they have.
    pub draining: u64,
    /// Known workers that are silent.
    pub stale: u64,
    /// Jobs that live workers could run at once.
    pub slots: u64,
    /// The last durable record.
    pub seq: u64,
    /// The last commit.
    pub batch: u64,
    /// The boot.
    pub epoch: u64,
    /// Whether nothing can be written.
    pub read_only: bool,
    /// Bytes and number of the ledger's segments.
    pub size: (u64, u64),
    /// The last record that is in the index.
    pub indexed: u64,
    /// The process; None where the system does not tell.
    pub process: Option<Process>,
}

/// A queue, as a scrape tells it.
pub struct QueueScrape {
    /// Its jobs.
    pub jobs: JobCounts,
    /// For how long its oldest ready job has been waiting.
    pub oldest_ready: Option<Span>,
    /// Whether it is paused.
    pub paused: bool,
}

/// Looks at everything.
///
/// # Errors
/// [`CallError`]: the engine does not answer.
pub async fn scrape(sources: &Sources) -> Result<Scraped, CallError> {
    let mut scraped = sources
        .handle
        .query(|engine, now| {
            let (state, liveness) = (engine.state(), engine.liveness());
            let mut queues = BTreeMap::new();
            let mut other_queues: Option<JobCounts> = None;
            for (name, queue) in state.queues().iter() {
                if queues.len() < MAX_QUEUES {
                    let oldest = state.oldest_ready(Some(name)).and_then(|job| state.job(job));
                    let oldest_ready = oldest.map(|job| now.wall.since(job.submitted_at));
                    let (jobs, paused) = (queue.jobs, queue.paused.is_some());
                    queues.insert(name.clone(), QueueScrape { jobs, oldest_ready, paused });
                } else {
                    add(other_queues.get_or_insert_default(), &queue.jobs);
                }
            }
            let (mut live, mut draining, mut stale, mut slots) = (0, 0, 0, 0);
            for worker in liveness.workers().values() {
                if liveness.is_stale(worker, now.tick) {
                    stale += 1;
                    continue;
                }
                match worker.order {
                    Order::Run => live += 1,
                    Order::Drain | Order::Terminate => draining += 1,
                }
                slots += u64::from(worker.registration.slots);
            }
            let mut measures = engine.measures().clone();
            measures.forget_workers(|worker: &WorkerId| liveness.workers().contains_key(worker));
            let head = engine.ledger().head();
            Scraped {
                counts: *state.counts(),
                measures,
                queues,
                other_queues,
                limits: state.fullest_limits(now.wall, MAX_LIMITS).0,
                leases: state.leases().len() as u64,
                live,
                draining,
                stale,
                slots,
                seq: head.seq.0,
                batch: head.batch,
                epoch: state.epoch(),
                read_only: engine.read_only().is_some(),
                size: (0, 0),
                indexed: 0,
                process: None,
            }
        })
        .await?;
    scraped.indexed = sources.index.status().applied.0;
    let data = sources.data.clone();
    let files = tokio::task::spawn_blocking(move || (segments::size(&data), Process::look())).await;
    (scraped.size, scraped.process) = files.unwrap_or(((0, 0), None));
    Ok(scraped)
}

fn add(sum: &mut JobCounts, jobs: &JobCounts) {
    let JobCounts { blocked, ready, delayed, leased, done, failed, cancelled } = jobs;
    sum.blocked += blocked;
    sum.ready += ready;
    sum.delayed += delayed;
    sum.leased += leased;
    sum.done += done;
    sum.failed += failed;
    sum.cancelled += cancelled;
}

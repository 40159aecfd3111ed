//! What stands where: queues, workers, contracts, totals, the server itself.

use std::collections::BTreeMap;

use orch_core::access::Queues;
use orch_core::explain;
use orch_core::id::{ContractName, LeaseId, WorkerId};
use orch_core::liveness::{Order, Worker};
use orch_core::state::Queue;
use orch_core::time::Now;
use orch_proto::convert::{self, Faults};
use orch_proto::v1;
use tonic::Status;

use super::limits::fullest;
use super::{About, Admin, internal, not_found, refused};
use crate::access::Caller;
use crate::engine::Engine;
use crate::engine::waits::Waits;
use crate::index::IndexStatus;
use crate::segments;

/// The most limits that the statistics list.
const MAX_LIMITS: usize = 100;

impl Admin {
    pub(super) async fn queues(&self, caller: &Caller) -> Result<v1::ListQueuesResponse, Status> {
        let within = caller.queues();
        let queues = self.handle.query(move |engine, _| queue_statuses(engine, &within)).await.map_err(refused)?;
        Ok(v1::ListQueuesResponse { queues })
    }

    pub(crate) async fn workers(
        &self,
        caller: &Caller,
        request: v1::ListWorkersRequest,
    ) -> Result<v1::ListWorkersResponse, Status> {
        let v1::ListWorkersRequest { worker } = request;
        let mut faults = Faults::new();
        let wanted = (!worker.is_empty()).then(|| faults.take("worker", WorkerId::new(&worker))).flatten();
        let wanted = faults.or(wanted)?;
        let (only, within) = (wanted.clone(), caller.queues());
        let listed = self.handle.query(move |engine, now| worker_statuses(engine, only.as_ref(), &within, now));
        let workers = listed.await.map_err(refused)?;
        match wanted {
            Some(worker) if workers.is_empty() => Err(not_found(format!("worker {worker} is not known"), "worker")),
            Some(_) | None => Ok(v1::ListWorkersResponse { workers }),
        }
    }

    pub(super) async fn contracts(
        &self,
        request: v1::ListContractsRequest,
    ) -> Result<v1::ListContractsResponse, Status> {
        let v1::ListContractsRequest { name } = request;
        let mut faults = Faults::new();
        let wanted = (!name.is_empty()).then(|| faults.take("name", ContractName::new(&name))).flatten();
        let wanted = faults.or(wanted)?;
        let listed = self.handle.query(move |engine, _| {
            let all = engine.state().contracts().iter();
            let named = all.filter(|(reference, _)| wanted.as_ref().is_none_or(|name| *name == reference.name));
            named.map(|(_, registered)| convert::contract_status(registered)).collect::<Result<Vec<_>, _>>()
        });
        let contracts = listed.await.map_err(refused)?.map_err(|error| internal(&error))?;
        Ok(v1::ListContractsResponse { contracts })
    }

    pub(super) async fn totals(&self, caller: &Caller) -> Result<v1::StatsResponse, Status> {
        let within = caller.queues();
        let seen = self.handle.query(move |engine, now| {
            let state = engine.state();
            let head = engine.ledger().head();
            let oldest = state.oldest_ready(None).and_then(|job| state.job(job)).map(|job| job.submitted_at);
            let ledger = v1::LedgerStatus {
                ledger: engine.ledger().id().to_owned(),
                seq: head.seq.0,
                batch: head.batch,
                chain: head.chain.0.to_vec().into(),
                epoch: state.epoch(),
                bytes: 0,
                segments: 0,
                read_only_reason: engine.read_only().unwrap_or_default().to_owned(),
                missing_seq: engine.missing().map_or(0, |missing| missing.seq.0),
            };
            // What is in use tells of jobs of any queue.
            let listed = if within.is_held() { 0 } else { MAX_LIMITS };
            let limits = fullest(state, now.wall, listed);
            let unoffered = explain::unoffered(state, engine.liveness(), now);
            let queues = queue_statuses(engine, &within);
            let next = explain::next_of_all(state).filter(|next| within.contain(&next.queue));
            let paused = state.retries_paused().map(str::to_owned);
            (*state.counts(), worker_counts(engine, now), oldest, ledger, queues, limits, unoffered, paused, next)
        });
        let (counts, workers, oldest, mut ledger, queues, (limits, limits_left_out), unoffered, retries_paused, next) =
            seen.await.map_err(refused)?;
        let data = self.about.data.clone();
        let sized =
            tokio::task::spawn_blocking(move || segments::size(&data)).await.map_err(|error| internal(&error))?;
        (ledger.bytes, ledger.segments) = sized;
        let (jobs, candidates, attempts) = convert::totals(&counts);
        let IndexStatus { applied, kind, problem } = self.index.status();
        Ok(v1::StatsResponse {
            jobs: Some(jobs),
            candidates: Some(candidates),
            workers: Some(workers),
            ledger: Some(ledger),
            oldest_ready_unix_ms: convert::unix_ms(oldest),
            attempts: Some(attempts),
            queues,
            index: Some(v1::IndexStatus { applied_seq: applied.0, kind: kind.to_owned(), problem }),
            uptime_ms: u64::try_from(self.about.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            limits,
            limits_left_out,
            retries_paused,
            next: next.map(Into::into),
            unoffered: unoffered
                .into_iter()
                .map(|explain::Unoffered { kind, jobs, lacking }| v1::UnofferedKind {
                    kind: kind.to_string(),
                    ready: jobs,
                    lacking,
                })
                .collect(),
        })
    }

    pub(super) async fn info(&self) -> Result<v1::ServerInfoResponse, Status> {
        let now = self.handle.query(|_, now| now.wall).await.map_err(refused)?;
        let About { ledger, epoch, data, config, host, started: _ } = &self.about;
        Ok(v1::ServerInfoResponse {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            ledger: ledger.clone(),
            epoch: *epoch,
            data_dir: data.display().to_string(),
            config_json: config.to_json().to_string(),
            host: host.clone(),
            pid: std::process::id(),
            now_unix_ms: now.0,
        })
    }
}

fn queue_statuses(engine: &Engine, within: &Queues) -> Vec<v1::QueueStatus> {
    let state = engine.state();
    let status = |queue: &Queue| {
        let oldest = state.oldest_ready(Some(&queue.spec.name)).and_then(|job| state.job(job));
        let oldest = oldest.map(|job| job.submitted_at);
        let number = state.queues().number(&queue.spec.name);
        let waits = number.and_then(|number| engine.measures().waits.of(number)).map(wait_times);
        let paused = queue.paused.as_deref();
        v1::QueueStatus { waits, ..convert::queue_status(&queue.spec, paused, queue.jobs, oldest) }
    };
    state.queues().values().filter(|queue| within.contain(&queue.spec.name)).map(status).collect()
}

fn wait_times(waits: &Waits) -> v1::WaitTimes {
    let quantile = |hundredths| waits.quantile(hundredths).unwrap_or_default().0;
    v1::WaitTimes { count: waits.count(), p50_ms: quantile(50), p99_ms: quantile(99), longest_ms: waits.longest().0 }
}

fn worker_counts(engine: &Engine, now: Now) -> v1::WorkerCounts {
    let mut counts = v1::WorkerCounts::default();
    for worker in engine.liveness().workers().values() {
        if engine.liveness().is_stale(worker, now.tick) {
            counts.stale += 1;
            continue;
        }
        counts.live += 1;
        counts.slots += u64::from(worker.registration.slots);
        counts.draining += u64::from(is_draining(worker));
    }
    counts
}

fn is_draining<H>(worker: &Worker<H>) -> bool {
    match worker.order {
        Order::Run => false,
        Order::Drain | Order::Terminate => true,
    }
}

fn worker_statuses(engine: &Engine, only: Option<&WorkerId>, within: &Queues, now: Now) -> Vec<v1::WorkerStatus> {
    let (state, liveness) = (engine.state(), engine.liveness());
    let mut held: BTreeMap<&WorkerId, Vec<v1::HeldLease>> = BTreeMap::new();
    for (lease, by) in state.leases() {
        let queue = state.job(by.job).map(|job| state.lane(job).0);
        if queue.is_some_and(|queue| !within.contain(queue)) {
            continue;
        }
        for worker in by.workers().filter(|worker| only.is_none_or(|only| only == *worker)) {
            held.entry(worker).or_default().push(held_lease(engine, *lease, now));
        }
    }
    let offer = |id: &WorkerId| explain::offer(state, liveness, id, now).unwrap_or_default();
    let wanted = liveness.workers().iter().filter(|(id, _)| only.is_none_or(|only| only == *id));
    let status = |(id, worker): (&WorkerId, &Worker<v1::Hardware>)| v1::WorkerStatus {
        worker: id.to_string(),
        stale: liveness.is_stale(worker, now.tick),
        draining: is_draining(worker),
        kinds: worker.registration.kinds.iter().map(ToString::to_string).collect(),
        slots: worker.registration.slots,
        hardware: Some(worker.registration.hardware.clone()),
        labels: worker.registration.labels.clone().into_iter().collect(),
        version: worker.registration.version.clone(),
        registered_unix_ms: worker.registered_at.0,
        last_seen_unix_ms: worker.seen_at.0,
        leases: held.remove(id).unwrap_or_default(),
        resources: convert::pools_to_wire(&offer(id).pools),
        set_aside: state.set_aside().get(id).map(|aside| aside.reason.clone()).unwrap_or_default(),
        remaining_ms: offer(id).remaining.map(|span| span.0),
    };
    wanted.map(status).collect()
}

fn held_lease(engine: &Engine, lease: LeaseId, now: Now) -> v1::HeldLease {
    let state = engine.state();
    let job = state.leases().get(&lease).map(|held| held.job);
    let queue = job.and_then(|job| state.job(job)).map(|job| state.lane(job).0.to_string());
    let (fraction, note, left) = match engine.liveness().progress(lease, now.tick) {
        Some((progress, left)) => (progress.fraction, progress.note.clone(), left.0),
        None => (-1.0, String::new(), 0),
    };
    v1::HeldLease {
        lease: lease.get(),
        job: job.map_or(0, |job| job.get()),
        queue: queue.unwrap_or_default(),
        fraction,
        note,
        expires_in_ms: left,
    }
}

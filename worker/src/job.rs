//! One leased job, from its grant to the end of its runner.
//!
//! Runner and packer run side by side, a small channel between them: when the outbox is full the packer waits, the
//! channel fills, and the runner waits too. Whatever happens here, the lease ends in exactly one way: with an end in
//! the outbox, released, or dropped because it is another's.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use orch_core::id::LeaseId;
use orch_proto::v1;
use orch_telemetry::Span;
use prost::bytes::Bytes;
use tokio::sync::{SemaphorePermit, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{debug, error, info, warn};

use crate::ahead;
use crate::assignment::{Assignment, Traced};
use crate::gang;
use crate::leases::{Held, StopReason, lock};
use crate::report::count;
use crate::resources::SetApart;
use crate::run::Worker;
use crate::runner::{Outcome, Output};
use crate::session::with_timeout;
use crate::submit::message::{End, Failure, FailureKind};
use crate::submit::pack::{BatchLimits, Packer, TooLarge};

/// Portions of candidates between a runner and the packer. A portion is what one read or one block gave.
const PORTIONS: usize = 16;

/// How long the release of one lease is tried before the registration or the ttl has to do it.
const RELEASE_PATIENCE: Duration = Duration::from_secs(3);

/// How long a job's end waits for its log to be taken in: later the lease is over and the log would be refused.
const LOG_PATIENCE: Duration = Duration::from_secs(2);

/// Runs the job and sees to its end, even if our own code breaks under it.
pub(crate) async fn run(
    worker: Arc<Worker>,
    job: Assignment,
    held: Arc<Held>,
    limits: BatchLimits,
    set_apart: Option<SetApart>,
) {
    let lease = job.lease;
    let whole = to_its_end(Arc::clone(&worker), job, held, limits, set_apart);
    let running = AbortOnDropHandle::new(tokio::spawn(whole));
    if let Err(broken) = running.await {
        let message = format!("the worker broke while it ran the job: {broken}");
        error!(%lease, "{message}");
        deliver(&worker, lease, End::Fail(Failure { kind: FailureKind::Error, message, exit_code: None }));
    }
}

async fn to_its_end(
    worker: Arc<Worker>,
    job: Assignment,
    held: Arc<Held>,
    limits: BatchLimits,
    set_apart: Option<SetApart>,
) {
    let lease = job.lease;
    let outcome = match slot(&worker, &held).await {
        Some(_slot) if gang::all_there(&worker, &held).await => {
            let (started, began) = (Instant::now(), SystemTime::now());
            let outcome = compute(&worker, &job, &held, limits).await;
            lock(&worker.ahead).took(started.elapsed());
            if let Some(exporter) = &worker.exporter {
                span_of(&worker, &job, began, &outcome).into_iter().for_each(|span| exporter.send(span));
            }
            gang::all_finished(&worker, &held, job.rank(), outcome).await
        }
        Some(_) | None => Outcome::Stopped,
    };
    // Nothing of the job runs any more: what it had is for others, also while its results wait for their answer.
    drop(set_apart);
    match outcome {
        Outcome::Complete => deliver(&worker, lease, End::Complete),
        Outcome::Failed(failure) => {
            info!(job = %job.job, %lease, attempt = job.attempt, "the job failed: {}", failure.message);
            deliver(&worker, lease, End::Fail(failure));
        }
        Outcome::Stopped => stopped(&worker, lease, held.stop.reason().unwrap_or(StopReason::Drained)).await,
    }
}

/// The span of a run, if its job's trace is kept.
fn span_of(worker: &Worker, job: &Assignment, start: SystemTime, outcome: &Outcome) -> Option<Span> {
    let Traced { attempt, run } = job.trace.filter(|trace| trace.run.sampled)?;
    let (told, error) = match outcome {
        Outcome::Complete => ("completed", None),
        Outcome::Failed(failure) => ("failed", Some(failure.message.clone())),
        Outcome::Stopped => ("stopped", None),
    };
    let attributes = vec![
        ("orch.job", job.job.get().into()),
        ("orch.lease", job.lease.get().into()),
        ("orch.attempt", u64::from(job.attempt).into()),
        ("orch.queue", job.queue.as_str().into()),
        ("orch.kind", job.kind_text.as_str().into()),
        ("orch.worker", worker.config.name.as_str().into()),
        ("orch.outcome", told.into()),
    ];
    let (trace, id, parent, end) = (run.trace, run.span, Some(attempt), SystemTime::now());
    Some(Span { trace, id, parent, name: "run", start, end, attributes, error })
}

/// Waits for a slot, if the job was leased before there was one. None: the job is not to run here.
async fn slot<'w>(worker: &'w Worker, held: &Held) -> Option<SemaphorePermit<'w>> {
    if held.stop.reason().is_some() {
        return None;
    }
    if let Ok(slot) = worker.slots.try_acquire() {
        return Some(slot);
    }
    tokio::select! {
        slot = worker.slots.acquire() => slot.ok(),
        () = held.stop.raised() => None,
        () = worker.drain.cancelled() => None,
        () = tokio::time::sleep(ahead::PATIENCE) => {
            lock(&worker.ahead).waited_in_vain();
            None
        }
    }
}

/// Puts the end behind the job's results; its slot is free then.
fn deliver(worker: &Worker, lease: LeaseId, end: End) {
    worker.delivery.end(lease, end);
    if worker.delivery.knows(lease) {
        worker.leases.delivering(lease);
    } else {
        worker.leases.remove(lease);
    }
}

/// Ends the lease of a job that did not come to its end.
async fn stopped(worker: &Worker, lease: LeaseId, reason: StopReason) {
    debug!(%lease, ?reason, "the job was stopped");
    match reason {
        // The failure that replaced the results is still to be delivered.
        StopReason::Refused if worker.delivery.knows(lease) => worker.leases.delivering(lease),
        StopReason::Refused | StopReason::Lost | StopReason::Killed => {
            worker.delivery.forget(lease);
            worker.leases.remove(lease);
        }
        StopReason::Cancelled | StopReason::Drained => {
            worker.delivery.forget(lease);
            if tokio::time::timeout(RELEASE_PATIENCE, release(worker, lease)).await.is_err() {
                warn!(%lease, "the lease could not be released in time: it ends by itself");
            }
            worker.leases.remove(lease);
        }
    }
}

/// Gives a lease back undone, without charge.
async fn release(worker: &Worker, lease: LeaseId) {
    let mut pace = crate::pace::Pace::of_calls();
    loop {
        let connected = worker.session.connected().await;
        let request = v1::ReleaseLeasesRequest { worker: worker.config.name.to_string(), leases: vec![lease.get()] };
        match connected.client().release_leases(with_timeout(request, RELEASE_PATIENCE)).await {
            Ok(response) => {
                count(&worker.counters.released, response.into_inner().released.len() as u64);
                return;
            }
            Err(status) => {
                debug!(%lease, "not released yet: {}", crate::session::told(&status));
                tokio::time::sleep(pace.next_wait()).await;
            }
        }
    }
}

/// Runs the runner and packs what it produces.
async fn compute(worker: &Arc<Worker>, job: &Assignment, held: &Arc<Held>, limits: BatchLimits) -> Outcome {
    let (portions, packed) = mpsc::channel(PORTIONS);
    let log = worker.logs.of(job.lease);
    let output = Output::new(portions, Arc::clone(held), log.clone(), job.rank());
    let (outcome, packing) =
        tokio::join!(worker.runners.run(job, output, &held.stop), pack(worker, job.lease, packed, held, limits));
    log.flushed(LOG_PATIENCE).await;
    match packing {
        Packing::All => outcome,
        // Complete by its runner's word or not: what was cut off here must never look complete.
        Packing::Cut => Outcome::Stopped,
        // The runner was stopped for it.
        Packing::Failed(too_large) => {
            Outcome::Failed(Failure { kind: FailureKind::Error, message: too_large.to_string(), exit_code: None })
        }
    }
}

/// How the packing of a job's candidates ended.
enum Packing {
    /// Every candidate that the runner produced is in the outbox.
    All,
    /// The job was stopped first.
    Cut,
    Failed(TooLarge),
}

/// Packs portions into batches and offers them, in order. Returns when the runner is done or is to stop; then what it
/// still produces finds the channel closed.
async fn pack(
    worker: &Worker,
    lease: LeaseId,
    mut portions: mpsc::Receiver<Vec<Bytes>>,
    held: &Held,
    limits: BatchLimits,
) -> Packing {
    let mut packer = Packer::new(limits);
    let mut flush_at = Instant::now();
    let work = async {
        loop {
            let portion = tokio::select! {
                portion = portions.recv() => portion,
                () = sleep_until(flush_at), if !packer.is_empty() => {
                    offer(worker, lease, packer.take()).await;
                    continue;
                }
            };
            let Some(portion) = portion else {
                offer(worker, lease, packer.take()).await;
                return Ok(());
            };
            if packer.is_empty() {
                flush_at = Instant::now() + worker.config.flush;
            }
            for candidate in portion {
                let ready = packer.add(candidate)?;
                if ready.is_some() {
                    flush_at = Instant::now() + worker.config.flush;
                }
                offer(worker, lease, ready).await;
            }
        }
    };
    tokio::select! {
        biased;
        packed = work => match packed {
            Ok(()) => Packing::All,
            Err(too_large) => {
                // The runner may be at work for hours and never look at its output again.
                held.stop.raise(StopReason::Refused);
                Packing::Failed(too_large)
            }
        },
        () = held.stop.raised() => Packing::Cut,
    }
}

async fn offer(worker: &Worker, lease: LeaseId, batch: Option<Vec<Bytes>>) {
    if let Some(batch) = batch {
        // False says that the lease is over; the stop signal that comes with it ends the packing.
        worker.delivery.offer(lease, batch).await;
    }
}

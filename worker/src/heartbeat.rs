//! Heartbeats: tells what the worker holds, learns what of it is still the worker's.

use std::sync::Arc;
use std::time::Duration;

use orch_core::id::LeaseId;
use orch_proto::v1;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::gang::Membership;
use crate::leases::{Held, StopReason};
use crate::pace::Pace;
use crate::run::Worker;
use crate::session::{Connected, needs_registration, told, wait_after, with_timeout};

/// However short an interval the orchestrator asks for, this is the shortest.
const SHORTEST: Duration = Duration::from_millis(20);

/// Sends heartbeats for as long as the worker lives.
pub(crate) async fn run(worker: Arc<Worker>) {
    let mut changes = worker.leases.watch();
    let mut pace = Pace::of_calls();
    loop {
        let connected = worker.session.connected().await;
        // Registration told everything that a heartbeat would, so the first one is due an interval later.
        let mut last = Instant::now();
        let broke = loop {
            let due = last + interval(&connected, &worker.leases.all());
            tokio::select! {
                () = tokio::time::sleep_until(due) => {
                    last = Instant::now();
                    if let Err(status) = beat(&worker, &connected).await {
                        break Some(status);
                    }
                    pace.reset();
                }
                // A new lease may want a shorter interval.
                _ = changes.changed() => {}
                () = worker.session.renewed(&connected) => break None,
            }
        };
        if let Some(status) = broke {
            if needs_registration(&status) {
                worker.session.broke(&connected, "the heartbeat", &status);
            } else {
                warn!("a heartbeat was refused: {}", told(&status));
            }
            tokio::time::sleep(wait_after(&status, &mut pace)).await;
        }
    }
}

/// The shortest interval that any lease or the orchestrator asks for.
fn interval(connected: &Connected, held: &[Arc<Held>]) -> Duration {
    held.iter()
        .map(|held| held.interval())
        .filter(|interval| !interval.is_zero())
        .chain([connected.heartbeat])
        .min()
        .unwrap_or(connected.heartbeat)
        .max(SHORTEST)
}

async fn beat(worker: &Worker, connected: &Connected) -> Result<(), tonic::Status> {
    let leases = worker.leases.all().iter().map(|held| standing(held)).collect();
    let request =
        v1::HeartbeatRequest { worker: worker.config.name.to_string(), leases, last_receipt: worker.session.receipt() };
    let request = with_timeout(request, crate::session::CALL_TIMEOUT);
    let v1::HeartbeatResponse { leases, order } = connected.client().heartbeat(request).await?.into_inner();
    for v1::LeaseStanding { lease, order } in leases {
        let order = v1::LeaseOrder::try_from(order).unwrap_or(v1::LeaseOrder::Unspecified);
        obey_for_lease(worker, LeaseId::new(lease), order);
    }
    obey(worker, connected, order);
    Ok(())
}

fn standing(held: &Held) -> v1::LeaseProgress {
    let crate::leases::Progress { fraction, note } = held.progress();
    let step = held.membership.as_ref().map_or(v1::MemberStep::Unspecified, Membership::step);
    v1::LeaseProgress { lease: held.lease.get(), fraction, note, step: step.into() }
}

fn obey_for_lease(worker: &Worker, lease: LeaseId, order: v1::LeaseOrder) {
    let membership = |go_on: fn(&Membership)| {
        if let Some(held) = worker.leases.get(lease) {
            held.membership.iter().for_each(go_on);
        }
    };
    match order {
        v1::LeaseOrder::Extended => membership(Membership::start),
        v1::LeaseOrder::Finish => membership(Membership::finish),
        v1::LeaseOrder::Wait => {}
        v1::LeaseOrder::Lost => worker.lease_lost(lease),
        v1::LeaseOrder::Cancel => {
            info!(%lease, "the job was cancelled: it stops");
            worker.leases.stop_running(lease, StopReason::Cancelled);
        }
        v1::LeaseOrder::Unspecified => debug!(%lease, "an order for a lease that this version does not know"),
    }
}

/// Obeys an order to the whole worker, from a heartbeat or a lease call.
pub(crate) fn obey(worker: &Worker, connected: &Connected, order: i32) {
    match v1::WorkerOrder::try_from(order).unwrap_or(v1::WorkerOrder::Unspecified) {
        v1::WorkerOrder::Run | v1::WorkerOrder::Unspecified => {}
        v1::WorkerOrder::Drain => {
            if !worker.drain.is_cancelled() {
                info!("the orchestrator orders to drain: no more jobs are leased");
            }
            worker.drain.cancel();
        }
        v1::WorkerOrder::Terminate => {
            if !worker.terminate.is_cancelled() {
                info!("the orchestrator orders to end: every job is given back");
            }
            worker.terminate.cancel();
            worker.drain.cancel();
        }
        v1::WorkerOrder::Register => {
            if worker.session.renew(connected) {
                info!("the orchestrator does not know this worker: registering again");
            }
        }
    }
}

//! The lease loop: asks for as many jobs as slots are free, and starts each.

use std::sync::Arc;
use std::time::Duration;

use orch_core::resource::Pools;
use orch_proto::convert::pools_to_wire;
use orch_proto::credentials::Identified;
use orch_proto::v1;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tracing::{debug, error, warn};

use crate::assignment::Assignment;
use crate::gang::Membership;
use crate::heartbeat::obey;
use crate::job;
use crate::leases::{Held, StopReason, lock};
use crate::pace::Pace;
use crate::report::count;
use crate::run::Worker;
use crate::session::{Connected, needs_registration, told, wait_after, with_timeout};

/// How long the orchestrator may hold a call until it has a job: its own maximum.
const LONG_POLL: Duration = Duration::from_secs(60);

/// Leases and starts jobs until the worker is to drain. Jobs that still run are in `jobs`.
pub(crate) async fn run(worker: &Arc<Worker>, jobs: &mut JoinSet<()>) {
    let mut changes = worker.leases.watch();
    let mut freed = worker.resources.watch();
    let mut pace = Pace::of_calls();
    while !worker.drain.is_cancelled() {
        while jobs.try_join_next().is_some() {}
        changes.mark_unchanged();
        let slots = worker.config.slots.get();
        let ahead = lock(&worker.ahead).jobs(slots);
        let free = worker.leases.free(slots, ahead);
        if free == 0 {
            tokio::select! {
                _ = changes.changed() => {}
                () = worker.drain.cancelled() => return,
            }
            continue;
        }
        let connected = tokio::select! {
            connected = worker.session.connected() => connected,
            () = worker.drain.cancelled() => return,
        };
        freed.mark_unchanged();
        let mut seen = worker.resources.left();
        let leased = tokio::select! {
            leased = lease(worker, &connected, free, &seen, &mut freed) => leased,
            // Dropping the call may lose a grant on its way here; registering again or leaving gives it back.
            () = worker.session.renewed(&connected) => continue,
            () = worker.drain.cancelled() => return,
        };
        match leased {
            Ok(assignments) => {
                pace.reset();
                for assignment in assignments {
                    start(worker, &connected, assignment, &mut seen, jobs);
                }
            }
            Err(status) => {
                if needs_registration(&status) {
                    worker.session.broke(&connected, "leasing", &status);
                } else {
                    warn!("no job was leased: {}", told(&status));
                }
                let wait = wait_after(&status, &mut pace);
                tokio::select! {
                    () = tokio::time::sleep(wait) => {}
                    () = worker.drain.cancelled() => return,
                }
            }
        }
    }
}

/// Asks for jobs that fit into what is left. When a job gives something back meanwhile, the call is answered early, so
/// that the worker asks again with more.
async fn lease(
    worker: &Arc<Worker>,
    connected: &Connected,
    free: usize,
    left: &Pools,
    freed: &mut watch::Receiver<u64>,
) -> Result<Vec<Assignment>, tonic::Status> {
    let request = v1::LeaseJobRequest {
        worker: worker.config.name.to_string(),
        kinds: Vec::new(),
        max: u32::try_from(free).unwrap_or(u32::MAX),
        wait_ms: LONG_POLL.as_millis() as u64,
        resources: pools_to_wire(left),
        remaining_ms: worker.remaining().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        call: Some(worker.session.next_call()),
        ask_again: false,
    };
    let request = with_timeout(request, LONG_POLL + crate::session::CALL_TIMEOUT);
    let mut client = connected.client();
    let call = client.lease_job(request);
    tokio::pin!(call);
    let response = loop {
        tokio::select! {
            response = &mut call => break response?,
            // The sender lives as long as the worker: no error here.
            _ = freed.changed() => drop(tokio::spawn(ask_again(Arc::clone(worker), connected.client()))),
        }
    };
    let v1::LeaseJobResponse { leases, order, receipt } = response.into_inner();
    worker.session.keep_receipt(receipt);
    obey(worker, connected, order);
    Ok(leases.into_iter().map(Assignment::from).collect())
}

/// Has the orchestrator answer the call that waits. Should this be lost, the call ends by itself within its minute.
async fn ask_again(worker: Arc<Worker>, mut client: WorkerServiceClient<Identified>) {
    let request = v1::LeaseJobRequest {
        worker: worker.config.name.to_string(),
        ask_again: true,
        ..v1::LeaseJobRequest::default()
    };
    if let Err(status) = client.lease_job(with_timeout(request, crate::session::CALL_TIMEOUT)).await {
        debug!("what was given back was not told: {}", told(&status));
    }
}

/// Starts a job with what was granted to it set apart.
fn start(
    worker: &Arc<Worker>,
    connected: &Connected,
    mut assignment: Assignment,
    seen: &mut Pools,
    jobs: &mut JoinSet<()>,
) {
    let membership = assignment.gang.as_ref().map(|_| Membership::default());
    let held = Arc::new(Held::new(assignment.lease, assignment.heartbeat, membership));
    if !worker.leases.add(Arc::clone(&held)) {
        return;
    }
    count(&worker.counters.leased, 1);
    worker.delivery.open(assignment.lease);
    debug!(lease = %assignment.lease, job = %assignment.job, queue = assignment.queue, kind = assignment.kind_text, "leased");
    let set_apart = assignment.needs.as_ref().and_then(|needs| worker.resources.set_apart(seen, needs));
    match &set_apart {
        Some(set_apart) => assignment.vars = set_apart.vars().clone(),
        None => {
            error!(lease = %assignment.lease, "a job was granted for which there is no room; it is given back");
            held.stop.raise(StopReason::Drained);
        }
    }
    jobs.spawn(job::run(Arc::clone(worker), assignment, held, connected.batches, set_apart));
}

//! The lease loop: asks for as many jobs as slots are free, and starts each.

use std::sync::Arc;
use std::time::Duration;

use orch_proto::v1;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use crate::assignment::Assignment;
use crate::heartbeat::obey;
use crate::job;
use crate::leases::{Held, lock};
use crate::pace::Pace;
use crate::report::count;
use crate::run::Worker;
use crate::session::{Connected, needs_registration, told, wait_after, with_timeout};

/// How long the orchestrator may hold a call until it has a job: its own maximum.
const LONG_POLL: Duration = Duration::from_secs(60);

/// Leases and starts jobs until the worker is to drain. Jobs that still run are in `jobs`.
pub(crate) async fn run(worker: &Arc<Worker>, jobs: &mut JoinSet<()>) {
    let mut changes = worker.leases.watch();
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
        let leased = tokio::select! {
            leased = lease(worker, &connected, free) => leased,
            // Dropping the call may lose a grant on its way here; registering again or leaving gives it back.
            () = worker.session.renewed(&connected) => continue,
            () = worker.drain.cancelled() => return,
        };
        match leased {
            Ok(assignments) => {
                pace.reset();
                for assignment in assignments {
                    start(worker, &connected, assignment, jobs);
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

async fn lease(worker: &Worker, connected: &Connected, free: usize) -> Result<Vec<Assignment>, tonic::Status> {
    let request = v1::LeaseJobRequest {
        worker: worker.config.name.to_string(),
        kinds: Vec::new(),
        max: u32::try_from(free).unwrap_or(u32::MAX),
        wait_ms: LONG_POLL.as_millis() as u64,
    };
    let request = with_timeout(request, LONG_POLL + crate::session::CALL_TIMEOUT);
    let v1::LeaseJobResponse { leases, order, receipt } = connected.client().lease_job(request).await?.into_inner();
    worker.session.keep_receipt(receipt);
    obey(worker, connected, order);
    Ok(leases.into_iter().map(Assignment::from).collect())
}

fn start(worker: &Arc<Worker>, connected: &Connected, assignment: Assignment, jobs: &mut JoinSet<()>) {
    let held = Arc::new(Held::new(assignment.lease, assignment.heartbeat));
    if !worker.leases.add(Arc::clone(&held)) {
        return;
    }
    count(&worker.counters.leased, 1);
    worker.delivery.open(assignment.lease);
    debug!(lease = %assignment.lease, job = %assignment.job, queue = assignment.queue, kind = assignment.kind_text, "leased");
    jobs.spawn(job::run(Arc::clone(worker), assignment, held, connected.batches));
}

//! gRPC health: alive while the engine answers, ready while it can also write.
//!
//! The empty name and the names of the services say "alive". The name [`READY`] says "ready": it is not serving while
//! the ledger is read-only, so that a load balancer can look elsewhere while nobody restarts a server that a restart
//! would not help.

use std::time::Duration;

use orch_proto::v1::admin_service_server::AdminServiceServer;
use orch_proto::v1::worker_service_server::WorkerServiceServer;
use tokio_util::sync::CancellationToken;
use tonic::server::NamedService;
use tonic_health::ServingStatus;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::server::HealthReporter;

use crate::engine::Handle;
use crate::grpc::admin::Admin;
use crate::grpc::worker::Workers;

/// The name under which readiness is asked for.
pub(super) const READY: &str = "ready";

/// How often the engine is asked.
const INTERVAL: Duration = Duration::from_secs(1);

/// An engine that has not answered for so long hangs.
const HUNG: Duration = Duration::from_secs(30);

/// The health service, true from the first question on and kept up to date until the stop.
pub(super) async fn service(handle: Handle, stopping: CancellationToken) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    look(&reporter, &handle).await;
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => look(&reporter, &handle).await,
            }
        }
        report(&reporter, false, false).await;
    });
    service
}

/// Asks the engine and says what it says.
async fn look(reporter: &HealthReporter, handle: &Handle) {
    let asked = handle.query(|engine, _| engine.read_only().is_some());
    let (alive, ready) = match tokio::time::timeout(HUNG, asked).await {
        Ok(Ok(read_only)) => (true, !read_only),
        Ok(Err(_)) | Err(_) => (false, false),
    };
    report(reporter, alive, ready).await;
}

async fn report(reporter: &HealthReporter, alive: bool, ready: bool) {
    let status = |up| if up { ServingStatus::Serving } else { ServingStatus::NotServing };
    let services = [AdminServiceServer::<Admin>::NAME, WorkerServiceServer::<Workers>::NAME];
    for name in ["", services[0], services[1]] {
        reporter.set_service_status(name, status(alive)).await;
    }
    reporter.set_service_status(READY, status(ready)).await;
}

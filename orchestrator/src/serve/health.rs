//! How the orchestrator is: alive while the engine answers, ready while it can also write.
//!
//! One task asks the engine every second; gRPC health and the HTTP probes both say what it heard. In gRPC health the
//! empty name and the names of the services say "alive". The name [`READY`] says "ready": it is not serving while
//! the ledger is read-only, so that a load balancer can look elsewhere while nobody restarts a server that a restart
//! would not help.

use std::time::Duration;

use orch_proto::v1::admin_service_server::AdminServiceServer;
use orch_proto::v1::worker_service_server::WorkerServiceServer;
use tokio::sync::watch;
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

/// How the orchestrator is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It takes work.
    Ready,
    /// It answers, but does not take work, for this reason.
    Refusing(String),
    /// The engine does not answer, for this reason.
    Dead(String),
}

/// Watches the engine until the stop; the first look is done when this returns.
pub(super) async fn watch(handle: Handle, stopping: CancellationToken) -> watch::Receiver<Standing> {
    let (sender, standing) = watch::channel(look(&handle).await);
    tokio::spawn(async move {
        loop {
            tokio::select! {
                () = stopping.cancelled() => break,
                () = tokio::time::sleep(INTERVAL) => drop(sender.send_replace(look(&handle).await)),
            }
        }
        sender.send_replace(Standing::Dead("the orchestrator is stopping".to_owned()));
    });
    standing
}

/// Asks the engine.
async fn look(handle: &Handle) -> Standing {
    let asked = handle.query(|engine, _| engine.read_only().map(str::to_owned));
    match tokio::time::timeout(HUNG, asked).await {
        Ok(Ok(None)) => Standing::Ready,
        Ok(Ok(Some(reason))) => Standing::Refusing(format!("the ledger is read-only: {reason}")),
        Ok(Err(error)) => Standing::Dead(error.to_string()),
        Err(_) => Standing::Dead(format!("the engine has not answered for {} s", HUNG.as_secs())),
    }
}

/// The gRPC health service: right from the first question on, and kept so.
pub(super) async fn service(mut standing: watch::Receiver<Standing>) -> HealthServer<impl Health> {
    let (reporter, service) = tonic_health::server::health_reporter();
    let now = standing.borrow_and_update().clone();
    report(&reporter, &now).await;
    tokio::spawn(async move {
        while standing.changed().await.is_ok() {
            let now = standing.borrow_and_update().clone();
            report(&reporter, &now).await;
        }
    });
    service
}

async fn report(reporter: &HealthReporter, standing: &Standing) {
    let (alive, ready) = match standing {
        Standing::Ready => (true, true),
        Standing::Refusing(_) => (true, false),
        Standing::Dead(_) => (false, false),
    };
    let status = |up| if up { ServingStatus::Serving } else { ServingStatus::NotServing };
    let services = [AdminServiceServer::<Admin>::NAME, WorkerServiceServer::<Workers>::NAME];
    for name in ["", services[0], services[1]] {
        reporter.set_service_status(name, status(alive)).await;
    }
    reporter.set_service_status(READY, status(ready)).await;
}

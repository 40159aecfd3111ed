//! What is served beside gRPC on the same port: `/healthz`, `/readyz` and `/metrics` for probes and for Prometheus,
//! `/workers` and `/admin/cleanup` for scripts.
//!
//! `/healthz` is for whoever restarts a process that hangs: it fails only when the engine does not answer. `/readyz` is
//! for whoever sends it work: it also fails, with the reason as its text, while nothing can be written.

mod metrics;
mod process;
mod scrape;
mod workers;

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use orch_telemetry::Exporter;
use tokio::sync::watch;

use crate::access::Auditor;
use crate::engine::Handle;
use crate::grpc::admin::Admin;
use crate::index::Index;
use crate::serve::{Connections, Standing};

/// What the routes ask.
#[derive(Clone)]
pub struct Sources {
    /// The engine.
    pub handle: Handle,
    /// The calls that routes are another form of.
    pub admin: Admin,
    /// The index.
    pub index: Index,
    /// The data directory.
    pub data: PathBuf,
    /// How the orchestrator is.
    pub standing: watch::Receiver<Standing>,
    /// Who is connected.
    pub connections: Arc<Connections>,
    /// Who was refused.
    pub auditor: Auditor,
    /// The way of traces to a collector, if there is one.
    pub exporter: Option<Exporter>,
}

/// The text format of OpenMetrics, which Prometheus reads.
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The paths of the routes, for the table of what each needs.
pub const ROUTES: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/workers", "/admin/cleanup"];

/// Adds the routes to those of gRPC.
pub fn routes(grpc: Router, sources: Sources) -> Router {
    let [health, ready, metered, listed, cleaned] = ROUTES;
    let http = Router::new()
        .route(health, get(healthz))
        .route(ready, get(readyz))
        .route(metered, get(metrics))
        .route(listed, get(workers::list))
        .route(cleaned, post(workers::cleanup))
        .with_state(sources);
    grpc.merge(http)
}

async fn healthz(State(sources): State<Sources>) -> (StatusCode, String) {
    match &*sources.standing.borrow() {
        Standing::Ready | Standing::Refusing(_) => (StatusCode::OK, "alive\n".to_owned()),
        Standing::Dead(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn readyz(State(sources): State<Sources>) -> (StatusCode, String) {
    match &*sources.standing.borrow() {
        Standing::Ready => (StatusCode::OK, "ready\n".to_owned()),
        Standing::Refusing(reason) | Standing::Dead(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")),
    }
}

async fn metrics(State(sources): State<Sources>) -> Response {
    match scrape::scrape(&sources).await {
        Ok(scraped) => ([(header::CONTENT_TYPE, OPEN_METRICS)], metrics::text(&scraped, &sources)).into_response(),
        Err(error) => (StatusCode::SERVICE_UNAVAILABLE, format!("{error}\n")).into_response(),
    }
}

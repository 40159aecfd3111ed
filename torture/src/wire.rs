//! What clients send: one contract, one kind of queue, and the messages around them.

use std::time::Duration;

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use orch_transport::{ClientTls, Dial, Pace, ServerUrl};
use tonic::transport::Channel;
use tonic::{Request, Status};

use crate::TortureError;

/// The kind of the jobs that clients run by themselves.
pub const KIND: &str = "count";

/// Their queue.
pub const QUEUE: &str = "q";

/// A call is given up after this; the orchestrator then drops it too.
pub const CALL_TIMEOUT: Duration = Duration::from_secs(20);

/// Candidates are whole numbers with a note: the same number is the same candidate, whatever the note says.
pub const CONTRACT: &str = r#"{
  "contract": "count", "version": 1,
  "schema": {"type": "object", "additionalProperties": false, "required": ["n"],
             "properties": {"n": {"type": "integer"}, "by": {"type": "string"}}},
  "identity": [{"field": "n", "quantum": 1}]
}"#;

/// A connection to the orchestrator.
///
/// # Errors
/// As the transport says.
pub async fn connect(url: &str) -> Result<Channel, Status> {
    let wrong = |error: &dyn std::error::Error| Status::invalid_argument(error.to_string());
    let server: ServerUrl = url.parse().map_err(|error| wrong(&error))?;
    let dial = Dial::new(server, ClientTls::default()).map_err(|error| wrong(&error))?;
    dial.pace(Pace::Quiet).connect().await.map_err(|error| Status::unavailable(error.to_string()))
}

/// A client for what people do.
///
/// # Errors
/// [`TortureError::Call`].
pub async fn admin(url: &str) -> Result<AdminServiceClient<Channel>, TortureError> {
    connect(url).await.map(AdminServiceClient::new).map_err(TortureError::call("connect"))
}

/// A client for what workers do.
///
/// # Errors
/// [`TortureError::Call`].
pub async fn worker(url: &str) -> Result<WorkerServiceClient<Channel>, TortureError> {
    connect(url).await.map(WorkerServiceClient::new).map_err(TortureError::call("connect"))
}

/// A request that both sides give up after a while.
pub fn timed<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    request.set_timeout(CALL_TIMEOUT);
    request
}

/// The contract and a queue of this kind whose leases live so long.
pub fn definitions(queue: &str, kind: &str, ttl: Duration, heartbeat: Duration) -> v1::SubmitRequest {
    let ms = |time: Duration| Some(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    let queue = v1::QueueSpec {
        queue: queue.into(),
        contract: "count@1".into(),
        kind: kind.into(),
        lease: Some(v1::LeasePatch { ttl_ms: ms(ttl), heartbeat_ms: ms(heartbeat) }),
        retry: Some(v1::RetryPatch { crash_limit: Some(1000), ..v1::RetryPatch::default() }),
        ..v1::QueueSpec::default()
    };
    v1::SubmitRequest { contracts_json: vec![CONTRACT.into()], queues: vec![queue], ..v1::SubmitRequest::default() }
}

/// A registration that offers one kind.
pub fn registration(worker: &str, kind: &str) -> v1::RegisterWorkerRequest {
    v1::RegisterWorkerRequest {
        worker: worker.into(),
        kinds: vec![kind.into()],
        slots: 4,
        version: "torture".into(),
        ..v1::RegisterWorkerRequest::default()
    }
}

/// The numbers of the cluster.
///
/// # Errors
/// [`TortureError::Call`].
pub async fn stats(admin: &mut AdminServiceClient<Channel>) -> Result<v1::StatsResponse, TortureError> {
    let stats = admin.stats(timed(v1::StatsRequest {})).await;
    stats.map(tonic::Response::into_inner).map_err(TortureError::call("ask for statistics"))
}

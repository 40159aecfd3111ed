//! KEDA's external scaler: how many workers of a pool there is work for.
//!
//! A trigger's metadata say which pool (`orch_proto::convert::worker_pool`); `orch_core::demand` says what counts. A pool
//! is active while any of its work runs or could start, so that it is not taken away between two jobs, and its one
//! metric is in workers: KEDA's target is one.

use std::collections::HashMap;
use std::time::Duration;

use orch_core::access::Queues;
use orch_core::demand::{Demand, WorkerPool};
use orch_core::resource::Amount;
use orch_proto::convert;
use orch_proto::error::{Reason, WireError};
use orch_proto::externalscaler as keda;
use orch_proto::externalscaler::external_scaler_server::ExternalScaler;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout_at};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::sync::CancellationToken;
use tonic::{Request, Response, Status};

use super::worker::refused;
use crate::access::Caller;
use crate::engine::Handle;

/// What is measured: workers that the work of a pool keeps busy.
const METRIC: &str = "orch_workers_wanted";

/// A stream looks at most so often, however much is recorded meanwhile.
const LOOK_AT_MOST: Duration = Duration::from_millis(500);

/// It looks at least so often: a rate lets jobs start without a record.
const LOOK_AT_LEAST: Duration = Duration::from_secs(5);

/// The service for KEDA.
pub struct Scaler {
    handle: Handle,
    /// Ends streams, which would go on for ever.
    stopping: CancellationToken,
}

type Answers<T> = ReceiverStream<Result<T, Status>>;

impl Scaler {
    /// The service on an engine.
    pub fn new(handle: Handle, stopping: CancellationToken) -> Self {
        Self { handle, stopping }
    }
}

/// The pool that a trigger means, within the queues that its caller may look at.
fn pool(caller: &Caller, metadata: &HashMap<String, String>) -> Result<WorkerPool, Status> {
    let mut pool = convert::worker_pool(metadata)?;
    if let Queues::Only(held) = caller.queues() {
        let queues = match &pool.queues {
            Queues::All => held,
            Queues::Only(wanted) => {
                wanted.intersection(&held).cloned().collect::<std::collections::BTreeSet<_>>().into()
            }
        };
        pool.queues = Queues::Only(queues);
    }
    Ok(pool)
}

async fn demand(handle: &Handle, pool: WorkerPool) -> Result<Demand, Status> {
    handle.query(move |engine, now| engine.state().demand(&pool, now.wall)).await.map_err(refused)
}

fn spec() -> keda::GetMetricSpecResponse {
    let spec = keda::MetricSpec { metric_name: METRIC.to_owned(), target_size: 1, target_size_float: 1.0 };
    keda::GetMetricSpecResponse { metric_specs: vec![spec] }
}

/// Workers as a number, and the next whole one for those who read whole numbers only.
fn value(workers: Amount) -> keda::MetricValue {
    let whole = workers.0.div_ceil(Amount::ONE.0);
    keda::MetricValue {
        metric_name: METRIC.to_owned(),
        metric_value: i64::try_from(whole).unwrap_or(i64::MAX),
        // Four decimal places of a number of workers are exact enough in a double.
        metric_value_float: workers.0 as f64 / Amount::ONE.0 as f64,
    }
}

#[tonic::async_trait]
impl ExternalScaler for Scaler {
    async fn is_active(
        &self,
        request: Request<keda::ScaledObjectRef>,
    ) -> Result<Response<keda::IsActiveResponse>, Status> {
        let pool = pool(&Caller::of(request.extensions())?, &request.get_ref().scaler_metadata)?;
        let result = demand(&self.handle, pool).await?.is_active();
        Ok(Response::new(keda::IsActiveResponse { result }))
    }

    type StreamIsActiveStream = Answers<keda::IsActiveResponse>;

    async fn stream_is_active(
        &self,
        request: Request<keda::ScaledObjectRef>,
    ) -> Result<Response<Self::StreamIsActiveStream>, Status> {
        let pool = pool(&Caller::of(request.extensions())?, &request.get_ref().scaler_metadata)?;
        let (sender, answers) = mpsc::channel(1);
        let (handle, stopping) = (self.handle.clone(), self.stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stopping.cancelled() => {}
                () = sender.closed() => {}
                () = tell_changes(&handle, pool, &sender) => {}
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }

    async fn get_metric_spec(
        &self,
        request: Request<keda::ScaledObjectRef>,
    ) -> Result<Response<keda::GetMetricSpecResponse>, Status> {
        pool(&Caller::of(request.extensions())?, &request.get_ref().scaler_metadata)?;
        Ok(Response::new(spec()))
    }

    async fn get_metrics(
        &self,
        request: Request<keda::GetMetricsRequest>,
    ) -> Result<Response<keda::GetMetricsResponse>, Status> {
        let caller = Caller::of(request.extensions())?;
        let keda::GetMetricsRequest { scaled_object_ref, metric_name } = request.into_inner();
        // Older versions of KEDA put something before the name.
        if !metric_name.ends_with(METRIC) {
            let message = format!(
                "there is no metric {:?}: {METRIC} is the one",
                metric_name.chars().take(64).collect::<String>()
            );
            return Err(WireError::new(Reason::NotFound, message).at("metricName").into());
        }
        let pool = pool(&caller, &scaled_object_ref.unwrap_or_default().scaler_metadata)?;
        let demand = demand(&self.handle, pool).await?;
        Ok(Response::new(keda::GetMetricsResponse { metric_values: vec![value(demand.workers)] }))
    }

    type StreamMetricSpecStream = Answers<keda::GetMetricSpecResponse>;

    async fn stream_metric_spec(
        &self,
        request: Request<keda::ScaledObjectRef>,
    ) -> Result<Response<Self::StreamMetricSpecStream>, Status> {
        pool(&Caller::of(request.extensions())?, &request.get_ref().scaler_metadata)?;
        let (sender, answers) = mpsc::channel(1);
        let stopping = self.stopping.clone();
        tokio::spawn(async move {
            // It never changes: the one answer, and then nothing until one of both goes.
            if sender.send(Ok(spec())).await.is_ok() {
                tokio::select! {
                    () = stopping.cancelled() => {}
                    () = sender.closed() => {}
                }
            }
        });
        Ok(Response::new(ReceiverStream::new(answers)))
    }
}

/// Says whether there is anything to do, at first and at each change.
async fn tell_changes(
    handle: &Handle,
    pool: WorkerPool,
    sender: &mpsc::Sender<Result<keda::IsActiveResponse, Status>>,
) {
    let mut durable = handle.durable();
    let mut told = None;
    loop {
        durable.mark_unchanged();
        let looked = Instant::now();
        let active = match demand(handle, pool.clone()).await {
            Ok(demand) => demand.is_active(),
            Err(status) => {
                // It calls again.
                let _ = sender.send(Err(status)).await;
                return;
            }
        };
        if told != Some(active) {
            told = Some(active);
            if sender.send(Ok(keda::IsActiveResponse { result: active })).await.is_err() {
                return;
            }
        }
        if let Ok(Err(_)) = timeout_at(looked + LOOK_AT_LEAST, durable.changed()).await {
            return;
        }
        sleep_until(looked + LOOK_AT_MOST).await;
    }
}

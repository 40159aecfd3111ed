//! The well-behaved client.

use std::future::Future;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_transport::{Dial, Pace};
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tonic::transport::Channel;

use crate::TortureError;
use crate::latency::Latencies;
use crate::wire::timed;

/// Between two calls over the connection that stands.
const EVERY: Duration = Duration::from_millis(10);

/// So many of them, then one over a new connection.
const THEN_FRESH: u32 = 10;

/// One that takes longer counts as failed.
const FRESH_PATIENCE: Duration = Duration::from_millis(500);

/// What it met.
#[derive(Debug, Default)]
pub struct Probed {
    /// Calls over the connection that stands.
    pub standing: Latencies,
    /// Calls over new connections, with the making of them.
    pub fresh: Latencies,
    /// New connections that came to nothing.
    pub fresh_failed: u64,
    /// The first call over the connection that stands that failed.
    pub failed: Option<String>,
}

/// A client at work.
#[derive(Debug)]
pub struct Probe {
    stop: CancellationToken,
    thread: JoinHandle<Result<Probed, TortureError>>,
}

impl Probe {
    /// Begins, on a thread of its own: hostile clients in this process must not slow it down. Its standing connection
    /// stands when this returns.
    ///
    /// # Errors
    /// [`TortureError::Io`].
    pub async fn start(dial: &Dial) -> Result<Self, TortureError> {
        let stop = CancellationToken::new();
        let (dial, stopped) = (dial.clone(), stop.clone());
        let (standing, stands) = oneshot::channel();
        let work = move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(TortureError::io("start a runtime"))?.block_on(work(&dial, &stopped, standing))
        };
        let thread = std::thread::Builder::new().name("probe".into()).spawn(work);
        let thread = thread.map_err(TortureError::io("start a thread"))?;
        // If it never stands, the thread says why at its end.
        let _ = stands.await;
        Ok(Self { stop, thread })
    }

    /// Lets something happen, then ends, and gives what came of both.
    ///
    /// # Errors
    /// The client could not even begin.
    pub async fn after<T>(self, happening: impl Future<Output = T>) -> Result<(T, Probed), TortureError> {
        let happened = happening.await;
        self.stop.cancel();
        let thread = self.thread;
        let joined = tokio::task::spawn_blocking(move || thread.join()).await;
        let broke = || TortureError::Call { doing: "be a good client".to_owned(), message: "it panicked".to_owned() };
        let probed = joined.map_err(|_| broke())?.map_err(|_| broke())??;
        Ok((happened, probed))
    }
}

async fn work(dial: &Dial, stop: &CancellationToken, standing: oneshot::Sender<()>) -> Result<Probed, TortureError> {
    let mut probed = Probed::default();
    let mut admin = connect(dial).await.map_err(|message| TortureError::Call { doing: "connect".into(), message })?;
    // A connection that has asked nothing yet is on trial, and makes way in a flood: it stands after its first call.
    admin.stats(timed(v1::StatsRequest {})).await.map_err(TortureError::call("make a first call"))?;
    let _ = standing.send(());
    for turn in 1_u32.. {
        if turn.is_multiple_of(THEN_FRESH) {
            match tokio::time::timeout(FRESH_PATIENCE, fresh_call(dial)).await {
                Ok(Ok(took)) => probed.fresh.note(took),
                Ok(Err(_)) | Err(_) => probed.fresh_failed += 1,
            }
        }
        let began = Instant::now();
        match admin.stats(timed(v1::StatsRequest {})).await {
            Ok(_) => probed.standing.note(began.elapsed()),
            Err(status) => {
                probed.failed = Some(status.to_string());
                break;
            }
        }
        tokio::select! {
            () = stop.cancelled() => break,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
    stop.cancelled().await;
    Ok(probed)
}

async fn connect(dial: &Dial) -> Result<AdminServiceClient<Channel>, String> {
    let channel = dial.clone().pace(Pace::Quiet).connect().await;
    channel.map(AdminServiceClient::new).map_err(|error| error.to_string())
}

/// One call over a new connection, and how long both took.
pub async fn fresh_call(dial: &Dial) -> Result<Duration, String> {
    let began = Instant::now();
    let mut admin = connect(dial).await?;
    admin.stats(timed(v1::StatsRequest {})).await.map_err(|status| status.to_string())?;
    Ok(began.elapsed())
}

//! Job logs: what runners write to standard error, on its way to the orchestrator.
//!
//! A log is courtesy: it never blocks a job and is never resent. When the way up is slow, text is dropped and the log
//! says how much.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use orch_core::id::LeaseId;
use orch_proto::v1;
use prost::bytes::Bytes;
use tokio::sync::{mpsc, oneshot};
use tokio_stream::wrappers::ReceiverStream;
use tracing::debug;

use crate::run::Worker;
use crate::session::told;

/// Pieces of text that wait for the way up; a piece has at most [`MAX_PIECE`] bytes, so about 4 MiB.
const WAITING: usize = 512;

/// The most bytes of one piece.
const MAX_PIECE: usize = 8 << 10;

/// A stream without news for so long is ended, which makes the orchestrator confirm what it took in.
const IDLE: Duration = Duration::from_secs(1);

/// One thing for the pump to do.
#[derive(Debug)]
enum Item {
    Text {
        lease: LeaseId,
        text: Bytes,
    },
    /// Answer when everything before it was taken in by the orchestrator, or was lost.
    Flush(oneshot::Sender<()>),
}

/// Where jobs write their logs.
#[derive(Clone, Debug)]
pub(crate) struct Logs {
    items: mpsc::Sender<Item>,
}

/// What the pump reads.
#[derive(Debug)]
pub(crate) struct LogPump {
    items: mpsc::Receiver<Item>,
}

/// Both ends.
pub(crate) fn channel() -> (Logs, LogPump) {
    let (sender, items) = mpsc::channel(WAITING);
    (Logs { items: sender }, LogPump { items })
}

impl Logs {
    /// The log of the job under this lease.
    pub(crate) fn of(&self, lease: LeaseId) -> JobLog {
        JobLog { lease, items: self.items.clone(), dropped: Arc::default(), used: Arc::default() }
    }
}

/// The log of one job.
#[derive(Clone, Debug)]
pub(crate) struct JobLog {
    lease: LeaseId,
    items: mpsc::Sender<Item>,
    dropped: Arc<AtomicU64>,
    used: Arc<AtomicBool>,
}

impl JobLog {
    /// Appends text as it is. Never waits: what finds no room is dropped and counted.
    pub(crate) fn write(&self, text: &[u8]) {
        self.used.store(true, Ordering::Relaxed);
        for piece in text.chunks(MAX_PIECE) {
            let dropped = self.dropped.swap(0, Ordering::Relaxed);
            let mut whole = Vec::with_capacity(piece.len());
            if dropped > 0 {
                whole.extend_from_slice(format!("[{dropped} bytes of this log were dropped]\n").as_bytes());
            }
            whole.extend_from_slice(piece);
            let item = Item::Text { lease: self.lease, text: whole.into() };
            if self.items.try_send(item).is_err() {
                self.dropped.fetch_add(dropped + piece.len() as u64, Ordering::Relaxed);
            }
        }
    }

    /// Waits until the orchestrator has what was written, at most for `patience`.
    pub(crate) async fn flushed(&self, patience: Duration) {
        if !self.used.load(Ordering::Relaxed) {
            return;
        }
        let (done, flushed) = oneshot::channel();
        let flush = async {
            if self.items.send(Item::Flush(done)).await.is_ok() {
                // An error says that the pump has ended: nothing more to wait for.
                let _ = flushed.await;
            }
        };
        // Out of patience: the log's tail may be missing, the job's results are not.
        let _ = tokio::time::timeout(patience, flush).await;
    }
}

/// Sends logs up for as long as the worker lives.
pub(crate) async fn run(worker: Arc<Worker>, mut pump: LogPump) {
    while let Some(item) = pump.items.recv().await {
        match item {
            Item::Flush(done) => {
                // An error says that nobody waits any more.
                let _ = done.send(());
            }
            Item::Text { lease, text } => push(&worker, &mut pump, lease, text).await,
        }
    }
}

/// Opens a stream for this piece of text and what follows it, until there is a lull or somebody wants it confirmed.
async fn push(worker: &Worker, pump: &mut LogPump, lease: LeaseId, text: Bytes) {
    let connected = worker.session.connected().await;
    let name = worker.config.name.to_string();
    let (outbound, requests) = mpsc::channel(16);
    let mut client = connected.client();
    let call = client.push_logs(ReceiverStream::new(requests));
    let feed = async move {
        let message = |lease: LeaseId, text| v1::PushLogsRequest { worker: name.clone(), lease: lease.get(), text };
        let mut waiting = Vec::new();
        let mut next = Some((lease, text));
        while let Some((lease, text)) = next.take() {
            if outbound.send(message(lease, text)).await.is_err() {
                return waiting;
            }
            while next.is_none() {
                // Somebody waits: take only what is there already.
                let patience = if waiting.is_empty() { IDLE } else { Duration::ZERO };
                match tokio::time::timeout(patience, pump.items.recv()).await {
                    Ok(Some(Item::Text { lease, text })) => next = Some((lease, text)),
                    Ok(Some(Item::Flush(done))) => waiting.push(done),
                    Ok(None) | Err(_) => return waiting,
                }
            }
        }
        waiting
    };
    // The feed's end drops the sender, which ends the stream, which makes the orchestrator answer.
    let (waiting, answer) = tokio::join!(feed, call);
    match answer {
        Ok(response) => {
            let v1::PushLogsResponse { kept_bytes, dropped_bytes } = response.into_inner();
            debug!(kept_bytes, dropped_bytes, "job logs were taken in");
        }
        Err(status) => debug!("job logs were lost: {}", told(&status)),
    }
    for done in waiting {
        // An error says that nobody waits any more.
        let _ = done.send(());
    }
}

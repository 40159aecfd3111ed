//! The connection to the orchestrator and the worker's registration with it: one task owns both.
//!
//! Everybody else waits for [`Session::connected`], uses what it gives, and reports with [`Session::broke`] when a call
//! shows that it is no good any more. Then this task registers again, with the next server of the list and a growing
//! wait, presents the leases that the worker still works on, and learns which of them were lost meanwhile.

use std::error::Error as _;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use orch_core::id::LeaseId;
use orch_proto::convert::pools_to_wire;
use orch_proto::credentials::Identified;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use orch_transport::{Dial, DialError, tls_refusal};
use tokio::sync::watch;
use tonic::transport::Channel;
use tracing::{debug, error, info, warn};

use crate::config::Server;
use crate::leases::{StopReason, lock};
use crate::pace::Pace;
use crate::run::{Worker, WorkerError};
use crate::submit::pack::BatchLimits;

/// How long a connection or an ordinary call may take.
pub(crate) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// A registration that lasts so long was a good one.
const SETTLED: Duration = Duration::from_secs(5);

/// A lease carries its payload, and one answer carries many leases.
const MAX_MESSAGE_BYTES: usize = 256 << 20;

/// One registration with one server.
#[derive(Clone, Debug)]
pub(crate) struct Connected {
    generation: u64,
    client: WorkerServiceClient<Identified>,
    pub server: Server,
    pub heartbeat: Duration,
    pub batches: BatchLimits,
}

impl Connected {
    /// A client of the connection; all of them share one HTTP/2 connection.
    pub(crate) fn client(&self) -> WorkerServiceClient<Identified> {
        self.client.clone()
    }
}

/// What the worker remembers of the orchestrator between registrations.
#[derive(Debug, Default)]
struct Memory {
    ledger: Option<String>,
    receipt: Option<v1::Receipt>,
}

/// The current registration, if any.
#[derive(Debug)]
pub(crate) struct Session {
    current: watch::Sender<Option<Arc<Connected>>>,
    memory: Mutex<Memory>,
    ever: AtomicBool,
    /// When this worker started: a grant older than that was another process's.
    started: Instant,
    /// Drawn by chance, so that the orchestrator tells this process from those before it.
    process: u64,
    /// How many of its calls were numbered.
    calls: AtomicU64,
}

impl Default for Session {
    fn default() -> Self {
        Self {
            current: watch::Sender::new(None),
            memory: Mutex::default(),
            ever: AtomicBool::new(false),
            started: Instant::now(),
            process: RandomState::new().hash_one(std::process::id()),
            calls: AtomicU64::new(0),
        }
    }
}

impl Session {
    /// The current registration; waits while there is none.
    pub(crate) async fn connected(&self) -> Arc<Connected> {
        let mut current = self.current.subscribe();
        loop {
            if let Some(connected) = current.borrow_and_update().clone() {
                return connected;
            }
            // The sender lives as long as self: no error here.
            let _ = current.changed().await;
        }
    }

    /// Waits until this registration is no longer the current one.
    pub(crate) async fn renewed(&self, connected: &Connected) {
        let mut current = self.current.subscribe();
        // The sender lives as long as self: no error here.
        let _ = current.wait_for(|now| now.as_ref().is_none_or(|now| now.generation != connected.generation)).await;
    }

    /// A call on this registration failed. Registers again unless the orchestrator was there and only said no.
    pub(crate) fn broke(&self, connected: &Connected, what: &str, status: &tonic::Status) {
        if self.renew(connected) {
            info!(server = %connected.server, "{what} broke ({}): registering again", told(status));
        }
    }

    /// Asks for a new registration. False if it was no longer the current one.
    pub(crate) fn renew(&self, connected: &Connected) -> bool {
        self.current.send_if_modified(|now| {
            let is_current = now.as_ref().is_some_and(|now| now.generation == connected.generation);
            if is_current {
                *now = None;
            }
            is_current
        })
    }

    /// Remembers a receipt if it is the newest.
    pub(crate) fn keep_receipt(&self, receipt: Option<v1::Receipt>) {
        let mut memory = lock(&self.memory);
        let newest = memory.receipt.as_ref().map_or(0, |kept| kept.seq);
        if let Some(receipt) = receipt.filter(|receipt| receipt.seq > newest) {
            memory.receipt = Some(receipt);
        }
    }

    /// The newest receipt that the worker holds.
    pub(crate) fn receipt(&self) -> Option<v1::Receipt> {
        lock(&self.memory).receipt.clone()
    }

    /// The number of a call that is about to be made. Whoever makes one waits for none before it any more.
    pub(crate) fn next_call(&self) -> v1::CallNumber {
        v1::CallNumber { process: self.process, number: 1 + self.calls.fetch_add(1, Ordering::Relaxed) }
    }

    /// Whether the worker was ever registered.
    pub(crate) fn was_ever_registered(&self) -> bool {
        self.ever.load(Ordering::Relaxed)
    }
}

/// Keeps the worker registered for as long as it lives. Ends only with what makes going on senseless.
pub(crate) async fn keep(worker: Arc<Worker>) -> WorkerError {
    let mut current = worker.session.current.subscribe();
    let mut generation = 0;
    let mut pace = Pace::of_calls();
    loop {
        generation += 1;
        match register(&worker, generation).await {
            Ok(connected) => {
                worker.session.ever.store(true, Ordering::Relaxed);
                worker.session.current.send_replace(Some(Arc::new(connected)));
            }
            Err(error) => return error,
        }
        let registered = Instant::now();
        // The sender lives as long as the session: no error here.
        let _ = current.wait_for(Option::is_none).await;
        if registered.elapsed() > SETTLED {
            pace.reset();
            continue;
        }
        // Two processes of one name would otherwise register in turns as fast as they can.
        let wait = pace.next_wait();
        if wait > SETTLED {
            let name = &worker.config.name;
            warn!(%name, "registered just now, and to register again: is there another worker of this name?");
        }
        tokio::time::sleep(wait).await;
    }
}

/// Tries one server after the other until one takes the worker.
async fn register(worker: &Worker, generation: u64) -> Result<Connected, WorkerError> {
    let since = Instant::now();
    let mut pace = Pace::of_calls();
    for server in worker.config.servers.iter().cycle() {
        match register_with(worker, server, generation).await {
            Ok(connected) => return Ok(connected),
            Err(status) if is_final(status.code()) && !worker.session.was_ever_registered() => {
                return Err(WorkerError::Refused { server: server.to_string(), message: status.message().to_owned() });
            }
            Err(status) => {
                let away = since.elapsed();
                if worker.config.give_up_after.is_some_and(|patience| away >= patience) {
                    let servers = worker.config.servers.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
                    return Err(WorkerError::Unreachable { servers, away, last: told(&status) });
                }
                let wait = wait_after(&status, &mut pace);
                let kept = worker.delivery.kept_bytes();
                warn!(%server, kept_bytes = kept, "no orchestrator: {}; trying again in {wait:.1?}", told(&status));
                tokio::time::sleep(wait).await;
            }
        }
    }
    // Unreachable in practice: a checked configuration names at least one server, and `cycle` never ends.
    Err(WorkerError::Unreachable { servers: String::new(), away: since.elapsed(), last: "no server is named".into() })
}

/// Answers that another try cannot change, as long as the worker holds nothing that another try could save.
fn is_final(code: tonic::Code) -> bool {
    matches!(
        code,
        tonic::Code::InvalidArgument
            | tonic::Code::Unauthenticated
            | tonic::Code::PermissionDenied
            | tonic::Code::Unimplemented
    )
}

async fn register_with(worker: &Worker, server: &Server, generation: u64) -> Result<Connected, tonic::Status> {
    let channel = connect(worker, server).await?;
    let client = WorkerServiceClient::with_interceptor(channel, worker.credentials.clone());
    let mut client = client.max_decoding_message_size(MAX_MESSAGE_BYTES);
    let (ledger, response) = loop {
        let request = with_timeout(registration(worker), CALL_TIMEOUT);
        let response = client.register_worker(request).await?.into_inner();
        let known = lock(&worker.session.memory).ledger.clone();
        match known {
            Some(known) if known != response.ledger => forget_everything(worker, &known, &response.ledger),
            Some(_) | None => break (response.ledger.clone(), response),
        }
    };
    lock(&worker.session.memory).ledger = Some(ledger);
    let v1::RegisterWorkerResponse {
        ledger,
        epoch,
        version,
        lost,
        heartbeat_ms,
        stale_after_ms: _,
        max_batch_bytes,
        max_batch_candidates,
        max_unacked_bytes,
        forget_receipt,
        session,
    } = response;
    worker.credentials.set_session(&session);
    if forget_receipt {
        error!(
            "the orchestrator lost what its ledger recorded last, and that was accepted: results may be computed again"
        );
        lock(&worker.session.memory).receipt = None;
    }
    for lease in lost {
        worker.lease_lost(LeaseId::new(lease));
    }
    worker.delivery.set_window(size(max_unacked_bytes, 4 << 20));
    debug!(%server, ledger, epoch, version, "registered");
    info!(%server, "registered");
    Ok(Connected {
        generation,
        client,
        server: server.clone(),
        heartbeat: Duration::from_millis(if heartbeat_ms == 0 { 30_000 } else { heartbeat_ms }),
        batches: BatchLimits { bytes: size(max_batch_bytes, 256 << 10), candidates: size(max_batch_candidates, 1000) },
    })
}

/// A size that the orchestrator set, or a default of ours if it set none.
fn size(told: u32, default: usize) -> usize {
    if told == 0 { default } else { told as usize }
}

async fn connect(worker: &Worker, server: &Server) -> Result<Channel, tonic::Status> {
    // The settings were checked with the configuration; the files are read now, and may be no good now.
    let dial = Dial::new(server.clone(), worker.config.tls.clone());
    let dial = dial.map_err(|error| tonic::Status::invalid_argument(error.to_string()))?;
    dial.within(CALL_TIMEOUT).connect().await.map_err(|error| match error {
        // Our own files: another try finds the same ones.
        DialError::Settings(_) => tonic::Status::invalid_argument(chain(&error)),
        _ => tonic::Status::unavailable(chain(&error)),
    })
}

fn registration(worker: &Worker) -> v1::RegisterWorkerRequest {
    v1::RegisterWorkerRequest {
        worker: worker.config.name.to_string(),
        kinds: worker.config.kinds.keys().map(ToString::to_string).collect(),
        slots: u32::try_from(worker.config.slots.get()).unwrap_or(u32::MAX),
        hardware: Some(worker.hardware.to_wire()),
        labels: worker.config.labels.clone().into_iter().collect(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        leases: worker.leases.all().iter().map(|held| held.lease.get()).collect(),
        last_receipt: worker.session.receipt(),
        ledger: lock(&worker.session.memory).ledger.clone().unwrap_or_default(),
        resources: pools_to_wire(&worker.resources.left()),
        time_limit_ms: worker.remaining().map(|left| u64::try_from(left.as_millis()).unwrap_or(u64::MAX)),
        call: Some(worker.session.next_call()),
        uptime_ms: u64::try_from(worker.session.started.elapsed().as_millis()).unwrap_or(u64::MAX),
    }
}

/// Another ledger answers under the address: its lease numbers mean other jobs, so nothing of ours may reach it.
fn forget_everything(worker: &Worker, known: &str, found: &str) {
    error!(known, found, "another ledger answers: all leases of the old one are dropped");
    for held in worker.leases.all() {
        worker.lease_lost(held.lease);
        worker.delivery.forget(held.lease);
        worker.leases.remove(held.lease);
    }
    let mut memory = lock(&worker.session.memory);
    memory.ledger = None;
    memory.receipt = None;
}

/// A request that the orchestrator and we give up on after `limit`.
pub(crate) fn with_timeout<T>(message: T, limit: Duration) -> tonic::Request<T> {
    let mut request = tonic::Request::new(message);
    request.set_timeout(limit);
    request
}

/// A status in words: the message, or the code if there is none.
pub(crate) fn told(status: &tonic::Status) -> String {
    if let Some(refusal) = status.source().and_then(tls_refusal) {
        return refusal;
    }
    if status.message().is_empty() { status.code().description().to_owned() } else { status.message().to_owned() }
}

/// An error with its causes, in one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        // Some causes repeat what was said of them.
        if !text.ends_with(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Whether a failed call says that the orchestrator does not know this worker or is not there, so that registering
/// again is the way on; anything else is only waited out.
pub(crate) fn needs_registration(status: &tonic::Status) -> bool {
    match WireError::from(status).reason {
        Reason::UnknownWorker
        | Reason::NotFound
        | Reason::Unavailable
        | Reason::Timeout
        | Reason::CallCancelled
        | Reason::Internal
        // With another token, or with another session, it may go on.
        | Reason::Unauthenticated
        | Reason::PermissionDenied => true,
        Reason::InvalidArgument
        | Reason::Conflict
        | Reason::WrongState
        | Reason::LeaseLost
        | Reason::NotGrantee
        | Reason::BatchGap
        | Reason::BatchTooLarge
        | Reason::ReadOnly
        | Reason::Busy
        | Reason::LimitReached
        | Reason::UnprovenReceipt
        | Reason::NameTaken
        | Reason::Unimplemented
        | Reason::Other(..) => false,
    }
}

/// How long to wait before the next try: at least as long as the orchestrator asked for.
pub(crate) fn wait_after(status: &tonic::Status, pace: &mut Pace) -> Duration {
    pace.next_wait().max(WireError::from(status).retry_after.unwrap_or_default())
}

/// Stops what a `LOST` concerns; an ended job's results are left to the submit stream, whose answer decides.
impl Worker {
    pub(crate) fn lease_lost(&self, lease: LeaseId) {
        // Every heartbeat says it again until the job has stopped: what is forgotten already was counted.
        if !self.leases.stop_running(lease, StopReason::Lost) || !self.delivery.forget(lease) {
            return;
        }
        if self.leases.get(lease).is_some_and(|held| crate::gang::has_ended(&held)) {
            debug!(%lease, "the gang's job has ended");
            return;
        }
        warn!(%lease, "the lease is lost: the job stops");
        crate::report::count(&self.counters.lost, 1);
    }
}

//! An orchestrator for tests: keeps the wire's promises as far as a worker can see them, and breaks on demand.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use orch_proto::v1::submit_results_response::Answer;
use orch_proto::v1::worker_service_server::{WorkerService, WorkerServiceServer};
use tokio::sync::{mpsc, watch};
use tokio_stream::wrappers::{ReceiverStream, TcpListenerStream};
use tonic::{Request, Response, Status, Streaming};

use crate::support::PATIENCE;

/// How a lease ended, as the orchestrator saw it.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    Complete { batches: u64 },
    Fail { class: v1::FailureClass, message: String, exit_code: Option<i32> },
    Released,
}

/// Everything that a test may look at or set.
#[derive(Debug, Default)]
pub struct State {
    pub queue: VecDeque<v1::Lease>,
    /// Leases that are a worker's right now.
    pub granted: BTreeMap<u64, v1::Lease>,
    pub ended: BTreeMap<u64, Ended>,
    /// Accepted batches by lease.
    pub batches: BTreeMap<u64, Vec<Vec<String>>>,
    /// Every message that arrived, resends included: lease and `#number`, `complete` or `fail`.
    pub arrived: Vec<(u64, String)>,
    pub logs: BTreeMap<u64, String>,
    pub progress: BTreeMap<u64, (f64, String)>,
    pub registrations: Vec<v1::RegisterWorkerRequest>,
    /// The numbers of registrations and calls for jobs, as they arrived.
    pub calls: Vec<v1::CallNumber>,
    pub heartbeats: u64,
    pub deregistered: bool,
    /// The largest number of unanswered bytes seen on a stream while answers are held.
    pub held_bytes: usize,

    // What the test sets.
    pub lease_orders: BTreeMap<u64, v1::LeaseOrder>,
    pub order: v1::WorkerOrder,
    /// The stream breaks after this many messages; what was taken stays taken, its answers are lost.
    pub break_after: Option<usize>,
    /// Results are refused with `READ_ONLY` this often.
    pub read_only: usize,
    /// Answers to results wait until this is false.
    pub hold_answers: bool,
    pub settings: Settings,
    pub ledger: String,
}

#[derive(Clone, Copy, Debug)]
pub struct Settings {
    pub heartbeat_ms: u64,
    pub batch_bytes: u32,
    pub batch_candidates: u32,
    pub unacked_bytes: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self { heartbeat_ms: 20, batch_bytes: 256 << 10, batch_candidates: 1000, unacked_bytes: 4 << 20 }
    }
}

#[derive(Clone)]
struct Service {
    state: Arc<Mutex<State>>,
    changed: watch::Sender<()>,
}

/// The orchestrator. Its state survives `stop` and `start`, like a ledger does.
pub struct Server {
    service: Service,
    address: SocketAddr,
    runtime: Option<tokio::runtime::Runtime>,
}

impl Server {
    /// Starts on a free port.
    pub fn new() -> Self {
        let state = State { order: v1::WorkerOrder::Run, ledger: "test".into(), ..State::default() };
        let service = Service { state: Arc::new(Mutex::new(state)), changed: watch::Sender::new(()) };
        let mut server = Self { service, address: SocketAddr::from(([127, 0, 0, 1], 0)), runtime: None };
        server.start();
        server
    }

    /// Starts again, on the same port.
    pub fn start(&mut self) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let socket = std::net::TcpListener::bind(self.address).unwrap();
        socket.set_nonblocking(true).unwrap();
        self.address = socket.local_addr().unwrap();
        let service = self.service.clone();
        runtime.spawn(async move {
            let incoming = TcpListenerStream::new(tokio::net::TcpListener::from_std(socket).unwrap());
            let service = WorkerServiceServer::new(service);
            tonic::transport::Server::builder().add_service(service).serve_with_incoming(incoming).await.unwrap();
        });
        self.runtime = Some(runtime);
    }

    /// Dies at once, with every connection.
    pub fn stop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // From another thread, since this one may be a runtime's own: returns when every socket is closed.
            let ended = std::thread::spawn(move || runtime.shutdown_timeout(Duration::from_secs(10)));
            ended.join().unwrap();
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Offers a job; its lease has this number.
    pub fn offer(&self, lease: v1::Lease) {
        self.with(|state| state.queue.push_back(lease));
    }

    /// Looks at the state, or changes it.
    pub fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let seen = look(&mut self.service.state.lock().unwrap());
        self.service.changed.send_replace(());
        seen
    }

    /// Waits until the state is as wanted, and returns what was wanted of it.
    pub async fn until<T>(&self, what: &str, mut look: impl FnMut(&mut State) -> Option<T>) -> T {
        let mut changed = self.service.changed.subscribe();
        let wait = async {
            loop {
                if let Some(seen) = look(&mut self.service.state.lock().unwrap()) {
                    return seen;
                }
                changed.changed().await.unwrap();
            }
        };
        match tokio::time::timeout(PATIENCE, wait).await {
            Ok(seen) => seen,
            Err(_) => panic!("waited in vain: {what}; {:#?}", self.service.state.lock().unwrap()),
        }
    }

    /// Waits for a lease's end.
    pub async fn end_of(&self, lease: u64) -> Ended {
        self.until("the end of a lease", |state| state.ended.get(&lease).cloned()).await
    }

    /// The accepted candidates of a lease, in order.
    pub fn candidates(&self, lease: u64) -> Vec<String> {
        self.with(|state| state.batches.get(&lease).cloned().unwrap_or_default().concat())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A job for a worker.
pub fn lease(number: u64, kind: &str, payload: &str) -> v1::Lease {
    v1::Lease {
        task: None,
        gang: None,
        lease: number,
        job: number + 1000,
        attempt: 1,
        queue: "q".into(),
        kind: kind.into(),
        payload_json: payload.into(),
        contract: String::new(),
        ttl_ms: 600_000,
        heartbeat_ms: 20,
        timeout_ms: 0,
        traceparent: String::new(),
        name: String::new(),
        resources: None,
    }
}

impl Service {
    fn with<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        let seen = look(&mut self.state.lock().unwrap());
        self.changed.send_replace(());
        seen
    }

    /// Looks at the state without telling those who wait for changes.
    fn look<T>(&self, look: impl FnOnce(&mut State) -> T) -> T {
        look(&mut self.state.lock().unwrap())
    }

    fn known(&self, worker: &str) -> Result<(), Status> {
        let known = self.with(|state| state.registrations.iter().any(|known| known.worker == worker));
        if known { Ok(()) } else { Err(WireError::new(Reason::UnknownWorker, "who are you?").into()) }
    }
}

fn refused(reason: &str, number: u64, expected: u64, retry_after_ms: u64) -> Answer {
    let message = "as the test says".to_owned();
    Answer::Refused(v1::ResultsRefused {
        reason: reason.into(),
        message,
        expected_batch: expected,
        retry_after_ms,
        number,
    })
}

impl State {
    fn take(&mut self, lease: u64, action: Action) -> Answer {
        let number = if let Action::Batch(batch) = &action { batch.number } else { 0 };
        let what = match &action {
            Action::Batch(batch) => format!("#{}", batch.number),
            Action::Complete(_) => "complete".to_owned(),
            Action::Fail(_) => "fail".to_owned(),
        };
        self.arrived.push((lease, what));
        if self.read_only > 0 {
            self.read_only -= 1;
            return refused("READ_ONLY", number, 0, 20);
        }
        if matches!(self.ended.get(&lease), Some(Ended::Released)) || !self.batches.contains_key(&lease) {
            return refused("LEASE_LOST", number, 0, 0);
        }
        let seq = self.batches.values().flatten().flatten().count() as u64;
        let receipt = Some(v1::Receipt { seq, chain: vec![7; 32].into(), ..v1::Receipt::default() });
        let taken = self.batches.entry(lease).or_default();
        let expected = taken.len() as u64 + 1;
        let done = v1::JobEnded { state: v1::JobState::Done.into(), receipt: receipt.clone(), ..Default::default() };
        match action {
            Action::Batch(batch) if batch.number > expected => refused("BATCH_GAP", number, expected, 0),
            Action::Batch(v1::Batch { number, candidates }) => {
                let texts: Vec<String> =
                    candidates.iter().map(|text| String::from_utf8_lossy(text).into_owned()).collect();
                if number == expected {
                    taken.push(texts.clone());
                } else {
                    assert_eq!(taken[number as usize - 1], texts, "a resend is the same batch");
                }
                let verdict = v1::Verdict { verdict: Some(v1::verdict::Verdict::Accepted(seq)) };
                Answer::Verdicts(v1::BatchVerdicts { number, verdicts: vec![verdict; texts.len()], receipt })
            }
            Action::Complete(complete) if complete.batches != expected - 1 => refused("BATCH_GAP", 0, expected, 0),
            Action::Complete(v1::Complete { batches }) => {
                self.ended.insert(lease, Ended::Complete { batches });
                self.granted.remove(&lease);
                Answer::Ended(done)
            }
            Action::Fail(v1::Fail { class, message, exit_code }) => {
                let class = v1::FailureClass::try_from(class).unwrap();
                self.ended.insert(lease, Ended::Fail { class, message, exit_code });
                self.granted.remove(&lease);
                Answer::Ended(v1::JobEnded { state: v1::JobState::Delayed.into(), ..done })
            }
        }
    }
}

#[tonic::async_trait]
impl WorkerService for Service {
    async fn register_worker(
        &self,
        request: Request<v1::RegisterWorkerRequest>,
    ) -> Result<Response<v1::RegisterWorkerResponse>, Status> {
        let request = request.into_inner();
        if request.worker == "unwanted" {
            return Err(WireError::new(Reason::InvalidArgument, "the name is not wanted here").into());
        }
        let response = self.with(|state| {
            state.calls.extend(request.call);
            let lost = request.leases.iter().copied().filter(|lease| !state.granted.contains_key(lease)).collect();
            // What the worker does not list any more goes back to the queue.
            let gone: Vec<u64> =
                state.granted.keys().copied().filter(|lease| !request.leases.contains(lease)).collect();
            for lease in gone {
                let job = state.granted.remove(&lease).unwrap();
                state.queue.push_back(job);
            }
            state.registrations.push(request);
            v1::RegisterWorkerResponse {
                ledger: state.ledger.clone(),
                epoch: 1,
                version: "test".into(),
                lost,
                heartbeat_ms: state.settings.heartbeat_ms,
                stale_after_ms: 120_000,
                max_batch_bytes: state.settings.batch_bytes,
                max_batch_candidates: state.settings.batch_candidates,
                max_unacked_bytes: state.settings.unacked_bytes,
                forget_receipt: false,
                session: String::new(),
            }
        });
        Ok(Response::new(response))
    }

    async fn lease_job(&self, request: Request<v1::LeaseJobRequest>) -> Result<Response<v1::LeaseJobResponse>, Status> {
        let request = request.into_inner();
        self.known(&request.worker)?;
        self.with(|state| state.calls.extend(request.call));
        let mut changed = self.changed.subscribe();
        loop {
            {
                let mut state = self.state.lock().unwrap();
                let count = state.queue.len().min(request.max as usize);
                let leases: Vec<v1::Lease> = state.queue.drain(..count).collect();
                for lease in &leases {
                    state.granted.insert(lease.lease, lease.clone());
                    state.batches.entry(lease.lease).or_default();
                }
                if !leases.is_empty() {
                    drop(state);
                    self.changed.send_replace(());
                    return Ok(Response::new(v1::LeaseJobResponse {
                        leases,
                        order: v1::WorkerOrder::Run.into(),
                        receipt: None,
                    }));
                }
            }
            changed.changed().await.unwrap();
        }
    }

    async fn heartbeat(
        &self,
        request: Request<v1::HeartbeatRequest>,
    ) -> Result<Response<v1::HeartbeatResponse>, Status> {
        let v1::HeartbeatRequest { worker, leases, last_receipt: _ } = request.into_inner();
        self.known(&worker)?;
        let response = self.with(|state| {
            state.heartbeats += 1;
            let mut standings = Vec::new();
            for v1::LeaseProgress { lease, fraction, note, step: _ } in leases {
                state.progress.insert(lease, (fraction, note));
                let order = match state.lease_orders.get(&lease) {
                    Some(order) => *order,
                    None if state.granted.contains_key(&lease) => v1::LeaseOrder::Extended,
                    None => v1::LeaseOrder::Lost,
                };
                standings.push(v1::LeaseStanding { lease, order: order.into() });
            }
            let order = state.order;
            if order == v1::WorkerOrder::Register {
                state.order = v1::WorkerOrder::Run;
            }
            v1::HeartbeatResponse { leases: standings, order: order.into() }
        });
        Ok(Response::new(response))
    }

    type SubmitResultsStream = ReceiverStream<Result<v1::SubmitResultsResponse, Status>>;

    async fn submit_results(
        &self,
        request: Request<Streaming<v1::SubmitResultsRequest>>,
    ) -> Result<Response<Self::SubmitResultsStream>, Status> {
        let mut messages = request.into_inner();
        let (answers, stream) = mpsc::channel(1000);
        let service = self.clone();
        tokio::spawn(async move {
            let mut changed = service.changed.subscribe();
            let mut held: VecDeque<(u64, Answer)> = VecDeque::new();
            let mut held_bytes = 0;
            let mut count = 0;
            let mut named = false;
            loop {
                changed.mark_unchanged();
                let (breaks, holds) = service
                    .look(|state| (state.break_after.take_if(|after| count >= *after).is_some(), state.hold_answers));
                if breaks {
                    // The test waits for this.
                    service.with(|_| ());
                    let _ = answers.send(Err(Status::unavailable("as the test says"))).await;
                    return;
                }
                if !holds {
                    held_bytes = 0;
                    for (lease, answer) in held.drain(..) {
                        let response = v1::SubmitResultsResponse { lease, answer: Some(answer) };
                        if answers.send(Ok(response)).await.is_err() {
                            return;
                        }
                    }
                }
                let message = tokio::select! {
                    message = messages.message() => message,
                    _ = changed.changed() => continue,
                };
                let Ok(Some(v1::SubmitResultsRequest { worker, lease, action: Some(action) })) = message else {
                    return;
                };
                assert!(named || !worker.is_empty(), "the first message names the worker");
                named = true;
                if let Action::Batch(batch) = &action {
                    held_bytes += batch.candidates.iter().map(|candidate| candidate.len()).sum::<usize>();
                }
                count += 1;
                service.with(|state| {
                    held.push_back((lease, state.take(lease, action)));
                    state.held_bytes = state.held_bytes.max(held_bytes);
                });
            }
        });
        Ok(Response::new(ReceiverStream::new(stream)))
    }

    async fn release_leases(
        &self,
        request: Request<v1::ReleaseLeasesRequest>,
    ) -> Result<Response<v1::ReleaseLeasesResponse>, Status> {
        let leases = request.into_inner().leases;
        let released = self.with(|state| {
            let mine: Vec<u64> = leases.into_iter().filter(|lease| state.granted.remove(lease).is_some()).collect();
            state.ended.extend(mine.iter().map(|&lease| (lease, Ended::Released)));
            mine
        });
        Ok(Response::new(v1::ReleaseLeasesResponse { released }))
    }

    async fn push_logs(
        &self,
        request: Request<Streaming<v1::PushLogsRequest>>,
    ) -> Result<Response<v1::PushLogsResponse>, Status> {
        let mut messages = request.into_inner();
        let mut response = v1::PushLogsResponse::default();
        while let Some(v1::PushLogsRequest { worker: _, lease, text }) = messages.message().await? {
            self.with(|state| {
                if state.granted.contains_key(&lease) {
                    response.kept_bytes += text.len() as u64;
                    state.logs.entry(lease).or_default().push_str(&String::from_utf8_lossy(&text));
                } else {
                    response.dropped_bytes += text.len() as u64;
                }
            });
        }
        Ok(Response::new(response))
    }

    async fn deregister_worker(
        &self,
        _request: Request<v1::DeregisterWorkerRequest>,
    ) -> Result<Response<v1::DeregisterWorkerResponse>, Status> {
        self.with(|state| state.deregistered = true);
        Ok(Response::new(v1::DeregisterWorkerResponse {}))
    }
}

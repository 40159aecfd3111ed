//! An orchestrator on a free port, and clients of it.

use std::net::SocketAddr;
use std::path::Path;

use orch_core::access::Secret;
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running};
use orch_proto::credentials::{Credentials, Identified, TokenSource};
use orch_proto::error::WireError;
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_proto::v1::submit_results_request::Action;
use orch_proto::v1::submit_results_response::Answer;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

pub type Admin = AdminServiceClient<Channel>;
pub type Worker = WorkerServiceClient<Channel>;

/// An orchestrator, and the directory that goes with it.
pub struct Orch {
    pub running: Running,
    pub data: TempDir,
}

pub fn config(data: &Path) -> OrchestratorConfig {
    OrchestratorConfig {
        listen: "127.0.0.1:0".parse().unwrap(),
        allow_any_filesystem: true,
        ..OrchestratorConfig::new(data.to_owned())
    }
}

impl Orch {
    pub async fn start() -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = serve::start(config(data.path())).await.unwrap();
        Self { running, data }
    }

    /// Stops it and starts another one on the same data.
    pub async fn restart(self) -> Self {
        let Self { running, data } = self;
        running.stop().await.unwrap();
        let running = serve::start(config(data.path())).await.unwrap();
        Self { running, data }
    }

    pub async fn admin(&self) -> Admin {
        let url = format!("http://{}", self.running.local_addr());
        AdminServiceClient::connect(url).await.unwrap()
    }

    pub async fn worker(&self) -> Worker {
        let url = format!("http://{}", self.running.local_addr());
        WorkerServiceClient::connect(url).await.unwrap()
    }

    /// A registered worker.
    pub async fn registered(&self, name: &str) -> Worker {
        let mut worker = self.worker().await;
        worker.register_worker(registration(name)).await.unwrap();
        worker
    }

    pub async fn stop(self) {
        self.running.stop().await.unwrap();
    }
}

pub fn registration(name: &str) -> v1::RegisterWorkerRequest {
    v1::RegisterWorkerRequest {
        worker: name.into(),
        kinds: vec!["roots".into()],
        slots: 2,
        version: "test".into(),
        ..v1::RegisterWorkerRequest::default()
    }
}

/// Candidates are numbers `t`, the same within 1e-6; a job is complete with as many as its payload's `count`.
pub const CONTRACT: &str = r#"{
    "contract": "roots", "version": 1,
    "schema": {"type": "object", "additionalProperties": false, "required": ["t", "root_val"],
               "properties": {"t": {"type": "number"}, "root_val": {"type": "number"}}},
    "tolerance": [{"field": "root_val", "abs_lt": {"payload": "eps"}}],
    "identity": [{"field": "t", "quantum": 1e-6}],
    "complete": {"count": {"payload": "count"}}
}"#;

pub fn queue(name: &str) -> v1::QueueSpec {
    v1::QueueSpec {
        queue: name.into(),
        contract: "roots@1".into(),
        kind: "roots".into(),
        retry: Some(v1::RetryPatch { max_attempts: Some(1), ..v1::RetryPatch::default() }),
        ..v1::QueueSpec::default()
    }
}

pub fn job(queue: &str, count: u64) -> v1::JobSpec {
    v1::JobSpec {
        queue: queue.into(),
        payload_json: format!("{{\"count\":{count},\"eps\":1e-8}}"),
        ..v1::JobSpec::default()
    }
}

pub fn submission(jobs: Vec<v1::JobSpec>) -> v1::SubmitRequest {
    let (contracts_json, queues) = (vec![CONTRACT.into()], vec![queue("q")]);
    v1::SubmitRequest { contracts_json, queues, jobs, ..v1::SubmitRequest::default() }
}

pub fn candidate(t: f64) -> String {
    format!("{{\"t\":{t},\"root_val\":1e-9}}")
}

pub fn ask(worker: &str, max: u32, wait_ms: u64) -> v1::LeaseJobRequest {
    v1::LeaseJobRequest { worker: worker.into(), kinds: Vec::new(), max, wait_ms, ..v1::LeaseJobRequest::default() }
}

/// Leases one job that must be there.
pub async fn lease(client: &mut Worker, name: &str) -> v1::Lease {
    let answer = client.lease_job(ask(name, 1, 0)).await.unwrap().into_inner();
    answer.leases.into_iter().next().expect("a job is ready")
}

/// A results stream.
pub struct Results {
    sender: mpsc::Sender<v1::SubmitResultsRequest>,
    answers: Streaming<v1::SubmitResultsResponse>,
    worker: String,
}

impl Results {
    pub async fn open(client: &mut Worker, worker: &str) -> Self {
        let (sender, messages) = mpsc::channel(64);
        let answers = client.submit_results(ReceiverStream::new(messages)).await.unwrap().into_inner();
        Self { sender, answers, worker: worker.into() }
    }

    pub async fn say(&mut self, lease: u64, action: Action) {
        let message = v1::SubmitResultsRequest { worker: self.worker.clone(), lease, action: Some(action) };
        self.sender.send(message).await.unwrap();
    }

    pub async fn batch(&mut self, lease: u64, number: u64, candidates: &[impl AsRef<[u8]>]) {
        self.say(lease, batch(number, candidates)).await;
    }

    pub async fn answer(&mut self) -> Result<v1::SubmitResultsResponse, Status> {
        self.answers.message().await.map(|answer| answer.expect("the stream goes on"))
    }

    /// The verdicts that must come next.
    pub async fn verdicts(&mut self) -> v1::BatchVerdicts {
        match self.answer().await.unwrap().answer {
            Some(Answer::Verdicts(verdicts)) => verdicts,
            other => panic!("{other:?}"),
        }
    }

    /// The end that must come next.
    pub async fn ended(&mut self) -> v1::JobEnded {
        match self.answer().await.unwrap().answer {
            Some(Answer::Ended(ended)) => ended,
            other => panic!("{other:?}"),
        }
    }

    /// The refusal that must come next.
    pub async fn refused(&mut self) -> v1::ResultsRefused {
        match self.answer().await.unwrap().answer {
            Some(Answer::Refused(refused)) => refused,
            other => panic!("{other:?}"),
        }
    }
}

pub fn batch(number: u64, candidates: &[impl AsRef<[u8]>]) -> Action {
    let candidates = candidates.iter().map(|candidate| candidate.as_ref().to_vec().into()).collect();
    Action::Batch(v1::Batch { number, candidates })
}

/// Verdicts in one word each: `accepted`, `duplicate`, or the rule of a rejection.
pub fn words(verdicts: &v1::BatchVerdicts) -> Vec<String> {
    use v1::verdict::Verdict;
    let word = |verdict: &v1::Verdict| match verdict.verdict.as_ref().unwrap() {
        Verdict::Accepted(_) => "accepted".to_owned(),
        Verdict::Duplicate(_) => "duplicate".to_owned(),
        Verdict::Rejected(rejection) => rejection.rule.clone(),
    };
    verdicts.verdicts.iter().map(word).collect()
}

pub fn reason(status: &Status) -> (String, String) {
    let error = WireError::from(status);
    (error.reason.as_str().to_owned(), error.field)
}

/// The bootstrap token of the tests: its holder is an admin.
pub const BOOTSTRAP: &str = "bootstrap-token-of-the-tests";

pub type KnownAdmin = AdminServiceClient<Identified>;
pub type KnownWorker = WorkerServiceClient<Identified>;

/// What shows this token; none if it is empty.
pub fn credentials(token: &str) -> Credentials {
    let source = if token.is_empty() { TokenSource::None } else { TokenSource::Told(Secret::new(token)) };
    Credentials::new(source).unwrap()
}

/// Settings of an orchestrator that nobody gets into without a token.
pub fn guarded(data: &Path) -> OrchestratorConfig {
    OrchestratorConfig { bootstrap_token: Some(Secret::new(BOOTSTRAP)), ..config(data) }
}

impl Orch {
    /// One that nobody gets into without a token.
    pub async fn guarded() -> Self {
        let data = tempfile::tempdir().unwrap();
        let running = serve::start(guarded(data.path())).await.unwrap();
        Self { running, data }
    }

    /// Stops it and starts another one on the same data, with these settings.
    pub async fn restart_as(self, config: impl FnOnce(&Path) -> OrchestratorConfig) -> Self {
        let Self { running, data } = self;
        running.stop().await.unwrap();
        let running = serve::start(config(data.path())).await.unwrap();
        Self { running, data }
    }

    /// Where to connect to.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://{}", self.running.local_addr())).unwrap()
    }

    pub async fn channel(&self) -> Channel {
        self.endpoint().connect().await.unwrap()
    }

    pub async fn admin_as(&self, token: &str) -> KnownAdmin {
        AdminServiceClient::with_interceptor(self.channel().await, credentials(token))
    }

    /// A worker's client, and what it shows.
    pub async fn worker_as(&self, token: &str) -> (KnownWorker, Credentials) {
        let credentials = credentials(token);
        (WorkerServiceClient::with_interceptor(self.channel().await, credentials.clone()), credentials)
    }

    /// A worker that registered with this token and shows its session.
    pub async fn registered_as(&self, token: &str, name: &str) -> (KnownWorker, Credentials) {
        let (mut worker, credentials) = self.worker_as(token).await;
        let registered = worker.register_worker(registration(name)).await.unwrap().into_inner();
        credentials.set_session(&registered.session);
        (worker, credentials)
    }

    /// A new token, made by the holder of the bootstrap token.
    pub async fn token(&self, name: &str, role: v1::Role, queues: &[&str]) -> String {
        let queues = queues.iter().map(|queue| (*queue).to_owned()).collect();
        let request = v1::CreateTokenRequest { name: name.into(), role: role.into(), queues, expires_in_ms: 0 };
        self.admin_as(BOOTSTRAP).await.create_token(request).await.unwrap().into_inner().secret
    }

    pub async fn revoke(&self, name: &str) {
        let request = v1::RevokeTokenRequest { name: name.into() };
        self.admin_as(BOOTSTRAP).await.revoke_token(request).await.unwrap();
    }

    /// The audit, newest first.
    pub async fn audit(&self) -> Vec<v1::AuditEntry> {
        let request = v1::ListAuditRequest { limit: 10_000, ..v1::ListAuditRequest::default() };
        self.admin_as(BOOTSTRAP).await.list_audit(request).await.unwrap().into_inner().entries
    }

    /// The names of all events in the ledger.
    pub async fn events(&self) -> Vec<String> {
        let request = v1::ReadLedgerRequest::default();
        let mut lines = self.admin_as(BOOTSTRAP).await.read_ledger(request).await.unwrap().into_inner();
        let mut events = Vec::new();
        while let Some(part) = lines.message().await.unwrap() {
            for line in part.lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
                let line: serde_json::Value = serde_json::from_slice(line).unwrap();
                let event = line["event"].as_object().and_then(|event| event.keys().next().cloned());
                events.push(event.unwrap_or_default());
            }
        }
        events
    }
}

/// What a route answers.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    /// In lower case.
    pub head: String,
    pub body: String,
}

/// Asks for a route in plain HTTP/1. `more`: further lines of the head, each with its end.
pub async fn http(address: SocketAddr, asked: &str, more: &str, body: &str) -> Page {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let request = format!(
        "{asked} HTTP/1.1\r\nhost: {address}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Page { status, head: head.to_lowercase(), body: body.to_owned() }
}

/// The line of a head that shows this token; none if it is empty.
pub fn shown(token: &str) -> String {
    if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") }
}

/// Calls again until the outcome is wanted: for what becomes so by itself within moments.
pub async fn until<T>(mut look: impl AsyncFnMut() -> Option<T>) -> T {
    loop {
        match look().await {
            Some(found) => return found,
            None => tokio::task::yield_now().await,
        }
    }
}

//! An orchestrator to measure, and clients that do as little as workers can.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context as _;
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running};
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use orch_proto::{Bytes, v1};
use orch_telemetry::{Sampling, Telemetry};
use orch_transport::development::{self, Development, Existing};
use orch_transport::{ClientAuth, ClientTls, Dial, Pace, ServerTls, ServerUrl};
use tempfile::TempDir;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Streaming;
use tonic::transport::Channel;

use crate::collector::Collector;

/// Connections that the clients share.
const CONNECTIONS: usize = 4;

const CONTRACT: &str = r#"{
  "contract": "bench", "version": 1,
  "schema": {"type": "object", "additionalProperties": false, "required": ["n", "value", "pad"],
             "properties": {"n": {"type": "integer"}, "value": {"type": "number"}, "pad": {"type": "string"}}},
  "tolerance": [{"field": "value", "abs_lt": 1e-6}],
  "identity": [{"field": "n", "quantum": 1}]
}"#;

/// A running orchestrator on a ledger of its own.
pub struct Cluster {
    orchestrator: Running,
    channels: Vec<Channel>,
    /// Who gets the traces, if anybody traces.
    collector: Option<Collector>,
    _dir: TempDir,
}

/// What an orchestrator is measured with.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where its ledger is written.
    pub parent: Option<PathBuf>,
    /// Whether everything goes over TLS.
    pub tls: bool,
    /// Which jobs are traced, if any.
    pub traces: Option<Sampling>,
}

impl Cluster {
    /// Starts an orchestrator with one queue, `bench`.
    pub async fn start(settings: &Settings) -> anyhow::Result<Self> {
        let Settings { parent, tls, traces } = settings;
        let dir = match parent {
            Some(parent) => TempDir::new_in(parent),
            None => TempDir::new(),
        };
        let dir = dir.context("failed to make a folder for the ledger")?;
        let mut config = OrchestratorConfig::new(dir.path().join("data"));
        config.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        config.allow_any_filesystem = true;
        let mut client = ClientTls::default();
        if *tls {
            (config.tls, client) = certificates(dir.path().join("certs"))?;
        }
        let mut collector = None;
        if let Some(sampling) = *traces {
            let started = Collector::start().await?;
            config.telemetry = Some(Telemetry { endpoint: started.url.clone(), sampling });
            collector = Some(started);
        }
        let orchestrator = serve::start(config).await?;
        let scheme = if *tls { "https" } else { "http" };
        let url: ServerUrl = format!("{scheme}://{}", orchestrator.local_addr()).parse()?;
        let dial = Dial::new(url, client)?.pace(Pace::Quiet);
        let mut channels = Vec::new();
        for _ in 0..CONNECTIONS {
            channels.push(dial.connect().await?);
        }
        let cluster = Self { orchestrator, channels, collector, _dir: dir };
        let queue = v1::QueueSpec {
            queue: "bench".into(),
            contract: "bench@1".into(),
            kind: "noop".into(),
            ..Default::default()
        };
        let (contracts_json, queues) = (vec![CONTRACT.into()], vec![queue]);
        let request = v1::SubmitRequest { contracts_json, queues, ..Default::default() };
        cluster.admin(0).submit(request).await?;
        Ok(cluster)
    }

    /// A client for people.
    pub fn admin(&self, n: usize) -> AdminServiceClient<Channel> {
        AdminServiceClient::new(self.channels[n % CONNECTIONS].clone())
    }

    /// A registered worker with an open stream for results.
    pub async fn worker(&self, n: usize) -> anyhow::Result<Worker> {
        let mut client = WorkerServiceClient::new(self.channels[n % CONNECTIONS].clone());
        let name = format!("bench-{n}");
        let request = v1::RegisterWorkerRequest {
            worker: name.clone(),
            kinds: vec!["noop".into()],
            slots: 1000,
            ..Default::default()
        };
        client.register_worker(request).await?;
        let (sender, receiver) = mpsc::channel(256);
        let answers = client.submit_results(ReceiverStream::new(receiver)).await?.into_inner();
        Ok(Worker { name, client, sender, answers })
    }

    /// Stops the orchestrator. How many spans a collector had by then, if there is one: the orchestrator sends what it has
    /// before it ends.
    pub async fn stop(self) -> anyhow::Result<Option<u64>> {
        drop(self.channels);
        self.orchestrator.stop().await?;
        Ok(self.collector.map(|collector| collector.spans()))
    }
}

/// Certificates for both sides.
fn certificates(dir: PathBuf) -> anyhow::Result<(Option<ServerTls>, ClientTls)> {
    let valid = Duration::from_secs(86_400);
    let asked = Development { dir, names: Vec::new(), client: "bench".into(), valid, existing: Existing::Keep };
    let made = development::make(&asked)?;
    let client_auth = ClientAuth::Required;
    let server = ServerTls { cert: made.server, key: made.server_key, client_ca: Some(made.ca.clone()), client_auth };
    let client = ClientTls { ca: Some(made.ca), cert: Some(made.client), key: Some(made.client_key), domain: None };
    Ok((Some(server), client))
}

/// A worker that computes nothing.
pub struct Worker {
    pub name: String,
    pub client: WorkerServiceClient<Channel>,
    pub sender: mpsc::Sender<v1::SubmitResultsRequest>,
    pub answers: Streaming<v1::SubmitResultsResponse>,
}

impl Worker {
    /// Leases up to `max` jobs, waiting for the first one.
    pub async fn lease(&mut self, max: u32) -> anyhow::Result<Vec<v1::Lease>> {
        let request = v1::LeaseJobRequest { worker: self.name.clone(), max, wait_ms: 10_000, ..Default::default() };
        Ok(self.client.lease_job(request).await?.into_inner().leases)
    }

    /// Sends one message of results.
    pub async fn send(&self, lease: u64, action: v1::submit_results_request::Action) -> anyhow::Result<()> {
        let message = v1::SubmitResultsRequest { worker: self.name.clone(), lease, action: Some(action) };
        self.sender.send(message).await.context("the orchestrator closed the stream")
    }

    /// The next answer, which must not be a refusal.
    pub async fn answer(&mut self) -> anyhow::Result<v1::submit_results_response::Answer> {
        use v1::submit_results_response::Answer;
        let answer = self.answers.message().await?.and_then(|message| message.answer);
        match answer.context("the orchestrator ended the stream")? {
            Answer::Refused(refused) => anyhow::bail!("refused: {}", refused.message),
            answer @ (Answer::Verdicts(_) | Answer::Ended(_)) => Ok(answer),
        }
    }
}

/// Jobs without content.
pub fn jobs(count: usize) -> Vec<v1::JobSpec> {
    let job = v1::JobSpec { queue: "bench".into(), payload_json: "{\"n\":1}".into(), ..Default::default() };
    vec![job; count]
}

/// A candidate of about 200 bytes that nobody sent before.
pub fn candidate(n: u64) -> Bytes {
    let pad = "x".repeat(120);
    format!("{{\"n\":{n},\"value\":{}e-9,\"pad\":\"{pad}\"}}", n % 997).into()
}

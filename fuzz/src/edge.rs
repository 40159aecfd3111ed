//! Every call of a running orchestrator, over the wire, with any bytes as messages.
//!
//! The orchestrator is one for the whole process: real server, engine, ledger and index, on a loopback port and in a
//! temporary folder. An input is a sequence of messages as in [`crate::commands()`], where the first byte picks the call;
//! messages of one call behind each other are one stream. After every input the orchestrator must answer, and after
//! some hundreds it is started again on what it wrote.

use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use orch_orchestrator::access::Enforcement;
use orch_orchestrator::config::OrchestratorConfig;
use orch_orchestrator::serve::{self, Running};
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use prost::bytes::{Buf as _, BufMut as _, Bytes};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tonic::Status;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};

use crate::commands::next;

/// Every call. The first ones have the numbers of the messages of [`crate::commands()`].
const CALLS: &[&str] = &[
    "/orch.v1.AdminService/Submit",
    "/orch.v1.AdminService/ImportJobs",
    "/orch.v1.WorkerService/RegisterWorker",
    "/orch.v1.WorkerService/LeaseJob",
    "/orch.v1.WorkerService/Heartbeat",
    "/orch.v1.WorkerService/SubmitResults",
    "/orch.v1.WorkerService/ReleaseLeases",
    "/orch.v1.WorkerService/DeregisterWorker",
    "/orch.v1.AdminService/CancelJobs",
    "/orch.v1.AdminService/RetryFailed",
    "/orch.v1.AdminService/PauseQueue",
    "/orch.v1.AdminService/ResumeQueue",
    "/orch.v1.AdminService/ImportLegacy",
    "/orch.v1.AdminService/DrainWorkers",
    "/orch.v1.AdminService/CleanupWorkers",
    "/orch.v1.AdminService/WaitJobs",
    "/orch.v1.AdminService/GetJob",
    "/orch.v1.AdminService/ListJobs",
    "/orch.v1.AdminService/ReadJobLog",
    "/orch.v1.AdminService/ListQueues",
    "/orch.v1.AdminService/ListWorkers",
    "/orch.v1.AdminService/ListContracts",
    "/orch.v1.AdminService/Stats",
    "/orch.v1.AdminService/ServerInfo",
    "/orch.v1.AdminService/ReadLedger",
    "/orch.v1.AdminService/ExportState",
    "/orch.v1.WorkerService/PushLogs",
    "/orch.v1.AdminService/WhoAmI",
    "/orch.v1.AdminService/CreateToken",
    "/orch.v1.AdminService/ListTokens",
    "/orch.v1.AdminService/RevokeToken",
    "/orch.v1.AdminService/ListAudit",
];

/// How many calls there are.
pub(crate) const CALL_COUNT: usize = CALLS.len();

/// Some calls wait for something to happen, or follow what happens: whoever called goes away after so long.
const PATIENCE: Duration = Duration::from_millis(20);

/// Whoever asks whether it lives waits for so long.
const LIVES: Duration = Duration::from_secs(30);

/// After so many inputs the orchestrator is started again.
const RESTART_AFTER: u32 = 300;

/// The most messages of one input.
const MAX_MESSAGES: usize = 64;

struct Server {
    runtime: Runtime,
    running: Option<Running>,
    channel: Channel,
    inputs: u32,
    data: TempDir,
}

/// Sends the messages, and asks whether the orchestrator still lives.
pub fn edge(data: &[u8]) {
    recorded(data);
}

/// The same, and the last record of the ledger then.
pub fn recorded(data: &[u8]) -> u64 {
    static SERVER: OnceLock<Mutex<Server>> = OnceLock::new();
    // After a failure the next input meets whatever is left, and says so.
    let mut server = SERVER.get_or_init(|| Mutex::new(Server::start())).lock().unwrap_or_else(PoisonError::into_inner);
    server.take(data)
}

impl Server {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let data = tempfile::tempdir().unwrap();
        let (running, channel) = runtime.block_on(begin(&data));
        Self { runtime, running: Some(running), channel, inputs: 0, data }
    }

    fn take(&mut self, data: &[u8]) -> u64 {
        let seq = self.runtime.block_on(async {
            for (call, messages) in streams(data) {
                let sent = send(self.channel.clone(), CALLS[call], messages);
                // What it answers is its business; that it goes on is ours.
                let _ = tokio::time::timeout(PATIENCE, sent).await;
            }
            lives(self.channel.clone()).await
        });
        self.inputs += 1;
        if self.inputs.is_multiple_of(RESTART_AFTER)
            && let Some(running) = self.running.take()
        {
            self.runtime.block_on(running.stop()).unwrap_or_else(|error| panic!("it does not stop: {error}"));
            let (running, channel) = self.runtime.block_on(begin(&self.data));
            (self.running, self.channel) = (Some(running), channel);
        }
        seq
    }
}

async fn begin(data: &TempDir) -> (Running, Channel) {
    let config = OrchestratorConfig {
        data: data.path().to_owned(),
        listen: ([127, 0, 0, 1], 0).into(),
        allow_any_filesystem: true,
        // A token that is made on the way must not shut out what comes behind it.
        enforcement: Enforcement::Off,
        segment_bytes: 1 << 20,
        ..OrchestratorConfig::default()
    };
    let running = serve::start(config).await.unwrap_or_else(|error| panic!("it does not start: {error}"));
    let endpoint = Endpoint::from_shared(format!("http://{}", running.local_addr())).unwrap();
    (running, endpoint.connect().await.unwrap())
}

/// Calls and their messages.
fn streams(data: &[u8]) -> Vec<(usize, Vec<Bytes>)> {
    let mut streams: Vec<(usize, Vec<Bytes>)> = Vec::new();
    let mut rest = data;
    for _ in 0..MAX_MESSAGES {
        let Some((call, message, more)) = next(rest) else { break };
        rest = more;
        let (call, message) = (usize::from(call) % CALLS.len(), Bytes::copy_from_slice(message));
        match streams.last_mut().filter(|(last, _)| *last == call) {
            Some((_, messages)) => messages.push(message),
            None => streams.push((call, vec![message])),
        }
    }
    streams
}

async fn send(channel: Channel, path: &'static str, messages: Vec<Bytes>) -> Result<(), Status> {
    let mut client = tonic::client::Grpc::new(channel).max_decoding_message_size(64 << 20);
    client.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let request = tonic::Request::new(tokio_stream::iter(messages));
    let answers = client.streaming(request, PathAndQuery::from_static(path), Raw).await?;
    let mut answers = answers.into_inner();
    while answers.message().await?.is_some() {}
    Ok(())
}

/// Asks whether it answers and writes; the answer is its last record.
async fn lives(channel: Channel) -> u64 {
    let mut admin = AdminServiceClient::new(channel);
    let answer = tokio::time::timeout(LIVES, admin.stats(v1::StatsRequest {})).await;
    let answer = answer.unwrap_or_else(|_| panic!("the orchestrator does not answer any more"));
    let stats = answer.unwrap_or_else(|status| panic!("the orchestrator is gone: {status}")).into_inner();
    let v1::LedgerStatus { seq, read_only_reason: reason, .. } = stats.ledger.unwrap_or_default();
    assert!(reason.is_empty(), "it writes no more: {reason}");
    seq
}

/// Messages as bytes.
#[derive(Clone, Copy, Debug)]
struct Raw;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        *self
    }

    fn decoder(&mut self) -> Self {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put(item);
        Ok(())
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        let len = buffer.remaining();
        Ok(Some(buffer.copy_to_bytes(len)))
    }
}

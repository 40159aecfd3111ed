//! One connection with a stream for results on it.

use std::time::Duration;

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use orch_proto::v1::submit_results_response::Answer;
use orch_proto::v1::worker_service_client::WorkerServiceClient;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;
use tonic::{Status, Streaming};

use crate::wire;

/// An answer on the stream takes one sync; a stream that says nothing for so long is broken.
const ANSWER: Duration = Duration::from_secs(20);

/// A connection.
#[derive(Debug)]
pub(super) struct Link {
    pub admin: AdminServiceClient<Channel>,
    pub worker: WorkerServiceClient<Channel>,
    stream: Option<Stream>,
}

#[derive(Debug)]
struct Stream {
    sender: mpsc::Sender<v1::SubmitResultsRequest>,
    answers: Streaming<v1::SubmitResultsResponse>,
}

impl Link {
    pub(super) async fn open(url: &str) -> Result<Self, Status> {
        let channel = wire::connect(url).await?;
        let (admin, worker) = (AdminServiceClient::new(channel.clone()), WorkerServiceClient::new(channel));
        Ok(Self { admin, worker, stream: None })
    }

    /// Sends a message on the stream and waits for its answer.
    pub(super) async fn say(&mut self, message: v1::SubmitResultsRequest) -> Result<Answer, Status> {
        let stream = match &mut self.stream {
            Some(stream) => stream,
            none => {
                let (sender, messages) = mpsc::channel(4);
                let answers = self.worker.submit_results(ReceiverStream::new(messages)).await?.into_inner();
                none.insert(Stream { sender, answers })
            }
        };
        let ended = || Status::unavailable("the orchestrator ended the stream");
        stream.sender.send(message).await.map_err(|_| ended())?;
        let answer = tokio::time::timeout(ANSWER, stream.answers.message()).await;
        let answer = answer.map_err(|_| Status::deadline_exceeded("no answer on the stream"))??;
        answer.and_then(|message| message.answer).ok_or_else(ended)
    }
}

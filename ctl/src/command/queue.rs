//! `orchctl queue`.

use orch_core::id::QueueName;
use orch_proto::v1;

use crate::args::QueueCommand;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{QueueActionView, QueueView, QueuesView};

/// Lists, pauses or resumes.
pub async fn run(context: &Context, command: QueueCommand) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    match command {
        QueueCommand::List => context.print(&QueuesView { queues: list(&client).await? })?,
        QueueCommand::Pause { queue, reason } => context.print(&pause(&client, queue, reason).await?)?,
        QueueCommand::Resume { queue } => context.print(&resume(&client, queue).await?)?,
    }
    Ok(Exit::Done)
}

async fn list(client: &Client) -> Result<Vec<QueueView>, Failure> {
    let mut admin = client.admin();
    let answer = client.unary("cannot list queues", admin.list_queues(v1::ListQueuesRequest {})).await?;
    let queues: Result<Vec<QueueView>, String> = answer.queues.into_iter().map(QueueView::try_from).collect();
    queues.map_err(Failure::error)
}

async fn pause(client: &Client, queue: QueueName, reason: String) -> Result<QueueActionView, Failure> {
    let request = v1::PauseQueueRequest { queue: queue.to_string(), reason };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot pause queue {queue}"), admin.pause_queue(request)).await?;
    Ok(QueueActionView { queue: queue.to_string(), paused: true, seq: answer.receipt.map(|receipt| receipt.seq) })
}

async fn resume(client: &Client, queue: QueueName) -> Result<QueueActionView, Failure> {
    let request = v1::ResumeQueueRequest { queue: queue.to_string() };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot resume queue {queue}"), admin.resume_queue(request)).await?;
    Ok(QueueActionView { queue: queue.to_string(), paused: false, seq: answer.receipt.map(|receipt| receipt.seq) })
}

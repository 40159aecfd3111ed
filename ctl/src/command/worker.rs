//! `orchctl worker`.

use orch_core::id::WorkerId;
use orch_proto::v1;

use crate::args::{WorkerCleanupArgs, WorkerCommand, WorkerDrainArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{CleanupView, DrainView, WorkerExplainedView, WorkerResumedView, WorkerView, WorkersView};

/// Lists, shows, explains, drains or forgets workers.
pub async fn run(context: &Context, command: WorkerCommand) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    match command {
        WorkerCommand::List => context.print(&WorkersView { workers: list(&client, String::new()).await? })?,
        WorkerCommand::Show { worker } => context.print(&show(&client, &worker).await?)?,
        WorkerCommand::Explain { worker } => context.print(&explain(&client, &worker).await?)?,
        WorkerCommand::Resume { worker } => context.print(&resume(&client, &worker).await?)?,
        WorkerCommand::Drain(args) => {
            let named = args.workers.clone();
            let view = drain(&client, args).await?;
            context.print(&view)?;
            all_found(&named, &view.draining, "is not known: nothing to drain")?;
        }
        WorkerCommand::Cleanup(args) => {
            let named = args.workers.clone();
            let view = cleanup(&client, args).await?;
            context.print(&view)?;
            all_found(&named, &view.removed, "was not removed: it is not known, or not stale")?;
        }
    }
    Ok(Exit::Done)
}

/// The workers, or the one of this name.
pub async fn list(client: &Client, worker: String) -> Result<Vec<WorkerView>, Failure> {
    let mut admin = client.admin();
    let answer = client.unary("cannot list workers", admin.list_workers(v1::ListWorkersRequest { worker })).await?;
    Ok(WorkersView::from(answer).workers)
}

/// Workers that were named must be among those that the server found.
fn all_found(named: &[WorkerId], found: &[String], why: &str) -> Result<(), Failure> {
    let missing = named.iter().find(|worker| !found.iter().any(|name| name == worker.as_str()));
    missing.map_or(Ok(()), |worker| {
        Err(Failure::new(Exit::NotFound, format!("worker {worker} {why}"))
            .fix("`orchctl worker list` lists those that are"))
    })
}

async fn show(client: &Client, worker: &WorkerId) -> Result<WorkerView, Failure> {
    let found = list(client, worker.to_string()).await?;
    found.into_iter().find(|view| view.worker == worker.as_str()).ok_or_else(|| {
        Failure::new(Exit::NotFound, format!("worker {worker} is not known"))
            .fix("`orchctl worker list` lists those that are; a worker is known from its registration on")
    })
}

async fn explain(client: &Client, worker: &WorkerId) -> Result<WorkerExplainedView, Failure> {
    let mut admin = client.admin();
    let call = admin.explain_worker(v1::ExplainWorkerRequest { worker: worker.to_string() });
    Ok(client.unary(&format!("cannot explain worker {worker}"), call).await?.into())
}

async fn resume(client: &Client, worker: &WorkerId) -> Result<WorkerResumedView, Failure> {
    let mut admin = client.admin();
    let call = admin.resume_worker(v1::ResumeWorkerRequest { worker: worker.to_string() });
    let answer = client.unary(&format!("cannot resume worker {worker}"), call).await?;
    Ok(WorkerResumedView { worker: worker.to_string(), seq: answer.receipt.map(|receipt| receipt.seq) })
}

async fn drain(client: &Client, args: WorkerDrainArgs) -> Result<DrainView, Failure> {
    let WorkerDrainArgs { workers, all, terminate } = args;
    let workers: Vec<String> = workers.iter().map(ToString::to_string).collect();
    let request = v1::DrainWorkersRequest { workers, all, terminate };
    let mut admin = client.admin();
    let answer = client.unary("cannot drain workers", admin.drain_workers(request)).await?;
    Ok(DrainView { draining: answer.draining })
}

async fn cleanup(client: &Client, args: WorkerCleanupArgs) -> Result<CleanupView, Failure> {
    let workers = args.workers.iter().map(ToString::to_string).collect();
    let mut admin = client.admin();
    let call = admin.cleanup_workers(v1::CleanupWorkersRequest { workers });
    client.unary("cannot clean up workers", call).await.map(Into::into)
}

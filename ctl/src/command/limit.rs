//! `orchctl limit`.

use orch_core::limit::{LimitSpec, LimitTarget};
use orch_proto::v1;

use crate::args::LimitCommand;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::view::{LimitActionView, LimitsView};

/// Sets, lists or lifts limits.
pub async fn run(context: &Context, command: LimitCommand) -> Result<Exit, Failure> {
    match command {
        LimitCommand::Set(args) => {
            let spec = LimitSpec::from(args);
            let faults: Vec<String> = spec.faults().iter().map(|(field, text)| format!("{field} {text}")).collect();
            if !faults.is_empty() {
                return Err(Failure::usage(format!("limit {}: {}", spec.limit, faults.join("; "))));
            }
            context.print(&set(&context.connect().await?, &spec).await?)?;
        }
        LimitCommand::List => context.print(&list(&context.connect().await?).await?)?,
        LimitCommand::Unset { limit } => context.print(&unset(&context.connect().await?, &limit).await?)?,
    }
    Ok(Exit::Done)
}

async fn list(client: &Client) -> Result<LimitsView, Failure> {
    let mut admin = client.admin();
    let answer = client.unary("cannot list limits", admin.list_limits(v1::ListLimitsRequest {})).await?;
    Ok(answer.into())
}

async fn set(client: &Client, spec: &LimitSpec) -> Result<LimitActionView, Failure> {
    let request = v1::SetLimitRequest { limit: Some(spec.into()) };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot set limit {}", spec.limit), admin.set_limit(request)).await?;
    let v1::SetLimitResponse { changed, receipt } = answer;
    let seq = receipt.map(|receipt| receipt.seq);
    Ok(LimitActionView { limit: spec.limit.to_string(), set: true, changed, seq })
}

async fn unset(client: &Client, limit: &LimitTarget) -> Result<LimitActionView, Failure> {
    let request = v1::UnsetLimitRequest { limit: limit.to_string() };
    let mut admin = client.admin();
    let answer = client.unary(&format!("cannot lift limit {limit}"), admin.unset_limit(request)).await?;
    let seq = answer.receipt.map(|receipt| receipt.seq);
    Ok(LimitActionView { limit: limit.to_string(), set: false, changed: true, seq })
}

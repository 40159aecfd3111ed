//! `orchctl stats`.

use std::io::IsTerminal as _;

use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;

use crate::args::{Format, StatsArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output;
use crate::view::StatsView;

/// Home, and clear to the end of the screen: less flicker than clearing first.
const HOME: &str = "\u{1b}[H\u{1b}[J";

/// Prints the numbers, once or until Ctrl-C.
pub async fn run(context: &Context, args: &StatsArgs) -> Result<Exit, Failure> {
    let client = context.connect().await?;
    if !args.watch {
        context.print(&fetch(context, &client).await?)?;
        return Ok(Exit::Done);
    }
    let format = match context.format_or(Format::Table) {
        // A document after the other could not be told apart: a line each.
        Format::Json => Format::Jsonl,
        other => other,
    };
    let redraw = format == Format::Table && std::io::stdout().is_terminal();
    let mut every = tokio::time::interval(args.interval.duration().max(std::time::Duration::from_millis(100)));
    loop {
        every.tick().await;
        let stats = fetch(context, &client).await?;
        let text = output::render(&stats, format, &context.page())?;
        let text = match format {
            Format::Table if redraw => format!("{HOME}{text}"),
            Format::Table => format!("{text}\n"),
            Format::Yaml => format!("---\n{text}"),
            Format::Json | Format::Jsonl | Format::Name => text,
        };
        output::emit(&text)?;
    }
}

/// The numbers now; rides out a restart.
pub async fn fetch(context: &Context, client: &Client) -> Result<StatsView, Failure> {
    let call = |mut admin: AdminServiceClient<_>| async move { admin.stats(v1::StatsRequest {}).await };
    let answer = client.patient("cannot get statistics", call).await?;
    StatsView::new(answer, context.now()).map_err(Failure::error)
}

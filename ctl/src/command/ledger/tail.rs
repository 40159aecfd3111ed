//! `orchctl ledger tail`.

use orch_proto::v1;

use super::filter::Filter;
use super::remote;
use super::write::Writer;
use crate::args::{Format, LedgerTailArgs, RecordFilterArgs};
use crate::command::stats;
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// Prints the server's newest records, and those that come.
pub async fn run(context: &Context, args: LedgerTailArgs) -> Result<Exit, Failure> {
    let LedgerTailArgs { lines, follow, job, types } = args;
    let client = context.connect().await?;
    let head = stats::fetch(context, &client).await?.ledger.seq;
    let from = (head + 1).saturating_sub(lines).max(1);
    let mut filter = Filter::new(&RecordFilterArgs { job, queue: None, types, from, until: None })?;
    if from > head && !follow {
        return Ok(Exit::Done);
    }
    let request = v1::ReadLedgerRequest { from_seq: from, until_seq: 0, follow, job: job.unwrap_or(0) };
    let mut writer = Writer::new(context.format_or(Format::Jsonl));
    remote::print(&client, request, &mut filter, &mut writer).await?;
    Ok(Exit::Done)
}

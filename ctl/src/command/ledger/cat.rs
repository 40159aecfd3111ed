//! `orchctl ledger cat`.

use std::path::PathBuf;

use orch_core::id::Seq;
use orch_ledger::disk::real::RealDir;
use orch_ledger::{Follower, durable_head};
use orch_proto::v1;

use super::filter::Filter;
use super::write::Writer;
use super::{blocking, no_head, remote};
use crate::args::{Format, LedgerCatArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};

/// Prints the records that are wanted, from a directory or from the server.
pub async fn run(context: &Context, args: LedgerCatArgs) -> Result<Exit, Failure> {
    let LedgerCatArgs { dir, filter: wanted } = args;
    let mut filter = Filter::new(&wanted)?;
    let mut writer = Writer::new(context.format_or(Format::Jsonl));
    let until = wanted.until;
    if until.is_some_and(|until| until < wanted.from) {
        return Ok(Exit::Done);
    }
    match dir {
        Some(dir) => blocking(move || from_dir(dir, filter, writer, until)).await?,
        None => {
            let client = context.connect().await?;
            let request = v1::ReadLedgerRequest {
                from_seq: filter.start(),
                until_seq: until.unwrap_or(0),
                follow: false,
                job: wanted.job.unwrap_or(0),
            };
            remote::print(&client, request, &mut filter, &mut writer).await?;
        }
    }
    Ok(Exit::Done)
}

/// Beside a running orchestrator too: up to what HEAD names as durable.
fn from_dir(dir: PathBuf, mut filter: Filter, mut writer: Writer, until: Option<u64>) -> Result<(), Failure> {
    let head = durable_head(&RealDir::new(&dir)).map_err(|error| no_head(&dir, error))?;
    let until = until.map_or(head.seq, |until| head.seq.min(Seq(until)));
    let mut follower = Follower::new(&dir, Seq(filter.start()));
    let cannot = |error| Failure::error(format!("cannot read the ledger in {}", dir.display())).because(error);
    while let Some(line) = follower.next_line(until).map_err(cannot)? {
        if filter.wants(&line) {
            writer.record(&line)?;
        }
    }
    writer.flush()
}

//! A data set from the server's ledger, line by line over the wire.

use std::path::PathBuf;

use orch_compactor::{Compactor, Options, Progress, Summary};
use orch_core::id::Seq;
use orch_proto::v1;
use tokio::sync::mpsc;
use tonic::codegen::Bytes;

use super::{Phases, begin, beside, blocking, failed, write};
use crate::command::ledger::remote;
use crate::command::stats;
use crate::context::Context;
use crate::exit::Failure;
use crate::view::LedgerView;

/// Parts of the ledger on their way from the connection to the compactor.
const PARTS: usize = 16;

/// Reads the ledger up to where it ends now, verifies that it leads to the link that the server names, and writes.
pub async fn run(context: &Context, out: PathBuf, options: Options, phases: Phases) -> Result<Summary, Failure> {
    let client = context.connect().await?;
    let head = stats::fetch(context, &client).await?.ledger;
    if let Some(until) = options.until.filter(|until| until.0 > head.seq) {
        let error = orch_compactor::CompactError::Until { until, last: Seq(head.seq) };
        return Err(failed(error, &out));
    }
    // The end of the batch that `until` lies in is needed for its link: the compactor says when it has enough.
    let request = v1::ReadLedgerRequest { from_seq: 1, until_seq: head.seq, follow: false, job: 0 };
    let (parts_out, parts_in) = mpsc::channel(PARTS);
    let compacting = tokio::spawn(blocking(move || compact(parts_in, out, options, &head, phases)));
    let read = remote::read(&client, request, async |part| parts_out.send(part).await.is_ok()).await;
    // Without this the compactor would wait for more.
    drop(parts_out);
    let compacted = compacting.await;
    read?;
    compacted.unwrap_or_else(|error| Err(Failure::error("the compaction ended badly").because(error)))
}

fn compact(
    mut parts: mpsc::Receiver<Bytes>,
    out: PathBuf,
    options: Options,
    head: &LedgerView,
    mut phases: Phases,
) -> Result<Summary, Failure> {
    let file = begin(&out)?;
    let until = options.until;
    let tmp = beside(&out, file.as_ref(), options.tmp.clone());
    let mut compactor = Compactor::new(Options { tmp, ..options });
    let mut done = 0;
    while !compactor.has_enough()
        && let Some(part) = parts.blocking_recv()
    {
        done += part.len() as u64;
        for raw in part.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()) {
            compactor.push_line(raw).map_err(|error| failed(error, &out))?;
        }
        phases.show(Progress::Reading { done, total: head.bytes.max(done) });
    }
    // Whoever reads the ledger from the wire is not to wait for the writing.
    drop(parts);
    let link = compactor.link();
    let reached = until.map_or(head.seq, |until| until.0) <= link.seq.0;
    let agrees = link.seq.0 != head.seq || head.chain.is_none_or(|chain| chain == link.chain);
    if !reached || !agrees {
        return Err(Failure::error(format!(
            "the server's lines end at seq {} with link {}, but it names seq {} with link {}",
            link.seq,
            link.chain,
            head.seq,
            head.chain.unwrap_or_default()
        ))
        .fix("verify the ledger where it lies: `orchctl ledger verify DIR`"));
    }
    write(compactor, &out, file, &mut phases)
}

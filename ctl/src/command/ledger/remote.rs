//! Reading the ledger over the wire: whole lines, in order, on through a restart of the server.

use orch_ledger::line;
use orch_proto::v1;
use tonic::Status;
use tonic::codegen::Bytes;

use super::filter::Filter;
use super::write::Writer;
use crate::connect::{Client, Patience};
use crate::exit::Failure;

const WHAT: &str = "cannot read the ledger";

/// Gives every part of the ledger that the request asks for to `take`, until it says that it has enough (false).
///
/// # Errors
/// The server's refusal, or its absence for too long.
pub async fn read(
    client: &Client,
    mut request: v1::ReadLedgerRequest,
    mut take: impl AsyncFnMut(Bytes) -> bool,
) -> Result<(), Failure> {
    let mut patience = Patience::new();
    loop {
        match connection(client, &mut request, &mut take, &mut patience).await {
            Ok(()) => return Ok(()),
            Err(status) if patience.wait(&status).await => {}
            Err(status) => return Err(client.refused(WHAT, &status)),
        }
    }
}

/// One connection; the request stands behind what it brought.
async fn connection(
    client: &Client,
    request: &mut v1::ReadLedgerRequest,
    take: &mut impl AsyncFnMut(Bytes) -> bool,
    patience: &mut Patience,
) -> Result<(), Status> {
    let mut stream = client.admin().read_ledger(*request).await?.into_inner();
    while let Some(v1::ReadLedgerResponse { lines, last_seq, durable_seq: _ }) = stream.message().await? {
        patience.answered();
        if last_seq >= request.from_seq {
            request.from_seq = last_seq + 1;
        }
        if !take(lines).await {
            break;
        }
    }
    Ok(())
}

/// Writes every line that the request asks for and the filter wants; each part is visible when it has come.
///
/// # Errors
/// As [`read`], a line that is damaged, or standard output's.
pub async fn print(
    client: &Client,
    request: v1::ReadLedgerRequest,
    filter: &mut Filter,
    writer: &mut Writer,
) -> Result<(), Failure> {
    let mut failure = None;
    let take = async |part: Bytes| match print_part(&part, filter, writer) {
        Ok(()) => true,
        Err(error) => {
            failure = Some(error);
            false
        }
    };
    read(client, request, take).await?;
    failure.map_or(Ok(()), Err)
}

fn print_part(bytes: &[u8], filter: &mut Filter, writer: &mut Writer) -> Result<(), Failure> {
    for raw in bytes.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()) {
        let line = line::decode(raw).map_err(|fault| {
            Failure::error("the server sent a line that is damaged")
                .fix("verify the ledger where it lies: `orchctl ledger verify DIR`")
                .because(fault)
        })?;
        if filter.wants(&line) {
            writer.record(&line)?;
        }
    }
    writer.flush()
}

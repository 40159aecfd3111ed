//! Reading the ledger over the wire: whole lines, in order, on through a restart of the server.

use orch_ledger::line;
use orch_proto::v1;

use super::filter::Filter;
use super::write::Writer;
use crate::connect::{Client, Patience};
use crate::exit::Failure;

const WHAT: &str = "cannot read the ledger";

/// Writes every line that the request asks for and the filter wants; each part is visible when it has come.
///
/// # Errors
/// The server's refusal, a line that is damaged, or standard output's.
pub async fn print(
    client: &Client,
    mut request: v1::ReadLedgerRequest,
    filter: &mut Filter,
    writer: &mut Writer,
) -> Result<(), Failure> {
    let mut patience = Patience::new();
    loop {
        let broken = match client.admin().read_ledger(request).await {
            Ok(answer) => {
                let mut stream = answer.into_inner();
                loop {
                    match stream.message().await {
                        Ok(Some(part)) => {
                            patience.answered();
                            print_part(&part.lines, filter, writer)?;
                            request.from_seq = request.from_seq.max(part.last_seq + 1);
                        }
                        Ok(None) => return Ok(()),
                        Err(status) => break status,
                    }
                }
            }
            Err(status) => status,
        };
        if !patience.wait(&broken).await {
            return Err(client.refused(WHAT, &broken));
        }
    }
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

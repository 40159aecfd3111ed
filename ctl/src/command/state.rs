//! `orchctl state export`.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use orch_proto::v1;
use tonic::Streaming;

use crate::args::{StateCommand, StateExportArgs};
use crate::connect::Client;
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::output::Lines;
use crate::progress::Unit;

/// Writes the state to a file or to standard output.
pub async fn run(context: &Context, command: StateCommand) -> Result<Exit, Failure> {
    let StateCommand::Export(StateExportArgs { file }) = command;
    let client = context.connect().await?;
    let mut admin = client.admin();
    let stream = client.unary("cannot export the state", admin.export_state(v1::ExportStateRequest {})).await?;
    match file.filter(|path| path != Path::new("-")) {
        Some(path) => to_file(context, &client, stream, &path).await?,
        None => to_stdout(&client, stream).await?,
    }
    Ok(Exit::Done)
}

async fn to_stdout(client: &Client, mut stream: Streaming<v1::ExportStateResponse>) -> Result<(), Failure> {
    let mut out = Lines::new();
    while let Some(part) = next(client, &mut stream).await? {
        out.write(&part)?;
    }
    out.flush()
}

/// As a whole or not at all: beside it, synced, then renamed.
async fn to_file(
    context: &Context,
    client: &Client,
    mut stream: Streaming<v1::ExportStateResponse>,
    path: &Path,
) -> Result<(), Failure> {
    let cannot = |error: std::io::Error| Failure::error(format!("cannot write {}", path.display())).because(error);
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let beside = Temporary(path.with_file_name(name));
    let mut file = File::create(&beside.0).map_err(cannot)?;
    let bar = context.bars.start("state", None, Unit::Bytes);
    let mut bytes = 0;
    while let Some(part) = next(client, &mut stream).await? {
        file.write_all(&part).map_err(cannot)?;
        bytes += part.len();
        bar.add(part.len() as u64);
    }
    file.sync_all().map_err(cannot)?;
    std::fs::rename(&beside.0, path).map_err(cannot)?;
    drop(bar);
    context.note(&format!("wrote {} ({bytes} bytes)", path.display()));
    Ok(())
}

async fn next(
    client: &Client,
    stream: &mut Streaming<v1::ExportStateResponse>,
) -> Result<Option<tonic::codegen::Bytes>, Failure> {
    let part = stream.message().await.map_err(|status| client.refused("the export broke off", &status))?;
    Ok(part.map(|v1::ExportStateResponse { json }| json))
}

/// A file that is gone afterwards, unless it was renamed.
struct Temporary(std::path::PathBuf);

impl Drop for Temporary {
    fn drop(&mut self) {
        // After the rename there is nothing to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

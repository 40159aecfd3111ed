//! A backup of the server's ledger, line by line over the wire.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use orch_core::id::Seq;
use orch_ledger::backup::{BackedUp, Backup};
use orch_ledger::disk::real::RealDir;
use orch_ledger::{Link, secret};
use orch_proto::v1;
use tokio::sync::mpsc;
use tonic::Code;
use tonic::codegen::Bytes;

use super::failed;
use crate::command::ledger::{blocking, remote};
use crate::command::stats;
use crate::connect::Client;
use crate::context::Context;
use crate::exit::Failure;
use crate::progress::Bar;
use crate::view::LedgerView;

/// Parts of the ledger on their way from the connection to the disk.
const PARTS: usize = 16;

/// Backs up the server's ledger up to where it ends now.
pub async fn run(context: &Context, to: PathBuf, bar: Bar) -> Result<BackedUp, Failure> {
    let client = context.connect().await?;
    let head = stats::fetch(context, &client).await?.ledger;
    let (place, secret_in) = (to.clone(), to.clone());
    let backup = blocking({
        let head = head.clone();
        move || begin(&place, &head)
    })
    .await?;
    let (from_seq, until_seq) = (backup.start().0, head.seq.max(backup.start().0));
    bar.set_total(head.seq.saturating_sub(from_seq));
    let request = v1::ReadLedgerRequest { from_seq, until_seq, follow: false, job: 0 };
    let (parts_out, parts_in) = mpsc::channel(PARTS);
    let writing = tokio::spawn(blocking(move || write(parts_in, backup, &to, &bar)));
    let read = remote::read(&client, request, async |part| parts_out.send(part).await.is_ok()).await;
    // Without this the writer would wait for more.
    drop(parts_out);
    let written = writing.await;
    read?;
    let written = written.unwrap_or_else(|error| Err(Failure::error("the backup ended badly").because(error)))?;
    take_secret(context, &client, &secret_in).await?;
    Ok(written)
}

/// Takes the directory's secret along, where the server gives it.
async fn take_secret(context: &Context, client: &Client, to: &Path) -> Result<(), Failure> {
    let request = v1::ReadDirectorySecretRequest {};
    let secret = match client.admin().read_directory_secret(request).await {
        Ok(answer) => answer.into_inner().secret,
        Err(status) if matches!(status.code(), Code::PermissionDenied | Code::Unimplemented) => {
            context.complain(
                "note: the backup is without the directory's secret, which only an admin may read: a directory that is \
                 restored from it does not know the receipts again that workers hold",
            );
            return Ok(());
        }
        Err(status) => return Err(client.refused("cannot read the directory's secret", &status)),
    };
    let secret = secret.parse().map_err(|_| Failure::error("the directory's secret is none"))?;
    let place = to.to_owned();
    let put = blocking(move || Ok::<_, Failure>(secret::put(&place, secret))).await?;
    put.map_err(|error| Failure::error(format!("the secret could not be kept in {}", to.display())).because(error))
}

fn begin(to: &Path, head: &LedgerView) -> Result<Backup, Failure> {
    let target = Link { seq: Seq(head.seq), batch: head.batch, chain: head.chain.unwrap_or_default() };
    Backup::begin(Arc::new(RealDir::new(to)), &head.ledger, target).map_err(|error| failed(error, to))
}

fn write(mut parts: mpsc::Receiver<Bytes>, mut backup: Backup, to: &Path, bar: &Bar) -> Result<BackedUp, Failure> {
    while let Some(part) = parts.blocking_recv() {
        for raw in part.split(|byte| *byte == b'\n').filter(|raw| !raw.is_empty()) {
            backup.take(raw).map_err(|error| failed(error, to))?;
            bar.add(1);
        }
    }
    backup.finish().map_err(|error| failed(error, to))
}

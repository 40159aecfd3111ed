//! Writes that the system cuts short: a limit on the size of files lets a part of a write through, and refuses the rest.

use rustix::process::{Resource, Rlimit, getrlimit, prlimit};

use super::{Scene, scenario};
use crate::TortureError;
use crate::client::{Client, Wrong};
use crate::process::{PATIENCE, until};
use crate::report::Report;
use crate::server::Server;
use crate::told::Told;
use crate::wire;

/// What lies before the write that is cut: more than HEAD has, whose writes are to go through.
const BEFORE: usize = 20_000;

/// The payload that is cut.
const CUT: usize = 6_000;

/// Cuts a write at as many places as are wanted, spread evenly over it.
pub(super) async fn run(scene: &Scene<'_>, report: &mut Report) -> Result<(), TortureError> {
    let folder = scene.folder.join("short");
    std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
    let told = Told::create(folder.join("acknowledged.jsonl"))?;
    let mut server = Server::new(scene.binaries, &folder, "data")?.args(scenario::ARGS);
    server.start().await?;
    let mut client = Client::new("client", server.url(), told.clone());
    let writes = scene.options.short_writes;
    let mut refused = 0;
    for write in 0..writes {
        scene.progress.say(format_args!("{write} of {writes} short writes"));
        let kept = 1 + write * (CUT as u64 - 1) / writes.max(1);
        match cut(&mut server, &mut client, write, kept).await {
            Ok(was_refused) => refused += u64::from(was_refused),
            Err(Wrong::Violation(text)) => report.violation(format!("a write cut after {kept} bytes: {text}")),
            Err(Wrong::Torture(error)) => return Err(error),
        }
    }
    server.stop().await?;
    report.violations(told.check(server.data())?);
    report.violations(server.panics());
    report.fact("short writes", format_args!("{writes}, {refused} refused first and taken in later"));
    Ok(())
}

/// One job is submitted while only `kept` bytes of it may be written; then all of them may.
async fn cut(server: &mut Server, client: &mut Client, write: u64, kept: u64) -> Result<bool, Wrong> {
    client.submit_all(wire::definitions(wire::QUEUE, wire::KIND, 10 * PATIENCE, PATIENCE)).await?;
    client.submit(&format!("before-{write}"), &format!("{{\"fill\":\"{}\"}}", "x".repeat(BEFORE))).await?;
    let end = end_of_ledger(server)?;
    limit(server, Some(end + kept))?;
    let url = server.url();
    let key = format!("cut-{write}");
    let payload = format!("{{\"fill\":\"{}\"}}", "y".repeat(CUT));
    let mut refused = false;
    {
        let submit = client.submit(&key, &payload);
        tokio::pin!(submit);
        tokio::select! {
            done = &mut submit => {
                done?;
            }
            seen = read_only(&url) => {
                seen?;
                refused = true;
                limit(server, None)?;
                submit.await?;
            }
        }
    }
    limit(server, None)?;
    Ok(refused)
}

/// Where the last line of the newest segment ends; behind it there are zeros.
fn end_of_ledger(server: &Server) -> Result<u64, TortureError> {
    let read = || {
        let entries = std::fs::read_dir(server.data().join("ledger"))?;
        let mut paths: Vec<_> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        paths.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        paths.sort();
        let last = paths.last().ok_or(std::io::ErrorKind::NotFound)?;
        let bytes = std::fs::read(last)?;
        Ok(bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at as u64 + 1))
    };
    read().map_err(TortureError::io("find the end of the ledger"))
}

fn limit(server: &mut Server, bytes: Option<u64>) -> Result<(), TortureError> {
    let limit = Rlimit { current: bytes, maximum: getrlimit(Resource::Fsize).maximum };
    let set = prlimit(Some(server.process()?.pid()), Resource::Fsize, limit).map_err(std::io::Error::from);
    set.map(|_| ()).map_err(TortureError::io("limit the size of files"))
}

async fn read_only(url: &str) -> Result<(), TortureError> {
    let mut admin = wire::admin(url).await?;
    until("the orchestrator to be read-only", PATIENCE, async || {
        let stats = wire::stats(&mut admin).await?;
        Ok(stats.ledger.is_some_and(|ledger| !ledger.read_only_reason.is_empty()).then_some(()))
    })
    .await
}

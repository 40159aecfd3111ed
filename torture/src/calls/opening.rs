//! Faults in the opening of a data directory: its making, and the recovery of a crashed one.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::plan::{self, Expect};
use super::strace::{self, Fault, What};
use super::{Scene, scenario};
use crate::TortureError;
use crate::client::Client;
use crate::process::PATIENCE;
use crate::report::Report;
use crate::server::Server;
use crate::told::Told;
use crate::wire;
use crate::work::copy_folder;

/// Faults in the making of a new directory.
pub(super) async fn new_directory(scene: &Scene<'_>, report: &mut Report) -> Result<(), TortureError> {
    opened(scene, report, "new", None).await
}

/// Faults in the recovery of a directory whose orchestrator was killed while it wrote.
pub(super) async fn recovery(scene: &Scene<'_>, report: &mut Report) -> Result<(), TortureError> {
    let folder = scene.folder.join("crashed");
    std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
    let mut server = Server::new(scene.binaries, &folder, "data")?.args(scenario::ARGS);
    let told = Told::create(folder.join("acknowledged.jsonl"))?;
    server.start().await?;
    let mut client = Client::new("client", server.url(), told.clone());
    if let Err(wrong) = scenario::run(&mut client).await {
        report.violation(wrong.to_string());
    }
    server.kill9().await?;
    tear(server.data())?;
    opened(scene, report, "crashed", Some((server.data(), &told))).await
}

/// Leaves the beginning of a line behind the last one, as a write that was cut off does: recovery has to put it away.
fn tear(data: &Path) -> Result<(), TortureError> {
    let tear = || {
        let mut segments: Vec<PathBuf> =
            std::fs::read_dir(data.join("ledger"))?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
        segments.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
        segments.sort();
        let last = segments.last().ok_or(std::io::ErrorKind::NotFound)?;
        let bytes = std::fs::read(last)?;
        let end = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1);
        let line_start = bytes[..end.saturating_sub(1)].iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        // The first half of the last line once more: a line that breaks off.
        let half = &bytes[line_start..line_start + (end - line_start) / 2];
        OpenOptions::new().write(true).open(last)?.write_all_at(half, end as u64)
    };
    tear().map_err(TortureError::io("tear the ledger"))
}

/// Counts the calls of an opening, then has each fail.
async fn opened(
    scene: &Scene<'_>,
    report: &mut Report,
    name: &'static str,
    template: Option<(&Path, &Told)>,
) -> Result<(), TortureError> {
    let mut plain = Opening::new(scene, &format!("{name}-plain"), template)?;
    plain.open(None).await?;
    plain.server.stop().await?;
    let calls = strace::read(&plain.trace)?;
    let Some(opener) = calls.iter().find(|call| call.name == "flock").map(|call| call.thread) else {
        report.violation(format!("the opening of a {name} directory takes no lock"));
        return Ok(());
    };
    let names = plain.names()?;
    let counts = strace::counts(&calls, opener);
    let faults: Vec<Fault> = plan::all(&counts).into_iter().filter(|fault| !fault.for_good).collect();
    let all = faults.len();
    let faults = plan::choose(faults, scene.options.every, scene.options.seed);
    for (done, fault) in faults.iter().enumerate() {
        scene.progress.say(format_args!("opening a {name} directory: {done} of {} faults, now {fault}", faults.len()));
        let mut opening = Opening::new(scene, &format!("{name}-{done}"), template)?;
        opening.names.clone_from(&names);
        let folder = opening.folder.clone();
        let violations = opening.through(fault, template).await?;
        if violations.is_empty() {
            let _ = std::fs::remove_dir_all(folder);
        }
        report.violations(
            violations.into_iter().map(|violation| format!("{fault}, opening a {name} directory: {violation}")),
        );
    }
    let calls: Vec<String> = counts.iter().map(|(call, count)| format!("{count} {call}")).collect();
    report.fact(format!("calls opening a {name} directory"), calls.join(", "));
    report.fact(format!("faults opening a {name} directory"), format_args!("{} of {all}", faults.len()));
    Ok(())
}

/// One opening.
struct Opening {
    folder: PathBuf,
    trace: PathBuf,
    server: Server,
    /// Files below the data directory, of which some come into being only on the way.
    names: Vec<PathBuf>,
}

impl Opening {
    fn new(scene: &Scene<'_>, name: &str, template: Option<(&Path, &Told)>) -> Result<Self, TortureError> {
        let folder = scene.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
        let server = Server::new(scene.binaries, &folder, "data")?.args(scenario::ARGS);
        if let Some((data, _)) = template {
            copy_folder(data, server.data())?;
        }
        let mut opening = Self { trace: folder.join("opening.strace"), folder, server, names: Vec::new() };
        opening.names = opening.names()?;
        Ok(opening)
    }

    /// The files of the ledger, below the data directory.
    fn names(&self) -> Result<Vec<PathBuf>, TortureError> {
        let mut names: Vec<PathBuf> =
            ["", "LOCK", "HEAD", "LEDGER_ID", "ledger", "ledger/next.tmp", "quarantine"].map(PathBuf::from).into();
        for folder in ["ledger", "quarantine"] {
            let Ok(entries) = std::fs::read_dir(self.server.data().join(folder)) else { continue };
            for entry in entries {
                let entry = entry.map_err(TortureError::io("list the ledger"))?;
                names.push(Path::new(folder).join(entry.file_name()));
            }
        }
        Ok(names)
    }

    /// Starts under strace; true if it listens in the end.
    async fn open(&mut self, fault: Option<&Fault>) -> Result<bool, TortureError> {
        let data = self.server.data();
        // Not joined with "": a path with a slash at its end is another one to strace.
        let path = |name: &PathBuf| if name.as_os_str().is_empty() { data.to_owned() } else { data.join(name) };
        let mut paths: Vec<PathBuf> = self.names.iter().map(path).collect();
        paths.push(self.folder.clone());
        let command = strace::launch(&self.server.command(), &paths, &self.trace, fault);
        self.server.launch_as(command)?;
        match self.server.listening().await {
            Ok(()) => Ok(true),
            Err(TortureError::Ended { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens with this fault, then without one: by itself, with everything in it.
    async fn through(mut self, fault: &Fault, template: Option<(&Path, &Told)>) -> Result<Vec<String>, TortureError> {
        let mut wrong = Vec::new();
        let listens = self.open(Some(fault)).await?;
        // Who holds the lock is written for messages only: an error there is of no account.
        let describes = |call: &strace::Call| call.name == "pwrite64" && call.text.contains("\"process ");
        let hit = strace::read(&self.trace)?.iter().any(|call| call.injected && !describes(call));
        let must_end = match (plan::expected(fault), fault.what) {
            (Expect::Ends, What::Kill) => false,
            (Expect::Ends, What::Error(_)) => hit,
            (Expect::GoesOn | Expect::Either, _) => false,
        };
        if listens {
            if must_end {
                wrong.push("it listens all the same".to_owned());
            }
            // The engine's thread may be hit by the same fault, later.
            let process = self.server.process()?;
            process.signal(rustix::process::Signal::TERM)?;
            process.ended(PATIENCE).await?;
        }
        // Nobody mends anything.
        match self.server.start().await {
            Ok(()) => {
                let mut admin = wire::admin(&self.server.url()).await?;
                wire::stats(&mut admin).await?;
                self.server.stop().await?;
            }
            Err(error) => wrong.push(format!("it does not start again: {}", error.in_full())),
        }
        if let Some((_, told)) = template {
            wrong.extend(told.check(self.server.data())?);
        }
        wrong.extend(self.server.panics());
        Ok(wrong)
    }
}

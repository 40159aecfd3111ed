//! Faults in the engine's thread while it works.

use std::path::PathBuf;

use super::plan::{self, Expect};
use super::strace::{self, Call, Fault, What};
use super::{Scene, scenario};
use crate::TortureError;
use crate::client::{Client, Wrong};
use crate::process::{PATIENCE, Process, describe, until};
use crate::report::Report;
use crate::server::Server;
use crate::told::Told;
use crate::wire;

/// Counts the engine's calls, then has each fail.
pub(super) async fn run(scene: &Scene<'_>, report: &mut Report) -> Result<(), TortureError> {
    let plain = Run::new(scene, "plain")?;
    let trace = plain.trace.clone();
    report.violations(plain.through(None).await?);
    let counts = strace::counts(&strace::read(&trace)?, 0);
    let faults = plan::choose(plan::all(&counts), scene.options.every, scene.options.seed);
    let (all, chosen) = (plan::all(&counts).len(), faults.len());
    for (done, fault) in faults.iter().enumerate() {
        scene.progress.say(format_args!("at work: {done} of {chosen} faults, now {fault}"));
        let run = Run::new(scene, &format!("work-{done}"))?;
        let (folder, violations) = (run.folder.clone(), run.through(Some(fault)).await?);
        if violations.is_empty() {
            let _ = std::fs::remove_dir_all(folder);
        }
        report.violations(violations.into_iter().map(|violation| format!("{fault}, at work: {violation}")));
    }
    let calls: Vec<String> = counts.iter().map(|(call, count)| format!("{count} {call}")).collect();
    report.fact("calls at work", calls.join(", "));
    report.fact("faults at work", format_args!("{chosen} of {all}"));
    Ok(())
}

/// One run of the scenario.
struct Run {
    folder: PathBuf,
    trace: PathBuf,
    server: Server,
    told: Told,
}

impl Run {
    fn new(scene: &Scene<'_>, name: &str) -> Result<Self, TortureError> {
        let folder = scene.folder.join(name);
        std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
        let server = Server::new(scene.binaries, &folder, "data")?.args(scenario::ARGS);
        let told = Told::create(folder.join("acknowledged.jsonl"))?;
        Ok(Self { trace: folder.join("engine.strace"), folder, server, told })
    }

    /// Runs the scenario with this fault to its end, and says what was wrong.
    async fn through(mut self, fault: Option<&Fault>) -> Result<Vec<String>, TortureError> {
        self.server.start().await?;
        self.head_is_level().await?;
        let pid = self.server.process()?.pid();
        let mut tracer = Some(strace::attach(pid, "engine", &self.trace, fault).await?);
        let mut client = Client::new("client", self.server.url(), self.told.clone());
        let mut wrong = Vec::new();
        let mut script = tokio::spawn(async move { scenario::run(&mut client).await });
        let mut ended = None;
        let url = self.server.url();
        loop {
            let process = self.server.process()?;
            tokio::select! {
                done = &mut script => {
                    wrong.extend(said(done));
                    break;
                }
                status = process.ended(PATIENCE), if ended.is_none() => {
                    let status = status?;
                    if let Some(tracer) = tracer.take() {
                        finish(tracer).await?;
                    }
                    wrong.extend(self.silent_after_the_end(fault)?);
                    ended = Some(status);
                    self.server.start().await?;
                }
                space = read_only(&url), if tracer.is_some() && fault.is_some_and(|fault| fault.for_good) => {
                    // It is refused, said so, and answers: now there is space again.
                    space?;
                    if let Some(tracer) = tracer.take() {
                        strace::detach(tracer).await?;
                    }
                }
            }
        }
        if let Some(fault) = fault {
            let calls = strace::read(&self.trace)?;
            let hit = calls.iter().any(|call| call.injected) || fault.what == What::Kill && ended.is_some();
            match (plan::expected(fault), ended) {
                // Strace's doing: it ended for a call that failed as no system has it fail.
                (Expect::GoesOn, Some(_)) if calls.last().is_some_and(Call::is_cut_off) => {}
                (Expect::Ends, None) if hit => wrong.push("the process went on".to_owned()),
                (Expect::GoesOn, Some(status)) => wrong.push(format!("the process ended with {}", describe(status))),
                (Expect::Ends | Expect::GoesOn | Expect::Either, _) => {}
            }
        }
        if let Some(tracer) = tracer.take() {
            strace::detach(tracer).await?;
        }
        let status = self.server.stop().await?;
        if !status.success() {
            wrong.push(format!("it stopped with {}", describe(status)));
        }
        wrong.extend(self.told.check(self.server.data())?);
        let is_read = fault.is_some_and(|fault| fault.call == "pread64");
        // An engine that cannot read its ledger has no way out but the end.
        wrong.extend(self.server.panics().into_iter().filter(|_| !is_read));
        Ok(wrong)
    }

    /// Waits until HEAD names the boot: then the engine sleeps, and counting begins at the first call of the run.
    async fn head_is_level(&self) -> Result<(), TortureError> {
        let head = self.server.data().join("HEAD");
        until("HEAD to name the boot", PATIENCE, async || {
            let text = std::fs::read(&head).map_err(TortureError::io("read HEAD"))?;
            Ok(text.windows(10).any(|window| window == b"\"batch\":1,").then_some(()))
        })
        .await
    }

    /// After a failed sync or write: no answer, no write, no sync.
    fn silent_after_the_end(&self, fault: Option<&Fault>) -> Result<Vec<String>, TortureError> {
        let mut wrong = Vec::new();
        let calls = strace::read(&self.trace)?;
        let Some(at) = calls.iter().position(|call| call.injected) else { return Ok(wrong) };
        let hit = &calls[at];
        let touches = |call: &&Call| matches!(call.name.as_str(), "pwrite64" | "fsync" | "fdatasync");
        if let Some(later) = calls[at + 1..].iter().find(touches)
            && fault.is_some_and(|fault| plan::expected(fault) == Expect::Ends)
        {
            wrong.push(format!("after the fault it called {}", later.name));
        }
        if self.told.last_at() > hit.at {
            wrong.push(format!("an answer left {:.6} s after the fault", self.told.last_at() - hit.at));
        }
        Ok(wrong)
    }
}

/// What a script that is over says.
fn said(done: Result<Result<(), Wrong>, tokio::task::JoinError>) -> Option<String> {
    match done {
        Ok(Ok(())) => None,
        Ok(Err(wrong)) => Some(wrong.to_string()),
        Err(error) => Some(format!("the client broke: {error}")),
    }
}

/// A tracer ends with what it traces.
async fn finish(mut tracer: Process) -> Result<(), TortureError> {
    tracer.ended(PATIENCE).await.map(|_| ())
}

/// Waits until the orchestrator says that it is read-only.
async fn read_only(url: &str) -> Result<(), TortureError> {
    until("the orchestrator to be read-only", PATIENCE, async || {
        let Ok(mut admin) = wire::admin(url).await else { return Ok(None) };
        let Ok(stats) = wire::stats(&mut admin).await else { return Ok(None) };
        Ok(stats.ledger.is_some_and(|ledger| !ledger.read_only_reason.is_empty()).then_some(()))
    })
    .await
}

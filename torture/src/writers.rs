//! Two orchestrators and one ledger: there is one writer, whatever was stopped, moved or copied.

use std::path::{Path, PathBuf};

use orch_proto::v1;
use rustix::process::Signal;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::client::{Client, Wrong};
use crate::process::{PATIENCE, describe};
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::wire;
use crate::work::copy_folder;

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a second writer is tried.
    pub cycles: u64,
}

/// How the second writer comes about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// A second one is started on the same directory.
    Second,
    /// The same while the first stands still.
    Stopped,
    /// The directory is moved away from under the first, which stands still, and a copy takes its place and its work.
    TakenOver,
    /// The directory is copied while the first works, and a second one is started on the copy.
    Copied,
}

const CASES: [Case; 4] = [Case::Second, Case::Stopped, Case::TakenOver, Case::Copied];

/// Runs it in `folder`.
///
/// # Errors
/// [`TortureError`]: it could not be done.
pub async fn run(
    binaries: &Binaries,
    folder: &Path,
    options: &Options,
    progress: &Progress,
) -> Result<Report, TortureError> {
    let mut report = Report::new("writers");
    for cycle in 0..options.cycles {
        let case = CASES[usize::try_from(cycle).unwrap_or(0) % CASES.len()];
        let folder = folder.join(format!("{cycle}"));
        std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
        let mut scene = Scene::new(binaries, folder.clone())?;
        let played = scene.play(case).await;
        let mut wrong = scene.wrong;
        match played {
            Ok(()) => {}
            Err(Wrong::Violation(text)) => wrong.push(text),
            Err(Wrong::Torture(error)) => return Err(error),
        }
        if wrong.is_empty() {
            let _ = std::fs::remove_dir_all(folder);
        }
        report.violations(wrong.into_iter().map(|text| format!("{case:?}: {text}")));
        progress.say(format_args!("{} of {} second writers", cycle + 1, options.cycles));
    }
    report.fact("second writers", options.cycles);
    report.fact("cases", CASES.len());
    Ok(report)
}

struct Scene {
    folder: PathBuf,
    data: PathBuf,
    first: Server,
    second: Server,
    told: Told,
    wrong: Vec<String>,
}

impl Scene {
    fn new(binaries: &Binaries, folder: PathBuf) -> Result<Self, TortureError> {
        let data = folder.join("data");
        let told = Told::create(folder.join("acknowledged.jsonl"))?;
        let first = Server::new(binaries, &folder, "data")?;
        let mut second = Server::new(binaries, &folder, "second")?;
        second.set_data(data.clone());
        Ok(Self { folder, data, first, second, told, wrong: Vec::new() })
    }

    async fn play(&mut self, case: Case) -> Result<(), Wrong> {
        self.first.start().await?;
        let mut client = Client::new("client", self.first.url(), self.told.clone());
        client.submit_all(wire::definitions(wire::QUEUE, wire::KIND, 10 * PATIENCE, PATIENCE)).await?;
        client.submit("before", "{}").await?;
        match case {
            Case::Second => {
                self.second_is_refused().await?;
                client.submit("after", "{}").await?;
                self.first.stop().await?;
            }
            Case::Stopped => {
                self.first.process()?.freeze().await?;
                self.second_is_refused().await?;
                self.first.process()?.signal(Signal::CONT)?;
                client.submit("after", "{}").await?;
                self.first.stop().await?;
            }
            Case::TakenOver => self.taken_over().await?,
            Case::Copied => self.copied(&mut client).await?,
        }
        self.wrong.extend(self.told.check(&self.data)?);
        self.wrong.extend(self.first.panics());
        self.wrong.extend(self.second.panics());
        Ok(())
    }

    /// It ends by itself, and names who has the directory.
    async fn second_is_refused(&mut self) -> Result<(), TortureError> {
        let holder = format!("process {} on", self.first.process()?.pid().as_raw_nonzero());
        self.second.launch()?;
        let second = self.second.process()?;
        let status = second.ended(PATIENCE).await?;
        let said = second.said();
        if status.code() != Some(1) || !said.contains(&holder) {
            self.wrong.push(format!("the second ended with {} and said: {said}", describe(status)));
        }
        Ok(())
    }

    /// The first wakes over a directory that is another's now: it may answer for nothing more.
    async fn taken_over(&mut self) -> Result<(), Wrong> {
        let moved = self.folder.join("moved");
        // Connected before, so that what it asks lies before the sleeper when it wakes.
        let mut late = wire::admin(&self.first.url()).await?;
        self.first.process()?.freeze().await?;
        let asked = tokio::spawn(async move {
            let job = v1::JobSpec { queue: wire::QUEUE.into(), name: "too-late".into(), ..v1::JobSpec::default() };
            late.submit(wire::timed(v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() })).await
        });
        std::fs::rename(&self.data, &moved).map_err(TortureError::io("move the directory"))?;
        copy_folder(&moved, &self.data)?;
        self.second.start().await?;
        let mut client = Client::new("client", self.second.url(), self.told.clone());
        client.submit("by-the-second", "{}").await?;
        self.first.process()?.signal(Signal::CONT)?;
        if let Ok(Ok(answer)) = asked.await {
            self.wrong.push(format!("the first acknowledged after its directory was taken over: {answer:?}"));
        }
        // It ends by itself, also if nobody asks it anything.
        let first = self.first.process()?;
        let status = first.ended(PATIENCE).await?;
        if status.success() || !first.said().contains("another one now") {
            self.wrong.push(format!("the first ended with {} and said: {}", describe(status), first.last_words()));
        }
        client.submit("by-the-second-again", "{}").await?;
        self.second.stop().await?;
        Ok(())
    }

    /// The copy stops as soon as somebody presents what only the first can have given.
    async fn copied(&mut self, client: &mut Client) -> Result<(), Wrong> {
        let copy = self.folder.join("copy");
        copy_folder(&self.data, &copy)?;
        client.submit("after-the-copy", "{}").await?;
        self.second.set_data(copy);
        match self.second.start().await {
            Ok(()) => {
                let (last_receipt, ledger) = client.receipt();
                let request = v1::SubmitRequest {
                    last_receipt,
                    ledger: ledger.to_owned(),
                    ..wire::definitions("other", wire::KIND, 10 * PATIENCE, PATIENCE)
                };
                let mut admin = wire::admin(&self.second.url()).await?;
                if let Ok(taken) = admin.submit(wire::timed(request)).await {
                    self.wrong.push(format!("the copy took in what was meant for the first: {taken:?}"));
                }
                let without = wire::definitions("other", wire::KIND, 10 * PATIENCE, PATIENCE);
                if let Ok(taken) = admin.submit(wire::timed(without)).await {
                    self.wrong.push(format!("the copy goes on, although it knows of the first: {taken:?}"));
                }
                self.second.stop().await?;
            }
            // A copy that was made file by file under a writer may be no ledger: refused is as well.
            Err(TortureError::Ended { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        client.submit("after-all", "{}").await?;
        self.first.stop().await?;
        Ok(())
    }
}

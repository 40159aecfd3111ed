//! A data directory that is replaced by an older copy of itself, under a real worker or a client that holds receipts.
//!
//! Whoever presents what the copy does not know makes the orchestrator stop leasing, for everybody, also over a restart.
//! Then an operator decides: the newer copy comes back and nothing is lost, or the loss is accepted and work goes on.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::admin_service_client::AdminServiceClient;
use tonic::Status;
use tonic::transport::Channel;

use crate::TortureError;
use crate::binaries::Binaries;
use crate::process::{PATIENCE, command, until};
use crate::report::{Progress, Report};
use crate::server::Server;
use crate::told::Told;
use crate::wire;
use crate::work::copy_folder;
use crate::workers::{GATED, Gates, Worker};

/// How cruel.
#[derive(Clone, Debug)]
pub struct Options {
    /// How often a directory is rolled back.
    pub cycles: u64,
}

/// Who notices, and what the operator decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    /// A worker notices; the newer copy is put back.
    WorkerRestored,
    /// A worker notices; the loss is accepted.
    WorkerAccepted,
    /// A client notices; the newer copy is put back.
    ClientRestored,
}

const CASES: [Case; 3] = [Case::WorkerRestored, Case::WorkerAccepted, Case::ClientRestored];

/// Leases of the worker's jobs: no one expires here.
const TTL: Duration = Duration::from_secs(600);

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
    let mut report = Report::new("rollback");
    for cycle in 0..options.cycles {
        let case = CASES[usize::try_from(cycle).unwrap_or(0) % CASES.len()];
        let folder = folder.join(format!("{cycle}"));
        std::fs::create_dir_all(&folder).map_err(TortureError::io("make a folder"))?;
        let found = Scene::new(binaries, folder.clone())?.play(case).await?;
        if found.is_empty() {
            let _ = std::fs::remove_dir_all(folder);
        }
        report.violations(found.into_iter().map(|text| format!("{case:?}: {text}")));
        progress.say(format_args!("{} of {} directories rolled back", cycle + 1, options.cycles));
    }
    report.fact("directories rolled back", options.cycles);
    report.fact("cases", CASES.len());
    Ok(report)
}

struct Scene<'a> {
    binaries: &'a Binaries,
    folder: PathBuf,
    server: Server,
    wrong: Vec<String>,
}

impl<'a> Scene<'a> {
    fn new(binaries: &'a Binaries, folder: PathBuf) -> Result<Self, TortureError> {
        let server = Server::new(binaries, &folder, "data")?;
        Ok(Self { binaries, folder, server, wrong: Vec::new() })
    }

    async fn play(mut self, case: Case) -> Result<Vec<String>, TortureError> {
        let told = Told::create(self.folder.join("acknowledged.jsonl"))?;
        let (data, older, newer) = (self.folder.join("data"), self.folder.join("older"), self.folder.join("newer"));
        self.server.start().await?;
        let mut admin = self.admin().await?;
        let define = wire::definitions(wire::QUEUE, GATED, TTL, Duration::from_millis(200));
        admin.submit(define).await.map_err(TortureError::call("define the queue"))?;
        let mut worker = match case {
            Case::WorkerRestored | Case::WorkerAccepted => {
                Some(Worker::start(self.binaries, &self.folder, "holder", &self.server.url())?)
            }
            Case::ClientRestored => None,
        };
        if worker.is_some() {
            self.work(&mut admin, 1).await?;
        }
        // The copy that somebody will take for the real one: whole, and old.
        self.server.stop().await?;
        copy_folder(&data, &older)?;
        self.server.start().await?;
        admin = self.admin().await?;
        let receipt = match case {
            Case::WorkerRestored | Case::WorkerAccepted => {
                self.work(&mut admin, 2).await?;
                None
            }
            Case::ClientRestored => Some(self.submit(&mut admin, "by a client").await?),
        };
        self.server.kill9().await?;
        rename(&data, &newer)?;
        rename(&older, &data)?;

        self.server.start().await?;
        admin = self.admin().await?;
        match (&mut worker, receipt) {
            (Some(worker), _) => worker.process.until_said("--accept-rollback").await?,
            (None, Some((ledger, receipt))) => {
                let request = v1::SubmitRequest { last_receipt: receipt, ledger, ..one_job("presented") };
                if let Ok(taken) = admin.submit(request).await {
                    self.wrong.push(format!("a submit with a receipt from the future was taken in: {taken:?}"));
                }
            }
            (None, None) => {}
        }
        let missing = self.is_held(&mut admin, "once somebody presented what it does not know").await?;
        self.doctor_says(&missing.to_string())?;
        // A restart decides nothing: not even before anybody presents anything again.
        self.server.kill9().await?;
        self.server.start().await?;
        admin = self.admin().await?;
        self.is_held(&mut admin, "after a restart").await?;

        match case {
            Case::WorkerRestored | Case::ClientRestored => {
                self.server.stop().await?;
                rename(&data, &older)?;
                rename(&newer, &data)?;
                self.server.start().await?;
            }
            Case::WorkerAccepted => {
                self.server.stop().await?;
                self.server.set_args(&["--accept-rollback", &missing.to_string()]);
                self.server.start().await?;
            }
        }
        admin = self.admin().await?;
        if let Some(worker) = worker {
            // It works again, for the ledger that is in force now.
            self.work(&mut admin, 3).await?;
            self.server.kill9().await?;
            self.server.set_args(&[]);
            self.server.start().await?;
            admin = self.admin().await?;
            self.work(&mut admin, 4).await?;
            worker.stop().await?;
        } else {
            self.submit(&mut admin, "after all").await?;
        }
        let stats = wire::stats(&mut admin).await?;
        if let Some(ledger) = stats.ledger.filter(|ledger| ledger.missing_seq != 0) {
            self.wrong.push(format!("it is decided, and still held: {}", ledger.read_only_reason));
        }
        self.server.stop().await?;
        self.wrong.extend(told.check(&data)?);
        self.wrong.extend(self.server.panics());
        Ok(self.wrong)
    }

    async fn admin(&self) -> Result<AdminServiceClient<Channel>, TortureError> {
        wire::admin(&self.server.url()).await
    }

    /// A job is submitted, and the worker does it.
    async fn work(&self, admin: &mut AdminServiceClient<Channel>, n: u64) -> Result<(), TortureError> {
        let gates = Gates::new(self.folder.join(format!("gates-{n}")))?;
        gates.open_all()?;
        let job =
            v1::JobSpec { queue: wire::QUEUE.into(), payload_json: gates.payload(n * 10), ..v1::JobSpec::default() };
        let request = v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() };
        let submitted = admin.submit(request).await.map_err(TortureError::call("submit"))?.into_inner();
        let job = submitted.jobs.first().map_or(0, |job| job.job);
        until(&format!("job {job} to be done"), PATIENCE, async || {
            let shown = admin.get_job(wire::timed(v1::GetJobRequest { job })).await;
            let shown = shown.map_err(TortureError::call("ask for the job"))?.into_inner();
            Ok(shown.summary.filter(|seen| seen.state() == v1::JobState::Done).map(|_| ()))
        })
        .await
    }

    /// A job is submitted; gives the ledger and the receipt.
    async fn submit(
        &self,
        admin: &mut AdminServiceClient<Channel>,
        name: &str,
    ) -> Result<(String, Option<v1::Receipt>), TortureError> {
        let answer = admin.submit(one_job(name)).await.map_err(TortureError::call("submit"))?.into_inner();
        Ok((answer.ledger, answer.receipt))
    }

    /// Nothing is leased to anybody, nothing is taken in, and everybody can see why. Gives the missing record.
    async fn is_held(&mut self, admin: &mut AdminServiceClient<Channel>, when: &str) -> Result<u64, TortureError> {
        let mut worker = wire::worker(&self.server.url()).await?;
        let ask = v1::LeaseJobRequest {
            worker: "newcomer".into(),
            kinds: vec![GATED.into()],
            max: 1,
            wait_ms: 0,
            ..v1::LeaseJobRequest::default()
        };
        let leased = worker.lease_job(wire::timed(ask)).await.map(|leased| format!("{leased:?}"));
        self.read_only(leased, &format!("a lease {when}"));
        let submitted = admin.submit(one_job("too late")).await.map(|submitted| format!("{submitted:?}"));
        self.read_only(submitted, &format!("a submit {when}"));
        let ledger = wire::stats(admin).await?.ledger.unwrap_or_default();
        let says = format!("--accept-rollback {}", ledger.missing_seq);
        if ledger.missing_seq == 0 || !ledger.read_only_reason.contains(&says) {
            self.wrong.push(format!("statistics {when} do not say what is wrong: {ledger:?}"));
        }
        Ok(ledger.missing_seq)
    }

    fn read_only(&mut self, answer: Result<String, Status>, what: &str) {
        match answer {
            Ok(given) => self.wrong.push(format!("{what} is given: {given}")),
            Err(status) if WireError::from(&status).reason == Reason::ReadOnly => {}
            Err(status) => self.wrong.push(format!("{what} is refused otherwise than read-only: {status}")),
        }
    }

    /// `orchctl doctor` calls it a problem, and names the cure.
    fn doctor_says(&mut self, missing: &str) -> Result<(), TortureError> {
        let mut doctor: Command = command(&self.binaries.path("orchctl"));
        doctor.args(["--server", &self.server.url(), "doctor"]);
        let ran = doctor.output().map_err(TortureError::io("ask the doctor"))?;
        let said = String::from_utf8_lossy(&ran.stdout).into_owned();
        let cure = format!("--accept-rollback {missing}");
        if ran.status.code() != Some(1) || !said.contains("rolled back") || !said.contains(&cure) {
            self.wrong.push(format!("the doctor ends with {:?} and says: {said}", ran.status.code()));
        }
        Ok(())
    }
}

fn one_job(name: &str) -> v1::SubmitRequest {
    let job = v1::JobSpec {
        queue: wire::QUEUE.into(),
        kind: "nobody-runs-this".into(),
        name: name.replace(' ', "-"),
        ..v1::JobSpec::default()
    };
    v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() }
}

fn rename(from: &Path, to: &Path) -> Result<(), TortureError> {
    std::fs::rename(from, to).map_err(TortureError::io(format!("rename {}", from.display())))
}

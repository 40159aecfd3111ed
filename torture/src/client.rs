//! A client that wants its answer: it asks again, in the same words, through every restart, until it has one.
//!
//! It submits, leases, delivers and completes, as a program and a worker would, and notes every answer. What may never
//! happen to an honest client (a lease that was acknowledged and is denied, a refusal for good) is a violation.

mod link;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use orch_core::id::{JobId, LeaseId, Seq, WorkerId};
use orch_core::receipt::Receipt;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use orch_proto::v1::submit_results_request::Action;
use orch_proto::v1::submit_results_response::Answer;
use orch_sim::checker::{Acknowledged, End, Told as Verdict};
use tonic::Status;

use crate::TortureError;
use crate::told::Told;
use crate::wire::{self, KIND, QUEUE};
use link::Link;

/// Why a client did not get what it is due.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// What may never happen.
    #[error("{0}")]
    Violation(String),
    /// It could not do its work.
    #[error(transparent)]
    Torture(#[from] TortureError),
}

/// A client and what it holds.
#[derive(Debug)]
pub struct Client {
    name: String,
    url: String,
    told: Told,
    patience: Duration,
    started: Instant,
    link: Option<Link>,
    /// The lease that it holds, if any.
    held: Option<u64>,
    /// It said that the job is complete; the lease may have ended by that without its knowing.
    completing: bool,
    receipt: Option<v1::Receipt>,
    ledger: String,
    /// Refusals that it waited out, by reason.
    refusals: BTreeMap<String, u64>,
    /// When it was first refused for want of space.
    first_read_only: Option<Instant>,
}

/// A lease that the client holds.
#[derive(Clone, Copy, Debug)]
pub struct Held {
    /// The lease.
    pub lease: u64,
    /// Its job.
    pub job: u64,
}

impl Client {
    /// A client that was not heard of yet.
    pub fn new(name: impl Into<String>, url: String, told: Told) -> Self {
        Self {
            name: name.into(),
            url,
            told,
            patience: crate::process::PATIENCE,
            started: Instant::now(),
            link: None,
            held: None,
            completing: false,
            receipt: None,
            ledger: String::new(),
            refusals: BTreeMap::new(),
            first_read_only: None,
        }
    }

    /// Refusals that it waited out, by reason.
    pub fn refusals(&self) -> &BTreeMap<String, u64> {
        &self.refusals
    }

    /// When it was first refused for want of space.
    pub fn first_read_only(&self) -> Option<Instant> {
        self.first_read_only
    }

    /// The newest receipt that it holds, and the ledger that gave it.
    pub fn receipt(&self) -> (Option<v1::Receipt>, &str) {
        (self.receipt.clone(), &self.ledger)
    }

    /// Submits a job under a key, with this payload, until it is taken in; gives its id.
    ///
    /// # Errors
    /// [`Wrong`].
    pub async fn submit(&mut self, key: &str, payload: &str) -> Result<u64, Wrong> {
        let job = v1::JobSpec {
            queue: QUEUE.into(),
            payload_json: payload.into(),
            idempotency_key: key.into(),
            ..v1::JobSpec::default()
        };
        let request = v1::SubmitRequest { jobs: vec![job], ..v1::SubmitRequest::default() };
        let response = self.submit_all(request).await?;
        let Some(job) = response.jobs.first().map(|submitted| submitted.job) else {
            return Err(Wrong::Violation(format!("{}: a submit was answered without its job", self.name)));
        };
        let payload = orch_core::job::Payload::parse(payload.as_bytes()).ok();
        self.note(&Acknowledged::Submitted { job: JobId::new(job), key: Some(key.to_owned()), payload })?;
        Ok(job)
    }

    /// Submits until it is taken in.
    ///
    /// # Errors
    /// [`Wrong`].
    pub async fn submit_all(&mut self, request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Wrong> {
        let since = Instant::now();
        loop {
            let answer = match self.link().await {
                Ok(link) => link.admin.submit(wire::timed(request.clone())).await,
                Err(status) => Err(status),
            };
            match answer {
                Ok(response) => {
                    let response = response.into_inner();
                    self.keep_receipt(response.receipt.clone())?;
                    return Ok(response);
                }
                Err(status) => self.wait_out("submit", &status, since).await?,
            }
        }
    }

    /// Leases a job; None if there was none for a second.
    ///
    /// # Errors
    /// [`Wrong`].
    pub async fn lease(&mut self) -> Result<Option<Held>, Wrong> {
        let since = Instant::now();
        loop {
            let request = v1::LeaseJobRequest {
                worker: self.name.clone(),
                kinds: Vec::new(),
                max: 1,
                wait_ms: 1000,
                ..v1::LeaseJobRequest::default()
            };
            let answer = match self.link().await {
                Ok(link) => link.worker.lease_job(wire::timed(request)).await,
                Err(status) => Err(status),
            };
            let response = match answer {
                Ok(response) => response.into_inner(),
                Err(status) => {
                    self.wait_out("lease", &status, since).await?;
                    continue;
                }
            };
            match response.order() {
                v1::WorkerOrder::Register => {
                    self.link = None;
                    continue;
                }
                v1::WorkerOrder::Unspecified
                | v1::WorkerOrder::Run
                | v1::WorkerOrder::Drain
                | v1::WorkerOrder::Terminate => {}
            }
            let Some(lease) = response.leases.first() else { return Ok(None) };
            let held = Held { lease: lease.lease, job: lease.job };
            self.note(&Acknowledged::Granted {
                worker: self.id()?,
                lease: LeaseId::new(held.lease),
                job: JobId::new(held.job),
            })?;
            self.held = Some(held.lease);
            return Ok(Some(held));
        }
    }

    /// Delivers a batch of candidates until it is judged.
    ///
    /// # Errors
    /// [`Wrong`].
    pub async fn deliver(&mut self, held: Held, number: u64, candidates: &[String]) -> Result<(), Wrong> {
        let bytes = candidates.iter().map(|candidate| candidate.clone().into_bytes().into()).collect();
        let action = Action::Batch(v1::Batch { number, candidates: bytes });
        let v1::BatchVerdicts { number, verdicts, receipt } = match self.say(held, action).await? {
            Answer::Verdicts(verdicts) => verdicts,
            other @ (Answer::Ended(_) | Answer::Refused(_)) => return Err(self.unexpected("a batch", &other)),
        };
        let told = Acknowledged::Judged {
            worker: self.id()?,
            lease: LeaseId::new(held.lease),
            number,
            verdicts: verdicts.iter().filter_map(verdict).collect(),
            candidates: candidates.to_vec(),
            receipt: self.core_receipt(receipt.as_ref())?,
        };
        self.note(&told)?;
        self.remember(receipt);
        Ok(())
    }

    /// Says that the job is complete until that is taken in.
    ///
    /// # Errors
    /// [`Wrong`].
    pub async fn complete(&mut self, held: Held, batches: u64) -> Result<(), Wrong> {
        self.completing = true;
        let ended = match self.say(held, Action::Complete(v1::Complete { batches })).await? {
            Answer::Ended(ended) if ended.state() == v1::JobState::Done => ended,
            other @ (Answer::Ended(_) | Answer::Verdicts(_) | Answer::Refused(_)) => {
                return Err(self.unexpected("a complete", &other));
            }
        };
        let receipt = self.core_receipt(ended.receipt.as_ref())?;
        self.held = None;
        self.completing = false;
        self.note(&Acknowledged::Ended {
            worker: self.id()?,
            lease: LeaseId::new(held.lease),
            end: End::Done,
            receipt,
        })?;
        self.remember(ended.receipt);
        Ok(())
    }

    /// Says one thing about a lease until it is answered.
    async fn say(&mut self, held: Held, action: Action) -> Result<Answer, Wrong> {
        let since = Instant::now();
        loop {
            let message =
                v1::SubmitResultsRequest { worker: self.name.clone(), lease: held.lease, action: Some(action.clone()) };
            let answer = match self.link().await {
                Ok(link) => link.say(message).await,
                Err(status) => Err(status),
            };
            match answer {
                // Not now: the results are kept and sent again.
                Ok(Answer::Refused(refused)) if refused.retry_after_ms > 0 => {
                    self.refused(&refused.reason);
                    self.patient("an answer about a lease", since)?;
                    tokio::time::sleep(Duration::from_millis(refused.retry_after_ms.min(200))).await;
                }
                Ok(answer) => return Ok(answer),
                Err(status) => self.wait_out("deliver", &status, since).await?,
            }
        }
    }

    /// The connection; made, and registered with what the client holds, if there is none.
    async fn link(&mut self) -> Result<&mut Link, Status> {
        if self.link.is_none() {
            let mut link = Link::open(&self.url).await?;
            let request = v1::RegisterWorkerRequest {
                leases: self.held.into_iter().collect(),
                last_receipt: self.receipt.clone(),
                uptime_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
                ..wire::registration(&self.name, KIND)
            };
            let registered = link.worker.register_worker(wire::timed(request)).await?.into_inner();
            if !registered.lost.is_empty() && !self.completing {
                let text =
                    format!("{} is told that it lost lease {:?}, which nothing ended", self.name, registered.lost);
                return Err(Status::data_loss(text));
            }
            self.ledger = registered.ledger;
            self.link = Some(link);
        }
        self.link.as_mut().ok_or_else(|| Status::internal("a link was made"))
    }

    /// Waits out a failure that may pass: a restart, a full queue, a full disk.
    async fn wait_out(&mut self, doing: &str, status: &Status, since: Instant) -> Result<(), Wrong> {
        let error = WireError::from(status);
        let wait = match &error.reason {
            Reason::Unavailable | Reason::Timeout | Reason::CallCancelled | Reason::UnknownWorker => {
                self.link = None;
                Duration::from_millis(10)
            }
            // The transport calls a connection that broke in the middle of an answer so.
            Reason::Internal if status.code() != tonic::Code::DataLoss => {
                self.link = None;
                Duration::from_millis(10)
            }
            reason @ (Reason::ReadOnly | Reason::Busy | Reason::LimitReached) => {
                self.refused(reason.as_str());
                match error.retry_after {
                    // Looked at more often than asked, to see how soon it is over.
                    Some(wait) => wait.min(Duration::from_millis(200)),
                    None => return Err(Wrong::Violation(format!("{}: {status} has no retry hint", self.name))),
                }
            }
            Reason::Internal
            | Reason::InvalidArgument
            | Reason::NotFound
            | Reason::Conflict
            | Reason::WrongState
            | Reason::LeaseLost
            | Reason::NotGrantee
            | Reason::BatchGap
            | Reason::BatchTooLarge
            | Reason::Unauthenticated
            | Reason::PermissionDenied
            | Reason::UnprovenReceipt
            | Reason::NameTaken
            | Reason::Unimplemented
            | Reason::Other(..) => {
                return Err(Wrong::Violation(format!("{} cannot {doing}: {}", self.name, status.message())));
            }
        };
        self.patient(doing, since)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }

    fn patient(&self, doing: &str, since: Instant) -> Result<(), Wrong> {
        if since.elapsed() < self.patience {
            return Ok(());
        }
        let what = format!("{} to {doing}", self.name);
        Err(TortureError::TimedOut { what, waited: self.patience }.into())
    }

    fn refused(&mut self, reason: &str) {
        if reason == Reason::ReadOnly.as_str() {
            self.first_read_only.get_or_insert_with(Instant::now);
        }
        *self.refusals.entry(reason.to_owned()).or_default() += 1;
    }

    fn unexpected(&self, what: &str, answer: &Answer) -> Wrong {
        Wrong::Violation(format!("{}: {what} under a live lease is answered with {answer:?}", self.name))
    }

    fn id(&self) -> Result<WorkerId, Wrong> {
        WorkerId::new(&self.name).map_err(|error| Wrong::Violation(error.to_string()))
    }

    fn core_receipt(&self, receipt: Option<&v1::Receipt>) -> Result<Receipt, Wrong> {
        let receipt = receipt.cloned().and_then(|receipt| Receipt::try_from(receipt).ok());
        receipt.ok_or_else(|| Wrong::Violation(format!("{}: an answer without a receipt", self.name)))
    }

    fn keep_receipt(&mut self, receipt: Option<v1::Receipt>) -> Result<(), Wrong> {
        let core = self.core_receipt(receipt.as_ref())?;
        self.note(&Acknowledged::Receipt(core))?;
        self.remember(receipt);
        Ok(())
    }

    fn remember(&mut self, receipt: Option<v1::Receipt>) {
        let newest = self.receipt.as_ref().map_or(0, |receipt| receipt.seq);
        if let Some(receipt) = receipt.filter(|receipt| receipt.seq > newest) {
            self.receipt = Some(receipt);
        }
    }

    fn note(&self, told: &Acknowledged) -> Result<(), TortureError> {
        self.told.note(told)
    }
}

fn verdict(wire: &v1::Verdict) -> Option<Verdict> {
    use v1::verdict::Verdict as Wire;
    Some(match wire.verdict.as_ref()? {
        Wire::Accepted(seq) => Verdict::Accepted(Seq(*seq)),
        Wire::Duplicate(seq) => Verdict::Duplicate(Seq(*seq)),
        Wire::Rejected(_) => Verdict::Rejected,
    })
}

//! Submitting contracts, queues and jobs.

use orch_core::id::JobId;
use orch_core::job::JobSpec;
use orch_core::receipt::Receipt;
use orch_core::record::{Event, Record};
use orch_core::state::{Submission, SubmitFault, SubmitRefusal, Submitted};
use orch_proto::convert::Faults;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use tonic::Status;

use super::{Admin, invalid, refused};
use crate::engine::Handle;
use crate::engine::commands::admin::Submit;
use crate::engine::rollback::{Present, Presented};

/// The most jobs of one submit or of one chunk of an import: all of it is one batch of the ledger, which has a bound.
pub(super) const MAX_JOBS: usize = 10_000;

impl Admin {
    pub(super) async fn submit_all(&self, mut request: v1::SubmitRequest) -> Result<v1::SubmitResponse, Status> {
        if request.jobs.len() > MAX_JOBS {
            let message =
                format!("{} jobs, at most {MAX_JOBS} are allowed: use ImportJobs for more", request.jobs.len());
            return Err(invalid(message, "jobs"));
        }
        if let Some(receipt) = request.last_receipt.take() {
            self.present(receipt, &request.ledger).await?;
        }
        let submission: Submission = request.try_into()?;
        let jobs = submission.jobs.clone();
        let replied = self.handle.call(Submit(submission)).await.map_err(refused)?;
        let Submitted { jobs, contracts, contracts_known, queues, queues_known, limits, limits_known } =
            match replied.answer {
                Ok(submitted) => submitted,
                Err(refusal) => return Err(self.explain(&refusal, &jobs).await.into()),
            };
        let job = |(job, existed): (JobId, bool)| v1::SubmittedJob { job: job.get(), existed };
        Ok(v1::SubmitResponse {
            jobs: jobs.into_iter().map(job).collect(),
            contracts: contracts.iter().map(ToString::to_string).collect(),
            contracts_known: contracts_known.iter().map(ToString::to_string).collect(),
            queues: queues.iter().map(ToString::to_string).collect(),
            queues_known: queues_known.iter().map(ToString::to_string).collect(),
            receipt: Some(replied.receipt.into()),
            ledger: self.about.ledger.clone(),
            limits: limits.iter().map(ToString::to_string).collect(),
            limits_known: limits_known.iter().map(ToString::to_string).collect(),
        })
    }

    /// Takes nothing in from somebody who was told of records that are not here.
    async fn present(&self, receipt: v1::Receipt, ledger: &str) -> Result<(), Status> {
        let mut faults = Faults::new();
        let Some(receipt) = faults.take("last_receipt.chain", Receipt::try_from(receipt)) else {
            return Err(faults.into());
        };
        let refused_for = |message: String| WireError::new(Reason::WrongState, message).at("last_receipt");
        if ledger != self.about.ledger {
            let message = format!("the receipt is of ledger {ledger:?}, and this is {}", self.about.ledger);
            return Err(refused_for(message).into());
        }
        let holder = "a caller of Submit".to_owned();
        let command = Present { holder, receipt: Some(receipt), leases: Vec::new() };
        match self.handle.call(command).await.map_err(refused)?.answer {
            Presented::Known => Ok(()),
            Presented::Lost => {
                let seq = receipt.seq;
                Err(refused_for(format!("record {seq} was lost, and that was accepted: forget its receipt")).into())
            }
            Presented::RolledBack(missing) => Err(refused_for(missing.to_string()).into()),
        }
    }

    async fn explain(&self, refusal: &SubmitRefusal, jobs: &[JobSpec]) -> WireError {
        let mut error = WireError::from(refusal);
        if let SubmitRefusal::Job { index, fault } = refusal
            && let Some(job) = jobs.get(*index)
        {
            error.message.push_str(&differences(&self.handle, fault, job).await);
        }
        error
    }
}

/// For a key that stands for another spec: in which fields the two differ. Empty for any other fault.
pub(super) async fn differences(handle: &Handle, fault: &SubmitFault, spec: &JobSpec) -> String {
    let known = match fault {
        SubmitFault::KeyConflict { key: _, job } => *job,
        SubmitFault::UnknownQueue(_)
        | SubmitFault::NoKind(_)
        | SubmitFault::UnknownDependency(_)
        | SubmitFault::AmbiguousDependency(_)
        | SubmitFault::DependencyCircle(_)
        | SubmitFault::LimitReached { .. }
        | SubmitFault::Payload(_) => return String::new(),
    };
    let read = handle.query(move |engine, _| engine.ledger().read(known.0)).await;
    match read {
        Ok(Ok(Record { event: Event::JobSubmitted(submitted), .. })) => {
            format!("; they differ in {}", submitted.spec.differences(spec).join(", "))
        }
        // The conflict is said in any case.
        Ok(Ok(_) | Err(_)) | Err(_) => String::new(),
    }
}

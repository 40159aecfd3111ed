//! Submitting contracts, queues and jobs.

use std::collections::BTreeSet;

use orch_core::access::Permission;
use orch_core::id::{JobId, Seq};
use orch_core::job::JobSpec;
use orch_core::receipt::Receipt;
use orch_core::record::{Event, Record};
use orch_core::state::{Submission, SubmitFault, SubmitRefusal, Submitted};
use orch_proto::convert::Faults;
use orch_proto::error::{Reason, WireError};
use orch_proto::v1;
use tonic::Status;

use super::{Admin, invalid, refused};
use crate::access::Caller;
use crate::engine::Handle;
use crate::engine::commands::access::{As, SubmitJobsOnly};
use crate::engine::commands::admin::Submit;
use crate::engine::rollback::{Present, Presented};

/// The most jobs of one submit or of one chunk of an import: all of it is one batch of the ledger, which has a bound.
pub(super) const MAX_JOBS: usize = 10_000;

impl Admin {
    pub(super) async fn submit_all(
        &self,
        caller: &Caller,
        mut request: v1::SubmitRequest,
    ) -> Result<v1::SubmitResponse, Status> {
        if request.jobs.len() > MAX_JOBS {
            let message =
                format!("{} jobs, at most {MAX_JOBS} are allowed: use ImportJobs for more", request.jobs.len());
            return Err(invalid(message, "jobs"));
        }
        if let Some(receipt) = request.last_receipt.take() {
            self.present(caller, receipt, &request.ledger).await?;
        }
        let submission: Submission = request.try_into()?;
        for (index, job) in submission.jobs.iter().enumerate() {
            caller.check_queue(&job.queue, &format!("jobs[{index}].queue"))?;
        }
        for (index, schedule) in submission.schedules.iter().enumerate() {
            caller.check_queue(&schedule.job.queue, &format!("schedules[{index}].job.queue"))?;
        }
        let jobs = submission.jobs.clone();
        let actor = caller.actor(in_words(&submission));
        let replied = if caller.may(Permission::Operate) {
            self.handle.call(As { actor, command: Submit(submission) }).await
        } else {
            self.handle.call(As { actor, command: SubmitJobsOnly(submission) }).await
        };
        let replied = replied.map_err(refused)?;
        let Submitted {
            jobs,
            contracts,
            contracts_known,
            queues,
            queues_known,
            limits,
            limits_known,
            schedules,
            schedules_known,
        } = match replied.answer {
            Ok(submitted) => submitted,
            Err(refusal @ SubmitRefusal::MayNotDefine(field)) => {
                caller.refuse(refusal.to_string(), field, String::new())?;
                return Err(WireError::from(&refusal).into());
            }
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
            schedules: schedules.iter().map(ToString::to_string).collect(),
            schedules_known: schedules_known.iter().map(ToString::to_string).collect(),
        })
    }

    /// Takes nothing in from somebody who was told of records that are not here.
    async fn present(&self, caller: &Caller, receipt: v1::Receipt, ledger: &str) -> Result<(), Status> {
        let mut faults = Faults::new();
        let Some(receipt) = faults.take("last_receipt.chain", Receipt::try_from(receipt)) else {
            return Err(faults.into());
        };
        let refused_for = |message: String| WireError::new(Reason::WrongState, message).at("last_receipt");
        if ledger != self.about.ledger {
            let message = format!("the receipt is of ledger {ledger:?}, and this is {}", self.about.ledger);
            return Err(refused_for(message).into());
        }
        let command = Present { holder: "a caller of Submit".to_owned(), receipt };
        match self.handle.call(command).await.map_err(refused)?.answer {
            Presented::Known => Ok(()),
            Presented::Lost => {
                let seq = receipt.seq;
                Err(refused_for(format!("record {seq} was lost, and that was accepted: forget its receipt")).into())
            }
            Presented::RolledBack(missing) => Err(refused_for(missing.to_string()).into()),
            Presented::Forged(seq) => Err(forged(caller, seq)),
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

/// Refuses a receipt that nobody gave, and tells of it.
pub(crate) fn forged(caller: &Caller, seq: Seq) -> Status {
    let reason = Reason::UnprovenReceipt;
    caller.denied(&reason, format!("a receipt for record {seq}"));
    let message = format!(
        "the receipt for record {seq} was given by no copy of this data directory: it is made up, or the directory's \
         secret was lost. Nothing was done. Forget the receipt; a worker forgets it when it is started anew"
    );
    WireError::new(reason, message).at("last_receipt").into()
}

/// What is submitted, for the audit.
fn in_words(submission: &Submission) -> String {
    let Submission { contracts, queues, limits, schedules, jobs } = submission;
    let into: BTreeSet<&str> = jobs.iter().map(|job| job.queue.as_str()).collect();
    let into: Vec<&str> = into.into_iter().take(8).collect();
    let definitions = contracts.len() + queues.len() + limits.len() + schedules.len();
    let into = if into.is_empty() { String::new() } else { format!(" in {}", into.join(", ")) };
    format!("{} jobs{into}, {definitions} definitions", jobs.len())
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

//! What workers deliver: batches of screened candidates, completions, failures.

use std::sync::Arc;

use orch_core::contract::Contract;
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::Payload;
use orch_core::record::{Event, Record};
use orch_core::seeded::{self, Bug};
use orch_core::state::{BatchAnswer, CompleteAnswer, FailureReport, Judged, ResultsRefusal};
use orch_core::time::Now;

use crate::engine::{Command, Engine, Step};

/// Asks whose a lease is and by what its candidates are judged, if that is not known since its grant.
pub struct DescribeLease {
    /// The lease, current or ended and remembered.
    pub lease: LeaseId,
}

/// Whose a lease is, and by what its candidates are judged.
#[derive(Clone)]
pub struct LeaseTerms {
    /// The job.
    pub job: JobId,
    /// The how-manieth lease of the job.
    pub attempt: u32,
    /// The grantee; of a gang each of its members.
    pub workers: Vec<WorkerId>,
    /// The contract; None: every candidate is rejected.
    pub contract: Option<Arc<Contract>>,
    /// The job's payload, to which the contract's bounds may refer.
    pub payload: Payload,
}

impl Command for DescribeLease {
    /// None if the lease is unknown.
    type Answer = Option<LeaseTerms>;
    const WRITES: bool = false;

    fn run(&mut self, engine: &mut Engine, _now: Now) -> Step<Self::Answer> {
        if !engine.state.leases().contains_key(&self.lease) && engine.state.ended(self.lease).is_none() {
            return Step::Answer(None);
        }
        // The grant's record has it all, also for a resend after the end.
        let Ok(Record { event: Event::LeaseGranted { job, attempt, worker, contract, members, .. }, .. }) =
            engine.ledger.read(self.lease.0)
        else {
            return Step::Answer(None);
        };
        let registered = contract.and_then(|reference| engine.state.contracts().get(&reference));
        let contract = registered.and_then(|registered| registered.contract.clone());
        let workers = std::iter::once(worker).chain(members.into_iter().map(|member| member.worker)).collect();
        Step::Answer(Some(LeaseTerms { job, attempt, workers, contract, payload: engine.payload(job) }))
    }
}

/// Delivers a batch of screened candidates.
pub struct JudgeBatch {
    /// The worker.
    pub worker: WorkerId,
    /// The lease.
    pub lease: LeaseId,
    /// The batch's number.
    pub number: u64,
    /// The candidates, screened.
    pub candidates: Vec<Judged>,
}

impl Command for JudgeBatch {
    type Answer = Result<BatchAnswer, ResultsRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        engine.liveness.seen(&self.worker, now);
        if seeded::on(Bug::ExpiryByClockAtSubmit) && engine.is_over_by_clock(self.lease, now) {
            return Step::Answer(Err(ResultsRefusal::LeaseLost(self.lease)));
        }
        match engine.state.judge_batch(&self.worker, self.lease, self.number, &self.candidates) {
            Ok(decision) => {
                let answer = engine.record(decision, now);
                let last = answer.last;
                Step::AnswerFor(Ok(answer), last)
            }
            Err(refusal) => Step::Answer(Err(refusal)),
        }
    }
}

/// Says that a job is complete.
pub struct CompleteJob {
    /// The worker.
    pub worker: WorkerId,
    /// The lease.
    pub lease: LeaseId,
    /// How many batches were sent under it.
    pub batches: u64,
}

impl Command for CompleteJob {
    type Answer = Result<CompleteAnswer, ResultsRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        engine.liveness.seen(&self.worker, now);
        match engine.state.complete(&self.worker, self.lease, self.batches, now.wall) {
            Ok(decision) => {
                let (answer, seq) = engine.record(decision, now);
                Step::AnswerFor(Ok(answer), seq)
            }
            Err(refusal) => Step::Answer(Err(refusal)),
        }
    }
}

/// Says that an attempt failed.
pub struct FailJob {
    /// The worker.
    pub worker: WorkerId,
    /// The lease.
    pub lease: LeaseId,
    /// How it failed.
    pub report: FailureReport,
}

impl Command for FailJob {
    type Answer = Result<CompleteAnswer, ResultsRefusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        engine.liveness.seen(&self.worker, now);
        match engine.state.fail(&self.worker, self.lease, self.report.clone(), now.wall) {
            Ok(decision) => {
                let (answer, seq) = engine.record(decision, now);
                Step::AnswerFor(Ok(answer), seq)
            }
            Err(refusal) => Step::Answer(Err(refusal)),
        }
    }
}

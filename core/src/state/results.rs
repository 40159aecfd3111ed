//! Judging batches of screened candidates, and ending jobs.

use std::collections::{BTreeMap, HashSet};

use super::{BatchRange, CompleteAnswer, Decision, Ended, JobState, Lease, Outcome, ResultsRefusal, State};
use crate::contract::{AcceptedSet, Rejection, Screened};
use crate::id::{LeaseId, Seq, WorkerId};
use crate::record::{
    BatchJudged, CandidateAccepted, Event, FailureClass, ListedRejection, MAX_LISTED_REJECTIONS, Next, Origin,
};
use crate::seeded::{self, Bug};
use crate::time::Timestamp;

/// What screening said of one candidate.
pub type Judged = Result<Screened, Rejection>;

/// The verdict on one candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the ledger, at this seq.
    Accepted(Seq),
    /// It was there before, at this seq.
    Duplicate(Seq),
    /// It broke a rule.
    Rejected(Rejection),
}

/// A failure, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FailureReport {
    /// What kind of failure.
    pub class: FailureClass,
    /// In words.
    pub message: String,
    /// How the runner ended, if it did by itself.
    pub exit_code: Option<i32>,
}

impl FailureReport {
    /// A failure without an exit code.
    pub fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self { class, message: message.into(), exit_code: None }
    }
}

/// The verdicts on one batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchAnswer {
    /// The batch's number.
    pub number: u64,
    /// Per candidate, in order.
    pub verdicts: Vec<Verdict>,
    /// The last record that belongs to the batch.
    pub last: Seq,
}

/// A lease as a caller may use it: current, or ended and remembered.
enum Standing<'a> {
    Current(&'a Lease),
    Ended(&'a Ended),
}

impl State {
    /// Decides the verdicts on batch `number` of a lease. The same batch again gets the same verdicts, also after the
    /// job has ended.
    ///
    /// # Errors
    /// [`ResultsRefusal`] if the lease is not the worker's, a batch is missing before this one, or the batch differs
    /// from the one that had its number.
    pub fn judge_batch(
        &self,
        worker: &WorkerId,
        lease: LeaseId,
        number: u64,
        candidates: &[Judged],
    ) -> Result<Decision<BatchAnswer>, ResultsRefusal> {
        let lease = self.named(lease);
        let changed = || ResultsRefusal::BatchChanged { lease, number };
        let held = match self.standing(worker, lease)? {
            Standing::Current(held) => held,
            Standing::Ended(ended) => {
                let index = usize::try_from(number).unwrap_or(usize::MAX).wrapping_sub(1);
                let range = *ended.batches.get(index).ok_or(ResultsRefusal::LeaseLost(lease))?;
                return self.repeat(number, range, candidates).map(Decision::nothing).ok_or_else(changed);
            }
        };
        for screened in candidates.iter().flatten() {
            if held.contract.as_ref() != Some(screened.contract()) {
                let expected = held.contract.as_ref().map_or("no contract".into(), ToString::to_string);
                return Err(ResultsRefusal::OtherContract { lease, expected, got: screened.contract().clone() });
            }
        }
        let expected = held.delivery.batches.len() as u64 + 1;
        if number > expected || number == 0 {
            return Err(ResultsRefusal::BatchGap { lease, got: number, expected });
        }
        if number < expected {
            let range = held.delivery.batches[(number - 1) as usize];
            return self.repeat(number, range, candidates).map(Decision::nothing).ok_or_else(changed);
        }
        Ok(self.judge_new(Origin::Lease { job: held.job, lease }, number, candidates))
    }

    /// Verdicts on candidates that nobody judged under this number before.
    pub(super) fn judge_new(&self, origin: Origin, number: u64, candidates: &[Judged]) -> Decision<BatchAnswer> {
        let judged_at = self.next_seq();
        // The accepted candidates of this very batch: `apply` has not seen them yet.
        let mut fresh = AcceptedSet::default();
        let mut accepted = Vec::new();
        let mut judged =
            BatchJudged { origin, number, accepted: 0, duplicates: Vec::new(), rejected: 0, rejections: Vec::new() };
        let mut verdicts = Vec::with_capacity(candidates.len());
        for (index, candidate) in candidates.iter().enumerate() {
            verdicts.push(match candidate {
                Err(rejection) => {
                    judged.rejected += 1;
                    if judged.rejections.len() < MAX_LISTED_REJECTIONS {
                        let Rejection { rule, message } = rejection.clone();
                        let index = u32::try_from(index).unwrap_or(u32::MAX);
                        judged.rejections.push(ListedRejection { index, rule, message });
                    }
                    Verdict::Rejected(rejection.clone())
                }
                Ok(screened) => match self.first_of(screened).or_else(|| fresh.find(screened)) {
                    Some(first) => {
                        judged.duplicates.push(first);
                        Verdict::Duplicate(first)
                    }
                    None => {
                        judged.accepted += 1;
                        let seq = judged_at.plus(u64::from(judged.accepted));
                        if index + 1 < candidates.len() {
                            fresh.insert(screened.digest(), screened.offsets(), seq);
                        }
                        accepted.push(Event::CandidateAccepted(Box::new(CandidateAccepted {
                            origin,
                            contract: screened.contract().clone(),
                            digest: screened.digest(),
                            offsets: screened.offsets().to_vec(),
                            candidate: screened.candidate().to_owned(),
                        })));
                        Verdict::Accepted(seq)
                    }
                },
            });
        }
        let last = judged_at.plus(u64::from(judged.accepted));
        let mut events = vec![Event::BatchJudged(Box::new(judged))];
        events.append(&mut accepted);
        Decision { events, answer: BatchAnswer { number, verdicts, last } }
    }

    /// The verdicts that a batch got when it was judged; None if it holds other candidates than it did.
    pub(super) fn repeat(&self, number: u64, range: BatchRange, candidates: &[Judged]) -> Option<BatchAnswer> {
        let mut seen = HashSet::new();
        let mut verdicts = Vec::with_capacity(candidates.len());
        for candidate in candidates {
            verdicts.push(match candidate {
                Err(rejection) => Verdict::Rejected(rejection.clone()),
                Ok(screened) => {
                    let first = self.accepted.find(screened)?;
                    if range.contains(first) && seen.insert(first) {
                        Verdict::Accepted(first)
                    } else {
                        Verdict::Duplicate(first)
                    }
                }
            });
        }
        let all_there = seen.len() == range.accepted as usize;
        all_there.then_some(BatchAnswer { number, verdicts, last: range.last() })
    }

    /// Decides that a job is done, if its contract's completeness rule agrees; otherwise the attempt fails.
    ///
    /// # Errors
    /// [`ResultsRefusal`] if the lease is not the worker's, or batches are missing.
    pub fn complete(
        &self,
        worker: &WorkerId,
        lease: LeaseId,
        batches: u64,
        now: Timestamp,
    ) -> Result<Decision<(CompleteAnswer, Seq)>, ResultsRefusal> {
        let lease = self.named(lease);
        let held = match self.standing(worker, lease)? {
            Standing::Current(held) => held,
            Standing::Ended(ended) => return repeat_end(lease, ended).map(Decision::nothing),
        };
        let judged = held.delivery.batches.len() as u64;
        if batches != judged {
            return Err(ResultsRefusal::BatchGap { lease, got: batches, expected: judged + 1 });
        }
        let distinct = held.delivery.distinct();
        if let Some(expected) = held.expected
            && expected != distinct
        {
            let message = format!(
                "{distinct} distinct candidates were delivered, the job is complete with exactly {expected} ({} rejected)",
                held.delivery.rejected
            );
            let report = FailureReport::new(FailureClass::Incomplete, message);
            return Ok(self.failed(lease, held, worker, report, now));
        }
        let mut events = vec![Event::JobCompleted { job: held.job, lease }];
        self.settle_dependents(held.job, true, &mut events);
        Ok(Decision { events, answer: (CompleteAnswer::Done, self.next_seq()) })
    }

    /// Decides the failure of an attempt that its worker reports; of a gang, any of its members.
    ///
    /// # Errors
    /// [`ResultsRefusal`] if the lease is not the worker's.
    pub fn fail(
        &self,
        worker: &WorkerId,
        lease: LeaseId,
        report: FailureReport,
        now: Timestamp,
    ) -> Result<Decision<(CompleteAnswer, Seq)>, ResultsRefusal> {
        if let Some(held) = self.leases.get(&lease).filter(|held| held.is_gang() && held.is_held_by(worker)) {
            return Ok(self.failed(lease, held, worker, report, now));
        }
        if let Some(ended) = self.ended.get(lease).filter(|ended| ended.members.contains(worker)) {
            return repeat_end(lease, ended).map(Decision::nothing);
        }
        match self.standing(worker, lease)? {
            Standing::Current(held) => Ok(self.failed(lease, held, worker, report, now)),
            Standing::Ended(ended) => repeat_end(lease, ended).map(Decision::nothing),
        }
    }

    fn failed(
        &self,
        lease: LeaseId,
        held: &Lease,
        on: &WorkerId,
        report: FailureReport,
        now: Timestamp,
    ) -> Decision<(CompleteAnswer, Seq)> {
        let FailureReport { class, message, exit_code: _ } = report.clone();
        let (events, next) = self.fail_attempt(lease, held, on, report, now);
        let finally = matches!(next, Next::Failed(_));
        Decision { events, answer: (CompleteAnswer::Failed { class, message, finally }, self.next_seq()) }
    }

    /// The accepted candidate that is the same as this one. The set has every one of them, so that a miss proves that
    /// there is none.
    fn first_of(&self, screened: &Screened) -> Option<Seq> {
        /// How many records an index may be behind.
        const BEHIND: u64 = 24;
        let found = self.accepted.find(screened);
        if seeded::on(Bug::IndexMissTrusted) {
            return found.filter(|seq| seq.0 + BEHIND < self.last_seq.0);
        }
        found
    }

    /// The lease that a caller's token names: that one and no other.
    fn named(&self, token: LeaseId) -> LeaseId {
        if seeded::on(Bug::TokenNotCompared)
            && let Some(JobState::Leased { lease }) =
                self.ended.get(token).and_then(|ended| self.jobs.get(&ended.job)).map(|job| &job.state)
        {
            return *lease;
        }
        token
    }

    /// The grantee's view of a lease: of a gang the first member's, whose results are the job's.
    fn standing(&self, worker: &WorkerId, lease: LeaseId) -> Result<Standing<'_>, ResultsRefusal> {
        let not_grantee = || ResultsRefusal::NotGrantee { lease, worker: worker.clone() };
        if let Some(held) = self.leases.get(&lease) {
            let theirs = held.worker == *worker || seeded::on(Bug::GranteeNotCompared);
            return if theirs { Ok(Standing::Current(held)) } else { Err(not_grantee()) };
        }
        match self.ended.get(lease) {
            Some(ended) if ended.worker == *worker => Ok(Standing::Ended(ended)),
            Some(_) => Err(not_grantee()),
            None => Err(ResultsRefusal::LeaseLost(lease)),
        }
    }

    /// Counts of accepted candidates by contract, for tests of replay.
    pub fn accepted_by_contract(&self) -> BTreeMap<String, u64> {
        self.contracts.iter().map(|(reference, registered)| (reference.to_string(), registered.accepted)).collect()
    }
}

fn repeat_end(lease: LeaseId, ended: &Ended) -> Result<(CompleteAnswer, Seq), ResultsRefusal> {
    match &ended.outcome {
        Outcome::Completed => Ok((CompleteAnswer::Done, ended.seq)),
        Outcome::Failed { class, message, finally } => {
            let answer = CompleteAnswer::Failed { class: *class, message: message.clone(), finally: *finally };
            Ok((answer, ended.seq))
        }
        Outcome::Released | Outcome::Expired | Outcome::Cancelled => Err(ResultsRefusal::LeaseLost(lease)),
    }
}

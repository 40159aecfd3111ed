//! What becomes of jobs whose attempts fail: what their rules say, counted anew.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::id::{JobId, LeaseId, QueueName, WorkerId};
use orch_core::policy::RetryPatch;
use orch_core::record::{Event, FailureClass, Next, Record};
use orch_core::resource::{Needs, Quantity};
use orch_core::retry::{MoreMemory, RetryRule, Then};
use orch_core::time::Timestamp;

use super::{Rule, Violation};

/// So many different jobs fail on a worker in a row before it may be set aside.
const SET_ASIDE_AFTER: usize = 5;

/// What is known of a job's attempts.
#[derive(Clone, Default)]
struct Tried {
    queue: Option<QueueName>,
    own: RetryPatch,
    needs: Needs,
    attempts: u32,
    failures: u32,
    crashes: u32,
}

/// A failure, as its record has it.
struct Failure<'a> {
    job: JobId,
    class: FailureClass,
    exit_code: Option<i32>,
    message: &'a str,
    next: Next,
    needs: Option<&'a Needs>,
    avoid_worker: bool,
}

/// A fold over attempts and what follows from them.
#[derive(Default)]
pub(super) struct Retries {
    queues: BTreeMap<QueueName, RetryPatch>,
    jobs: BTreeMap<JobId, Tried>,
    holders: BTreeMap<LeaseId, Vec<WorkerId>>,
    /// Jobs that failed on a worker since one was done there.
    streaks: BTreeMap<WorkerId, BTreeSet<JobId>>,
    paused: bool,
    /// The last grant, and the batch that it is in.
    granted: Option<(LeaseId, u64)>,
    violations: Vec<Violation>,
}

impl Retries {
    pub(super) fn into_violations(self) -> Vec<Violation> {
        self.violations
    }

    fn violated(&mut self, message: String) {
        self.violations.push(Violation::new(Rule::Retry, message));
    }

    /// Takes a record, which is in this batch.
    pub(super) fn take(&mut self, record: &Record, batch: u64) {
        let (seq, at) = (record.seq, record.at);
        match &record.event {
            Event::QueueDefined(spec) => drop(self.queues.insert(spec.name.clone(), spec.retry.clone())),
            Event::JobSubmitted(submitted) => {
                let spec = &submitted.spec;
                let (queue, own, needs) = (Some(spec.queue.clone()), spec.retry.clone(), spec.resources.clone());
                self.jobs.insert(JobId(seq), Tried { queue, own, needs, ..Tried::default() });
            }
            Event::TaskMade { array, .. } => {
                let task = self.jobs.get(array).cloned().unwrap_or_default();
                self.jobs.insert(JobId(seq), task);
            }
            Event::LeaseGranted { job, worker, members, .. } => {
                let others = members.iter().map(|member| member.worker.clone());
                self.granted = Some((LeaseId(seq), batch));
                self.holders.insert(LeaseId(seq), std::iter::once(worker.clone()).chain(others).collect());
                let paused = self.paused;
                let tried = self.jobs.get_mut(job).map(|job| {
                    job.attempts += 1;
                    job.failures + job.crashes > 0
                });
                if paused && tried == Some(true) {
                    self.violated(format!("record {seq} tries job {job} again while retries are paused"));
                }
            }
            Event::JobReadied { job, not_before: None } if self.paused && self.was_tried(*job) => {
                self.violated(format!("record {seq} readies job {job} for another attempt while there are none"));
            }
            Event::AttemptFailed { job, lease, class, message, next, exit_code, needs, avoid_worker, worker } => {
                let on = worker.clone().or_else(|| self.holders.get(lease).and_then(|all| all.first().cloned()));
                if let (Some(on), FailureClass::Error | FailureClass::Timeout | FailureClass::Incomplete) = (on, class)
                {
                    self.streaks.entry(on).or_default().insert(*job);
                }
                // What no contract can judge fails with its grant, whatever the rules say.
                let with_its_grant = self.granted == Some((*lease, batch)) && lease.0.next() == seq;
                let unjudged = *class == FailureClass::Permanent && with_its_grant;
                if !unjudged {
                    let (job, class, exit_code, next) = (*job, *class, *exit_code, *next);
                    let (needs, avoid_worker) = (needs.as_ref(), *avoid_worker);
                    let failure = Failure { job, class, exit_code, message, next, needs, avoid_worker };
                    self.failed(at, &failure);
                }
                if let Some(job) = self.jobs.get_mut(job) {
                    job.failures += 1;
                    job.needs = needs.clone().unwrap_or_else(|| job.needs.clone());
                }
            }
            Event::LeaseExpired { job, next, .. } => self.crashed(*job, *next, at),
            Event::JobRetried { job } => {
                if let Some(job) = self.jobs.get_mut(job) {
                    (job.failures, job.crashes) = (0, 0);
                }
            }
            Event::JobCompleted { lease, .. } => {
                for worker in self.holders.get(lease).into_iter().flatten() {
                    self.streaks.remove(worker);
                }
            }
            Event::WorkerSetAside { worker, .. } => {
                let failed = self.streaks.remove(worker).unwrap_or_default();
                if failed.len() < SET_ASIDE_AFTER {
                    self.violated(format!("record {seq} sets {worker} aside, on which only {failed:?} failed"));
                }
            }
            Event::RetriesPaused { .. } => self.paused = true,
            Event::RetriesResumed {} => self.paused = false,
            // The rest says nothing of attempts that failed.
            Event::JobCancelled { .. }
            | Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::LeaseReleased { .. }
            | Event::BatchJudged(_)
            | Event::CandidateAccepted(_)
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerResumed { .. }
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => {}
        }
    }

    /// Whether a job was granted before.
    fn was_tried(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.attempts > 0)
    }

    /// What a job and its queue say, the job first.
    fn of<T: Clone>(&self, job: &Tried, field: impl Fn(&RetryPatch) -> Option<T>) -> Option<T> {
        let queue = job.queue.as_ref().and_then(|queue| self.queues.get(queue));
        field(&job.own).or_else(|| queue.and_then(field))
    }

    fn failed(&mut self, at: Timestamp, failure: &Failure<'_>) {
        let Failure { job: id, class, exit_code, message, next, needs, avoid_worker } = *failure;
        let Some(job) = self.jobs.get(&id) else { return };
        let rules = self.of(job, |patch| patch.rules.clone()).unwrap_or_default();
        let mut about = rules.iter().map(|rule| is_about(rule, class, exit_code, message));
        let rule = match about.position(|about| about != Some(false)) {
            Some(place) if is_about(&rules[place], class, exit_code, message).is_none() => return,
            Some(place) => Some(&rules[place]),
            None => None,
        };
        let failures = job.failures + 1;
        let most = self.of(job, |patch| patch.max_attempts).unwrap_or(3).max(1);
        let most = rule.and_then(|rule| rule.max_attempts).unwrap_or(most);
        let for_good = match rule {
            Some(rule) => rule.then == Then::Fail,
            None => class == FailureClass::Permanent,
        };
        let ends = for_good || failures >= most;
        let mut wrong = Vec::new();
        if ends != matches!(next, Next::Failed(_)) {
            let rule = serde_json::to_string(&rule).unwrap_or_default();
            wrong.push(format!(
                "failure {failures} of {most} of job {id} ({class:?}) leads to {next:?} under rule {rule}"
            ));
        }
        if !ends {
            let (low, high) = match rule.and_then(|rule| rule.backoff) {
                Some(wait) => (wait.0, wait.0),
                None => self.wait(job, failures),
            };
            wrong.extend(self.waits(id, next, at, low, high));
            let more = rule.and_then(|rule| rule.memory).and_then(|more| with_more_memory(&job.needs, more));
            if more.as_ref() != needs {
                wrong.push(format!("job {id} needs {needs:?} at its next attempt; its rule says {more:?}"));
            }
        }
        if avoid_worker != (!ends && rule.is_some_and(|rule| rule.avoid_worker)) {
            wrong.push(format!("job {id} is kept away from its worker: {avoid_worker}; its rule says otherwise"));
        }
        wrong.into_iter().for_each(|message| self.violated(message));
    }

    /// The shortest and the longest wait after so many failures.
    fn wait(&self, job: &Tried, failures: u32) -> (u64, u64) {
        let millis = |span: Option<orch_core::time::Span>, default: u64| span.map_or(default, |span| span.0);
        let backoff = millis(self.of(job, |patch| patch.backoff), 60_000);
        let cap = millis(self.of(job, |patch| patch.cap), 3_600_000);
        let jitter = millis(self.of(job, |patch| patch.jitter), 15_000);
        let factor = self.of(job, |patch| patch.factor).unwrap_or(2.0).max(1.0);
        let mut base = backoff as f64;
        for _ in 1..failures {
            base = (base * factor).min(cap as f64);
        }
        let base = (base as u64).min(cap);
        // A millisecond either way for the fractions that were multiplied.
        (base.saturating_sub(1), base + jitter + 1)
    }

    /// What is tried again waits as long as it should, and for ever while there are no retries.
    fn waits(&self, job: JobId, next: Next, at: Timestamp, low: u64, high: u64) -> Option<String> {
        let fits = match next {
            Next::Ready => low <= 1 && !self.paused,
            Next::Delayed(until) => (low..=high).contains(&until.since(at).0) && (high > 0 || self.paused),
            Next::Failed(_) => true,
        };
        let message = || format!("job {job} goes on as {next:?} at {at}: {low} to {high} ms, paused: {}", self.paused);
        (!fits).then(message)
    }

    /// A worker was lost with a job.
    fn crashed(&mut self, id: JobId, next: Next, at: Timestamp) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.crashes += 1;
        let crashes = job.crashes;
        let job = job.clone();
        let limit = self.of(&job, |patch| patch.crash_limit).unwrap_or(5).max(1);
        let quarantined = next == Next::Failed(FailureClass::Quarantined);
        let other_end = matches!(next, Next::Failed(_)) && !quarantined;
        if (crashes >= limit) != quarantined || other_end {
            self.violated(format!("loss {crashes} of {limit} of a worker with job {id} leads to {next:?}"));
        }
        let wrong = self.waits(id, next, at, 0, 0);
        wrong.into_iter().for_each(|message| self.violated(message));
    }
}

/// Whether a rule is about a failure; None if its pattern is more than plain words, which this does not read.
fn is_about(rule: &RetryRule, class: FailureClass, exit_code: Option<i32>, message: &str) -> Option<bool> {
    let classes = rule.class.is_empty() || rule.class.contains(&class);
    let codes = rule.exit_code.is_empty() || exit_code.is_some_and(|code| rule.exit_code.contains(&code));
    let Some(pattern) = &rule.message else { return Some(classes && codes) };
    let plain = !pattern.as_str().contains(['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$']);
    if !(classes && codes) {
        return Some(false);
    }
    plain.then(|| message.contains(pattern.as_str()))
}

/// The needs with so much more memory; None if none gets larger.
fn with_more_memory(needs: &Needs, more: MoreMemory) -> Option<Needs> {
    let mut larger = needs.clone();
    for variant in &mut larger.0 {
        for (name, need) in &mut variant.needs {
            if let (Quantity::Some(amount), "mem") = (&mut need.quantity, name.as_str()) {
                let grown = u128::from(amount.0) * u128::from(more.factor.0) / 10_000;
                amount.0 = amount.0.max(u64::try_from(grown).unwrap_or(u64::MAX).min(more.cap.0));
            }
        }
    }
    (larger != *needs).then_some(larger)
}

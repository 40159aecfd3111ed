//! What the engine measures of itself since it started, for whoever scrapes it.
//!
//! Totals that the ledger knows are not here: they are read from the state, and survive a restart. Nothing here decides
//! anything.

use std::collections::BTreeMap;
use std::time::Duration;

use orch_core::id::{LeaseId, WorkerId};
use orch_core::record::{Event, Origin, Record};
use orch_core::state::State;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

use super::waits::WaitsByQueue;

/// So many workers are counted each by itself; the names of more would only be noise, and memory without a bound.
const MAX_WORKERS: usize = 1000;

/// What one worker brought since the engine started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Brought {
    /// Candidates accepted.
    pub accepted: u64,
    /// Jobs done.
    pub done: u64,
}

/// Names a command.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CommandLabel {
    /// The name of its type.
    pub command: &'static str,
}

/// Names a rule of the gates.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RuleLabel {
    /// Its name.
    pub rule: &'static str,
}

/// Measurements since the engine started. A clone shares all but `waits` and `workers`.
#[derive(Clone)]
pub struct Measures {
    /// Seconds that a commit took: write, sync, HEAD.
    pub commit_seconds: Histogram,
    /// Records that a commit made durable.
    pub commit_records: Histogram,
    /// Seconds from the hand-in of a command to its answer, which is durable by then, by the command's name.
    pub command_seconds: Family<CommandLabel, Histogram, fn() -> Histogram>,
    /// Seconds from the submit of a job to its first lease.
    pub wait_seconds: Histogram,
    /// How long jobs stood ready until they were leased, by queue.
    pub waits: WaitsByQueue,
    /// Seconds from a lease to the completion of its job.
    pub run_seconds: Histogram,
    /// Rejected candidates by the rule that they broke; under "unlisted" those that their batch's record only counts.
    pub rejected: Family<RuleLabel, Counter>,
    /// What each worker brought.
    pub workers: BTreeMap<WorkerId, Brought>,
}

impl Default for Measures {
    fn default() -> Self {
        Self {
            commit_seconds: Histogram::new(exponential_buckets(0.000_05, 2.0, 18)),
            commit_records: Histogram::new(exponential_buckets(1.0, 4.0, 10)),
            command_seconds: Family::new_with_constructor(|| Histogram::new(exponential_buckets(0.000_1, 3.0, 14))),
            wait_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 14)),
            waits: WaitsByQueue::default(),
            run_seconds: Histogram::new(exponential_buckets(0.001, 4.0, 14)),
            rejected: Family::default(),
            workers: BTreeMap::new(),
        }
    }
}

impl Measures {
    /// Notes a record, before the state takes it.
    pub(super) fn note(&mut self, record: &Record, state: &State) {
        match &record.event {
            Event::LeaseGranted { job, attempt, .. } => {
                if let Some(job) = state.job(*job) {
                    if *attempt == 1 {
                        self.wait_seconds.observe(record.at.since(job.submitted_at).duration().as_secs_f64());
                    }
                    self.waits.note(state.queue_number(job), record.at.since(job.ready_since));
                }
            }
            Event::JobCompleted { lease, .. } => {
                if let Some(held) = state.leases().get(lease) {
                    self.run_seconds.observe(record.at.since(held.granted_at).duration().as_secs_f64());
                }
                self.brought(*lease, state, |brought| brought.done += 1);
            }
            Event::BatchJudged(judged) => {
                for rejection in &judged.rejections {
                    self.rejected.get_or_create(&RuleLabel { rule: rejection.rule.name() }).inc();
                }
                let unlisted = u64::from(judged.rejected).saturating_sub(judged.rejections.len() as u64);
                if unlisted > 0 {
                    self.rejected.get_or_create(&RuleLabel { rule: "unlisted" }).inc_by(unlisted);
                }
                if let Origin::Lease { lease, .. } = judged.origin {
                    self.brought(lease, state, |brought| brought.accepted += u64::from(judged.accepted));
                }
            }
            Event::SegmentOpened { .. }
            | Event::SegmentSealed {}
            | Event::Booted { .. }
            | Event::QueueDefined(_)
            | Event::QueuePaused { .. }
            | Event::QueueResumed { .. }
            | Event::ContractRegistered(_)
            | Event::JobSubmitted(_)
            | Event::TaskMade { .. }
            | Event::ArrayEnded { .. }
            | Event::JobReadied { .. }
            | Event::LeaseReleased { .. }
            | Event::LeaseExpired { .. }
            | Event::CandidateAccepted(_)
            | Event::AttemptFailed { .. }
            | Event::JobCancelled { .. }
            | Event::JobRetried { .. }
            | Event::LegacyImportStarted { .. }
            | Event::LegacyImportFinished { .. }
            | Event::LimitSet(_)
            | Event::LimitUnset { .. }
            | Event::TokenCreated(_)
            | Event::TokenRevoked { .. }
            | Event::Audited(_)
            | Event::WorkerSetAside { .. }
            | Event::WorkerResumed { .. }
            | Event::RetriesPaused { .. }
            | Event::RetriesResumed {}
            | Event::ScheduleSet(_)
            | Event::SchedulePaused { .. }
            | Event::ScheduleResumed { .. }
            | Event::ScheduleRemoved { .. }
            | Event::ScheduleFired { .. }
            | Event::LedgerRepaired { .. } => {}
        }
    }

    fn brought(&mut self, lease: LeaseId, state: &State, add: impl FnOnce(&mut Brought)) {
        let Some(worker) = state.leases().get(&lease).map(|held| &held.worker) else { return };
        if let Some(brought) = self.workers.get_mut(worker) {
            add(brought);
        } else if self.workers.len() < MAX_WORKERS {
            add(self.workers.entry(worker.clone()).or_default());
        }
    }

    /// Notes a commit of so many records.
    pub(super) fn committed(&self, records: usize, took: Duration) {
        self.commit_seconds.observe(took.as_secs_f64());
        // A batch is far below 2^52 records.
        #[allow(clippy::cast_precision_loss)]
        self.commit_records.observe(records as f64);
    }

    /// Notes that a command was answered. Its name is that of its type, without the path.
    pub(super) fn answered(&self, type_name: &'static str, took: Duration) {
        let path = type_name.split('<').next().unwrap_or(type_name);
        let command = path.rsplit("::").next().unwrap_or(path);
        self.command_seconds.get_or_create(&CommandLabel { command }).observe(took.as_secs_f64());
    }

    /// Forgets workers that are not known any more.
    pub(crate) fn forget_workers(&mut self, known: impl Fn(&WorkerId) -> bool) {
        self.workers.retain(|worker, _| known(worker));
    }
}

//! Jobs and leases as the state holds them: small, because there may be millions.

use std::collections::{BTreeSet, HashMap, HashSet, VecDeque};

use super::schedule::LaneId;
use crate::access::SessionId;
use crate::id::{ContractRef, JobId, LeaseId, Seq, WorkerId};
use crate::policy::{LeasePatch, RetryPatch};
use crate::record::{FailureClass, GangMember};
use crate::time::{Span, Timestamp};

/// A job that is open or failed. Its payload and its spec stay in the ledger, found by its id.
#[derive(Clone, Debug)]
pub struct Job {
    /// Its queue, kind and priority.
    pub(super) lane: LaneId,
    /// Leases granted so far.
    pub attempts: u32,
    /// Failures of the job itself since it was submitted or last retried by a person.
    pub failures: u32,
    /// Workers lost with it since then.
    pub crashes: u32,
    /// When it was submitted.
    pub submitted_at: Timestamp,
    /// When it became ready last; when it was submitted, if it never was.
    pub ready_since: Timestamp,
    /// Where it stands.
    pub state: JobState,
    /// What it sets differently from its queue; most jobs nothing.
    pub(super) overrides: Option<Box<Overrides>>,
}

impl Job {
    /// Whether its next attempt is a retry: one failed, or its worker was lost. What was only given back is not tried yet.
    pub fn was_tried(&self) -> bool {
        self.failures > 0 || self.crashes > 0
    }
}

/// What a job sets differently from its queue, and who waits for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Overrides {
    pub(super) retry: RetryPatch,
    pub(super) lease: LeasePatch,
    pub(super) timeout: Option<Span>,
    pub(super) queue_timeout: Option<Span>,
    pub(super) not_before: Option<Timestamp>,
    pub(super) continue_on_dependency_failure: bool,
    pub(super) dependents: Vec<JobId>,
}

impl Overrides {
    /// What of an array's holds for each of its tasks.
    pub(super) fn of_task(&self) -> Option<Box<Self>> {
        let of_task =
            Self { not_before: None, continue_on_dependency_failure: false, dependents: Vec::new(), ..self.clone() };
        (of_task != Self::default()).then(|| Box::new(of_task))
    }
}

/// Where an open or failed job stands. Done and cancelled jobs have left the state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It waits for these jobs.
    Blocked {
        /// The jobs it still waits for.
        #[allow(clippy::box_collection)]
        waiting_on: Box<BTreeSet<JobId>>,
    },
    /// It can be leased.
    Ready,
    /// It waits for a time.
    Delayed {
        /// When it becomes ready.
        until: Timestamp,
    },
    /// A worker has it.
    Leased {
        /// Under this lease.
        lease: LeaseId,
    },
    /// An array of which every task was made: it ends with the last of them.
    Running,
    /// It failed for good.
    Failed {
        /// How.
        class: FailureClass,
        /// When.
        at: Timestamp,
    },
}

impl JobState {
    /// Whether it may still come to something by itself.
    pub const fn is_open(&self) -> bool {
        match self {
            Self::Blocked { .. } | Self::Ready | Self::Delayed { .. } | Self::Leased { .. } | Self::Running => true,
            Self::Failed { .. } => false,
        }
    }
}

/// The right of one worker to do one job.
#[derive(Clone, Debug)]
pub struct Lease {
    /// The job.
    pub job: JobId,
    /// The grantee.
    pub worker: WorkerId,
    /// The how-manieth lease of the job, from 1.
    pub attempt: u32,
    /// When it was granted.
    pub granted_at: Timestamp,
    /// The contract that judges its candidates.
    pub contract: Option<ContractRef>,
    /// How many distinct candidates make the job complete.
    pub expected: Option<u64>,
    /// Which of the job's alternatives its worker set apart for it, from 0.
    pub variant: u32,
    /// The grantee's registration, where callers are known.
    pub session: Option<SessionId>,
    /// The other members of a gang, by rank from 1.
    pub members: Box<[GangMember]>,
    /// What was delivered.
    pub delivery: Delivery,
}

impl Lease {
    /// Everybody who has the job: one worker, or the members of a gang by rank.
    pub fn workers(&self) -> impl Iterator<Item = &WorkerId> {
        std::iter::once(&self.worker).chain(self.members.iter().map(|member| &member.worker))
    }

    /// Whether the worker has the job, alone or with others.
    pub fn is_held_by(&self, worker: &WorkerId) -> bool {
        self.workers().any(|member| member == worker)
    }

    /// Whether several workers have it.
    pub fn is_gang(&self) -> bool {
        !self.members.is_empty()
    }

    /// What each of them set apart: the place of the alternative.
    pub fn variants(&self) -> impl Iterator<Item = (&WorkerId, u32)> {
        let others = self.members.iter().map(|member| (&member.worker, member.variant));
        std::iter::once((&self.worker, self.variant)).chain(others)
    }

    /// The registration of the worker under which it has the job, where callers are known.
    pub fn session_of(&self, worker: &WorkerId) -> Option<SessionId> {
        if self.worker == *worker {
            return self.session;
        }
        self.members.iter().find(|member| member.worker == *worker).and_then(|member| member.session)
    }
}

/// Why a gang was given back before it could run.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct GivenBack {
    /// When.
    pub at: Timestamp,
    /// Which of its members gave it back, or did not show up.
    pub reason: String,
}

/// What came in under a lease or a legacy import.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Per judged batch, from number 1, where its records stand.
    pub batches: Vec<BatchRange>,
    /// Candidates accepted.
    pub accepted: u64,
    /// Candidates that were there before.
    pub duplicate: u64,
    /// Candidates rejected.
    pub rejected: u64,
    /// Distinct candidates of others that came in again.
    foreign: HashSet<Seq>,
}

impl Delivery {
    /// Notes a judged batch.
    pub(super) fn note(&mut self, range: BatchRange, duplicates: &[Seq], rejected: u32) {
        self.accepted += u64::from(range.accepted);
        self.duplicate += duplicates.len() as u64;
        self.rejected += u64::from(rejected);
        self.batches.push(range);
        for seq in duplicates {
            if !self.owns(*seq) {
                self.foreign.insert(*seq);
            }
        }
    }

    /// Whether the accepted candidate at `seq` came in here.
    fn owns(&self, seq: Seq) -> bool {
        let behind = self.batches.partition_point(|range| range.judged < seq);
        behind > 0 && self.batches[behind - 1].contains(seq)
    }

    /// How many distinct candidates came in, accepted or there before.
    pub fn distinct(&self) -> u64 {
        self.accepted + self.foreign.len() as u64
    }
}

/// Where the records of a judged batch stand: the judgement, then its accepted candidates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRange {
    /// The seq of the `batch_judged` record.
    pub judged: Seq,
    /// How many accepted candidates follow it.
    pub accepted: u32,
}

impl BatchRange {
    /// Whether the record at `seq` is one of its accepted candidates.
    pub fn contains(&self, seq: Seq) -> bool {
        seq > self.judged && seq <= self.last()
    }

    /// The last record that belongs to it.
    pub fn last(&self) -> Seq {
        self.judged.plus(u64::from(self.accepted))
    }
}

/// How a lease ended, kept for a while so that a worker that missed the answer gets it again.
#[derive(Clone, Debug)]
pub struct Ended {
    /// The job.
    pub job: JobId,
    /// The grantee.
    pub worker: WorkerId,
    /// The other members of a gang.
    pub members: Box<[WorkerId]>,
    /// Who of them said how it ended, if one did.
    pub told_by: Option<WorkerId>,
    /// What came in under it.
    pub batches: Box<[BatchRange]>,
    /// How it ended.
    pub outcome: Outcome,
    /// The record that ended it.
    pub seq: Seq,
}

impl Ended {
    /// Whether it was this worker that said how it ended; of a gang only one member did.
    pub fn was_ended_by(&self, worker: &WorkerId) -> bool {
        self.members.is_empty() || self.told_by.as_ref().unwrap_or(&self.worker) == worker
    }
}

/// How a lease ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The job is done.
    Completed,
    /// The attempt failed.
    Failed {
        /// How.
        class: FailureClass,
        /// In words.
        message: String,
        /// Whether the job failed for good.
        finally: bool,
    },
    /// The worker gave it back.
    Released,
    /// The worker was lost.
    Expired,
    /// The job was cancelled.
    Cancelled,
}

/// The most ended leases that are remembered. Enough for every worker of a large cluster to ask again after a
/// restart; what is forgotten is answered with "not yours any more", which loses nothing.
const REMEMBERED: usize = 8192;

/// The last ended leases, oldest forgotten first.
#[derive(Default)]
pub(super) struct EndedLeases {
    by_lease: HashMap<LeaseId, Ended>,
    order: VecDeque<LeaseId>,
}

impl EndedLeases {
    pub(super) fn get(&self, lease: LeaseId) -> Option<&Ended> {
        self.by_lease.get(&lease)
    }

    pub(super) fn remember(&mut self, lease: LeaseId, ended: Ended) {
        self.by_lease.insert(lease, ended);
        self.order.push_back(lease);
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_lease.remove(&oldest);
        }
    }
}

//! Why a job does not run, and how a worker stands.

use orch_core::time::Timestamp;
use orch_proto::convert::job_state_name;
use orch_proto::v1;
use serde::Serialize;

use super::{some_text, some_time};
use crate::output::{Page, View};

/// Why a job does not run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct JobExplainedView {
    pub job: u64,
    pub state: &'static str,
    /// Every reason that holds, the one that can be helped most easily first.
    pub why: Vec<WhyView>,
}

/// A reason. What does not belong to it is null.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WhyView {
    /// Its stable name.
    pub code: String,
    pub text: String,
    pub limit: Option<String>,
    pub wants: Option<u32>,
    pub in_use: Option<u64>,
    pub max: Option<u32>,
    pub until: Option<Timestamp>,
    pub jobs: Vec<u64>,
    pub worker: Option<String>,
    pub kind: Option<String>,
    /// Jobs that go first, or workers that are full.
    pub count: Option<u64>,
    /// The other members of a gang that runs.
    pub workers: Vec<String>,
}

impl From<v1::Why> for WhyView {
    fn from(wire: v1::Why) -> Self {
        let v1::Why { code, text, limit, wants, in_use, max, until_unix_ms, jobs, worker, kind, count, workers } = wire;
        let counted = max > 0 || !limit.is_empty();
        Self {
            code,
            text,
            limit: some_text(limit),
            wants: (wants > 0).then_some(wants),
            in_use: counted.then_some(in_use),
            max: counted.then_some(max),
            until: some_time(until_unix_ms),
            jobs,
            worker: some_text(worker),
            kind: some_text(kind),
            count: (count > 0).then_some(count),
            workers,
        }
    }
}

impl From<v1::ExplainJobResponse> for JobExplainedView {
    fn from(wire: v1::ExplainJobResponse) -> Self {
        let state = job_state_name(wire.state());
        let v1::ExplainJobResponse { job, state: _, why } = wire;
        Self { job, state, why: why.into_iter().map(Into::into).collect() }
    }
}

impl View for JobExplainedView {
    fn table(&self, _page: &Page) -> String {
        let mut lines = vec![format!("job {} is {}", self.job, self.state)];
        lines.extend(self.why.iter().map(|why| format!("- {}", why.text)));
        lines.join("\n")
    }

    fn names(&self) -> Vec<String> {
        self.why.iter().map(|why| why.code.clone()).collect()
    }
}

/// How a worker stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct WorkerExplainedView {
    pub worker: String,
    pub stale: bool,
    pub draining: bool,
    /// Why it gets no jobs; null if it does.
    pub set_aside: Option<String>,
    pub slots: u32,
    pub leases: u64,
    pub offers: Vec<OfferView>,
    pub why: Vec<String>,
    /// What it would get if it asked now; null: nothing.
    pub next: Option<NextLeaseView>,
}

/// The job that would be leased next.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct NextLeaseView {
    pub job: u64,
    pub queue: String,
    pub kind: String,
    pub priority: i32,
    pub fair_key: Option<String>,
    /// One reason for each step of the choice.
    pub why: Vec<String>,
}

impl From<v1::NextLease> for NextLeaseView {
    fn from(wire: v1::NextLease) -> Self {
        let v1::NextLease { job, queue, kind, priority, fair_key, why } = wire;
        Self { job, queue, kind, priority, fair_key: some_text(fair_key), why }
    }
}

impl NextLeaseView {
    /// The job and why it, on a line.
    pub fn words(&self) -> String {
        format!("job {} of queue {}: {}", self.job, self.queue, self.why.join("; "))
    }
}

/// What a worker could have of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OfferView {
    pub kind: String,
    /// Ready jobs, held back or not.
    pub ready: u64,
    /// The one that a worker that asks gets; null if there is none, or none may run.
    pub next_job: Option<u64>,
}

impl From<v1::ExplainWorkerResponse> for WorkerExplainedView {
    fn from(wire: v1::ExplainWorkerResponse) -> Self {
        let v1::ExplainWorkerResponse { worker, stale, draining, slots, leases, offers, text, set_aside, next } = wire;
        let offer = |v1::KindOffer { kind, ready, next_job }| OfferView {
            kind,
            ready,
            next_job: (next_job > 0).then_some(next_job),
        };
        let set_aside = some_text(set_aside);
        Self {
            worker,
            stale,
            draining,
            set_aside,
            slots,
            leases,
            offers: offers.into_iter().map(offer).collect(),
            why: text,
            next: next.map(Into::into),
        }
    }
}

impl View for WorkerExplainedView {
    fn table(&self, _page: &Page) -> String {
        let mut lines = vec![format!("worker {} holds {} leases for {} slots", self.worker, self.leases, self.slots)];
        lines.extend(self.why.iter().map(|why| format!("- {why}")));
        lines.extend(self.next.iter().map(|next| format!("- its next lease would be {}", next.words())));
        lines.join("\n")
    }

    fn names(&self) -> Vec<String> {
        vec![self.worker.clone()]
    }
}

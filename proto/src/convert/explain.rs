//! Why a job does not run, and how a worker stands.

use orch_core::explain::{Offer, Why, WorkerSeen};
use orch_core::id::{JobId, WorkerId};
use orch_core::state::NextLease;

use crate::v1;

impl From<&Why> for v1::Why {
    fn from(why: &Why) -> Self {
        let mut wire = Self { code: why.code().to_owned(), text: why.to_string(), ..Self::default() };
        match why {
            Why::Blocked { on } => wire.jobs = on.iter().map(|job| job.get()).collect(),
            Why::Delayed { until } => wire.until_unix_ms = until.0,
            Why::GivesUp { at } => wire.until_unix_ms = at.0,
            Why::Leased { worker, lease: _, others } => {
                wire.worker = worker.to_string();
                wire.workers = others.iter().map(ToString::to_string).collect();
            }
            Why::Failed { class: _ }
            | Why::Paused { queue: _, reason: _ }
            | Why::RetriesPaused { reason: _ }
            | Why::GivenBack { at: _, reason: _ }
            | Why::Next
            | Why::OtherQueues
            | Why::OtherShares => {}
            Why::Tasks { tasks, left: _, open: _, failed: _ } => wire.count = *tasks,
            Why::QueueFull { queue: _, running, max } => (wire.in_use, wire.max) = (*running, *max),
            Why::NeverFits { target, wants, max } => {
                (wire.limit, wire.wants, wire.max) = (target.to_string(), *wants, *max);
            }
            Why::AtMax { target, wants, in_use, max } => {
                (wire.limit, wire.wants, wire.in_use, wire.max) = (target.to_string(), *wants, *in_use, *max);
            }
            Why::RateSpent { target, until } => (wire.limit, wire.until_unix_ms) = (target.to_string(), until.0),
            Why::NoWorker { kind, stale: _, draining: _, set_aside: _ } => wire.kind = kind.to_string(),
            Why::WorkersFull { kind, workers, leases } => {
                (wire.kind, wire.count, wire.in_use) = (kind.to_string(), *workers, *leases);
            }
            Why::NoFit { kind, lacking: _ } => wire.kind = kind.to_string(),
            Why::GangTooFew { needs, fit } => (wire.wants, wire.count) = (*needs, *fit),
            Why::GangWaits { needs, fit, free } => {
                (wire.wants, wire.max, wire.count) = (*needs, u32::try_from(*fit).unwrap_or(u32::MAX), *free);
            }
            Why::Gathers { kept, needs, left: _ } => (wire.wants, wire.count) = (*needs, *kept),
            Why::ResourcesTaken { needs: _, workers } => wire.count = *workers,
            Why::Behind { jobs } => wire.count = *jobs,
        }
        wire
    }
}

impl From<NextLease> for v1::NextLease {
    fn from(next: NextLease) -> Self {
        let NextLease { job, queue, kind, priority, fair_key, why } = next;
        Self {
            job: job.get(),
            queue: queue.to_string(),
            kind: kind.to_string(),
            priority,
            fair_key: fair_key.map(|value| value.to_string()).unwrap_or_default(),
            why,
        }
    }
}

/// How a worker stands.
pub fn worker_seen(worker: &WorkerId, seen: WorkerSeen) -> v1::ExplainWorkerResponse {
    let text = seen.words();
    let WorkerSeen { stale, draining, set_aside, slots, leases, offers, next } = seen;
    let offer = |Offer { kind, ready, next }: Offer| v1::KindOffer {
        kind: kind.to_string(),
        ready,
        next_job: next.map_or(0, JobId::get),
    };
    v1::ExplainWorkerResponse {
        worker: worker.to_string(),
        stale,
        draining,
        slots,
        leases,
        offers: offers.into_iter().map(offer).collect(),
        text,
        set_aside: set_aside.unwrap_or_default(),
        next: next.map(Into::into),
    }
}

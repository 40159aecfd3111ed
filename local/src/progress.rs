//! How far a run is.

use std::time::{Duration, Instant};

use orch_proto::v1;

/// How far a run is: jobs and candidates since the ledger began, rates since this run began.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    /// Jobs that may still come to something.
    pub open: u64,
    /// Jobs in a worker's hands.
    pub leased: u64,
    /// Jobs done.
    pub done: u64,
    /// Jobs failed for good.
    pub failed: u64,
    /// Jobs cancelled.
    pub cancelled: u64,
    /// Candidates accepted.
    pub accepted: u64,
    /// Candidates that were there before.
    pub duplicate: u64,
    /// Candidates rejected.
    pub rejected: u64,
    /// Workers that are connected.
    pub workers: u64,
    /// Candidates accepted a second, over this run.
    pub accepted_per_second: f64,
    /// How long this run takes so far.
    pub elapsed: Duration,
    /// How long it will take, if jobs go on ending as they did in this run.
    pub remaining: Option<Duration>,
}

/// Makes [`Progress`] of the orchestrator's statistics.
pub(crate) struct Meter {
    started: Instant,
    accepted_before: Option<u64>,
    ended_before: u64,
}

impl Meter {
    pub(crate) fn start() -> Self {
        Self { started: Instant::now(), accepted_before: None, ended_before: 0 }
    }

    pub(crate) fn read(&mut self, stats: &v1::StatsResponse) -> Progress {
        let jobs = stats.jobs.unwrap_or_default();
        let candidates = stats.candidates.unwrap_or_default();
        let open = jobs.blocked + jobs.ready + jobs.delayed + jobs.leased;
        let ended = jobs.done + jobs.failed + jobs.cancelled;
        let accepted_before = *self.accepted_before.get_or_insert_with(|| {
            self.ended_before = ended;
            candidates.accepted
        });
        let elapsed = self.started.elapsed();
        let ended_now = ended.saturating_sub(self.ended_before);
        let remaining = (ended_now > 0).then(|| elapsed.mul_f64(open as f64 / ended_now as f64));
        Progress {
            open,
            leased: jobs.leased,
            done: jobs.done,
            failed: jobs.failed,
            cancelled: jobs.cancelled,
            accepted: candidates.accepted,
            duplicate: candidates.duplicate,
            rejected: candidates.rejected,
            workers: stats.workers.map_or(0, |workers| workers.live),
            accepted_per_second: candidates.accepted.saturating_sub(accepted_before) as f64
                / elapsed.as_secs_f64().max(1e-3),
            elapsed,
            remaining,
        }
    }
}

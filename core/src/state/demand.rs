//! How much work there is for a pool of workers.

use super::State;
use crate::demand::{Demand, WorkerPool};
use crate::time::Timestamp;

impl State {
    /// What runs of a pool's work, and what could start now. It looks at each lane and each lease once.
    ///
    /// Jobs that could start are counted together: of a hundred that share a limit with room for three, three count, in
    /// the order of their priorities. What is limited is shared with nobody: jobs of other pools that want the same are
    /// not subtracted. A rate counts for what it lets start now, and for one job where that is nothing, so that
    /// waiting for the next token does not look like having nothing to do.
    pub fn demand(&self, pool: &WorkerPool, now: Timestamp) -> Demand {
        let mut demand = self.schedule.demand(pool, now);
        for lease in self.leases.values() {
            let Some(job) = self.jobs.get(&lease.job) else { continue };
            let (queue, kind, _) = self.schedule.lane(job.lane);
            if pool.serves(queue, kind)
                && let Some(share) = pool.share(self.schedule.requirements(job.lane))
            {
                demand.add_running(share);
            }
        }
        demand
    }
}

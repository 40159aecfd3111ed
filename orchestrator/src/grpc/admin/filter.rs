//! From the conditions of a caller to the filters of the index and of the state.

use orch_core::access::Queues;
use orch_core::id::JobId;
use orch_core::state::{JobFilter, OpenState};
use orch_core::summary::JobPhase;
use orch_proto::convert::JobConditions;
use tonic::Status;

use super::{Admin, behind, refused, unindexed};
use crate::index::Filter;

/// How many jobs are asked of the index at once.
const PAGE: usize = 10_000;

/// The part of the conditions that the index knows, and the idempotency key, which only the state knows.
pub(super) fn of_index(conditions: JobConditions) -> (Filter, Option<String>) {
    let JobConditions { queue, kind, phases, worker, jobs, class, since, name, idempotency_key, array } = conditions;
    let within = Queues::All;
    (Filter { queue, kind, phases, worker, jobs, class, since, name, array, within }, idempotency_key)
}

const fn open_state(phase: JobPhase) -> Option<OpenState> {
    match phase {
        JobPhase::Blocked => Some(OpenState::Blocked),
        JobPhase::Ready => Some(OpenState::Ready),
        JobPhase::Delayed => Some(OpenState::Delayed),
        JobPhase::Leased => Some(OpenState::Leased),
        JobPhase::Running => Some(OpenState::Running),
        JobPhase::Failed => Some(OpenState::Failed),
        JobPhase::Done | JobPhase::Cancelled => None,
    }
}

impl Admin {
    /// The index's filter with the key resolved; None if no job can meet the conditions.
    pub(super) async fn index_filter(
        &self,
        conditions: JobConditions,
        within: Queues,
    ) -> Result<Option<Filter>, Status> {
        let (mut filter, key) = of_index(conditions);
        filter.within = within;
        let Some(key) = key else { return Ok(Some(filter)) };
        let known = self.handle.query(move |engine, _| engine.state().job_of_key(&key)).await.map_err(refused)?;
        Ok(known.filter(|job| filter.jobs.is_empty() || filter.jobs.contains(job)).map(|job| {
            filter.jobs = vec![job];
            filter
        }))
    }

    /// The state's filter: which open and failed jobs meet the conditions. None if none can. What only the index
    /// knows (names, times) is looked up there; an index that lags behind then refuses, because something is done to
    /// the jobs that are found.
    pub(super) async fn open_filter(
        &self,
        conditions: JobConditions,
        within: Queues,
    ) -> Result<Option<JobFilter>, Status> {
        let Some(filter) = self.index_filter(conditions, within).await? else { return Ok(None) };
        let states: Vec<OpenState> = filter.phases.iter().filter_map(|phase| open_state(*phase)).collect();
        if states.is_empty() && !filter.phases.is_empty() {
            return Ok(None);
        }
        let jobs = if filter.name.is_some() || filter.since.is_some() || filter.array.is_some() {
            let jobs = self.jobs_in_index(filter.clone()).await?;
            if jobs.is_empty() {
                return Ok(None);
            }
            jobs
        } else {
            filter.jobs
        };
        let Filter { queue, kind, phases: _, worker, jobs: _, class, since: _, name: _, array: _, within } =
            Filter { jobs: Vec::new(), ..filter };
        Ok(Some(JobFilter { queue, kind, states, worker, jobs, class, failed_since: None, within }))
    }

    async fn jobs_in_index(&self, filter: Filter) -> Result<Vec<JobId>, Status> {
        let (last, status) = self.caught_up().await?;
        if status.applied < last {
            return Err(behind(last, &status));
        }
        let mut found = Vec::new();
        let mut after = Some(JobId::new(0));
        while let Some(from) = after {
            let page = self.index.list(filter.clone(), from, PAGE).await.map_err(unindexed)?;
            found.extend(page.jobs.into_iter().map(|(job, _)| job));
            after = page.next;
        }
        Ok(found)
    }
}

//! Looking at jobs, and waiting for their end.

use std::path::Path;

use orch_core::id::{JobId, QueueName, Seq};
use orch_core::record::{Event, Record};
use orch_core::time::Span;
use orch_ledger::reader::{FollowError, Follower};
use orch_proto::convert::{self, Faults, JobConditions, MAX_WAIT};
use orch_proto::v1;
use tonic::Status;

use super::{Admin, behind, internal, invalid, not_found, refused, unindexed};
use crate::access::Caller;
use crate::engine::commands::admin::WaitJobs;
use crate::index::{Entry, Filter};

/// The most jobs of a page, and how many come if the caller does not say.
const MAX_PAGE: u32 = 10_000;
const PAGE: u32 = 100;

/// The most jobs that one call waits for.
const MAX_AWAITED: usize = 10_000;

/// The most records of a history that are shown: the first, and the last of the others.
const MAX_HISTORY: usize = 1000;

/// Records so close together are read in one go.
const NEAR: u64 = 1000;

impl Admin {
    /// A job of the index, if the caller may see it. An error says whether it does not exist or is not there yet; one of
    /// a queue that the caller may not touch does not exist for it.
    pub(super) async fn entry(&self, caller: &Caller, job: JobId) -> Result<Entry, Status> {
        let (last, status) = self.caught_up().await?;
        match self.index.get(job).await.map_err(unindexed)? {
            Some(entry) if caller.may_touch(&entry.summary.queue) => Ok(entry),
            Some(_) => Err(not_found(format!("job {job} does not exist"), "job")),
            None if job.0 <= last && status.applied < last => Err(behind(last, &status)),
            None => Err(not_found(format!("job {job} does not exist"), "job")),
        }
    }

    pub(super) async fn show_job(
        &self,
        caller: &Caller,
        request: v1::GetJobRequest,
    ) -> Result<v1::GetJobResponse, Status> {
        let v1::GetJobRequest { job } = request;
        let job = JobId::new(job);
        let Entry { summary, history } = self.entry(caller, job).await?;
        let lease = summary.lease;
        let volatile = self.handle.query(move |engine, now| {
            let progress = lease.and_then(|lease| {
                let (progress, _) = engine.liveness().progress(lease, now.tick)?;
                Some(v1::LeaseProgress {
                    lease: lease.get(),
                    fraction: progress.fraction,
                    note: progress.note.clone(),
                    step: v1::MemberStep::Unspecified.into(),
                })
            });
            (progress, engine.state().waits_until(job))
        });
        let (progress, waits_until) = volatile.await.map_err(refused)?;
        let data = self.about.data.clone();
        let read = tokio::task::spawn_blocking(move || {
            let lines = read_history(&data, &history)?;
            let array = match lines.first() {
                Some((Record { event: Event::TaskMade { array, .. }, .. }, _)) => read_history(&data, &[array.0])?,
                Some(_) | None => Vec::new(),
            };
            Ok::<_, FollowError>((lines, array))
        });
        let (lines, array) = read.await.map_err(|error| internal(&error))?.map_err(|error| internal(&error))?;
        let submitted = |lines: &[(Record, String)]| match lines.first() {
            Some((Record { event: Event::JobSubmitted(submitted), .. }, _)) => Some(submitted.clone()),
            Some(_) | None => None,
        };
        let (spec, depends_on) = match (submitted(&lines), submitted(&array), summary.task) {
            (Some(submitted), _, _) => (Some(submitted.spec), submitted.depends_on),
            (None, Some(array), Some(task)) => (array.spec.task(task), Vec::new()),
            (None, _, _) => (None, Vec::new()),
        };
        let line = |(record, event_json): (Record, String)| v1::HistoryLine {
            seq: record.seq.0,
            at_unix_ms: record.at.0,
            event_json,
        };
        Ok(v1::GetJobResponse {
            summary: Some(convert::summary(job, summary)),
            spec: spec.as_ref().map(Into::into),
            history: lines.into_iter().map(line).collect(),
            depends_on: depends_on.into_iter().map(JobId::get).collect(),
            progress,
            waits_until_unix_ms: waits_until.map_or(0, |until| until.0),
        })
    }

    pub(super) async fn page_of_jobs(
        &self,
        caller: &Caller,
        request: v1::ListJobsRequest,
    ) -> Result<v1::ListJobsResponse, Status> {
        let v1::ListJobsRequest { filter, limit, after_job } = request;
        let conditions: JobConditions = filter.unwrap_or_default().try_into()?;
        let limit = match limit {
            0 => PAGE,
            limit => limit.min(MAX_PAGE),
        };
        let Some(filter) = self.index_filter(conditions, caller.queues()).await? else {
            return Ok(v1::ListJobsResponse::default());
        };
        self.caught_up().await?;
        let page = self.index.list(filter, JobId::new(after_job), limit as usize).await.map_err(unindexed)?;
        Ok(v1::ListJobsResponse {
            jobs: page.jobs.into_iter().map(|(job, summary)| convert::summary(job, summary)).collect(),
            next_after_job: page.next.map_or(0, JobId::get),
        })
    }

    pub(super) async fn wait_for_jobs(
        &self,
        caller: &Caller,
        request: v1::WaitJobsRequest,
    ) -> Result<v1::WaitJobsResponse, Status> {
        let v1::WaitJobsRequest { jobs, queue, timeout_ms } = request;
        if jobs.len() > MAX_AWAITED {
            return Err(invalid(format!("{} jobs, at most {MAX_AWAITED} are allowed", jobs.len()), "jobs"));
        }
        let jobs: Vec<JobId> = jobs.into_iter().map(JobId::new).collect();
        let queue = if queue.is_empty() { None } else { Some(self.known_queue(&queue).await?) };
        match &queue {
            Some(queue) => caller.check_queue(queue, "queue")?,
            None if jobs.is_empty() => caller.check_all_queues("queue", ": name a queue, or jobs")?,
            None => {}
        }
        let jobs = self.touchable(caller, jobs).await?;
        let wait = Span(timeout_ms).min(MAX_WAIT);
        let command = WaitJobs { jobs: jobs.clone(), queue, wait, until: None };
        let waiting = self.handle.call_and_wait(command);
        let open = tokio::select! {
            replied = waiting => replied.map_err(refused)?.answer,
            () = self.stopping.cancelled() => return Err(refused(crate::engine::CallError::Stopped)),
        };
        let mut response = v1::WaitJobsResponse { ended: open == 0, jobs: Vec::new(), open };
        if !jobs.is_empty() {
            self.caught_up().await?;
            let filter = Filter { jobs, within: caller.queues(), ..Filter::default() };
            let page = self.index.list(filter, JobId::new(0), MAX_AWAITED).await.map_err(unindexed)?;
            response.jobs = page.jobs.into_iter().map(|(job, summary)| convert::summary(job, summary)).collect();
        }
        Ok(response)
    }

    /// Those of the jobs that the caller may touch. The others are none, for it.
    async fn touchable(&self, caller: &Caller, mut jobs: Vec<JobId>) -> Result<Vec<JobId>, Status> {
        let within = caller.queues();
        if !within.is_held() || jobs.is_empty() {
            return Ok(jobs);
        }
        let first = jobs[0];
        let look = self.handle.query(move |engine, _| {
            let state = engine.state();
            // One that is not in the state has ended: there is nothing to wait for, and the index shows only its own.
            jobs.retain(|id| state.job(*id).is_none_or(|job| within.contain(state.lane(job).0)));
            jobs
        });
        let jobs = look.await.map_err(refused)?;
        if jobs.is_empty() { Err(not_found(format!("job {first} does not exist"), "jobs")) } else { Ok(jobs) }
    }

    /// A queue that exists.
    async fn known_queue(&self, name: &str) -> Result<QueueName, Status> {
        let mut faults = Faults::new();
        let Some(queue) = faults.take("queue", QueueName::new(name)) else { return Err(faults.into()) };
        let asked = queue.clone();
        let known = self.handle.query(move |engine, _| engine.state().queues().contains_key(&asked));
        if known.await.map_err(refused)? {
            return Ok(queue);
        }
        Err(not_found(format!("queue {queue} does not exist"), "queue"))
    }
}

/// The records of a job, with their events as they stand in the ledger.
fn read_history(data: &Path, history: &[Seq]) -> Result<Vec<(Record, String)>, FollowError> {
    let skipped = history.len().saturating_sub(MAX_HISTORY);
    let shown = history.iter().take(1).chain(history.iter().skip(1 + skipped));
    let mut reader: Option<Follower> = None;
    let mut found = Vec::new();
    for &seq in shown {
        let near = |reader: &Follower| (reader.next_seq()..=Seq(reader.next_seq().0 + NEAR)).contains(&seq);
        let reader = match &mut reader {
            Some(reader) if near(reader) => reader,
            place => place.insert(Follower::new(data, seq)),
        };
        while let Some(line) = reader.next_line(seq)? {
            if line.seq == seq
                && let Ok(record) = line.record()
            {
                found.push((record, line.event_json.to_owned()));
            }
        }
    }
    Ok(found)
}

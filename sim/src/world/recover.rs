//! The end of the faults, and what must come to be after it.

use orch_core::id::JobId;
use orch_core::state::{JobState, State};
use orch_core::time::Timestamp;

use super::faults::Weather;
use super::jobs::TTL;
use super::worker::SimWorker;
use super::{Happening, World, machines};
use crate::checker::Rule;

/// How long after the faults everything that is open must be leased again.
const ALIVE_WITHIN: u64 = 3 * TTL;

/// The same where only one thing went wrong.
const ALIVE_WITHIN_ONE: u64 = 2 * TTL;

/// How long after the faults everything must have ended.
const DONE_WITHIN: u64 = 150_000;

impl World {
    /// Everything works from now on.
    pub(super) fn faults_end(&mut self) {
        self.trace.step(self.now, format_args!("the faults end"));
        self.calm = true;
        self.weather = Weather::default();
        self.stalled_until = self.now;
        self.process.wall_off = 0;
        self.process.dir.set_capacity(None);
        self.process.heal_disk();
        self.power = false;
        if self.process.engine.is_none() {
            self.at(self.now + 1, Happening::OrchestratorStarts);
        } else {
            let now = self.now;
            self.engine_by(now);
        }
        for worker in 0..self.workers.len() {
            let sim = &mut self.workers[worker];
            sim.frozen_until = sim.frozen_until.min(self.now);
            sim.cut_off_until = 0;
            self.at(self.now + 1, Happening::WorkerStarts { worker, renamed: false });
        }
        if let Err(error) = self.people.resume_all(self.now) {
            self.wrong(Rule::Liveness, error);
        }
    }

    /// Three times the time to live after the faults no job may be held by nobody, or wait for a worker in vain. It waits in
    /// vain when nothing has been leased for a while: a schedule that catches up after a jump of the clock makes more jobs
    /// than the workers can do in that time, one after the other.
    pub(super) fn check_alive(&mut self) {
        if !self.calm || self.alive_checked {
            return;
        }
        let Some(engine) = &self.process.engine else { return };
        let state = engine.state();
        let newest = state.leases().keys().max().copied();
        if newest > self.newest_lease.0 {
            self.newest_lease = (newest, self.now);
        }
        if self.open_at_end.is_none() {
            let open: Vec<JobId> = state.held_jobs().into_iter().filter(|job| state.is_open(*job)).collect();
            self.open_at_end = Some((state.last_seq().0, open));
        }
        let within = if self.options.target.is_some() { ALIVE_WITHIN_ONE } else { ALIVE_WITHIN };
        if self.now < self.until + within {
            return;
        }
        let Some((last, jobs)) = &self.open_at_end else { return };
        let (mut waiting, mut held) = (Vec::new(), Vec::new());
        for job in jobs {
            match state.job(*job).map(|job| &job.state) {
                Some(JobState::Ready) if !self.is_for_nobody(state, *job) => {
                    waiting.push(format!("job {job} is ready and nobody takes it"));
                }
                Some(JobState::Leased { lease }) if lease.get() <= *last => {
                    held.push(format!("job {job} is held under lease {lease}, from before the end of the faults"));
                }
                Some(
                    JobState::Ready
                    | JobState::Leased { .. }
                    | JobState::Failed { .. }
                    | JobState::Blocked { .. }
                    | JobState::Delayed { .. }
                    | JobState::Running,
                )
                | None => {}
            }
        }
        let granting = self.now < self.newest_lease.1 + TTL;
        if granting && !waiting.is_empty() && held.is_empty() {
            return;
        }
        self.alive_checked = true;
        waiting.append(&mut held);
        // The engine looks at the calendar at least once a second.
        let wall = self.process.now(self.now.saturating_sub(3_000)).wall;
        let passed = state.schedules().iter().filter(|(_, known)| known.paused.is_none());
        let passed = passed.filter(|(_, known)| known.next.is_some_and(|next| next <= wall));
        waiting.extend(passed.map(|(name, known)| format!("schedule {name} was to come at {:?}", known.next)));
        for message in waiting {
            self.wrong(Rule::Liveness, message);
        }
    }

    /// Whether nothing is left to do; something is wrong if that takes too long.
    pub(super) fn all_done(&mut self) -> bool {
        let Some(engine) = &self.process.engine else { return false };
        let state = engine.state();
        let open: Vec<JobId> = state.held_jobs().into_iter().filter(|job| state.is_open(*job)).collect();
        // Who waits for so long would leave no time to be done.
        let horizon = self.process.now(self.until + DONE_WITHIN / 2).wall;
        let left: Vec<JobId> = open.into_iter().filter(|job| !self.waits_for_long(state, *job, horizon, 0)).collect();
        if left.is_empty() && self.people.content() {
            return true;
        }
        if self.now > self.until + DONE_WITHIN {
            let message =
                format!("the run does not end: jobs {left:?} are open, people are content: {}", self.people.content());
            self.wrong(Rule::Liveness, message);
            return true;
        }
        false
    }

    /// Whether a job waits, or waits for one that waits, until a time that the wall clock showed while it was wrong, or for a
    /// worker that there is not.
    fn waits_for_long(&self, state: &State, job: JobId, horizon: Timestamp, depth: u32) -> bool {
        match state.job(job).map(|job| &job.state) {
            Some(JobState::Delayed { until }) => *until > horizon,
            Some(JobState::Blocked { waiting_on }) => {
                depth < 16 && waiting_on.iter().any(|on| self.waits_for_long(state, *on, horizon, depth + 1))
            }
            // An array ends with the last of its tasks.
            Some(JobState::Running) => state.array(job).is_some_and(|array| {
                let open = array.held().iter().filter(|task| state.is_open(**task));
                depth < 16 && open.into_iter().any(|task| self.waits_for_long(state, *task, horizon, depth + 1))
            }),
            Some(JobState::Ready) => self.is_for_nobody(state, job),
            Some(JobState::Leased { .. } | JobState::Failed { .. }) | None => false,
        }
    }

    /// Whether nobody could ever have a job: it is kept away from each worker that has what it needs by now, or
    /// none of them lives for so long.
    fn is_for_nobody(&self, state: &State, job: JobId) -> bool {
        let last = self.until + DONE_WITHIN;
        let left = |worker: &SimWorker| worker.limit.left_until(last, self.now);
        let workers = self.workers.iter().map(|worker| (&worker.name, &worker.machine, left(worker)));
        state.job(job).is_some_and(|job| !machines::anybody_could(state.requirements(job), workers))
    }
}

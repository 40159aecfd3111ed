//! A state that is driven as the engine drives it, and what must hold of it after every event.

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::contract::{Contract, ContractSpec, Screen};
use orch_core::id::{JobId, QueueName};
use orch_core::job::Payload;
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, Job, JobState, Judged, State, Submission};
use orch_core::summary::{JobPhase, JobSummary, job_of};
use orch_core::time::{Span, Timestamp};

pub(crate) fn contract(complete: bool) -> ContractSpec {
    let mut spec = serde_json::json!({
        "contract": if complete { "counted" } else { "plain" },
        "version": 1,
        "schema": {"type": "object", "required": ["t"], "properties": {"t": {"type": "number"}}},
        "tolerance": [{"field": "t", "abs_lt": 1000}],
        "identity": [{"field": "t", "quantum": 1}],
    });
    if complete {
        spec["complete"] = serde_json::json!({"count": {"payload": "count"}});
    }
    serde_json::from_value(spec).unwrap()
}

pub(crate) fn queue(name: &str, contract: &str) -> QueueSpec {
    let mut queue = QueueSpec::new(QueueName::new(name).unwrap());
    queue.contract = Some(contract.parse().unwrap());
    queue.kind = Some("k".parse().unwrap());
    let retry = RetryPatch {
        backoff: Some(Span(1000)),
        jitter: Some(Span(100)),
        crash_limit: Some(2),
        ..RetryPatch::default()
    };
    queue.retry = retry;
    queue
}

/// A state that is driven like the engine drives it, with everything it recorded.
pub(crate) struct Driven {
    pub(crate) state: State,
    pub(crate) records: Vec<Record>,
    pub(crate) summaries: BTreeMap<JobId, JobSummary>,
    /// The tasks of each array that were made.
    pub(crate) made: BTreeMap<JobId, Vec<i64>>,
    pub(crate) now: Timestamp,
    pub(crate) screen: Screen,
}

impl Driven {
    pub(crate) fn new() -> Self {
        let screen =
            |spec| Arc::new(Contract::compile(spec).unwrap()).bind(&Payload::parse(b"{\"count\":2}").unwrap()).unwrap();
        let mut driven = Self {
            state: State::default(),
            records: Vec::new(),
            summaries: BTreeMap::new(),
            made: BTreeMap::new(),
            now: Timestamp(1_000_000),
            screen: screen(contract(true)),
        };
        let submission = Submission {
            contracts: vec![contract(true), contract(false)],
            queues: vec![queue("counted", "counted@1"), queue("plain", "plain@1")],
            ..Submission::default()
        };
        let decision = driven.state.submit(&submission, driven.now).unwrap();
        driven.record(decision);
        driven
    }

    pub(crate) fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let seq = self.state.next_seq();
            // Through its JSON, as the ledger would.
            let text = serde_json::to_string(&event).unwrap();
            let event: Event = serde_json::from_str(&text).unwrap();
            let record = Record { seq, at: self.now, event };
            self.state.apply(&record).unwrap();
            if let Some(job) = job_of(&record) {
                self.summarise(job, &record);
            }
            self.note_task(&record);
            self.records.push(record);
            // Between a batch's judgement and its candidates the counts are on their way.
            self.check();
        }
        decision.answer
    }

    fn summarise(&mut self, job: JobId, record: &Record) {
        let before = self.summaries.get(&job).cloned();
        let after = if let Event::TaskMade { array, .. } = &record.event {
            JobSummary::begin_task(&self.summaries[array], record).unwrap()
        } else if let Some(summary) = JobSummary::begin(record) {
            summary
        } else {
            let mut after = before.clone().unwrap();
            after.take(record);
            after
        };
        if let Some(task) = after.task {
            self.summaries.get_mut(&task.array).unwrap().follow(before.as_ref(), &after);
        }
        self.summaries.insert(job, after);
    }

    /// Each task of an array is made once, in order, and leased by the record behind it.
    fn note_task(&mut self, record: &Record) {
        if let Some(Event::TaskMade { .. }) = self.records.last().map(|last| &last.event) {
            let made = JobId(self.records.last().unwrap().seq);
            assert!(matches!(&record.event, Event::LeaseGranted { job, attempt: 1, .. } if *job == made));
        }
        if let Event::TaskMade { array, index } = &record.event {
            let made = self.made.entry(*array).or_default();
            assert!(made.last().is_none_or(|last| last < index), "tasks are made in order, each once");
            made.push(*index);
        }
    }

    /// What must hold after every event.
    fn check(&self) {
        let state = &self.state;
        let mut leased = BTreeMap::new();
        for (id, job) in state.jobs() {
            if let JobState::Leased { lease } = &job.state {
                assert!(leased.insert(*lease, id).is_none(), "two jobs under one lease");
                assert_eq!(state.leases()[lease].job, id);
            }
            if let JobState::Blocked { waiting_on } = &job.state {
                assert!(waiting_on.iter().all(|on| *on < id));
            }
        }
        assert_eq!(leased.len(), state.leases().len(), "a lease without its job, or two leases of one job");
        let mut phases = BTreeMap::new();
        for (id, summary) in &self.summaries {
            // An array counts for the tasks that were not made; of one that was cancelled they were cancelled with it.
            let weight = match (&summary.tasks, summary.phase) {
                (None, _) => 1,
                (Some(tasks), JobPhase::Cancelled) => tasks.tasks() - self.made.get(id).map_or(0, |m| m.len() as u64),
                (Some(tasks), _) => tasks.left,
            };
            *phases.entry(summary.phase).or_insert(0) += weight;
            self.check_array(*id, summary);
            let live = state.job(*id).map(|job| phase(&job.state));
            let expected = match summary.phase {
                JobPhase::Done | JobPhase::Cancelled => None,
                open => Some(open),
            };
            assert_eq!(live, expected, "job {id}: its summary and the state disagree");
        }
        let counts = state.counts().jobs;
        let count = |phase| phases.get(&phase).copied().unwrap_or(0);
        assert_eq!(counts.ready, count(JobPhase::Ready));
        assert_eq!(counts.leased, count(JobPhase::Leased));
        assert_eq!(counts.done, count(JobPhase::Done));
        assert_eq!(counts.failed, count(JobPhase::Failed));
        assert_eq!(counts.cancelled, count(JobPhase::Cancelled));
        assert_eq!(counts.blocked, count(JobPhase::Blocked));
        assert_eq!(counts.delayed, count(JobPhase::Delayed));
    }

    /// The ready jobs that do not wait for ever, and until when each does. An array waits for its first task only.
    pub(crate) fn waits(&self) -> impl Iterator<Item = (JobId, Timestamp)> {
        let begun = |id: &JobId| self.made.contains_key(id);
        let ready = self.summaries.iter().filter(|(_, summary)| summary.phase == JobPhase::Ready);
        ready.filter_map(move |(id, summary)| {
            let waits = self.state.job(*id).and_then(|job| self.state.queue_timeout(job)).filter(|_| !begun(id));
            let until = waits.map(|wait| summary.changed_at.plus(wait));
            assert_eq!(self.state.waits_until(*id), until);
            until.map(|until| (*id, until))
        })
    }

    /// An array's counts are those of its tasks, in the state and in its summary.
    fn check_array(&self, id: JobId, summary: &JobSummary) {
        assert_eq!(self.state.array(id).is_some(), summary.tasks.is_some() && self.state.job(id).is_some());
        let Some(tasks) = summary.tasks else { return };
        let of_array = self.summaries.values().filter(|other| other.task.is_some_and(|task| task.array == id));
        let mut counts = [0; 4];
        for task in of_array {
            counts[match task.phase {
                JobPhase::Done => 1,
                JobPhase::Failed => 2,
                JobPhase::Cancelled => 3,
                _ => 0,
            }] += 1;
        }
        if summary.phase != JobPhase::Cancelled {
            assert_eq!([tasks.open, tasks.done, tasks.failed, tasks.cancelled], counts, "array {id}");
        }
        if let Some(array) = self.state.array(id) {
            assert_eq!([array.open(), array.done, array.failed, array.cancelled], counts, "array {id}");
            assert_eq!((array.left, array.tasks()), (tasks.left, tasks.tasks()));
            let made = array.held().iter().map(|task| self.state.task(*task).unwrap());
            assert!(made.into_iter().all(|task| task.array == id && self.made[&id].contains(&task.index)));
        }
        // As long as a task is open, or left to make, it is too.
        if counts[0] + tasks.left > 0 {
            let open = [JobPhase::Blocked, JobPhase::Ready, JobPhase::Delayed, JobPhase::Running];
            assert!(open.contains(&summary.phase), "array {id} is over before its tasks");
        }
    }

    pub(crate) fn judged(&self, values: &[i32], queue: &str) -> Vec<Judged> {
        let spec = contract(queue == "counted");
        let screen =
            Arc::new(Contract::compile(spec).unwrap()).bind(&Payload::parse(b"{\"count\":2}").unwrap()).unwrap();
        values.iter().map(|t| screen.judge(format!("{{\"t\":{}}}", f64::from(*t) / 4.0).as_bytes())).collect()
    }
}

pub(crate) fn is_leased(job: &Job) -> bool {
    matches!(job.state, JobState::Leased { .. })
}

pub(crate) fn phase(state: &JobState) -> JobPhase {
    match state {
        JobState::Blocked { .. } => JobPhase::Blocked,
        JobState::Ready => JobPhase::Ready,
        JobState::Delayed { .. } => JobPhase::Delayed,
        JobState::Leased { .. } => JobPhase::Leased,
        JobState::Running => JobPhase::Running,
        JobState::Failed { .. } => JobPhase::Failed,
    }
}

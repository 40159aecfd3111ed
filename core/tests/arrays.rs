//! Arrays by example: what they cost, who waits for them, what becomes of them when tasks fail or are cancelled.

use orch_core::array::{ArraySpec, Tasks, running_tasks};
use orch_core::explain;
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::limit::LimitSpec;
use orch_core::liveness::{Liveness, STALE_AFTER};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, FailureClass, Record};
use orch_core::state::{Decision, FailureReport, Granted, JobState, LeaseRequest, State, Submission, SubmitFault};
use orch_core::state::{JobFilter, OpenState, SubmitRefusal};
use orch_core::time::{Now, Tick, Timestamp};

const NOW: Timestamp = Timestamp(1_000_000);

#[derive(Default)]
struct Cluster {
    state: State,
    events: Vec<Event>,
}

fn worker() -> WorkerId {
    "w".parse().unwrap()
}

fn array(tasks: &str) -> JobSpec {
    let mut spec = JobSpec::new("q".parse().unwrap(), Payload::parse(b"{\"x\":1}").unwrap());
    spec.name = Some(tasks.to_owned());
    spec.array = Some(tasks.parse().unwrap());
    spec
}

impl Cluster {
    fn new() -> Self {
        let mut cluster = Self::default();
        let retry = RetryPatch { max_attempts: Some(1), ..RetryPatch::default() };
        let queue = QueueSpec { kind: Some("k".parse().unwrap()), retry, ..QueueSpec::new("q".parse().unwrap()) };
        let decision = cluster.state.submit(&Submission { queues: vec![queue], ..Submission::default() }, NOW).unwrap();
        cluster.record(decision);
        cluster
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let record = Record { seq: self.state.next_seq(), at: NOW, event };
            self.state.apply(&record).unwrap();
            self.events.push(record.event);
        }
        decision.answer
    }

    fn submit(&mut self, jobs: Vec<JobSpec>) -> Vec<JobId> {
        let decision = self.state.submit(&Submission { jobs, ..Submission::default() }, NOW).unwrap();
        self.record(decision).jobs.into_iter().map(|(id, _)| id).collect()
    }

    fn lease(&mut self) -> Option<Granted> {
        let request = LeaseRequest::new(worker(), vec!["k".parse().unwrap()], 1);
        let decision = self.state.lease(&request, &mut |_| Payload::parse(b"{\"x\":1}").unwrap());
        self.record(decision)
    }

    fn complete(&mut self, lease: LeaseId) {
        let decision = self.state.complete(&worker(), lease, 0, NOW).unwrap();
        self.record(decision);
    }

    fn fail(&mut self, lease: LeaseId) {
        let report = FailureReport::new(FailureClass::Error, "no");
        let decision = self.state.fail(&worker(), lease, report, NOW).unwrap();
        self.record(decision);
    }

    fn cancel(&mut self, job: JobId) {
        let decision = self.state.cancel(job, "enough");
        assert!(self.record(decision));
    }

    fn retry(&mut self, job: JobId) -> bool {
        let decision = self.state.retry(job);
        self.record(decision)
    }

    fn state_of(&self, job: JobId) -> Option<OpenState> {
        self.state.job(job).map(|job| job.state.open_state())
    }

    fn last(&self) -> String {
        serde_json::to_string(self.events.last().unwrap()).unwrap()
    }
}

#[test]
fn a_million_tasks_are_one_record_until_they_are_leased() {
    let mut cluster = Cluster::new();
    let id = cluster.submit(vec![array("1-1000000")])[0];
    assert_eq!((cluster.state.last_seq(), cluster.state.counts().jobs.ready), (id.0, 1_000_000));
    for index in 1..=3 {
        let granted = cluster.lease().unwrap();
        assert_eq!(granted.payload.as_str(), format!("{{\"task\":{index},\"x\":1}}"));
        let task = cluster.state.task(granted.job).unwrap();
        assert_eq!((task.array, task.index, Some(task)), (id, index, granted.task));
    }
    let counts = cluster.state.counts().jobs;
    assert_eq!((counts.ready, counts.leased, cluster.state.jobs().count()), (999_997, 3, 4));
    cluster.cancel(id);
    let counts = cluster.state.counts().jobs;
    assert_eq!((counts.open(), counts.cancelled, cluster.state.jobs().count()), (0, 1_000_000, 0));
}

#[test]
fn a_job_waits_for_every_task() {
    let mut cluster = Cluster::new();
    let after = JobSpec { array: None, depends_on: vec!["1-2".into()], name: None, ..array("1") };
    let ids = cluster.submit(vec![array("1-2"), after]);
    let (first, second) = (cluster.lease().unwrap(), cluster.lease().unwrap());
    assert!(cluster.lease().is_none());
    assert_eq!(cluster.state_of(ids[0]), Some(OpenState::Running));
    cluster.complete(first.lease);
    assert_eq!(cluster.state_of(ids[1]), Some(OpenState::Blocked));
    cluster.complete(second.lease);
    assert_eq!((cluster.state_of(ids[0]), cluster.state_of(ids[1])), (None, Some(OpenState::Ready)));
    assert!(cluster.events.iter().any(|event| matches!(event, Event::ArrayEnded { done: 2, failed: 0, .. })));
}

#[test]
fn a_failed_task_fails_its_array_at_the_end_and_can_be_put_back() {
    let mut cluster = Cluster::new();
    let after = JobSpec { array: None, depends_on: vec!["1-2".into()], name: None, ..array("1") };
    let ids = cluster.submit(vec![array("1-2"), after]);
    let (first, second) = (cluster.lease().unwrap(), cluster.lease().unwrap());
    cluster.fail(first.lease);
    assert_eq!(cluster.state_of(ids[0]), Some(OpenState::Running), "the other task runs");
    cluster.complete(second.lease);
    assert_eq!((cluster.state_of(ids[0]), cluster.state_of(ids[1])), (Some(OpenState::Failed), None));
    let failed = JobFilter { jobs: vec![ids[0]], states: vec![OpenState::Failed], ..JobFilter::default() };
    assert_eq!(cluster.state.select(&failed), [ids[0], first.job], "an array's name means its tasks, too");
    assert!(cluster.retry(first.job));
    assert!(!cluster.retry(first.job));
    assert_eq!(cluster.state_of(ids[0]), Some(OpenState::Running));
    let again = cluster.lease().unwrap();
    assert_eq!((again.job, again.attempt, again.task), (first.job, 2, first.task));
    cluster.complete(again.lease);
    assert_eq!(
        (cluster.state_of(ids[0]), cluster.last()),
        (None, format!(r#"{{"array_ended":{{"array":{},"done":2}}}}"#, ids[0]))
    );
}

#[test]
fn a_task_that_is_cancelled_alone_leaves_the_others() {
    let mut cluster = Cluster::new();
    let id = cluster.submit(vec![array("1-2")])[0];
    let first = cluster.lease().unwrap();
    cluster.cancel(first.job);
    assert_eq!(cluster.state_of(id), Some(OpenState::Ready));
    let second = cluster.lease().unwrap();
    cluster.fail(second.lease);
    assert_eq!(cluster.state_of(id), Some(OpenState::Failed));
    // The last that failed is gone: what is left of it is that it was cancelled.
    cluster.cancel(second.job);
    assert_eq!((cluster.state_of(id), cluster.state.jobs().count()), (None, 0));
    assert_eq!(cluster.last(), format!(r#"{{"array_ended":{{"array":{id},"done":0,"cancelled":2}}}}"#));
    assert_eq!(cluster.state.counts().jobs.cancelled, 2);
}

#[test]
fn a_limit_on_running_tasks_is_a_limit_like_any_other_and_goes_with_its_array() {
    let mut cluster = Cluster::new();
    let id = cluster.submit(vec![array("1-9%2")])[0];
    let limit = running_tasks(id);
    let leased = |cluster: &mut Cluster| std::iter::from_fn(|| cluster.lease()).collect::<Vec<_>>();
    let first = leased(&mut cluster);
    assert_eq!(first.len(), 2);
    let decision = cluster.state.set_limit(&LimitSpec::max(limit.clone(), 3));
    cluster.record(decision);
    assert_eq!(leased(&mut cluster).len(), 1);
    // One that waits for another attempt leaves its place to another task.
    let decision = cluster.state.release(&worker(), &[first[0].lease]);
    cluster.record(decision);
    let next = leased(&mut cluster);
    assert_eq!((next.len(), next[0].task.unwrap().index), (1, 4));
    cluster.cancel(id);
    assert_eq!(cluster.state.limits().count(), 0);
    assert_eq!(cluster.last(), format!(r#"{{"limit_unset":{{"limit":"array={id}"}}}}"#));
}

#[test]
fn a_key_stands_for_the_whole_array() {
    let mut cluster = Cluster::new();
    let keyed = |tasks: &str| JobSpec { idempotency_key: Some("k".into()), ..array(tasks) };
    let id = cluster.submit(vec![keyed("1-3")]);
    let records = cluster.events.len();
    assert_eq!((cluster.submit(vec![keyed("1-3")]), cluster.events.len()), (id, records));
    let other = Submission { jobs: vec![keyed("1-4")], ..Submission::default() };
    let refusal = cluster.state.submit(&other, NOW).unwrap_err();
    assert!(matches!(refusal, SubmitRefusal::Job { fault: SubmitFault::KeyConflict { .. }, .. }), "{refusal}");
}

#[test]
fn an_array_is_explained_with_its_tasks() {
    let mut cluster = Cluster::new();
    let id = cluster.submit(vec![array("1-3")])[0];
    let running = cluster.lease().unwrap();
    let failed = cluster.lease().unwrap();
    cluster.fail(failed.lease);
    let workers: Liveness<()> = Liveness::new(STALE_AFTER);
    let now = Now { wall: NOW, tick: Tick(0) };
    let words = |cluster: &Cluster, job: JobId| {
        let why = explain::job(&cluster.state, &workers, job, now).unwrap();
        why.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    let why = words(&cluster, id);
    assert_eq!(why[..2], ["of its 3 tasks 1 wait, 1 are under way and 1 failed", "no registered worker offers kind k"]);
    assert!(words(&cluster, running.job)[0].starts_with("it runs on worker w"));
    cluster.lease().unwrap();
    assert_eq!(words(&cluster, id), ["of its 3 tasks 0 wait, 2 are under way and 1 failed"]);
    assert!(matches!(cluster.state.job(id).unwrap().state, JobState::Running));
}

#[test]
fn tasks_of_pieces_get_their_bounds() {
    let mut cluster = Cluster::new();
    let mut spec = array("1");
    let tasks = Tasks::range(0, 9, 4).unwrap();
    spec.array = Some(ArraySpec { fields: serde_json::from_str(r#"["from","to"]"#).unwrap(), ..ArraySpec::new(tasks) });
    cluster.submit(vec![spec]);
    let payloads: Vec<String> =
        std::iter::from_fn(|| cluster.lease()).map(|granted| granted.payload.as_str().to_owned()).collect();
    assert_eq!(payloads, [r#"{"from":0,"to":4,"x":1}"#, r#"{"from":4,"to":8,"x":1}"#, r#"{"from":8,"to":10,"x":1}"#]);
}

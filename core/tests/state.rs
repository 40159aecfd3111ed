//! Random commands against the state: invariants after every event, and replay of every prefix equals the live state.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_core::array::{ArraySpec, Tasks};
use orch_core::contract::{Contract, ContractSpec, Screen};
use orch_core::id::{JobId, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, ExpiryCause, FailureClass, Record};
use orch_core::state::{
    CompleteAnswer, Decision, FailureReport, Job, JobFilter, JobState, Judged, LeaseRequest, ResultsRefusal, State,
    Submission, Verdict,
};
use orch_core::summary::{JobPhase, JobSummary, job_of};
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;
use proptest::prelude::*;

fn contract(complete: bool) -> ContractSpec {
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

fn queue(name: &str, contract: &str) -> QueueSpec {
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
struct Driven {
    state: State,
    records: Vec<Record>,
    summaries: BTreeMap<JobId, JobSummary>,
    /// The tasks of each array that were made.
    made: BTreeMap<JobId, Vec<i64>>,
    now: Timestamp,
    screen: Screen,
}

impl Driven {
    fn new() -> Self {
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

    fn record<T>(&mut self, decision: Decision<T>) -> T {
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
    fn waits(&self) -> impl Iterator<Item = (JobId, Timestamp)> {
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

    fn judged(&self, values: &[i32], queue: &str) -> Vec<Judged> {
        let spec = contract(queue == "counted");
        let screen =
            Arc::new(Contract::compile(spec).unwrap()).bind(&Payload::parse(b"{\"count\":2}").unwrap()).unwrap();
        values.iter().map(|t| screen.judge(format!("{{\"t\":{}}}", f64::from(*t) / 4.0).as_bytes())).collect()
    }
}

fn is_leased(job: &Job) -> bool {
    matches!(job.state, JobState::Leased { .. })
}

fn phase(state: &JobState) -> JobPhase {
    match state {
        JobState::Blocked { .. } => JobPhase::Blocked,
        JobState::Ready => JobPhase::Ready,
        JobState::Delayed { .. } => JobPhase::Delayed,
        JobState::Leased { .. } => JobPhase::Leased,
        JobState::Running => JobPhase::Running,
        JobState::Failed { .. } => JobPhase::Failed,
    }
}

#[derive(Clone, Debug)]
enum Command {
    Submit {
        counted: bool,
        jobs: u8,
        chain: bool,
        go_on: bool,
        delay: bool,
        key: Option<(u8, u8)>,
        wait: bool,
        tasks: [u8; 2],
    },
    Lease {
        worker: u8,
        max: u8,
    },
    Batch {
        pick: u8,
        worker: u8,
        values: Vec<i32>,
    },
    Resend {
        pick: u8,
    },
    Complete {
        pick: u8,
    },
    Fail {
        pick: u8,
        class: u8,
    },
    Release {
        pick: u8,
    },
    Expire {
        pick: u8,
    },
    Cancel {
        pick: u8,
    },
    RetryFailed,
    Pause(bool),
    Pass(u16),
}

fn command() -> impl Strategy<Value = Command> {
    let values = prop::collection::vec(-40..40i32, 0..4);
    prop_oneof![
        3 => (
            any::<bool>(), 1..4u8, any::<bool>(), any::<bool>(), any::<bool>(), prop::option::of((0..4u8, 0..3u8)), any::<bool>(),
            [0..5u8, 0..3u8],
        )
            .prop_map(|(counted, jobs, chain, go_on, delay, key, wait, tasks)| {
                Command::Submit { counted, jobs, chain, go_on, delay, key, wait, tasks }
            }),
        4 => (0..3u8, 1..4u8).prop_map(|(worker, max)| Command::Lease { worker, max }),
        6 => (any::<u8>(), 0..3u8, values).prop_map(|(pick, worker, values)| Command::Batch { pick, worker, values }),
        2 => any::<u8>().prop_map(|pick| Command::Resend { pick }),
        3 => any::<u8>().prop_map(|pick| Command::Complete { pick }),
        2 => (any::<u8>(), 0..3u8).prop_map(|(pick, class)| Command::Fail { pick, class }),
        1 => any::<u8>().prop_map(|pick| Command::Release { pick }),
        1 => any::<u8>().prop_map(|pick| Command::Expire { pick }),
        1 => any::<u8>().prop_map(|pick| Command::Cancel { pick }),
        1 => Just(Command::RetryFailed),
        1 => any::<bool>().prop_map(Command::Pause),
        2 => any::<u16>().prop_map(Command::Pass),
    ]
}

type SentBatch = (WorkerId, LeaseId, u64, Vec<Judged>, Vec<Verdict>);

/// What was sent and answered, to send it again.
#[derive(Default)]
struct Sent {
    batches: Vec<SentBatch>,
    ends: Vec<(WorkerId, LeaseId, u64, CompleteAnswer)>,
    accepted: BTreeSet<Seq>,
    /// Per key, the job submitted last under it.
    keys: BTreeMap<String, (JobId, JobSpec, Timestamp)>,
}

impl Sent {
    /// Which job each of these is, if its key stands for one; an error if a key stands for another spec.
    fn expects(&self, driven: &Driven, specs: &[JobSpec]) -> Result<Vec<Option<JobId>>, ()> {
        let open = |job: &JobId| {
            matches!(
                driven.summaries[job].phase,
                JobPhase::Blocked | JobPhase::Ready | JobPhase::Delayed | JobPhase::Leased | JobPhase::Running
            )
        };
        let stands = |(job, spec, at): &&(JobId, JobSpec, Timestamp)| match spec.unique {
            Unique::Forever => true,
            Unique::UntilDone => open(job),
            Unique::For(span) => driven.now.since(*at) < span,
        };
        let each = specs.iter().map(|spec| {
            match spec.idempotency_key.as_ref().and_then(|key| self.keys.get(key)).filter(stands) {
                Some((job, other, _)) if other == spec => Ok(Some(*job)),
                Some(_) => Err(()),
                None => Ok(None),
            }
        });
        each.collect()
    }

    /// Takes the answer to a submit, which is to be as expected.
    fn keyed(&mut self, specs: &[JobSpec], jobs: &[(JobId, bool)], expected: Vec<Option<JobId>>, now: Timestamp) {
        for ((spec, (job, existed)), expected) in specs.iter().zip(jobs).zip(expected) {
            assert_eq!(existed.then_some(*job), expected);
            if let (Some(key), false) = (&spec.idempotency_key, existed) {
                self.keys.insert(key.clone(), (*job, spec.clone(), now));
            }
        }
    }
}

fn run(driven: &mut Driven, sent: &mut Sent, command: Command) {
    let leases: Vec<LeaseId> = driven.state.leases().keys().copied().collect();
    let lease = |pick: u8| leases.get(usize::from(pick) % leases.len().max(1)).copied();
    let holder = |driven: &Driven, lease: LeaseId| driven.state.leases()[&lease].worker.clone();
    match command {
        Command::Submit { counted, jobs, chain, go_on, delay, key, wait, tasks: [tasks, max] } => {
            let queue = if counted { "counted" } else { "plain" };
            let mut specs = Vec::new();
            for n in 0..jobs {
                let mut spec = JobSpec::new(queue.parse().unwrap(), Payload::parse(b"{\"count\":2}").unwrap());
                spec.name = Some(format!("j{n}"));
                spec.delay = delay.then_some(Span(500));
                if chain && n > 0 {
                    spec.depends_on = vec![format!("j{}", n - 1)];
                }
                if go_on {
                    spec.on_dependency_failure = OnDependencyFailure::Continue;
                }
                if let Some((key, unique)) = key {
                    spec.idempotency_key = Some(format!("{key}-{n}"));
                    spec.unique = [Unique::Forever, Unique::UntilDone, Unique::For(Span(40_000))][usize::from(unique)];
                }
                spec.queue_timeout = wait.then_some(Span(30_000));
                // Every other job is an array, if any is.
                if n % 2 == 0 && tasks > 0 {
                    let tasks = Tasks::range(-1, i64::from(tasks) * 3, 3).unwrap();
                    let max_running = Some(u32::from(max)).filter(|max| *max > 0);
                    spec.array = Some(ArraySpec { max_running, ..ArraySpec::new(tasks) });
                }
                specs.push(spec);
            }
            let submission = Submission { jobs: specs, ..Submission::default() };
            let expected = sent.expects(driven, &submission.jobs);
            let decided = driven.state.submit(&submission, driven.now);
            assert_eq!(decided.is_ok(), expected.is_ok(), "{decided:?}, {expected:?}");
            if let Ok(decision) = decided {
                let answer = driven.record(decision);
                sent.keyed(&submission.jobs, &answer.jobs, expected.unwrap(), driven.now);
                assert_eq!(answer.jobs.len(), usize::from(jobs));
                // The same again: the same jobs if they have keys that still stand for them.
                if key.is_some_and(|(_, unique)| unique != 1) {
                    let again = driven.state.submit(&submission, driven.now).unwrap();
                    assert!(again.events.is_empty());
                    let ids = |jobs: &[(JobId, bool)]| jobs.iter().map(|(id, _)| *id).collect::<Vec<_>>();
                    assert_eq!(ids(&again.answer.jobs), ids(&answer.jobs));
                }
            }
        }
        Command::Lease { worker, max } => {
            let worker = WorkerId::new(&format!("w{worker}")).unwrap();
            let request = LeaseRequest::new(worker, vec!["k".parse().unwrap()], usize::from(max));
            for _ in 0..request.max {
                let last = driven.state.leases().keys().next_back().copied();
                let decision = driven.state.lease(&request, &mut |_| Payload::parse(b"{\"count\":2}").unwrap());
                let Some(granted) = driven.record(decision) else { break };
                if let Some(task) = granted.task {
                    if granted.attempt == 1 {
                        assert_eq!(granted.payload.value()["task"], task.index, "the payload says which task it is");
                    }
                    assert_eq!(driven.state.task(granted.job), Some(task));
                    let array = &driven.state.array(task.array).unwrap();
                    let running = array.held().iter().filter(|id| driven.state.job(**id).is_some_and(is_leased));
                    let max = array.spec.max_running;
                    assert!(max.is_none_or(|max| running.count() <= max as usize), "too many tasks run");
                }
                assert!(Some(granted.lease) > last, "lease ids grow");
                assert_eq!(holder(driven, granted.lease), request.worker);
            }
        }
        Command::Batch { pick, worker, values } => {
            let Some(id) = lease(pick) else { return };
            let held = &driven.state.leases()[&id];
            let queue = held.contract.as_ref().unwrap().name.as_str().to_owned();
            let number = held.delivery.batches.len() as u64 + 1;
            let candidates = driven.judged(&values, &queue);
            let caller = WorkerId::new(&format!("w{worker}")).unwrap();
            match driven.state.judge_batch(&caller, id, number, &candidates) {
                Ok(decision) => {
                    assert_eq!(caller, holder(driven, id));
                    let answer = driven.record(decision);
                    for verdict in &answer.verdicts {
                        if let Verdict::Accepted(seq) = verdict {
                            assert!(sent.accepted.insert(*seq), "accepted twice under one seq");
                        }
                    }
                    assert!(driven.state.judge_batch(&caller, id, number + 2, &candidates).is_err());
                    sent.batches.push((caller, id, number, candidates, answer.verdicts));
                }
                Err(refusal) => {
                    assert!(matches!(refusal, ResultsRefusal::NotGrantee { .. }));
                    assert_ne!(caller, holder(driven, id));
                }
            }
        }
        Command::Resend { pick } => {
            if let Some((worker, id, number, candidates, verdicts)) =
                sent.batches.get(usize::from(pick) % sent.batches.len().max(1))
            {
                let current = driven.state.leases().contains_key(id);
                match driven.state.judge_batch(worker, *id, *number, candidates) {
                    Ok(decision) => {
                        assert!(decision.events.is_empty(), "a resend records nothing");
                        assert_eq!(&decision.answer.verdicts, verdicts, "a resend gets the same answers");
                    }
                    Err(_) => assert!(!current),
                }
            }
            if let Some((worker, id, batches, answer)) = sent.ends.get(usize::from(pick) % sent.ends.len().max(1)) {
                let again = driven.state.complete(worker, *id, *batches, driven.now).unwrap();
                assert!(again.events.is_empty());
                assert_eq!(&again.answer.0, answer);
            }
        }
        Command::Complete { pick } => {
            let Some(id) = lease(pick) else { return };
            let held = &driven.state.leases()[&id];
            let (worker, batches) = (held.worker.clone(), held.delivery.batches.len() as u64);
            let enough = held.expected.is_none_or(|expected| expected == held.delivery.distinct());
            assert!(driven.state.complete(&worker, id, batches + 1, driven.now).is_err());
            let decision = driven.state.complete(&worker, id, batches, driven.now).unwrap();
            let (answer, _) = driven.record(decision);
            assert_eq!(answer == CompleteAnswer::Done, enough);
            sent.ends.push((worker, id, batches, answer));
        }
        Command::Fail { pick, class } => {
            let Some(id) = lease(pick) else { return };
            let worker = holder(driven, id);
            let class = [FailureClass::Error, FailureClass::Timeout, FailureClass::Permanent][usize::from(class)];
            let decision = driven.state.fail(&worker, id, FailureReport::new(class, "no"), driven.now).unwrap();
            driven.record(decision);
        }
        Command::Release { pick } => {
            let Some(id) = lease(pick) else { return };
            let (worker, job) = (holder(driven, id), driven.state.leases()[&id].job);
            let failures = driven.state.job(job).unwrap().failures;
            let decision = driven.state.release(&worker, &[id, id]);
            assert_eq!(driven.record(decision), [id]);
            assert_eq!(driven.state.job(job).unwrap().failures, failures, "a release charges nothing");
        }
        Command::Expire { pick } => {
            let Some(id) = lease(pick) else { return };
            let decision = driven.state.expire(id, ExpiryCause::Ttl, driven.now);
            driven.record(decision);
        }
        Command::Cancel { pick } => {
            let jobs = driven.state.select(&JobFilter::default());
            let Some(job) = jobs.get(usize::from(pick) % jobs.len().max(1)) else { return };
            let decision = driven.state.cancel(*job, "enough");
            assert!(driven.record(decision));
        }
        Command::RetryFailed => {
            for job in driven.state.select(&JobFilter::default()) {
                let decision = driven.state.retry(job);
                driven.record(decision);
            }
        }
        Command::Pause(pause) => {
            let queue: QueueName = "plain".parse().unwrap();
            let decision = if pause { driven.state.pause(&queue, "why") } else { driven.state.resume(&queue) };
            driven.record(decision.unwrap());
        }
        Command::Pass(ms) => {
            driven.now = driven.now.plus(Span(u64::from(ms)));
            let decision = driven.state.ready_due(driven.now, 2);
            driven.record(decision);
            let over: Vec<JobId> =
                driven.waits().filter(|(_, until)| *until <= driven.now).map(|(job, _)| job).collect();
            let first: Option<Timestamp> = driven.waits().map(|(_, until)| until).min();
            assert!(first.is_none_or(|first| driven.state.next_due().is_some_and(|due| due <= first)));
            let decision = driven.state.end_waits(driven.now, usize::MAX);
            driven.record(decision);
            assert!(over.iter().all(|job| driven.summaries[job].phase == JobPhase::Cancelled));
            assert!(driven.waits().all(|(_, until)| until > driven.now));
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, ..ProptestConfig::default() })]

    #[test]
    fn random_commands_keep_the_invariants_and_replay_equals_live(commands in prop::collection::vec(command(), 1..60)) {
        let mut driven = Driven::new();
        let mut sent = Sent::default();
        let mut exports = vec![];
        for command in commands {
            run(&mut driven, &mut sent, command);
            exports.push((driven.state.last_seq(), driven.state.export()));
        }
        let _ = &driven.screen;
        let mut replayed = State::default();
        let mut exports = exports.into_iter().peekable();
        for record in &driven.records {
            while let Some((seq, export)) = exports.next_if(|(seq, _)| *seq < record.seq) {
                prop_assert_eq!(seq, replayed.last_seq());
                prop_assert_eq!(export, replayed.export());
            }
            replayed.apply(record).unwrap();
        }
        prop_assert_eq!(replayed.export(), driven.state.export());
        prop_assert_eq!(replayed.accepted().len() as u64, replayed.counts().accepted, "an identity was accepted twice");
    }
}

#[test]
fn a_record_that_cannot_follow_is_refused() {
    let mut driven = Driven::new();
    let record = |seq, event| Record { seq, at: Timestamp(0), event };
    let wrong_seq = record(Seq(99), Event::SegmentSealed {});
    assert!(driven.state.apply(&wrong_seq).unwrap_err().to_string().contains("was expected"));
    let mut driven = Driven::new();
    let next = driven.state.next_seq();
    let unknown = record(next, Event::JobReadied { job: JobId::new(77), not_before: None });
    assert_eq!(
        driven.state.apply(&unknown).unwrap_err().to_string(),
        format!("record {next} cannot follow: job 77 is not open")
    );
    driven = Driven::new();
    let old_epoch = Event::Booted { epoch: 0, version: String::new(), host: String::new(), pid: 1 };
    assert!(driven.state.apply(&record(next, old_epoch)).is_err());
}

#[test]
fn a_job_is_cancelled_when_no_worker_took_it_in_time() {
    let mut driven = Driven::new();
    let mut timely = queue("plain", "plain@1");
    timely.queue_timeout = Some(Span(10_000));
    let job = |name: &str| {
        let mut spec = JobSpec::new("plain".parse().unwrap(), Payload::parse(b"{\"count\":2}").unwrap());
        spec.name = Some(name.into());
        spec
    };
    let own = JobSpec { queue_timeout: Some(Span(3_000)), ..job("own") };
    let behind = JobSpec { depends_on: vec!["own".into()], ..job("behind") };
    let later = JobSpec { delay: Some(Span(8_000)), ..job("later") };
    let submission =
        Submission { queues: vec![timely], jobs: vec![own, behind, later, job("plain")], ..Submission::default() };
    let decision = driven.state.submit(&submission, driven.now).unwrap();
    let ids: Vec<JobId> = driven.record(decision).jobs.into_iter().map(|(id, _)| id).collect();
    let mut pass = |ms| {
        driven.now = driven.now.plus(Span(ms));
        let decision = driven.state.ready_due(driven.now, 9);
        driven.record(decision);
        let decision = driven.state.end_waits(driven.now, 9);
        driven.record(decision);
        ids.iter().map(|id| driven.summaries[id].phase).collect::<Vec<_>>()
    };
    use JobPhase::{Blocked, Cancelled, Delayed, Ready};
    assert_eq!(pass(2_999), [Ready, Blocked, Delayed, Ready]);
    assert_eq!(pass(1), [Cancelled, Cancelled, Delayed, Ready], "with what depends on it");
    assert_eq!(pass(6_999), [Cancelled, Cancelled, Ready, Ready], "a delay is no wait");
    assert_eq!(pass(1), [Cancelled, Cancelled, Ready, Cancelled]);
    assert_eq!(pass(9_999), [Cancelled, Cancelled, Cancelled, Cancelled]);
    assert_eq!(driven.summaries[&ids[0]].message, "no worker took it for 3s, its queue_timeout");
    assert!(driven.state.next_due().is_none());
}

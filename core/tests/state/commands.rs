//! Random commands: what each does, and what must hold of its answer.

use std::collections::{BTreeMap, BTreeSet};

use orch_core::array::{ArraySpec, Tasks};
use orch_core::id::{JobId, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::record::{ExpiryCause, FailureClass};
use orch_core::state::{
    CompleteAnswer, FailureReport, JobFilter, Judged, LeaseRequest, ResultsRefusal, Submission, Verdict,
};
use orch_core::summary::JobPhase;
use orch_core::time::{Span, Timestamp};
use orch_core::unique::Unique;
use proptest::prelude::*;

use super::driven::{Driven, is_leased};

#[derive(Clone, Debug)]
pub(crate) enum Command {
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

pub(crate) fn command() -> impl Strategy<Value = Command> {
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
pub(crate) struct Sent {
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

pub(crate) fn run(driven: &mut Driven, sent: &mut Sent, command: Command) {
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

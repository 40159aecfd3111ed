//! Whom jobs are granted to, and what follows when their attempts fail.

use orch_core::id::{JobId, LeaseId, QueueName};
use orch_core::job::{JobSpec, Payload};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, ExpiryCause, FailureClass, JobSubmitted, Next};
use orch_core::time::{Span, Timestamp};
use orch_sim::checker::{Acknowledged, Has, Machine, Rule};

use super::{grant, job, rules, story, worker};

/// The story's job with more in its spec, and what follows, each record at this many milliseconds.
fn job_story(change: impl FnOnce(&mut JobSpec), more: Vec<(i64, Event)>) -> Vec<Rule> {
    let mut records: Vec<(i64, Event)> = story(Vec::new()).events.into_iter().map(|event| (0, event)).collect();
    let Some((_, Event::JobSubmitted(submitted))) = records.last_mut() else { panic!("a job is submitted last") };
    change(&mut submitted.spec);
    records.extend(more);
    rules(&records, &[])
}

fn failed(lease: u64, class: FailureClass, next: Next, avoid_worker: bool) -> Event {
    let (message, exit_code, needs, worker) = ("out of memory".to_owned(), Some(137), None, None);
    let lease = LeaseId::new(lease);
    Event::AttemptFailed { job: job(), lease, class, message, next, exit_code, needs, avoid_worker, worker }
}

fn retry(text: &str) -> RetryPatch {
    serde_json::from_str(text).unwrap()
}

#[test]
fn what_a_worker_holds_has_room_beside_each_other() {
    let holds = |gpus: usize, zone: &str| {
        let mut records: Vec<(i64, Event)> = Vec::new();
        let mut queue = QueueSpec::new(QueueName::new("q").unwrap());
        queue.kind = Some("k".parse().unwrap());
        records.push((0, Event::QueueDefined(Box::new(queue.clone()))));
        for _ in 0..2 {
            let mut spec = JobSpec::new(queue.name.clone(), Payload::default());
            spec.resources = serde_json::from_str(r#"[{"tpus":1},{"gpus":"0.75"}]"#).unwrap();
            spec.labels = [("zone".to_owned(), "a".to_owned())].into();
            let submitted = JobSubmitted { spec, kind: "k".parse().unwrap(), depends_on: vec![], not_before: None };
            records.push((0, Event::JobSubmitted(Box::new(submitted))));
        }
        for id in [2, 3] {
            let (job, worker, attempt, contract) = (JobId::new(id), worker("w"), 1, None);
            let (expected, variant, session, members) = (None, 1, None, Vec::new());
            let granted = Event::LeaseGranted { job, attempt, worker, contract, expected, variant, session, members };
            records.push((0, granted));
        }
        let labels = [("zone".to_owned(), zone.to_owned())].into();
        let has = Machine { has: [("gpus".to_owned(), Has::Items(vec![0; gpus]))].into(), labels };
        rules(
            &records,
            &[Acknowledged::Holds { worker: worker("w"), leases: vec![LeaseId::new(4), LeaseId::new(5)], has }],
        )
    };
    assert_eq!(holds(2, "a"), []);
    assert_eq!(holds(1, "a"), [Rule::Room], "three quarters twice are not of one");
    assert_eq!(holds(2, "b"), [Rule::Room, Rule::Room], "each asks for zone a");
}

#[test]
fn a_worker_lives_for_as_long_as_its_job_asks() {
    let asked = |remaining: u64, variant: u32| {
        let mut records: Vec<(i64, Event)> = story(vec![grant(1, "w")]).events.into_iter().map(|e| (0, e)).collect();
        if let (_, Event::JobSubmitted(submitted)) = &mut records[2] {
            submitted.spec.resources = serde_json::from_str(r#"[{"min_time":"5s"},{"cpus":1}]"#).unwrap();
        }
        if let (_, Event::LeaseGranted { variant: chosen, .. }) = &mut records[3] {
            *chosen = variant;
        }
        let (worker, lease, remaining) = (worker("w"), LeaseId::new(4), Span(remaining));
        rules(&records, &[Acknowledged::Asked { worker, lease, remaining }])
    };
    assert_eq!(asked(5_000, 0), []);
    assert_eq!(asked(4_999, 0), [Rule::Room]);
    assert_eq!(asked(0, 1), [], "the other alternative takes any");
}

#[test]
fn a_job_stays_away_from_a_worker_and_every_job_from_one_that_is_set_aside() {
    let rule = r#"{"backoff":"0s","jitter":"0s","rules":[{"avoid_worker":true,"backoff":"0s"}]}"#;
    let again = |to: &str, more: Vec<(i64, Event)>| {
        let fails = failed(4, FailureClass::Error, Next::Ready, true);
        let mut events = vec![(0, grant(1, "w")), (0, fails)];
        events.extend(more);
        events.push((0, grant(2, to)));
        job_story(|spec| spec.retry = retry(rule), events)
    };
    assert_eq!(again("x", vec![]), []);
    assert_eq!(again("w", vec![]), [Rule::Room]);
    let aside = Event::WorkerSetAside { worker: worker("x"), reason: String::new() };
    assert_eq!(again("x", vec![(0, aside.clone())]), [Rule::Room, Rule::Retry], "nothing had failed on it either");
    let resumed = Event::WorkerResumed { worker: worker("x") };
    assert_eq!(again("x", vec![(0, aside), (0, resumed)]), [Rule::Retry]);
}

#[test]
fn what_follows_from_a_failure_is_what_the_rules_say() {
    let once = |patch: &str, class, next, avoid| {
        let events = vec![(0, grant(1, "w")), (1_000, failed(4, class, next, avoid))];
        job_story(|spec| spec.retry = retry(patch), events)
    };
    let (error, later) = (FailureClass::Error, |at| Next::Delayed(Timestamp(at)));
    let waits = r#"{"backoff":"2s","jitter":"100ms"}"#;
    assert_eq!(once(waits, error, later(3_050), false), []);
    assert_eq!(once(waits, error, later(2_000), false), [Rule::Retry], "too soon");
    assert_eq!(once(waits, error, Next::Ready, false), [Rule::Retry]);
    assert_eq!(once(waits, error, Next::Failed(error), false), [Rule::Retry], "the first of three");
    assert_eq!(once(r#"{"max_attempts":1}"#, error, later(61_000), false), [Rule::Retry]);
    let fail = r#"{"rules":[{"exit_code":[137],"then":"fail"}]}"#;
    assert_eq!(once(fail, error, Next::Failed(error), false), []);
    assert_eq!(once(fail, error, later(61_000), false), [Rule::Retry], "it fails for good");
    let elsewhere = r#"{"rules":[{"message":"memory","avoid_worker":true,"backoff":"5s"}]}"#;
    assert_eq!(once(elsewhere, error, later(6_000), true), []);
    assert_eq!(once(elsewhere, error, later(6_000), false), [Rule::Retry]);
    assert_eq!(once("{}", FailureClass::Permanent, later(61_000), false), [Rule::Retry]);
}

#[test]
fn lost_workers_quarantine_a_job_and_nothing_is_tried_again_while_retries_are_paused() {
    let lost = |lease: u64, next| {
        let (job, lease, cause, worker) = (job(), LeaseId::new(lease), ExpiryCause::Ttl, None);
        Event::LeaseExpired { job, lease, cause, next, worker }
    };
    let quarantined = Next::Failed(FailureClass::Quarantined);
    let twice = |end, more: Vec<(i64, Event)>| {
        let mut events = vec![(0, grant(1, "w")), (0, lost(4, Next::Ready)), (0, grant(2, "x")), (0, lost(6, end))];
        events.extend(more);
        job_story(|spec| spec.retry = retry(r#"{"crash_limit":2}"#), events)
    };
    assert_eq!(twice(quarantined, vec![]), []);
    assert_eq!(twice(Next::Ready, vec![]), [Rule::Retry]);
    assert!(twice(quarantined, vec![(0, grant(3, "y"))]).contains(&Rule::OneLease), "a quarantined job is not leased");
    let paused = |next, more: Vec<(i64, Event)>| {
        let pause = Event::RetriesPaused { reason: String::new() };
        let mut events = vec![(0, grant(1, "w")), (0, pause), (0, lost(4, next))];
        events.extend(more);
        job_story(|_| {}, events)
    };
    let readied = (0, Event::JobReadied { job: job(), not_before: None });
    let delayed = Next::Delayed(Timestamp(0));
    assert_eq!(paused(delayed, vec![]), []);
    assert_eq!(paused(Next::Ready, vec![]), [Rule::Retry]);
    assert_eq!(paused(delayed, vec![readied.clone()]), [Rule::Retry]);
    assert_eq!(paused(delayed, vec![(0, Event::RetriesResumed {}), readied]), []);
}

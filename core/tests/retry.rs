//! Retry rules, workers that are set aside, and the switch for every retry.

use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, ExpiryCause, FailureClass, Record};
use orch_core::resource::{Amount, Offer, Pool, Pools};
use orch_core::state::{Decision, FailureReport, JobState, LeaseRequest, Refusal, SET_ASIDE_AFTER, State, Submission};
use orch_core::time::{Span, Timestamp};

struct Cluster {
    state: State,
    now: Timestamp,
    records: Vec<Record>,
}

fn worker(name: &str) -> WorkerId {
    name.parse().unwrap()
}

impl Cluster {
    fn new(rules: &str) -> Self {
        let mut cluster = Self { state: State::default(), now: Timestamp(1_795_250_400_000), records: Vec::new() };
        let rules = Some(serde_json::from_str(rules).unwrap());
        let retry = RetryPatch {
            max_attempts: Some(3),
            backoff: Some(Span::seconds(60)),
            jitter: Some(Span(0)),
            rules,
            ..RetryPatch::default()
        };
        let queue = QueueSpec { kind: Some("k".parse().unwrap()), retry, ..QueueSpec::new("q".parse().unwrap()) };
        let submission = Submission { queues: vec![queue], ..Submission::default() };
        let decision = cluster.state.submit(&submission, cluster.now).unwrap();
        cluster.record(decision);
        cluster
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let event: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            let record = Record { seq: self.state.next_seq(), at: self.now, event };
            self.state.apply(&record).unwrap();
            self.records.push(record);
        }
        let mut replayed = State::default();
        self.records.iter().for_each(|record| replayed.apply(record).unwrap());
        assert_eq!(replayed.export(), self.state.export());
        decision.answer
    }

    fn submit(&mut self, needs: &[&str]) -> Vec<JobId> {
        let spec = |needs: &&str| JobSpec {
            resources: serde_json::from_str(needs).unwrap(),
            ..JobSpec::new("q".parse().unwrap(), Payload::default())
        };
        let submission = Submission { jobs: needs.iter().map(spec).collect(), ..Submission::default() };
        let decision = self.state.submit(&submission, self.now).unwrap();
        self.record(decision).jobs.into_iter().map(|(job, _)| job).collect()
    }

    fn lease(&mut self, name: &str) -> Option<(JobId, LeaseId, String)> {
        let pools = Pools([("mem".parse().unwrap(), Pool::sum(Amount::whole(64 << 10)))].into());
        let offer = Offer { pools, ..Offer::default() };
        let request = LeaseRequest { offer, ..LeaseRequest::new(worker(name), vec!["k".parse().unwrap()], 1) };
        let decision = self.state.lease(&request, &mut |_| Payload::default());
        self.record(decision).map(|granted| (granted.job, granted.lease, granted.variant.to_string()))
    }

    /// A job fails on a worker; when it is tried again, None if it is not.
    fn fail(&mut self, name: &str, exit_code: i32, message: &str) -> Option<Span> {
        let (job, lease, _) = self.lease(name).expect("a job may run");
        let report = FailureReport { class: FailureClass::Error, message: message.into(), exit_code: Some(exit_code) };
        let decision = self.state.fail(&worker(name), lease, report, self.now).unwrap();
        self.record(decision);
        match self.state.job(job).unwrap().state {
            JobState::Ready => Some(Span(0)),
            JobState::Delayed { until } => Some(until.since(self.now)),
            _ => None,
        }
    }

    fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
        let decision = self.state.ready_due(self.now, 100);
        self.record(decision);
    }

    fn succeed(&mut self, name: &str) {
        let (_, lease, _) = self.lease(name).expect("a job may run");
        let decision = self.state.complete(&worker(name), lease, 0, self.now).unwrap();
        self.record(decision);
    }
}

const RULES: &str = r#"[
    {"exit_code": [2], "then": "fail"},
    {"message": "(?i)out of memory", "memory": {"factor": 2, "cap": "12GiB"}, "backoff": "0s"},
    {"message": "CUDA", "avoid_worker": true, "backoff": "1s", "max_attempts": 5}
]"#;

#[test]
fn the_first_rule_that_is_about_a_failure_decides() {
    let mut cluster = Cluster::new(RULES);
    cluster.submit(&["[]"]);
    assert_eq!(cluster.fail("w", 2, "Out of memory"), None, "at once, whatever else is true of it");
    cluster.submit(&["[]"]);
    assert_eq!(cluster.fail("w", 1, "something else"), Some(Span::seconds(60)), "as without rules");
}

#[test]
fn a_job_gets_more_memory_up_to_the_cap() {
    let mut cluster = Cluster::new(RULES);
    cluster.submit(&[r#"{"mem": "4GiB"}"#]);
    assert_eq!(cluster.fail("w", 1, "out of memory"), Some(Span(0)));
    assert_eq!(cluster.lease("w").unwrap().2, "mem=8192");
    let (job, lease) = cluster.state.leases().iter().map(|(lease, held)| (held.job, *lease)).next().unwrap();
    let report = FailureReport::new(FailureClass::Error, "out of memory");
    let decision = cluster.state.fail(&worker("w"), lease, report, cluster.now).unwrap();
    cluster.record(decision);
    assert_eq!(cluster.state.requirements(cluster.state.job(job).unwrap()).needs.words(), "12 GiB of mem");
    assert_eq!(cluster.fail("w", 1, "out of memory"), None, "three attempts are all");
    let decision = cluster.state.retry(job);
    cluster.record(decision);
    assert_eq!(cluster.lease("w").unwrap().2, "mem=12288", "a person's retry keeps what was learnt");
}

#[test]
fn a_job_keeps_away_from_where_it_failed() {
    let mut cluster = Cluster::new(RULES);
    let job = cluster.submit(&["[]"])[0];
    for (round, name) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(cluster.fail(name, 1, "CUDA error"), Some(Span::seconds(1)));
        cluster.pass(Span::seconds(1));
        assert_eq!(cluster.lease(name), None, "round {round}");
    }
    assert!(cluster.fail("d", 1, "CUDA error").is_some());
    cluster.pass(Span::seconds(1));
    assert_eq!(cluster.fail("e", 1, "CUDA error"), None, "five attempts are all");
    let decision = cluster.state.retry(job);
    cluster.record(decision);
    assert!(cluster.lease("a").is_some(), "a person's retry forgets it");
}

#[test]
fn a_worker_on_which_everything_fails_is_set_aside() {
    let mut cluster = Cluster::new("[]");
    cluster.submit(&["[]"; 20]);
    for _ in 1..SET_ASIDE_AFTER {
        cluster.fail("bad", 1, "no space left on device");
    }
    cluster.succeed("good");
    cluster.fail("bad", 1, "no space left on device");
    let reason = &cluster.state.set_aside()[&worker("bad")].reason;
    assert_eq!(reason, "5 different jobs failed on it in a row, while 1 were done on other workers");
    assert_eq!(cluster.lease("bad"), None);
    cluster.succeed("good");
    let decision = cluster.state.resume_worker(&worker("bad")).unwrap();
    cluster.record(decision);
    cluster.succeed("bad");
    let refusal = cluster.state.resume_worker(&worker("bad")).unwrap_err();
    assert!(matches!(refusal, Refusal::NotSetAside(_)), "{refusal}");
}

#[test]
fn a_bad_job_or_a_bad_time_sets_nobody_aside() {
    // The same job again and again.
    let mut cluster = Cluster::new(r#"[{"backoff": "0s", "max_attempts": 50}]"#);
    cluster.submit(&["[]"]);
    for _ in 0..20 {
        cluster.fail("w", 1, "no");
    }
    assert!(cluster.state.set_aside().is_empty());
    // Everything fails everywhere: nobody is worse than the others.
    let mut cluster = Cluster::new("[]");
    cluster.submit(&["[]"; 40]);
    for n in 0..40 {
        cluster.fail(["a", "b"][n % 2], 1, "no");
    }
    assert!(cluster.state.set_aside().is_empty());
    // A job that is done in between.
    let mut cluster = Cluster::new("[]");
    cluster.submit(&["[]"; 40]);
    for _ in 0..5 {
        cluster.succeed("a");
        for _ in 1..SET_ASIDE_AFTER {
            cluster.fail("b", 1, "no");
        }
        cluster.succeed("b");
    }
    assert!(cluster.state.set_aside().is_empty());
}

#[test]
fn paused_retries_wait_and_go_on() {
    let mut cluster = Cluster::new(r#"[{"backoff": "0s"}]"#);
    let jobs = cluster.submit(&["[]"; 3]);
    let decision = cluster.state.pause_retries("the file server is down", cluster.now);
    assert!(cluster.record(decision));
    assert_eq!(cluster.state.retries_paused(), Some("the file server is down"));
    assert_eq!(cluster.fail("w", 1, "no"), Some(Span(0)), "due, and waits");
    let (_, lease, _) = cluster.lease("w").unwrap();
    let decision = cluster.state.expire(lease, ExpiryCause::Ttl, cluster.now);
    cluster.record(decision);
    cluster.pass(Span::seconds(7200));
    assert_eq!(cluster.state.next_due(), None, "nobody is woken for what waits");
    cluster.succeed("w");
    assert_eq!(cluster.lease("w"), None, "the two others wait, what never ran did not");
    let decision = cluster.state.resume_retries();
    assert!(cluster.record(decision));
    cluster.pass(Span(0));
    let again: Vec<JobId> = (0..2).map(|_| cluster.lease("w").unwrap().0).collect();
    assert_eq!(again, jobs[..2]);
    let decision = cluster.state.resume_retries();
    assert!(!cluster.record(decision), "it is told that they were not paused");
}

#[test]
fn what_stands_ready_or_is_given_back_waits_while_retries_are_paused() {
    let mut cluster = Cluster::new(r#"[{"backoff": "0s"}]"#);
    let jobs = cluster.submit(&["[]"; 2]);
    assert_eq!(cluster.fail("w", 1, "no"), Some(Span(0)));
    let (again, second_attempt, _) = cluster.lease("w").unwrap();
    assert_eq!(again, jobs[0]);
    assert_eq!(cluster.fail("w", 1, "no"), Some(Span(0)));
    let decision = cluster.state.pause_retries("the file server is down", cluster.now);
    cluster.record(decision);
    assert_eq!(cluster.lease("w"), None, "it stood ready for its second attempt");
    let decision = cluster.state.release(&worker("w"), &[second_attempt]);
    cluster.record(decision);
    assert_eq!(cluster.lease("w"), None, "it was given back in its second attempt");
    let new = cluster.submit(&["[]"; 1]);
    let (job, first_attempt, _) = cluster.lease("w").unwrap();
    assert_eq!(job, new[0]);
    let decision = cluster.state.release(&worker("w"), &[first_attempt]);
    cluster.record(decision);
    assert_eq!(cluster.lease("w").unwrap().0, new[0], "given back in its first, it is none to be tried again");
    let decision = cluster.state.resume_retries();
    cluster.record(decision);
    cluster.pass(Span(0));
    let again: Vec<JobId> = (0..2).map(|_| cluster.lease("w").unwrap().0).collect();
    assert_eq!(again, jobs);
}

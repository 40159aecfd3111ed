//! Gangs at the engine: who is told of a grant and when, the start and the end that members wait for, and those who do not
//! show up.

use std::sync::Arc;

use orch_core::access::Queues;
use orch_core::calls::CallNumber;
use orch_core::explain::{self, Why};
use orch_core::gang::GangSpec;
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::liveness::{MemberStep, Progress, Registration};
use orch_core::policy::LeasePatch;
use orch_core::queue::QueueSpec;
use orch_core::resource::Preference;
use orch_core::state::{CompleteAnswer, JobFilter, JobState, LeaseBounds, LeaseRequest, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};
use orch_ledger::OpenOptions;
use orch_ledger::disk::memory::MemoryDir;
use orch_orchestrator::engine::commands::admin::{CancelJobs, PauseQueue, ResumeQueue, Submit};
use orch_orchestrator::engine::commands::bound::LeaseJobsWithin;
use orch_orchestrator::engine::commands::results::{CompleteJob, JudgeBatch};
use orch_orchestrator::engine::commands::worker::{Heartbeat, LeaseAnswer, LeaseJobs, LeaseStanding, RegisterWorker};
use orch_orchestrator::engine::{Begun, Command, Engine, envelope};

const TTL: u64 = 2_000;

fn at(ms: u64) -> Now {
    Now { wall: Timestamp(1_000_000 + i64::try_from(ms).unwrap()), tick: Tick(ms) }
}

fn open(dir: &MemoryDir, now: Now) -> Engine {
    let options = OpenOptions::new(now.wall, "test", "host", 1);
    Engine::open_in(Arc::new(dir.clone()), options, Span::seconds(120), now).unwrap().engine
}

struct World {
    dir: MemoryDir,
    engine: Engine,
    now: u64,
    job: JobId,
}

impl World {
    /// A gang of two, and three workers of one slot each.
    fn new() -> Self {
        let dir = MemoryDir::new();
        let engine = open(&dir, at(0));
        let mut world = Self { dir, engine, now: 0, job: JobId::new(1) };
        let lease = LeasePatch { ttl: Some(Span(TTL)), heartbeat: Some(Span(500)) };
        let queue = QueueSpec { kind: Some("k".parse().unwrap()), lease, ..QueueSpec::new("q".parse().unwrap()) };
        let mut job = JobSpec::new(queue.name.clone(), Payload::default());
        job.gang = Some(GangSpec { workers: 2, timeout: None });
        let submission = Submission { queues: vec![queue], jobs: vec![job], ..Submission::default() };
        world.job = world.run(Submit(submission)).unwrap().jobs[0].0;
        ["a", "b", "c"].iter().for_each(|name| world.register(name, Vec::new()));
        world
    }

    fn begin<C: Command>(&mut self, command: C) -> Begun<C::Answer> {
        self.now += 1;
        let (command, answer) = envelope(command);
        self.engine.run_batch(vec![command], at(self.now)).unwrap();
        answer
    }

    fn run<C: Command>(&mut self, command: C) -> C::Answer {
        self.begin(command).try_answer().unwrap().unwrap().answer
    }

    fn pass(&mut self, ms: u64) {
        self.now += ms;
        self.engine.run_batch(Vec::new(), at(self.now)).unwrap();
    }

    fn register(&mut self, name: &str, leases: Vec<LeaseId>) {
        self.register_by(name, leases, None);
    }

    fn register_by(&mut self, name: &str, leases: Vec<LeaseId>, call: Option<CallNumber>) {
        let labels = [("address".to_owned(), format!("{name}.example"))].into();
        let registration =
            Registration { kinds: vec!["k".parse().unwrap()], slots: 1, labels, call, ..Registration::default() };
        let (worker, uptime) = (worker(name), Span::seconds(60));
        self.run(RegisterWorker { worker, registration, leases, last_receipt: None, uptime }).unwrap();
    }

    fn ask(&mut self, name: &str) -> Begun<LeaseAnswer> {
        self.begin(LeaseJobs::new(LeaseRequest::new(worker(name), Vec::new(), 1), Span::seconds(60)))
    }

    /// The same by a call that is numbered.
    fn ask_by(&mut self, name: &str, number: u64, wait: Span) -> Begun<LeaseAnswer> {
        let request = LeaseRequest::new(worker(name), Vec::new(), 1);
        self.begin(LeaseJobs { call: call(number), ..LeaseJobs::new(request, wait) })
    }

    /// The only lease there is.
    fn lease(&self) -> LeaseId {
        *self.engine.state().leases().keys().next().unwrap()
    }

    fn beat(&mut self, name: &str, lease: LeaseId, step: MemberStep) -> LeaseStanding {
        let leases = vec![(lease, Progress { step, ..Progress::default() })];
        self.run(Heartbeat { worker: worker(name), leases, last_receipt: None }).unwrap().0[0].1
    }

    /// Why the job does not run.
    fn why(&self) -> Vec<Why> {
        explain::job(self.engine.state(), self.engine.liveness(), self.job, at(self.now)).unwrap()
    }
}

fn worker(name: &str) -> WorkerId {
    WorkerId::new(name).unwrap()
}

/// A call of a worker's process; all of them are of one.
fn call(number: u64) -> Option<CallNumber> {
    Some(CallNumber { process: 7, number })
}

/// Rank, and where the members are, if the call was answered with a gang's grant.
fn told(begun: &mut Begun<LeaseAnswer>) -> Option<(u32, Vec<String>)> {
    match begun.try_answer()?.unwrap().answer {
        LeaseAnswer::Granted { leases, .. } => {
            let (granted, context) = &leases[0];
            Some((granted.place.as_ref().unwrap().rank, context.hosts.clone()))
        }
        LeaseAnswer::Unregistered => panic!("the worker is registered"),
    }
}

/// How many leases a call was answered with, if it was.
fn granted(begun: &mut Begun<LeaseAnswer>) -> Option<usize> {
    match begun.try_answer()?.unwrap().answer {
        LeaseAnswer::Granted { leases, .. } => Some(leases.len()),
        LeaseAnswer::Unregistered => panic!("the worker is registered"),
    }
}

#[test]
fn members_are_told_together_start_together_and_end_together() {
    let mut world = World::new();
    let mut first = world.ask("b");
    assert_eq!(told(&mut first), None);
    let mut second = world.ask("a");
    // Ranks go by name, whoever asked last.
    let hosts = vec!["a.example".to_owned(), "b.example".to_owned()];
    assert_eq!((told(&mut first), told(&mut second)), (Some((1, hosts.clone())), Some((0, hosts))));
    let lease = world.lease();
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Wait);
    assert_eq!(world.beat("b", lease, MemberStep::Coming), LeaseStanding::Wait, "it has no slot yet");
    assert_eq!(world.beat("c", lease, MemberStep::There), LeaseStanding::Lost, "it is no member");
    assert_eq!(world.beat("b", lease, MemberStep::There), LeaseStanding::Extended);
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Extended);
    assert_eq!(world.beat("a", lease, MemberStep::Finished), LeaseStanding::Extended, "b is at work");
    assert_eq!(world.beat("b", lease, MemberStep::Finished), LeaseStanding::Finish);
    assert_eq!(world.beat("a", lease, MemberStep::Finished), LeaseStanding::Finish);
    let results = |name: &str| JudgeBatch { worker: worker(name), lease, number: 1, candidates: Vec::new() };
    assert!(world.run(results("b")).is_err(), "only the first member's results are the job's");
    assert!(world.run(results("a")).is_ok());
    let complete = |name: &str| CompleteJob { worker: worker(name), lease, batches: 1 };
    assert!(world.run(complete("b")).is_err());
    assert_eq!(world.run(complete("a")), Ok(CompleteAnswer::Done));
    assert_eq!(world.beat("b", lease, MemberStep::Finished), LeaseStanding::Lost, "it hears that it is over");
    assert_eq!(world.beat("a", lease, MemberStep::Finished), LeaseStanding::Extended, "its resend is answered");
}

#[test]
fn a_member_that_does_not_show_up_has_the_gang_given_back() {
    let mut world = World::new();
    let _calls = (world.ask("a"), world.ask("b"));
    let lease = world.lease();
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Wait);
    world.pass(TTL / 2);
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Wait, "which gives b no more time");
    world.pass(TTL / 2 + 1);
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Lost);
    let job = world.engine.state().job(world.job).unwrap();
    assert_eq!((&job.state, job.failures, job.crashes), (&JobState::Ready, 0, 0), "nothing is charged");
    let why: Vec<String> = world.why().iter().map(ToString::to_string).collect();
    assert!(why.iter().any(|why| why.ends_with("worker b did not show up within 2s")), "{why:?}");
    // With another one it goes on, and what was before is forgotten.
    let _calls = (world.ask("a"), world.ask("c"));
    let next = world.lease();
    assert_ne!(next, lease);
    assert_eq!(world.beat("a", next, MemberStep::There), LeaseStanding::Wait);
    assert_eq!(world.beat("c", next, MemberStep::There), LeaseStanding::Extended);
    // From now on a silent member is a lost one.
    world.pass(TTL / 2);
    assert_eq!(world.beat("a", next, MemberStep::There), LeaseStanding::Extended);
    world.pass(TTL / 2 + 1);
    let job = world.engine.state().job(world.job).unwrap();
    assert_eq!((&job.state, job.crashes), (&JobState::Ready, 1));
    assert!(world.engine.state().given_back(world.job).is_none());
}

#[test]
fn a_worker_whose_call_is_gone_is_no_member() {
    let mut world = World::new();
    drop(world.ask("a"));
    world.pass(1);
    let mut b = world.ask("b");
    assert_eq!(told(&mut b), None, "a is not there any more");
    let mut c = world.ask("c");
    assert!(told(&mut b).is_some() && told(&mut c).is_some());
}

#[test]
fn a_call_that_was_replaced_makes_nobody_a_member() {
    let mut world = World::new();
    world.register_by("a", Vec::new(), call(1));
    let mut replaced = world.ask_by("a", 2, Span::seconds(60));
    // The worker does not hear it any more. It asks anew, and has nothing left when that is answered.
    assert_eq!(granted(&mut world.ask_by("a", 3, Span(0))), Some(0));
    // Something changes, and it is looked at again.
    let mut job = JobSpec::new("q".parse().unwrap(), Payload::default());
    job.kind = Some("other".parse().unwrap());
    world.run(Submit(Submission { jobs: vec![job], ..Submission::default() })).unwrap();
    assert_eq!(granted(&mut replaced), Some(0), "it is over");
    // As late as it is, or twice.
    let mut late = [2, 3].map(|number| world.ask_by("a", number, Span::seconds(60)));
    assert_eq!(late.each_mut().map(granted), [Some(0), Some(0)]);
    let mut b = world.ask("b");
    assert_eq!(told(&mut b), None, "a has no room");
    let mut newest = world.ask_by("a", 4, Span::seconds(60));
    assert!(told(&mut b).is_some() && told(&mut newest).is_some());
}

#[test]
fn a_job_is_left_to_nobody_who_is_gone_or_may_not_have_it() {
    let mut world = World::new();
    world.run(CancelJobs { filter: JobFilter::default(), reason: String::new(), dry_run: false });
    let job =
        |name: &str| JobSpec { name: Some(name.into()), ..JobSpec::new("q".parse().unwrap(), Payload::default()) };
    let prefer = |value: &str| Preference { label: "address".into(), value: value.into(), weight: 1 };
    let prefer = vec![prefer("c.example"), prefer("d.example")];
    let prefers = JobSpec { prefer, ..job("prefers c") };
    world.run(Submit(Submission { jobs: vec![prefers, job("any")], ..Submission::default() })).unwrap();
    world.run(PauseQueue { queue: "q".parse().unwrap(), reason: String::new() }).unwrap();
    drop(world.ask("c"));
    // Nor to one that waits, but may not have it.
    world.register("d", Vec::new());
    let command = LeaseJobs::new(LeaseRequest::new(worker("d"), Vec::new(), 1), Span::seconds(60));
    let queues = Queues::of(&["another".parse().unwrap()].into());
    let _held = world.begin(LeaseJobsWithin { command, bounds: LeaseBounds { queues, session: None } });
    world.run(ResumeQueue { queue: "q".parse().unwrap() }).unwrap();
    let LeaseAnswer::Granted { leases, .. } = world.ask("a").try_answer().unwrap().unwrap().answer else { panic!() };
    assert_eq!(leases[0].1.name, "prefers c", "it is the older one, and neither c nor d may have it");
}

#[test]
fn what_is_left_of_a_workers_life_shrinks_while_its_call_waits() {
    let mut world = World::new();
    world.run(CancelJobs { filter: JobFilter::default(), reason: String::new(), dry_run: false });
    let mut request = LeaseRequest::new(worker("a"), Vec::new(), 1);
    request.offer.remaining = Some(Span::seconds(60));
    let mut call = world.begin(LeaseJobs::new(request, Span::seconds(60)));
    world.pass(31_000);
    let mut job = JobSpec::new("q".parse().unwrap(), Payload::default());
    job.resources = serde_json::from_str(r#"{"min_time": "30s"}"#).unwrap();
    world.run(Submit(Submission { jobs: vec![job], ..Submission::default() })).unwrap();
    assert_eq!(granted(&mut call), None, "it lives for 29 s more");
    let mut job = JobSpec::new("q".parse().unwrap(), Payload::default());
    job.resources = serde_json::from_str(r#"{"min_time": "28s"}"#).unwrap();
    world.run(Submit(Submission { jobs: vec![job], ..Submission::default() })).unwrap();
    assert_eq!(granted(&mut call), Some(1));
}

#[test]
fn a_registration_that_comes_late_ends_nothing() {
    let mut world = World::new();
    world.register_by("a", Vec::new(), call(1));
    let mut a = world.ask_by("a", 2, Span::seconds(60));
    let _b = world.ask("b");
    assert!(told(&mut a).is_some());
    let lease = world.lease();
    world.register_by("a", Vec::new(), call(1));
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Wait, "it has it still");
    // One that is newer does not name it: then it is lost.
    world.register_by("a", Vec::new(), call(3));
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Lost);
}

#[test]
fn a_gang_goes_on_over_a_restart() {
    let mut world = World::new();
    let _calls = (world.ask("a"), world.ask("b"));
    let lease = world.lease();
    world.beat("a", lease, MemberStep::There);
    world.beat("b", lease, MemberStep::There);
    let World { dir, engine, now, job } = world;
    engine.close().unwrap();
    let mut world = World { engine: open(&dir, at(now)), dir, now, job };
    world.register("a", vec![lease]);
    world.register("b", vec![lease]);
    assert_eq!(world.beat("a", lease, MemberStep::Finished), LeaseStanding::Wait, "b was not heard of yet");
    assert_eq!(world.beat("b", lease, MemberStep::Finished), LeaseStanding::Finish);
    assert_eq!(world.beat("a", lease, MemberStep::Finished), LeaseStanding::Finish);
    // One that does not know the lease any more was lost with it, and so is the attempt.
    world.register("b", Vec::new());
    assert_eq!(world.beat("a", lease, MemberStep::There), LeaseStanding::Lost);
}

#[test]
fn who_is_kept_free_gets_another_job_when_the_time_is_over() {
    let mut world = World::new();
    let mut single = JobSpec::new("q".parse().unwrap(), Payload::default());
    single.name = Some("single".into());
    world.run(Submit(Submission { jobs: vec![single], ..Submission::default() })).unwrap();
    // The gang is the older one; b and c are busy elsewhere, as far as anybody knows.
    let mut a = world.ask("a");
    assert!(a.try_answer().is_none() && world.engine.state().leases().is_empty());
    let gathers = explain::gathers(world.engine.state(), world.engine.gathering(), world.job, at(world.now)).unwrap();
    assert_eq!(gathers.to_string(), "it is at its turn: of 2 workers 1 are kept free for it, for 5m more at most");
    // Calls that wait end after a minute; this one asks again in time.
    for _ in 0..5 {
        world.pass(59_000);
        a = world.ask("a");
        assert!(a.try_answer().is_none(), "it is kept still");
        // The others are heard of, so that there are enough.
        for name in ["b", "c"] {
            world.run(Heartbeat { worker: worker(name), leases: Vec::new(), last_receipt: None });
        }
    }
    world.pass(6_000);
    let LeaseAnswer::Granted { leases, .. } = a.try_answer().unwrap().unwrap().answer else { panic!() };
    assert_eq!(leases[0].1.name, "single");
}

//! Gangs: all of their members or none, whoever asks, ends, is lost or dies, and no two gangs in each other's way.
//!
//! A small cluster of workers with slots and processors asks, works and fails at random. Its driver keeps the accounts of
//! its own: what each worker has left, who waits, and for whom somebody was kept free.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_core::access::Queues;
use orch_core::gang::{GangSpec, Gathering};
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::limit::LimitSpec;
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, ExpiryCause, FailureClass, Record};
use orch_core::resource::{Allocation, Offer, Pools, Preference};
use orch_core::state::{
    Decision, FailureReport, JobState, LeaseBounds, LeaseRequest, Leased, Others, State, Submission,
};
use orch_core::time::{Span, Tick, Timestamp};
use proptest::prelude::*;

/// How long workers are kept free for a gang here.
const TIMEOUT: Span = Span(5_000);

struct Worker {
    offer: Offer,
    slots: usize,
    bounds: LeaseBounds,
    /// What of it each of its leases has.
    held: BTreeMap<LeaseId, Allocation>,
    /// What it said when it asked, if it waits for an answer.
    asks: Option<(LeaseRequest, LeaseBounds)>,
    /// Whether it is kept free for a gang.
    kept: bool,
}

struct Cluster {
    state: State,
    gathering: Gathering,
    workers: BTreeMap<WorkerId, Worker>,
    now: Tick,
    records: Vec<Record>,
    /// The most jobs that may run, if there is a limit.
    max: Option<u32>,
    done: u64,
}

fn offer(cpus: u32) -> Offer {
    let pools = Pools([("cpus".parse().unwrap(), format!("sum({cpus})").parse().unwrap())].into());
    Offer { pools, ..Offer::default() }
}

/// Queues a and b of the kinds a and b.
fn job(queue: &str, workers: u32, cpus: u32) -> JobSpec {
    let mut spec = JobSpec::new(queue.parse().unwrap(), Payload::default());
    spec.gang = (workers > 1).then_some(GangSpec { workers, timeout: Some(TIMEOUT) });
    spec.resources = serde_json::from_str(&format!(r#"{{"cpus":{cpus}}}"#)).unwrap();
    spec
}

impl Cluster {
    /// Workers by slots and processors.
    fn new(workers: &[(usize, u32)]) -> Self {
        let worker = |(slots, cpus): &(usize, u32)| Worker {
            offer: offer(*cpus),
            slots: *slots,
            bounds: LeaseBounds::default(),
            held: BTreeMap::new(),
            asks: None,
            kept: false,
        };
        let named = workers.iter().enumerate().map(|(n, of)| (format!("w{n}").parse().unwrap(), worker(of)));
        let mut cluster = Self {
            state: State::default(),
            gathering: Gathering::default(),
            workers: named.collect(),
            now: Tick(0),
            records: Vec::new(),
            max: None,
            done: 0,
        };
        let queue = |name: &str| {
            let retry = RetryPatch {
                max_attempts: Some(1000),
                crash_limit: Some(1000),
                backoff: Some(Span(0)),
                jitter: Some(Span(0)),
                ..RetryPatch::default()
            };
            let kind = Some(name.parse().unwrap());
            QueueSpec { kind, retry, ..QueueSpec::new(name.parse().unwrap()) }
        };
        let submission = Submission { queues: vec![queue("a"), queue("b")], ..Submission::default() };
        let decision = cluster.state.submit(&submission, cluster.wall()).unwrap();
        cluster.record(decision);
        cluster
    }

    fn wall(&self) -> Timestamp {
        Timestamp(1_000_000 + i64::try_from(self.now.0).unwrap())
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let event: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            self.done += u64::from(matches!(event, Event::JobCompleted { .. }));
            let record = Record { seq: self.state.next_seq(), at: self.wall(), event };
            self.state.apply(&record).unwrap();
            self.records.push(record);
        }
        for worker in self.workers.values_mut() {
            let ended: Vec<LeaseId> =
                worker.held.keys().filter(|lease| !self.state.leases().contains_key(lease)).copied().collect();
            for lease in ended {
                worker.offer.pools.give_back(&worker.held.remove(&lease).unwrap());
            }
        }
        self.check();
        decision.answer
    }

    /// What holds at every instant.
    fn check(&self) {
        let mut jobs = BTreeSet::new();
        for (lease, held) in self.state.leases() {
            assert!(jobs.insert(held.job), "job {} is leased twice", held.job);
            let job = self.state.job(held.job).unwrap();
            assert_eq!(job.state, JobState::Leased { lease: *lease });
            let members: BTreeSet<&WorkerId> = held.workers().collect();
            assert_eq!(members.len(), held.workers().count(), "lease {lease} has a member twice");
            assert_eq!(members.len(), self.state.requirements(job).workers() as usize, "all of them or none");
        }
        assert!(self.max.is_none_or(|max| self.state.leases().len() <= max as usize), "a limit is passed");
    }

    fn submit(&mut self, jobs: Vec<JobSpec>) -> Vec<JobId> {
        let decision = self.state.submit(&Submission { jobs, ..Submission::default() }, self.wall()).unwrap();
        self.record(decision).jobs.into_iter().map(|(id, _)| id).collect()
    }

    fn limit(&mut self, max: u32) {
        let decision = self.state.set_limit(&LimitSpec::max("running".parse().unwrap(), max));
        self.record(decision);
        self.max = Some(max);
    }

    /// Whether so many workers could ever be members of such a gang, told slowly.
    fn enough(&self, required: &orch_core::resource::Requirements) -> bool {
        let fits = |worker: &&Worker| {
            let whole = Offer { pools: worker.offer.pools.whole(), ..worker.offer.clone() };
            required.fits(&"x".parse().unwrap(), &whole).is_some()
        };
        self.workers.values().filter(fits).count() >= required.workers() as usize
    }

    /// A worker asks for jobs with what it has left, and waits if there is none.
    fn ask(&mut self, name: &WorkerId) {
        self.pass(Span(0));
        let worker = self.workers.get_mut(name).unwrap();
        let free = worker.slots.saturating_sub(worker.held.len());
        worker.asks = None;
        self.gathering.let_go(name);
        if free == 0 {
            worker.kept = false;
            return;
        }
        let kinds = ["a", "b"].map(|kind| kind.parse().unwrap()).to_vec();
        let (offer, bounds) = (worker.offer.clone(), worker.bounds.clone());
        // What prefers one of those that wait is left to it.
        let rivals = self.workers.iter().filter_map(|(other, worker)| Some((other, &worker.asks.as_ref()?.0.offer)));
        let rivals = rivals.map(|(other, offer)| (other.clone(), offer.clone())).collect();
        let asked = LeaseRequest { offer, rivals, ..LeaseRequest::new(name.clone(), kinds, free) };
        let (mut left, mut kept, mut got) = (asked.clone(), false, false);
        for _ in 0..free {
            let waiting = || {
                let others = self.workers.iter().filter(|(other, _)| *other != name);
                others.filter_map(|(_, worker)| worker.asks.as_ref().map(|(r, b)| (r, b))).collect()
            };
            let others = Others { waiting: &waiting, enough: &|required| self.enough(required) };
            let (mut gathering, payload) = (self.gathering.clone(), &mut |_| Payload::default());
            let decision = self.state.lease_among(&left, &bounds, &others, &mut gathering, self.now, payload);
            self.gathering = gathering;
            match self.record(decision) {
                Leased::Nothing => break,
                Leased::Job(granted) => {
                    got = true;
                    left.offer.pools.take(&granted.variant).expect("what is left over fits");
                    self.take(name, granted.lease, &granted.variant);
                }
                Leased::Kept(variant) => {
                    assert!(!kept, "it is kept twice");
                    kept = true;
                    left.offer.pools.take(&variant).unwrap();
                }
                Leased::Gang(grants) => {
                    got = true;
                    kept = false;
                    let ranks: Vec<u32> = grants.iter().map(|g| g.place.as_ref().unwrap().rank).collect();
                    assert_eq!(ranks, (0..grants.len() as u32).collect::<Vec<_>>());
                    // Who was kept and was not taken is free again.
                    if self.gathering.next_pass().is_none() {
                        self.workers.values_mut().for_each(|worker| worker.kept = false);
                    }
                    for granted in &grants {
                        let place = granted.place.clone().unwrap();
                        let member = &place.members[place.rank as usize];
                        if member == name {
                            left.offer.pools.take(&granted.variant).unwrap();
                        } else {
                            let others = self.workers.get_mut(member).unwrap();
                            assert!(others.asks.take().is_some(), "{member} did not wait");
                            self.gathering.let_go(member);
                        }
                        self.take(&member.clone(), granted.lease, &granted.variant);
                    }
                }
            }
        }
        if !got {
            self.check_idle(name, &left, kept);
        }
        let worker = self.workers.get_mut(name).unwrap();
        worker.kept = kept;
        worker.asks = (!got).then_some((asked, bounds));
    }

    /// A worker got nothing: then no job that may run fits what is left of it, a gang only if there are not enough for it.
    fn check_idle(&self, name: &WorkerId, left: &LeaseRequest, kept: bool) {
        if self.workers[name].slots - self.workers[name].held.len() <= usize::from(kept) {
            return;
        }
        let ready = self.state.jobs().filter(|(id, _)| self.state.holds(*id).is_some_and(|holds| holds.is_empty()));
        for (id, job) in ready {
            let required = self.state.requirements(job);
            let fits = |worker: &(&WorkerId, &Worker)| {
                *worker.0 != *name
                    && worker
                        .1
                        .asks
                        .as_ref()
                        .is_some_and(|(asked, _)| required.fits(worker.0, &asked.offer).is_some() && !worker.1.kept)
            };
            let others = self.workers.iter().filter(fits).count();
            let enough = others + 1 >= required.workers() as usize && required.fits(name, &left.offer).is_some();
            assert!(!enough, "worker {name} is idle, and job {id} may run");
        }
    }

    fn take(&mut self, name: &WorkerId, lease: LeaseId, variant: &orch_core::resource::Variant) {
        let worker = self.workers.get_mut(name).unwrap();
        let taken = worker.offer.pools.take(variant).expect("what is granted fits");
        assert!(worker.held.insert(lease, taken).is_none() && worker.held.len() <= worker.slots);
    }

    /// Time passes; whoever was kept in vain asks again.
    fn pass(&mut self, span: Span) {
        self.now = self.now.plus(span);
        if self.gathering.pass(self.now) {
            self.workers.values_mut().for_each(|worker| worker.kept = false);
        }
        let ends = self.gathering.next_pass();
        assert!(ends.is_none_or(|at| at > self.now && at <= self.now.plus(TIMEOUT)), "nobody is kept for longer");
    }

    fn end(&mut self, lease: LeaseId, how: u8, member: u8) {
        let held = self.state.leases()[&lease].clone();
        let workers: Vec<WorkerId> = held.workers().cloned().collect();
        let member = &workers[usize::from(member) % workers.len()];
        let (now, gang) = (self.wall(), held.is_gang());
        match how {
            0 | 1 => {
                if held.worker != *member {
                    let refused = self.state.complete(member, lease, 0, now);
                    assert!(refused.is_err(), "only the first member ends the job");
                }
                let decision = self.state.complete(&held.worker, lease, 0, now).unwrap();
                self.record(decision);
            }
            2 => {
                let report = FailureReport::new(FailureClass::Error, "no");
                let decision = self.state.fail(member, lease, report.clone(), now).unwrap();
                self.record(decision);
                // Its resend is told the same.
                assert!(self.state.fail(member, lease, report, now).unwrap().events.is_empty());
            }
            3 => {
                let decision = self.state.release(member, &[lease]);
                assert_eq!(self.record(decision), [lease]);
                assert_eq!(self.state.given_back(held.job).is_some(), gang);
            }
            4 => {
                let decision = self.state.expire_of(lease, Some(member), ExpiryCause::Ttl, now);
                self.record(decision);
            }
            _ => {
                let decision = self.state.cancel(held.job, "enough");
                self.record(decision);
            }
        }
        // Whatever it was: it is over for all of them, and a result of any is refused.
        assert!(!self.state.leases().contains_key(&lease));
        for worker in &workers {
            assert!(self.state.judge_batch(worker, lease, 1, &[]).is_err());
        }
    }

    /// The process dies, and another one replays the ledger; who waited asks again.
    fn crash(&mut self) {
        let mut replayed = State::default();
        self.records.iter().for_each(|record| replayed.apply(record).unwrap());
        assert_eq!(replayed.export(), self.state.export());
        self.state = replayed;
        self.gathering = Gathering::default();
        for worker in self.workers.values_mut() {
            (worker.asks, worker.kept) = (None, false);
        }
    }

    /// Works on until nothing is open: everybody asks, and the oldest lease is done. How many rounds it took.
    fn finish(&mut self) -> usize {
        let names: Vec<WorkerId> = self.workers.keys().cloned().collect();
        for round in 0..10_000 {
            names.iter().for_each(|name| self.ask(name));
            let oldest = self.state.leases().keys().next().copied();
            match oldest {
                Some(lease) => self.end(lease, 0, 0),
                None if self.state.counts().jobs.open() == 0 => return round,
                None => self.pass(Span(1_000)),
            }
        }
        panic!("it never ends: {}", self.state.export());
    }
}

#[derive(Clone, Debug)]
enum Step {
    Submit { b: bool, workers: u32, cpus: u32, priority: i32, count: u8 },
    Ask(u8),
    End { pick: u8, how: u8, member: u8 },
    Limit(u32),
    Pass(u64),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (any::<bool>(), 1..5u32, 1..4u32, 0..2i32, 1..4u8)
            .prop_map(|(b, workers, cpus, priority, count)| Step::Submit { b, workers, cpus, priority, count }),
        10 => any::<u8>().prop_map(Step::Ask),
        5 => (any::<u8>(), 0..6u8, any::<u8>()).prop_map(|(pick, how, member)| Step::End { pick, how, member }),
        1 => (1..6u32).prop_map(Step::Limit),
        2 => (0..3_000u64).prop_map(Step::Pass),
        1 => Just(Step::Crash),
    ]
}

fn run(cluster: &mut Cluster, step: &Step) {
    match *step {
        Step::Submit { b, workers, cpus, priority, count } => {
            let mut spec = job(if b { "b" } else { "a" }, workers, cpus);
            spec.priority = priority;
            cluster.submit(vec![spec; usize::from(count)]);
        }
        Step::Ask(pick) => {
            let names: Vec<WorkerId> = cluster.workers.keys().cloned().collect();
            cluster.ask(&names[usize::from(pick) % names.len()]);
        }
        Step::End { pick, how, member } => {
            let leases: Vec<LeaseId> = cluster.state.leases().keys().copied().collect();
            if let Some(lease) = leases.get(usize::from(pick) % leases.len().max(1)) {
                cluster.end(*lease, how, member);
            }
        }
        // A lower one is reached as jobs end; `check` wants it to hold at once.
        Step::Limit(max) if cluster.state.leases().len() <= max as usize => cluster.limit(max),
        Step::Limit(_) => {}
        Step::Pass(ms) => cluster.pass(Span(ms)),
        Step::Crash => cluster.crash(),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Every gang here needs four of five workers at most, and three processors: whatever came before, all come to an end.
    #[test]
    fn all_members_or_none_and_everything_ends(steps in prop::collection::vec(step(), 1..120)) {
        let workers = [(1, 4), (2, 4), (3, 4), (1, 3), (2, 8)];
        let mut cluster = Cluster::new(&workers);
        steps.iter().for_each(|step| run(&mut cluster, step));
        cluster.finish();
        // The same again is the same schedule.
        let mut again = Cluster::new(&workers);
        steps.iter().for_each(|step| run(&mut again, step));
        again.finish();
        let text = |cluster: &Cluster| format!("{:?}", cluster.records);
        prop_assert_eq!(text(&cluster), text(&again));
    }
}

fn names<const N: usize>(cluster: &Cluster) -> [WorkerId; N] {
    cluster.workers.keys().take(N).cloned().collect::<Vec<_>>().try_into().unwrap()
}

#[test]
fn a_gang_starts_when_the_last_of_its_workers_asks() {
    let mut cluster = Cluster::new(&[(1, 1); 3]);
    let [a, b, c] = names(&cluster);
    let gang = cluster.submit(vec![job("a", 3, 1)])[0];
    cluster.ask(&b);
    cluster.ask(&a);
    assert!(cluster.state.leases().is_empty());
    cluster.ask(&c);
    let held = cluster.state.leases().values().next().unwrap();
    assert_eq!((held.job, held.workers().cloned().collect::<Vec<_>>()), (gang, vec![a, b, c]));
    assert_eq!(cluster.state.counts().leases_granted, 1, "one attempt, whoever they are");
}

#[test]
fn a_gang_is_not_starved_by_single_jobs_nor_they_by_it() {
    let mut cluster = Cluster::new(&[(1, 1); 2]);
    let [a, b] = names(&cluster);
    cluster.submit(vec![job("a", 1, 1); 2]);
    cluster.ask(&a);
    cluster.ask(&b);
    let gang = cluster.submit(vec![job("a", 2, 1)])[0];
    let singles = cluster.submit(vec![job("a", 1, 1); 20]);
    // The first that becomes free is kept for the gang, though there are others to do; with the second it starts.
    let leases: Vec<LeaseId> = cluster.state.leases().keys().copied().collect();
    cluster.end(leases[0], 0, 0);
    cluster.ask(&a);
    assert_eq!(cluster.state.leases().len(), 1, "worker a is kept free");
    assert!(cluster.gathering.kept_for(cluster.state.requirements(cluster.state.job(gang).unwrap())).is_some());
    // But not for longer than its time: then others run, and for as long nobody is kept.
    cluster.pass(TIMEOUT);
    cluster.ask(&a);
    assert!(matches!(cluster.state.job(singles[0]).unwrap().state, JobState::Leased { .. }));
    let second = *cluster.state.leases().keys().last().unwrap();
    cluster.end(second, 0, 0);
    cluster.pass(Span(TIMEOUT.0 - 1));
    cluster.ask(&a);
    assert!(matches!(cluster.state.job(singles[1]).unwrap().state, JobState::Leased { .. }));
    let third = *cluster.state.leases().keys().last().unwrap();
    cluster.end(third, 0, 0);
    cluster.pass(Span(1_001));
    cluster.ask(&a);
    assert_eq!(cluster.state.leases().len(), 1, "its second time has come");
    cluster.end(leases[1], 0, 0);
    cluster.ask(&b);
    assert!(matches!(cluster.state.job(gang).unwrap().state, JobState::Leased { .. }));
}

#[test]
fn two_gangs_of_kinds_of_their_own_do_not_hold_each_other_up() {
    let mut cluster = Cluster::new(&[(1, 1); 3]);
    let [a, b, c] = names(&cluster);
    cluster.submit(vec![job("a", 3, 1), job("b", 2, 1)]);
    // The larger one gathers first, so that the smaller one takes none of its workers.
    cluster.ask(&a);
    cluster.ask(&b);
    assert!(cluster.state.leases().is_empty());
    cluster.ask(&c);
    assert_eq!(cluster.state.leases().values().next().unwrap().workers().count(), 3);
    assert!(cluster.finish() < 20);
    assert_eq!(cluster.done, 2);
}

#[test]
fn a_gang_larger_than_the_cluster_is_in_nobodys_way() {
    let mut cluster = Cluster::new(&[(1, 1); 2]);
    let [a, b] = names(&cluster);
    cluster.submit(vec![job("a", 3, 1)]);
    cluster.submit(vec![job("a", 1, 1), job("a", 2, 1)]);
    cluster.ask(&a);
    assert_eq!(cluster.state.leases().len(), 1, "nobody is kept for what can never run");
    cluster.end(*cluster.state.leases().keys().next().unwrap(), 0, 0);
    cluster.ask(&a);
    cluster.ask(&b);
    assert_eq!(cluster.state.leases().values().next().unwrap().workers().count(), 2);
}

#[test]
fn a_worker_that_is_kept_free_works_with_what_is_left_of_it() {
    let mut cluster = Cluster::new(&[(3, 4), (1, 4)]);
    let [a, _] = names(&cluster);
    let ids = cluster.submit(vec![job("a", 2, 3), job("a", 1, 2), job("a", 1, 1)]);
    cluster.ask(&a);
    let running: Vec<JobId> = cluster.state.leases().values().map(|held| held.job).collect();
    assert_eq!(running, [ids[2]], "three processors are kept, and one runs what fits it");
}

#[test]
fn a_gang_that_prefers_who_waits_takes_others_before_they_get_other_jobs() {
    let mut cluster = Cluster::new(&[(1, 1); 2]);
    let [a, b] = names(&cluster);
    cluster.workers.get_mut(&a).unwrap().offer.labels.insert("zone".into(), "near".into());
    let mut gang = job("a", 2, 1);
    gang.prefer = vec![Preference { label: "zone".into(), value: "near".into(), weight: 1 }];
    let ids = cluster.submit(vec![gang, job("a", 1, 1)]);
    cluster.ask(&a);
    assert!(cluster.state.leases().is_empty(), "worker a is kept free for the gang");
    cluster.ask(&b);
    let running: Vec<JobId> = cluster.state.leases().values().map(|held| held.job).collect();
    assert_eq!(running, [ids[0]], "the gang is at its turn, and has the workers that it needs");
}

#[test]
fn a_gang_whose_queue_is_not_open_to_who_waits_does_not_hold_up_one_whose_queue_is() {
    let mut cluster = Cluster::new(&[(1, 1); 2]);
    let [a, b] = names(&cluster);
    cluster.workers.get_mut(&a).unwrap().bounds.queues = Queues::Only(Arc::new(["a".parse().unwrap()].into()));
    // They are alike but for their queues, and the first one is at its turn wherever it may run.
    let mut first = job("b", 2, 1);
    first.kind = Some("a".parse().unwrap());
    let ids = cluster.submit(vec![first, job("a", 2, 1)]);
    cluster.ask(&a);
    cluster.ask(&b);
    let running: Vec<JobId> = cluster.state.leases().values().map(|held| held.job).collect();
    assert_eq!(running, [ids[1]], "both workers may have it, and wait");
}

#[test]
fn tasks_of_an_array_may_be_gangs() {
    let mut cluster = Cluster::new(&[(1, 1); 3]);
    let mut spec = job("a", 2, 1);
    spec.array = Some("1-3".parse().unwrap());
    cluster.submit(vec![spec]);
    cluster.finish();
    assert_eq!((cluster.done, cluster.state.counts().leases_granted), (3, 3));
}

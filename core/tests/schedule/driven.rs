//! A state that is driven like the engine drives it, beside the model.

use std::collections::BTreeMap;

use orch_core::id::{JobId, Kind, LeaseId, QueueName, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::limit::{AtLimit, LimitTarget};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::resource::{Allocation, Item, Offer, Pool, Pools, Variant};
use orch_core::state::{Decision, Granted, Job, LeaseRequest, State, Submission};
use orch_core::time::{Span, Timestamp};

use super::model::Model;

pub fn queue(n: u8) -> QueueName {
    format!("q{n}").parse().unwrap()
}

/// Kinds by bit.
pub fn kinds(bits: u8) -> Vec<Kind> {
    [(1, "a"), (2, "b")].into_iter().filter(|(bit, _)| bits & bit != 0).map(|(_, kind)| kind.parse().unwrap()).collect()
}

pub fn job(q: u8, kind: u8) -> JobSpec {
    let mut spec = JobSpec::new(queue(q), Payload::default());
    spec.kind = Some(kinds(1 << kind).remove(0));
    spec
}

/// One worker that has everything, one with a small GPU, one that has processors only and will end soon, one that has
/// nothing.
fn workers() -> Vec<(WorkerId, Offer)> {
    let gpus = |memory: &[u64]| {
        Pool::Items(memory.iter().enumerate().map(|(n, mib)| Item::new(n.to_string(), *mib)).collect())
    };
    let offer = |pools: Vec<(&str, Pool)>, zone: &str, remaining| Offer {
        pools: Pools(pools.into_iter().map(|(name, pool)| (name.parse().unwrap(), pool)).collect()),
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        remaining,
    };
    let cpus = |text: &str| ("cpus", text.parse().unwrap());
    let mem = |text: &str| ("mem", text.parse().unwrap());
    vec![
        (
            "big".parse().unwrap(),
            offer(vec![("gpus", gpus(&[80, 24, 24])), cpus("range(0-7)"), mem("sum(64)")], "a", None),
        ),
        ("small".parse().unwrap(), offer(vec![("gpus", gpus(&[16])), cpus("range(0-1)")], "b", None)),
        ("plain".parse().unwrap(), offer(vec![cpus("range(0-3)"), mem("sum(8)")], "a", Some(Span(1_000)))),
        ("bare".parse().unwrap(), Offer::default()),
    ]
}

/// The job that was chosen: of an array the next task is granted, which is a job from then on.
pub fn chosen_as(granted: &Granted) -> JobId {
    match granted.task {
        Some(task) if granted.attempt == 1 => task.array,
        Some(_) | None => granted.job,
    }
}

pub struct Driven {
    pub state: State,
    pub model: Model,
    pub now: Timestamp,
    pub queue_of: BTreeMap<JobId, u8>,
    /// What each worker has, and what is left of it.
    pub workers: Vec<(WorkerId, Offer)>,
    /// What each lease has of its worker, a gang's of each member.
    held: BTreeMap<LeaseId, Vec<(usize, Allocation)>>,
    records: Vec<Record>,
}

impl Driven {
    pub fn new() -> Self {
        let mut driven = Self {
            state: State::default(),
            model: Model::default(),
            now: Timestamp(1_000_000),
            queue_of: BTreeMap::new(),
            workers: workers(),
            held: BTreeMap::new(),
            records: Vec::new(),
        };
        for q in 0..3 {
            driven.define(q, None, None);
        }
        driven
    }

    /// Gives weights to the values of a queue's fair key.
    pub fn define_fair(&mut self, q: u8, weights: BTreeMap<String, u32>) {
        let fair_weights = weights.into_iter().map(|(value, weight)| (value.parse().unwrap(), weight)).collect();
        let spec = QueueSpec { fair_weights, ..QueueSpec::new(queue(q)) };
        let submission = Submission { queues: vec![spec], ..Submission::default() };
        let decision = self.state.submit(&submission, self.now).unwrap();
        self.record(decision);
    }

    pub fn define(&mut self, q: u8, weight: Option<u32>, max_running: Option<u32>) {
        // Queue 0 retries as ever; queue 1 keeps away from where it failed, queue 2 asks for more memory at once.
        let rules = match q {
            0 => "[]",
            1 => r#"[{"message":"^no","avoid_worker":true,"max_attempts":4}]"#,
            _ => {
                r#"[{"exit_code":[3],"memory":{"factor":2,"cap":8},"backoff":"0s"},{"class":["error"],"then":"fail"}]"#
            }
        };
        let rules = Some(serde_json::from_str(rules).unwrap());
        let retry = RetryPatch { max_attempts: Some(2), backoff: Some(Span(200)), rules, ..RetryPatch::default() };
        let fair_weights = [("u1".parse().unwrap(), 250), ("u2".parse().unwrap(), 33)].into();
        let spec = QueueSpec { weight, max_running, retry, fair_weights, ..QueueSpec::new(queue(q)) };
        let submission = Submission { queues: vec![spec], ..Submission::default() };
        let decision = self.state.submit(&submission, self.now).unwrap();
        self.record(decision);
    }

    /// Submits jobs that are alike in their keys; none if a limit refuses them.
    pub fn submit(&mut self, jobs: Vec<JobSpec>) -> Vec<JobId> {
        let count = jobs.len();
        let specs = jobs.clone();
        let submission = Submission { jobs, ..Submission::default() };
        let decision = self.state.submit(&submission, self.now);
        let refused = self.model.refuses(&specs);
        assert_eq!(decision.is_err(), refused, "{:?}", decision.map(|d| d.answer));
        let Ok(decision) = decision else { return Vec::new() };
        let ids: Vec<JobId> = self.record(decision).jobs.into_iter().map(|(id, _)| id).collect();
        assert_eq!(ids.len(), count);
        for (id, spec) in ids.iter().zip(&specs) {
            let q = spec.queue.as_str()[1..].parse().unwrap();
            self.queue_of.insert(*id, q);
            for (name, value) in &spec.keys {
                let target = LimitTarget::Key(name.clone(), value.clone());
                if let Some((max, AtLimit::CancelOldest)) = self.model.max_of(&target) {
                    assert!(self.model.unfinished(&target).len() <= max as usize, "{target} is over its limit");
                }
            }
        }
        ids
    }

    /// Leases one job to the worker that has everything it can, which must be the model's.
    pub fn lease(&mut self, kinds: &[Kind]) -> Option<JobId> {
        self.lease_to(0, kinds)
    }

    /// Leases one job to a worker, which must be the model's. What it takes is set apart.
    pub fn lease_to(&mut self, place: usize, kinds: &[Kind]) -> Option<JobId> {
        self.state.refill(self.now);
        let (worker, offer) = self.workers[place].clone();
        let expected = self.model.next(kinds, &worker, &offer, self.now);
        let request = LeaseRequest { offer, ..LeaseRequest::new(worker, kinds.to_vec(), 1) };
        let decision = self.state.lease(&request, &mut |_| Payload::default());
        let granted = decision.answer.as_ref().map(|granted| granted.job);
        let chosen = decision.answer.as_ref().map(chosen_as);
        assert_eq!(chosen, expected.as_ref().map(|(job, _)| *job), "the model chooses another job");
        if let (Some(granted), Some((_, variant))) = (&decision.answer, expected) {
            assert_eq!(granted.variant, variant, "the first alternative that fits");
            self.set_apart(place, granted.lease, &variant);
        }
        self.record(decision);
        if let Some(job) = granted {
            self.model.check_limits_of(job);
        }
        granted
    }

    /// A lease has so much of a worker until it ends.
    pub fn set_apart(&mut self, place: usize, lease: LeaseId, variant: &Variant) {
        let taken = self.workers[place].1.pools.take(variant).expect("what is leased fits");
        self.held.entry(lease).or_default().push((place, taken));
    }

    /// Leases one job of kind a; its queue.
    pub fn lease_of_queue(&mut self) -> u8 {
        let job = self.lease(&kinds(1)).unwrap();
        self.queue_of[&job]
    }

    /// The process dies, and another one replays the ledger.
    pub fn crash(&mut self) {
        let mut replayed = State::default();
        for record in &self.records {
            replayed.apply(record).unwrap();
        }
        assert_eq!(replayed.export(), self.state.export());
        self.state = replayed;
    }

    pub fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            // Through its JSON, as the ledger would.
            let event: Event = serde_json::from_str(&serde_json::to_string(&event).unwrap()).unwrap();
            let record = Record { seq: self.state.next_seq(), at: self.now, event };
            self.state.apply(&record).unwrap();
            self.model.take(&record);
            self.records.push(record);
        }
        let leases = self.state.leases();
        let (kept, ended) =
            std::mem::take(&mut self.held).into_iter().partition(|(lease, _)| leases.contains_key(lease));
        self.held = kept;
        let ended: BTreeMap<LeaseId, Vec<(usize, Allocation)>> = ended;
        for (place, taken) in ended.values().flatten() {
            self.workers[*place].1.pools.give_back(taken);
        }
        self.state.refill(self.now);
        let free = |(id, _): &(JobId, &Job)| self.state.holds(*id).is_some_and(|holds| holds.is_empty());
        let mut may_run: Vec<JobId> = self.state.jobs().filter(free).map(|(id, _)| id).collect();
        may_run.sort_unstable();
        assert_eq!(may_run, self.model.may_run(self.now), "which jobs may run");
        let ready = (self.state.counts().jobs.ready, self.state.ready_by_kind().map(|(_, jobs)| jobs).sum());
        assert_eq!(ready, (self.model.ready(), self.model.ready()), "how many are ready");
        decision.answer
    }
}

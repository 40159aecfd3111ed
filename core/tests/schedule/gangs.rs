//! Gangs beside single jobs: who gets what at each ask, against the rule told slowly.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use orch_core::access::Queues;
use orch_core::gang::{GangSpec, Gathering};
use orch_core::id::{JobId, Kind, LeaseId, WorkerId};
use orch_core::job::Payload;
use orch_core::resource::{Offer, Preference, Requirements, Variant};
use orch_core::state::{Granted, LeaseBounds, LeaseRequest, Leased, Others};
use orch_core::time::{Span, Tick};
use proptest::prelude::*;

use super::driven::{Driven, chosen_as, kinds, queue};
use super::gathering::SlowGathering;
use super::model::{Model, ModelJob, first_fit};
use crate::{Command, Submit, command, run, submit};

/// What a worker that asks gets, and with which part of each worker.
#[derive(Debug, PartialEq)]
enum Answer {
    Nothing,
    Job(JobId, Variant),
    Gang(JobId, Vec<(WorkerId, Variant)>),
    Kept(Variant),
}

impl Answer {
    fn of(leased: &Leased) -> Self {
        match leased {
            Leased::Nothing => Self::Nothing,
            Leased::Job(granted) => Self::Job(chosen_as(granted), granted.variant.clone()),
            Leased::Gang(grants) => Self::Gang(chosen_as(&grants[0]), members(grants).collect()),
            Leased::Kept(variant) => Self::Kept(variant.clone()),
        }
    }
}

type Asked = (LeaseRequest, LeaseBounds);

/// A worker asks, while others wait.
struct Ask<'a> {
    model: &'a Model,
    request: &'a LeaseRequest,
    bounds: &'a LeaseBounds,
    waiting: Vec<&'a Asked>,
    /// Every registered worker, with all that it has.
    registered: &'a [(WorkerId, Offer)],
    now: Tick,
}

impl Ask<'_> {
    /// The rule: of all jobs that may run and that fit the worker, in their order, the first of which something comes.
    fn answer(&self, gathering: &mut SlowGathering, may_run: Vec<JobId>) -> Answer {
        let LeaseRequest { worker, offer, .. } = self.request;
        let mut left: Vec<JobId> = may_run.into_iter().filter(|id| self.may_have(self.model.job(*id))).collect();
        while let Some(id) = self.model.best(&left) {
            let job = self.model.job(id);
            let variant = first_fit(job, worker, offer).unwrap();
            if workers(job) == 1 {
                return Answer::Job(id, variant);
            }
            let required = required(job);
            if let Some(members) = self.members(job, gathering) {
                gathering.complete(&required, self.now);
                return Answer::Gang(id, members);
            }
            if gathering.keep(&required, worker, self.now, self.enough(job)) {
                return Answer::Kept(variant);
            }
            left.retain(|other| *other != id);
        }
        Answer::Nothing
    }

    fn may_have(&self, job: &ModelJob) -> bool {
        let LeaseRequest { worker, kinds, offer, rivals, .. } = self.request;
        let better =
            |(rival, theirs): &&(WorkerId, Offer)| score(job, theirs) > score(job, offer) && suits(job, rival, theirs);
        // A gang that has not enough better ones takes this one, too.
        let left_to_others = rivals.iter().filter(better).count() >= workers(job);
        !self.model.set_aside.contains(worker)
            && kinds.contains(&job.kind)
            && self.bounds.queues.contain(&job.spec.queue)
            && suits(job, worker, offer)
            && !left_to_others
    }

    /// As many as it needs, by name: the one that asks, and of those that wait the ones that it prefers.
    fn members(&self, job: &ModelJob, gathering: &SlowGathering) -> Option<Vec<(WorkerId, Variant)>> {
        let required = required(job);
        let may_join = |(request, bounds): &&&Asked| {
            request.kinds.contains(&job.kind)
                && bounds.queues.contain(&job.spec.queue)
                && suits(job, &request.worker, &request.offer)
                && !self.model.set_aside.contains(&request.worker)
                && !gathering.keeps_for_another(&request.worker, &required)
        };
        let mut others: Vec<&LeaseRequest> = self.waiting.iter().filter(may_join).map(|(request, _)| request).collect();
        others.sort_by_key(|other| (u64::MAX - score(job, &other.offer), other.worker.clone()));
        let members = others.into_iter().take(workers(job) - 1).chain([self.request]);
        let members: BTreeMap<WorkerId, Variant> = members
            .map(|member| (member.worker.clone(), first_fit(job, &member.worker, &member.offer).unwrap()))
            .collect();
        (members.len() == workers(job)).then(|| members.into_iter().collect())
    }

    fn enough(&self, job: &ModelJob) -> bool {
        self.registered.iter().filter(|(worker, whole)| suits(job, worker, whole)).count() >= workers(job)
    }
}

fn suits(job: &ModelJob, worker: &WorkerId, offer: &Offer) -> bool {
    first_fit(job, worker, offer).is_some()
}

fn workers(job: &ModelJob) -> usize {
    job.spec.gang.map_or(1, |gang| gang.workers as usize)
}

fn score(job: &ModelJob, offer: &Offer) -> u64 {
    let has = |preference: &&Preference| offer.labels.get(&preference.label) == Some(&preference.value);
    job.spec.prefer.iter().filter(has).map(|preference| u64::from(preference.weight)).sum()
}

/// By what gangs are told apart where workers are kept for them.
fn required(job: &ModelJob) -> Requirements {
    Requirements { avoid: job.avoid.clone(), ..job.spec.requirements(&job.kind) }
}

/// How a worker asks.
#[derive(Clone, Debug)]
struct Wish {
    worker: u8,
    kinds: u8,
    /// Queues by bit; none for all of them.
    queues: u8,
    count: u8,
    /// Whether what prefers another that waits is left to it.
    rivals: bool,
}

#[derive(Clone, Debug)]
enum Step {
    /// A lease of this is an ask.
    Plain(Command),
    Gang {
        submit: Submit,
        workers: u32,
        timeout: u64,
    },
    /// Jobs that prefer a zone.
    Prefer(Submit),
    Ask(Wish),
    Come {
        worker: u8,
        registered: bool,
    },
}

const WORKERS: u8 = 7;

fn step() -> impl Strategy<Value = Step> {
    let wish = (0..WORKERS, 1..4u8, 0..14u8, 1..4u8, any::<bool>())
        .prop_map(|(worker, kinds, queues, count, rivals)| Wish { worker, kinds, queues, count, rivals });
    prop_oneof![
        10 => command().prop_map(Step::Plain),
        6 => (submit(), 2..5u32, 1..4u64)
            .prop_map(|(submit, workers, seconds)| Step::Gang { submit, workers, timeout: seconds * 1_000 }),
        1 => submit().prop_map(Step::Prefer),
        12 => wish.prop_map(Step::Ask),
        // As long as a gang gathers, often.
        3 => (0..3_000u64).prop_map(|ms| Step::Plain(Command::Pass { ms })),
        1 => (0..WORKERS, prop::bool::weighted(0.7)).prop_map(|(worker, registered)| Step::Come { worker, registered }),
    ]
}

/// A driven state whose workers wait for jobs, and are kept free for gangs.
struct Gangs {
    driven: Driven,
    gathering: Gathering,
    slow: SlowGathering,
    /// Who waits for a job, and what it asked for.
    asking: BTreeMap<WorkerId, Asked>,
    /// Registered workers, with all that they have.
    registered: Vec<(WorkerId, Offer)>,
}

impl Gangs {
    fn new() -> Self {
        let mut driven = Driven::new();
        // Gangs need workers that are alike, at least in part.
        let (_, big) = driven.workers[0].clone();
        let (_, plain) = driven.workers[2].clone();
        driven.workers.push(("other".parse().unwrap(), big));
        driven.workers.push(("twin".parse().unwrap(), Offer { remaining: None, ..plain }));
        driven.workers.push(("spare".parse().unwrap(), Offer::default()));
        let registered = driven.workers.clone();
        let (gathering, slow, asking) = (Gathering::default(), SlowGathering::default(), BTreeMap::new());
        Self { driven, gathering, slow, asking, registered }
    }

    fn tick(&self) -> Tick {
        Tick(u64::try_from(self.driven.now.0).unwrap())
    }

    fn let_go(&mut self, worker: &WorkerId) {
        self.asking.remove(worker);
        self.gathering.let_go(worker);
        self.slow.let_go(worker);
    }

    fn run(&mut self, step: Step) {
        match step {
            Step::Plain(Command::Lease { worker, kinds, count }) => {
                self.ask(&Wish { worker, kinds, queues: 0, count, rivals: false });
            }
            Step::Plain(Command::Crash) => self.crash(),
            Step::Plain(command) => run(&mut self.driven, command),
            Step::Gang { submit, workers, timeout } => {
                let mut spec = submit.spec();
                spec.gang = Some(GangSpec { workers, timeout: Some(Span(timeout)) });
                if workers == 2 {
                    spec.prefer = vec![zone("a")];
                }
                self.driven.submit(vec![spec; usize::from(submit.count)]);
            }
            Step::Prefer(submit) => {
                let mut spec = submit.spec();
                spec.prefer = vec![zone("a"), zone("b")];
                spec.prefer[1].weight = 2;
                self.driven.submit(vec![spec; usize::from(submit.count)]);
            }
            Step::Ask(wish) => drop(self.ask(&wish)),
            Step::Come { worker, registered } => self.come(usize::from(worker), registered),
        }
    }

    fn come(&mut self, place: usize, registered: bool) {
        let (worker, offer) = self.driven.workers[place].clone();
        self.let_go(&worker);
        self.registered.retain(|(other, _)| *other != worker);
        if registered {
            let pools = offer.pools.whole();
            self.registered.push((worker, Offer { pools, ..offer }));
        }
    }

    /// The process dies: who is kept and who waits is not recorded.
    fn crash(&mut self) {
        self.driven.crash();
        (self.gathering, self.slow) = (Gathering::default(), SlowGathering::default());
        self.asking.clear();
    }

    /// A worker asks for so many jobs, one after the other, and waits if it gets none; whether it got any.
    fn ask(&mut self, wish: &Wish) -> bool {
        self.gathering.pass(self.tick());
        let now = self.tick();
        self.slow.look(now);
        let (worker, offer) = self.driven.workers[usize::from(wish.worker)].clone();
        self.let_go(&worker);
        if !self.registered.iter().any(|(other, _)| *other == worker) {
            return false;
        }
        let mut asked = self.asked(wish, worker, offer);
        let whole = asked.0.offer.clone();
        let mut got = false;
        for _ in 0..wish.count {
            match self.ask_once(&asked) {
                Leased::Nothing => break,
                Leased::Kept(variant) => drop(asked.0.offer.pools.take(&variant).unwrap()),
                Leased::Job(granted) => {
                    got = true;
                    asked.0.offer.pools.take(&granted.variant).unwrap();
                }
                Leased::Gang(grants) => {
                    got = true;
                    for (member, variant) in members(&grants) {
                        if member == asked.0.worker {
                            asked.0.offer.pools.take(&variant).unwrap();
                        } else {
                            self.let_go(&member);
                        }
                    }
                }
            }
        }
        if !got {
            asked.0.offer = whole;
            asked.0.rivals.clear();
            self.asking.insert(asked.0.worker.clone(), asked);
        }
        got
    }

    fn asked(&self, wish: &Wish, worker: WorkerId, offer: Offer) -> Asked {
        let offered: Vec<Kind> = kinds(wish.kinds);
        let others = self.asking.values().map(|(request, _)| request);
        let rivals = others.filter(|rival| wish.rivals && rival.kinds.iter().any(|kind| offered.contains(kind)));
        let rivals = rivals.map(|rival| (rival.worker.clone(), rival.offer.clone())).collect();
        let queues: BTreeSet<_> = (0..3).filter(|q| wish.queues & (1 << q) != 0).map(queue).collect();
        // Most are held to no queues.
        let queues = if wish.queues > 7 || queues.is_empty() { Queues::All } else { Queues::Only(Arc::new(queues)) };
        let request = LeaseRequest { offer, rivals, ..LeaseRequest::new(worker, offered, usize::from(wish.count)) };
        (request, LeaseBounds { queues, session: None })
    }

    /// Grants what is next, which must be what the rule says, and so must be who is kept for which gang from then on.
    fn ask_once(&mut self, asked: &Asked) -> Leased {
        let (request, bounds) = asked;
        let now = self.tick();
        self.driven.state.refill(self.driven.now);
        let waiting = || self.asking.values().map(|(request, bounds)| (request, bounds)).collect();
        let fits = |required: &Requirements| {
            let fit = self.registered.iter().filter(|(worker, whole)| required.fits(worker, whole).is_some());
            fit.count() >= required.workers() as usize
        };
        let others = Others { waiting: &waiting, enough: &fits };
        let payload = &mut |_| Payload::default();
        let decision = self.driven.state.lease_among(request, bounds, &others, &mut self.gathering, now, payload);

        let (model, waiting) = (&self.driven.model, self.asking.values().collect());
        let ask = Ask { model, request, bounds, waiting, registered: &self.registered, now };
        let expected = ask.answer(&mut self.slow, model.may_run(self.driven.now));
        assert_eq!(Answer::of(&decision.answer), expected, "what {} gets", request.worker);
        self.same_gang_gathers();

        match &decision.answer {
            Leased::Nothing | Leased::Kept(_) => {}
            Leased::Job(granted) => self.set_apart(&request.worker, granted.lease, &granted.variant),
            Leased::Gang(grants) => {
                members(grants).for_each(|(member, variant)| self.set_apart(&member, grants[0].lease, &variant));
            }
        }
        let leased = self.driven.record(decision);
        match &leased {
            Leased::Nothing | Leased::Kept(_) => {}
            Leased::Job(granted) => self.driven.model.check_limits_of(granted.job),
            Leased::Gang(grants) => self.driven.model.check_limits_of(grants[0].job),
        }
        leased
    }

    fn same_gang_gathers(&self) {
        let slow = self.slow.gathers();
        assert_eq!(self.gathering.next_pass(), slow.as_ref().map(|(_, until)| *until), "until when a gang gathers");
        if let Some((required, until)) = slow {
            assert_eq!(self.gathering.kept_for(&required), Some((until, self.slow.kept())), "how many are kept");
        }
    }

    fn set_apart(&mut self, worker: &WorkerId, lease: LeaseId, variant: &Variant) {
        let place = self.driven.workers.iter().position(|(other, _)| other == worker).unwrap();
        self.driven.set_apart(place, lease, variant);
    }
}

fn members(grants: &[Granted]) -> impl Iterator<Item = (WorkerId, Variant)> {
    grants.iter().map(|granted| {
        let place = granted.place.as_ref().unwrap();
        (place.members[place.rank as usize].clone(), granted.variant.clone())
    })
}

fn zone(value: &str) -> Preference {
    Preference { label: "zone".into(), value: value.into(), weight: 1 }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 192, ..ProptestConfig::default() })]

    /// Each answer is checked in `Gangs::ask_once`.
    #[test]
    fn gangs_and_jobs_are_granted_as_the_model_says(steps in prop::collection::vec(step(), 1..120)) {
        let mut gangs = Gangs::new();
        for step in steps {
            gangs.run(step);
        }
        // What replay makes of the records chooses the same from here on, and who asks last completes gangs.
        gangs.crash();
        gangs.driven.now = gangs.driven.now.plus(Span(1 << 40));
        for _ in 0..2 {
            for worker in 0..WORKERS {
                while gangs.ask(&Wish { worker, kinds: 3, queues: 0, count: 1, rivals: false }) {}
            }
        }
    }
}

//! The choice of the next job, and of gangs among them, against a slow model of its rule, under random commands, crashes and
//! limits.

mod schedule {
    pub mod driven;
    pub mod gangs;
    pub mod gathering;
    pub mod model;
}

use std::collections::BTreeMap;
use std::sync::Arc;

use orch_core::access::Queues;
use orch_core::array::{ArraySpec, Tasks};
use orch_core::demand::WorkerPool;
use orch_core::id::{JobId, LeaseId, WorkerId};
use orch_core::job::JobSpec;
use orch_core::limit::{AtLimit, LimitSpec, LimitTarget, Rate};
use orch_core::record::{ExpiryCause, FailureClass};
use orch_core::resource::Amount;
use orch_core::state::{FailureReport, JobFilter};
use orch_core::time::Span;
use proptest::prelude::*;
use schedule::driven::{Driven, job, kinds, queue};

/// Jobs that are alike.
#[derive(Clone, Debug)]
struct Submit {
    queue: u8,
    kind: u8,
    priority: i32,
    host: Option<u8>,
    resolver: Option<u8>,
    gpu: u32,
    needs: u8,
    count: u8,
    tasks: u8,
    user: u8,
}

#[derive(Clone, Debug)]
enum Command {
    Submit(Submit),
    Lease { worker: u8, kinds: u8, count: u8 },
    End { pick: u8, how: u8 },
    Cancel { pick: u8 },
    Limit { about: u8, max: Option<u32>, rate: Option<(u32, u64, u32)>, at_limit: u8 },
    Unlimit { about: u8 },
    Pause { queue: u8, pause: bool },
    Define { queue: u8, weight: u32, max_running: Option<u32> },
    Pass { ms: u64 },
    PauseRetries { pause: bool },
    ResumeWorkers,
    Crash,
}

/// What jobs need, by number; most need nothing.
const NEEDS: [&str; 9] = [
    r#"{"gpus":1}"#,
    r#"{"gpus":"0.25","cpus":1}"#,
    r#"[{"gpus":"1@20MiB"},{"cpus":3}]"#,
    r#"{"gpus":"2.5"}"#,
    r#"{"cpus":"all"}"#,
    r#"[{"mem":"6","cpus":1,"min_time":"2s"},{"cpus":"0.5"}]"#,
    r#"{"gpus":"all@16MiB"}"#,
    r#"{"fpga":1}"#,
    r#"{"mem":"2.0001"}"#,
];

const ABOUT: [&str; 9] =
    ["running", "host=*", "host=h0", "host=h1", "resolver=*", "resolver=r0", "gpu_slots", "resolver=r1", "array=*"];

fn submit() -> impl Strategy<Value = Submit> {
    (
        0..3u8,
        0..2u8,
        -1..2i32,
        prop::option::of(0..3u8),
        prop::option::of(0..2u8),
        0..3u32,
        0..14u8,
        1..4u8,
        (0..9u8, 0..5u8),
    )
        .prop_map(|(queue, kind, priority, host, resolver, gpu, needs, count, (tasks, user))| Submit {
            queue,
            kind,
            priority,
            host,
            resolver,
            gpu,
            needs,
            count,
            tasks,
            user,
        })
}

fn command() -> impl Strategy<Value = Command> {
    let limit = (0..9u8, prop::option::of(0..4u32), prop::option::of((1..4u32, 1..2_000u64, 1..4u32)), 0..8u8);
    prop_oneof![
        6 => submit().prop_map(Command::Submit),
        8 => (0..4u8, 1..4u8, 1..4u8).prop_map(|(worker, kinds, count)| Command::Lease { worker, kinds, count }),
        6 => (any::<u8>(), 0..5u8).prop_map(|(pick, how)| Command::End { pick, how }),
        1 => any::<u8>().prop_map(|pick| Command::Cancel { pick }),
        3 => limit.prop_map(|(about, max, rate, at_limit)| Command::Limit { about, max, rate, at_limit }),
        1 => (0..9u8).prop_map(|about| Command::Unlimit { about }),
        1 => (0..3u8, any::<bool>()).prop_map(|(queue, pause)| Command::Pause { queue, pause }),
        1 => (0..3u8, 1..5u32, prop::option::of(1..3u32))
            .prop_map(|(queue, weight, max_running)| Command::Define { queue, weight: weight * 50, max_running }),
        3 => (0..1_500u64).prop_map(|ms| Command::Pass { ms }),
        1 => any::<bool>().prop_map(|pause| Command::PauseRetries { pause }),
        1 => Just(Command::ResumeWorkers),
        1 => Just(Command::Crash),
    ]
}

impl Submit {
    fn spec(&self) -> JobSpec {
        let Self { queue: q, kind, priority, host, resolver, gpu, needs, tasks, user, .. } = *self;
        let mut spec = job(q, kind);
        spec.fair_key = (user > 0).then(|| format!("u{user}").parse().unwrap());
        spec.priority = priority;
        spec.keys.extend(host.map(|n| ("host".parse().unwrap(), format!("h{n}").parse().unwrap())));
        spec.keys.extend(resolver.map(|n| ("resolver".parse().unwrap(), format!("r{n}").parse().unwrap())));
        if gpu > 0 {
            spec.semaphores.insert("gpu_slots".parse().unwrap(), gpu);
        }
        if let Some(text) = NEEDS.get(usize::from(needs)) {
            spec.resources = serde_json::from_str(text).unwrap();
            if needs % 3 == 0 && kind == 1 {
                spec.labels.insert("zone".into(), "a".into());
            }
        }
        // An array of up to three tasks, of which some run one at a time.
        let one_at_a_time = tasks == 8;
        if let tasks @ 1.. = tasks.saturating_sub(5) {
            let array = ArraySpec::new(Tasks::range(0, i64::from(tasks) - 1, 1).unwrap());
            spec.array = Some(ArraySpec { max_running: one_at_a_time.then_some(1), ..array });
        }
        spec
    }
}

fn run(driven: &mut Driven, command: Command) {
    match command {
        Command::Submit(submit) => drop(driven.submit(vec![submit.spec(); usize::from(submit.count)])),
        Command::Lease { worker, kinds: offered, count } => {
            for _ in 0..count {
                driven.lease_to(usize::from(worker), &kinds(offered));
            }
        }
        Command::End { pick, how } => {
            let leases: Vec<LeaseId> = driven.state.leases().keys().copied().collect();
            let Some(lease) = leases.get(usize::from(pick) % leases.len().max(1)).copied() else { return };
            let (held, now) = (driven.state.leases()[&lease].clone(), driven.now);
            // The first member of a gang ends its job; any may fail, or give it back.
            let worker = match how {
                0 | 1 => held.worker.clone(),
                _ => held.workers().nth(usize::from(pick) % held.workers().count()).unwrap().clone(),
            };
            match how {
                0 | 1 => {
                    let decision = driven.state.complete(&worker, lease, 0, now).unwrap();
                    driven.record(decision);
                }
                2 => {
                    let report = FailureReport::new(FailureClass::Error, "no");
                    let decision = driven
                        .state
                        .fail(&worker, lease, FailureReport { exit_code: Some(i32::from(pick % 2) * 3), ..report }, now)
                        .unwrap();
                    driven.record(decision);
                }
                3 => {
                    let decision = driven.state.release(&worker, &[lease]);
                    driven.record(decision);
                }
                _ => {
                    let decision = driven.state.expire(lease, ExpiryCause::Ttl, now);
                    driven.record(decision);
                }
            }
        }
        Command::Cancel { pick } => {
            let jobs = driven.state.select(&JobFilter::default());
            let Some(job) = jobs.get(usize::from(pick) % jobs.len().max(1)) else { return };
            let decision = driven.state.cancel(*job, "enough");
            driven.record(decision);
        }
        Command::Limit { about, max, rate, at_limit } => {
            let limit: LimitTarget = ABOUT[usize::from(about)].parse().unwrap();
            let at_limit = match at_limit {
                0 => AtLimit::Reject,
                1 => AtLimit::CancelOldest,
                _ => AtLimit::Wait,
            };
            let rate = rate.map(|(tokens, per, burst)| Rate { tokens, per: Span(per), burst });
            let spec = LimitSpec { limit, max, rate, at_limit };
            if spec.faults().is_empty() {
                let decision = driven.state.set_limit(&spec);
                driven.record(decision);
            }
        }
        Command::Unlimit { about } => {
            if let Ok(decision) = driven.state.unset_limit(&ABOUT[usize::from(about)].parse().unwrap()) {
                driven.record(decision);
            }
        }
        Command::Pause { queue: q, pause } => {
            let name = queue(q);
            let decision = if pause { driven.state.pause(&name, "why") } else { driven.state.resume(&name) };
            driven.record(decision.unwrap());
        }
        Command::Define { queue, weight, max_running } => driven.define(queue, Some(weight), max_running),
        Command::Pass { ms } => {
            driven.now = driven.now.plus(Span(ms));
            let decision = driven.state.ready_due(driven.now, 100);
            driven.record(decision);
        }
        Command::PauseRetries { pause } => {
            let decision =
                if pause { driven.state.pause_retries("why", driven.now) } else { driven.state.resume_retries() };
            driven.record(decision);
        }
        Command::ResumeWorkers => {
            let set_aside: Vec<WorkerId> = driven.state.set_aside().keys().cloned().collect();
            for worker in set_aside {
                let decision = driven.state.resume_worker(&worker).unwrap();
                driven.record(decision);
            }
        }
        Command::Crash => driven.crash(),
    }
}

/// An autoscaler hears of work exactly while a worker that could run everything would get some.
fn demand_agrees(driven: &mut Driven) {
    driven.state.refill(driven.now);
    for offered in [1, 2, 3] {
        let pool = WorkerPool { kinds: Some(kinds(offered).into_iter().collect()), ..WorkerPool::any() };
        let demand = driven.state.demand(&pool, driven.now);
        let next = driven.state.next_job(&kinds(offered), &|_| true);
        let rated = driven.state.limits().any(|limit| limit.rate.is_some());
        // Waiting for a token counts as having something to do.
        assert!(if rated { next.is_none() || demand.ready > 0 } else { next.is_some() == (demand.ready > 0) });
        let ready: u64 =
            driven.state.ready_by_kind().filter(|(kind, _)| kinds(offered).contains(kind)).map(|(_, n)| n).sum();
        assert!(demand.ready <= ready);
        let leased = driven.state.leases().values().filter_map(|lease| driven.state.job(lease.job));
        let running = leased.filter(|job| kinds(offered).contains(driven.state.lane(job).1)).count();
        assert_eq!(demand.running, running as u64);
        assert_eq!(demand.workers, Amount::whole(demand.ready + demand.running), "each takes a whole worker");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 128, ..ProptestConfig::default() })]

    /// Each lease is checked in `Driven::lease`: it is the model's job, no limit is exceeded, no bucket is overdrawn,
    /// and no worker is sent away while a job that fits may run.
    #[test]
    fn the_choice_is_that_of_the_model(commands in prop::collection::vec(command(), 1..60)) {
        let mut driven = Driven::new();
        for command in commands {
            run(&mut driven, command);
            demand_agrees(&mut driven);
        }
        // What replay makes of the records chooses the same from here on.
        driven.crash();
        driven.now = driven.now.plus(Span(1 << 40));
        for worker in 0..driven.workers.len() {
            while driven.lease_to(worker, &kinds(3)).is_some() {}
        }
    }

    #[test]
    fn no_queue_starves(
        weights in prop::collection::vec(1..6u32, 2..5),
        steps in prop::collection::vec((0..4u8, 0..6u8, any::<u8>()), 10..40),
    ) {
        let mut driven = Driven::new();
        let shared = LimitSpec::max("host=*".parse().unwrap(), 1);
        let decision = driven.state.set_limit(&shared);
        driven.record(decision);
        for (q, weight) in (0..).zip(&weights) {
            driven.define(q, Some(*weight), None);
            for host in [None, Some("h0"), Some("h1")] {
                let mut spec = job(q, 0);
                spec.keys.extend(host.map(|host| ("host".parse().unwrap(), host.parse().unwrap())));
                driven.submit(vec![spec; 12]);
            }
        }
        // Per queue, the grants of others since its own last one that were made while it had a job that may run.
        let mut passed_over: BTreeMap<u8, BTreeMap<u8, u64>> = BTreeMap::new();
        for (leases, ends, pick) in steps {
            for _ in 0..leases {
                let waiting = driven.model.queues_that_may_run(driven.now);
                let waiting: Vec<u8> = (0..).take(weights.len()).filter(|q| waiting.contains(&queue(*q))).collect();
                let Some(granted) = driven.lease(&kinds(1)) else { break };
                let served = driven.queue_of[&granted];
                passed_over.remove(&served);
                for q in waiting.into_iter().filter(|q| *q != served) {
                    let by = passed_over.entry(q).or_default().entry(served).or_default();
                    *by += 1;
                    let (mine, theirs) = (u64::from(weights[usize::from(q)]), u64::from(weights[usize::from(served)]));
                    prop_assert!(*by <= theirs / mine + 2, "queue {} of weight {} was passed over {} times", q, mine, by);
                }
            }
            for n in 0..ends {
                run(&mut driven, Command::End { pick: pick.wrapping_add(n * 7), how: n % 4 });
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The bound of `docs/scheduling.md`, with users who come and go, limits that hold some back, and two priorities.
    #[test]
    fn no_fair_key_starves(
        weights in prop::collection::vec(1..6u32, 2..5),
        steps in prop::collection::vec((0..4u8, 0..6u8, any::<u8>()), 10..40),
    ) {
        let mut driven = Driven::new();
        let decision = driven.state.set_limit(&LimitSpec::max("host=*".parse().unwrap(), 1));
        driven.record(decision);
        let weighed = (0..).zip(&weights).map(|(n, weight)| (format!("u{n}"), *weight));
        driven.define_fair(0, weighed.clone().collect());
        let of_user = |user: &str, host: Option<&str>, priority: i32| {
            let mut spec = job(0, 0);
            spec.fair_key = Some(user.parse().unwrap());
            spec.priority = priority;
            spec.keys.extend(host.map(|host| ("host".parse().unwrap(), host.parse().unwrap())));
            spec
        };
        for (user, _) in weighed {
            for (host, priority) in [(None, 0), (Some("h0"), 0), (Some("h1"), 0), (None, 1)] {
                driven.submit(vec![of_user(&user, host, priority); 6]);
            }
        }
        let weight = |user: &str| u64::from(weights[user[1..].parse::<usize>().unwrap()]);
        let mut passed_over: BTreeMap<(String, i32), BTreeMap<String, u64>> = BTreeMap::new();
        for (leases, ends, pick) in steps {
            for _ in 0..leases {
                let waiting = driven.model.shares_that_may_run(driven.now);
                let Some(granted) = driven.lease(&kinds(1)) else { break };
                let priority = driven.state.lane(driven.state.job(granted).unwrap()).2;
                let served = driven.model.fair_key(granted).unwrap();
                passed_over.remove(&(served.clone(), priority));
                for user in waiting.into_iter().filter(|user| *user != served) {
                    let (mine, theirs) = (weight(&user), weight(&served));
                    let by = passed_over.entry((user.clone(), priority)).or_default().entry(served.clone()).or_default();
                    *by += 1;
                    prop_assert!(*by <= theirs / mine + 2, "{} of weight {} was passed over {} times", user, mine, by);
                }
            }
            for n in 0..ends {
                run(&mut driven, Command::End { pick: pick.wrapping_add(n * 7), how: n % 4 });
            }
            if pick % 3 == 0 {
                // Somebody comes back with one job at a time.
                let user = format!("u{}", usize::from(pick) % weights.len());
                driven.submit(vec![of_user(&user, None, 0)]);
            }
        }
    }
}

/// Who gets the next leases, by the last letter of the fair key.
fn users(driven: &mut Driven, leases: usize) -> String {
    let next = |_| driven.lease(&kinds(1)).map(|job| driven.model.fair_key(job).unwrap_or_else(|| "-".into()));
    (0..leases).filter_map(next).collect()
}

fn of(user: &str, priority: i32) -> JobSpec {
    let mut spec = job(0, 0);
    spec.fair_key = (user != "-").then(|| user.parse().unwrap());
    spec.priority = priority;
    spec
}

#[test]
fn users_of_a_queue_take_turns_by_weight_within_a_priority() {
    let mut driven = Driven::new();
    driven.define_fair(0, [("b".to_owned(), 200)].into());
    driven.submit(vec![of("a", 0); 100]);
    driven.submit(vec![of("b", 0); 8]);
    driven.submit(vec![of("-", 0); 8]);
    driven.submit(vec![of("a", 1); 2]);
    driven.submit(vec![of("c", 1); 2]);
    // The higher priority first, in turns; then each four leases in a row are two of b and one each of the others.
    assert_eq!(users(&mut driven, 4), "acac");
    let order = users(&mut driven, 16);
    for four in order.as_bytes().chunks(4) {
        let count = |user: u8| four.iter().filter(|served| **served == user).count();
        assert_eq!([count(b'a'), count(b'b'), count(b'-')], [1, 2, 1], "{order}");
    }
    // Somebody who comes late saves up nothing, and waits for nobody's hundred jobs.
    driven.submit(vec![of("d", 0); 2]);
    let order = users(&mut driven, 6);
    assert!(order.find('d').is_some_and(|place| place <= 2), "{order}");
}

#[test]
fn one_job_at_a_time_is_not_always_first() {
    let mut driven = Driven::new();
    driven.submit(vec![of("a", 0); 20]);
    let mut order = String::new();
    for _ in 0..5 {
        driven.submit(vec![of("b", 0)]);
        for _ in 0..2 {
            order += &users(&mut driven, 1);
            for lease in driven.state.leases().keys().copied().collect::<Vec<_>>() {
                let worker = driven.state.leases()[&lease].worker.clone();
                let decision = driven.state.complete(&worker, lease, 0, driven.now).unwrap();
                driven.record(decision);
            }
        }
    }
    assert_eq!(order.matches('b').count(), 5, "{order}");
    assert!(!order.contains("bb"), "{order}");
}

#[test]
fn queues_share_by_weight_and_evenly() {
    let mut driven = Driven::new();
    for (q, weight) in [(0, 100), (1, 200), (2, 300)] {
        driven.define(q, Some(weight), None);
        driven.submit(vec![job(q, 0); 60]);
    }
    let order: Vec<u8> = (0..120).map(|_| driven.lease_of_queue()).collect();
    for (round, six) in order.chunks(6).enumerate() {
        let count = |q: u8| six.iter().filter(|served| **served == q).count();
        assert_eq!([count(0), count(1), count(2)], [1, 2, 3], "round {round}: {six:?}");
    }
}

#[test]
fn nobody_saves_up_turns_while_idle() {
    let mut driven = Driven::new();
    for q in [0, 1] {
        driven.define(q, None, None);
    }
    driven.submit(vec![job(0, 0); 60]);
    for _ in 0..40 {
        driven.lease(&kinds(1)).unwrap();
    }
    driven.submit(vec![job(1, 0); 20]);
    let order: Vec<u8> = (0..20).map(|_| driven.lease_of_queue()).collect();
    assert_eq!(order.iter().filter(|q| **q == 0).count(), 10, "{order:?}");
}

#[test]
fn a_limited_job_never_blocks_others_behind_it() {
    let mut driven = Driven::new();
    driven.define(0, None, None);
    let decision = driven.state.set_limit(&LimitSpec::max("host=*".parse().unwrap(), 1));
    driven.record(decision);
    let on = |host: &str, priority| {
        let mut spec = job(0, 0);
        spec.keys.insert("host".parse().unwrap(), host.parse().unwrap());
        spec.priority = priority;
        spec
    };
    let ids = driven.submit(vec![on("a", 9), on("a", 9), on("b", 0), job(0, 0)]);
    let leased: Vec<JobId> = std::iter::from_fn(|| driven.lease(&kinds(1))).collect();
    assert_eq!(leased, [ids[0], ids[2], ids[3]]);
    assert_eq!(driven.state.holds(ids[1]).unwrap().len(), 1);
}

#[test]
fn demand_is_what_could_be_leased_now_all_together() {
    let mut driven = Driven::new();
    let on = |q: u8, host: &str| {
        let mut spec = job(q, 0);
        spec.keys.insert("host".parse().unwrap(), host.parse().unwrap());
        spec
    };
    driven.submit([vec![on(0, "a"); 5], vec![on(1, "a"); 5], vec![on(1, "b"); 5], vec![job(2, 0); 5]].concat());
    let ready = |driven: &Driven, pool: &WorkerPool| driven.state.demand(pool, driven.now).ready;
    let any = WorkerPool::any();
    assert_eq!(ready(&driven, &any), 20);
    // Three of host a, whoever's they are; three of host b; two of queue 2.
    let decision = driven.state.set_limit(&LimitSpec::max("host=*".parse().unwrap(), 3));
    driven.record(decision);
    driven.define(2, None, Some(2));
    assert_eq!(ready(&driven, &any), 8);
    let of_zero = WorkerPool { queues: Queues::Only(Arc::new([queue(0)].into())), ..any.clone() };
    assert_eq!(ready(&driven, &of_zero), 3);
    let granted = std::iter::from_fn(|| driven.lease(&kinds(1))).count();
    assert_eq!(granted, 8);
    let demand = driven.state.demand(&any, driven.now);
    assert_eq!((demand.ready, demand.running, demand.is_active()), (0, 8, true));
    // A pause holds back what is ready, and nothing that runs.
    let decision = driven.state.unset_limit(&"host=*".parse().unwrap()).unwrap();
    driven.record(decision);
    assert_eq!(ready(&driven, &any), 9);
    let decision = driven.state.pause(&queue(1), "why").unwrap();
    driven.record(decision);
    let (zero, all) = (driven.state.demand(&of_zero, driven.now), driven.state.demand(&any, driven.now));
    assert_eq!(all.ready, zero.ready, "of queue 2 as many run as may");
    assert_eq!(all.running, 8);
}

//! What `explain` says in each situation: texts that people read, and codes that programs read.

use orch_core::explain::{self, Why};
use orch_core::gang::{GangSpec, Gathering};
use orch_core::id::{JobId, Kind, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::limit::{AtLimit, LimitSpec, Rate};
use orch_core::liveness::{Liveness, Order, Registration, STALE_AFTER};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, FailureClass, Record};
use orch_core::resource::{Item, Needs, Pool, Pools};
use orch_core::state::{Decision, FailureReport, LeaseBounds, LeaseRequest, Others, State, Submission};
use orch_core::time::{Now, Span, Tick, Timestamp};

struct Cluster {
    state: State,
    workers: Liveness<()>,
    now: Now,
}

impl Cluster {
    fn new() -> Self {
        let now = Now { wall: Timestamp(1_795_250_400_000), tick: Tick(0) };
        let mut cluster = Self { state: State::default(), workers: Liveness::new(STALE_AFTER), now };
        cluster.define(QueueSpec::new("q".parse().unwrap()));
        cluster
    }

    fn define(&mut self, mut queue: QueueSpec) {
        queue.kind = Some(kind());
        let submission = Submission { queues: vec![queue], ..Submission::default() };
        let decision = self.state.submit(&submission, now_of(self).wall).unwrap();
        self.record(decision);
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            self.state.apply(&Record { seq: self.state.next_seq(), at: self.now.wall, event }).unwrap();
        }
        self.state.refill(self.now.wall);
        decision.answer
    }

    fn submit(&mut self, specs: Vec<JobSpec>) -> Vec<JobId> {
        let submission = Submission { jobs: specs, ..Submission::default() };
        let decision = self.state.submit(&submission, self.now.wall).unwrap();
        self.record(decision).jobs.into_iter().map(|(job, _)| job).collect()
    }

    fn limit(&mut self, text: &str, max: Option<u32>, rate: Option<Rate>) {
        let spec = LimitSpec { limit: text.parse().unwrap(), max, rate, at_limit: AtLimit::Wait };
        let decision = self.state.set_limit(&spec);
        self.record(decision);
    }

    fn worker(&mut self, slots: u32) -> WorkerId {
        let worker: WorkerId = "w1".parse().unwrap();
        let registration = Registration { kinds: vec![kind()], slots, ..Registration::default() };
        self.workers.register(worker.clone(), registration, self.now);
        worker
    }

    fn lease(&mut self) -> JobId {
        let request = LeaseRequest::new("w1".parse().unwrap(), vec![kind()], 1);
        let decision = self.state.lease(&request, &mut |_| Payload::default());
        self.record(decision).expect("a job may run").job
    }

    fn why(&self, job: JobId) -> Vec<Why> {
        explain::job(&self.state, &self.workers, job, self.now).expect("the job is open")
    }

    #[track_caller]
    fn says(&self, job: JobId, expected: &[(&str, &str)]) {
        let why = self.why(job);
        let said: Vec<(&str, String)> = why.iter().map(|why| (why.code(), why.to_string())).collect();
        let expected: Vec<(&str, String)> = expected.iter().map(|(code, text)| (*code, (*text).to_owned())).collect();
        assert_eq!(said, expected);
    }
}

fn now_of(cluster: &Cluster) -> Now {
    cluster.now
}

fn kind() -> Kind {
    "download".parse().unwrap()
}

fn job() -> JobSpec {
    JobSpec::new("q".parse().unwrap(), Payload::default())
}

fn on(host: &str) -> JobSpec {
    let mut spec = job();
    spec.keys.insert("host".parse().unwrap(), host.parse().unwrap());
    spec
}

#[test]
fn no_worker_offers_the_kind() {
    let mut cluster = Cluster::new();
    let ids = cluster.submit(vec![job()]);
    cluster.says(ids[0], &[("no_worker", "no registered worker offers kind download")]);
    let none = explain::Unoffered { kind: kind(), jobs: 1, lacking: String::new() };
    assert_eq!(explain::unoffered(&cluster.state, &cluster.workers, cluster.now), [none]);
    let worker = cluster.worker(1);
    assert_eq!(explain::unoffered(&cluster.state, &cluster.workers, cluster.now), []);
    cluster.workers.order(&worker, Order::Drain);
    let text = "no worker takes kind download: of those that offer it 0 are stale and 1 draining";
    cluster.says(ids[0], &[("no_worker", text)]);
}

#[test]
fn every_worker_is_full() {
    let mut cluster = Cluster::new();
    let ids = cluster.submit(vec![job(), job()]);
    cluster.worker(1);
    cluster.lease();
    cluster.says(ids[1], &[("workers_full", "every worker that offers kind download is full: 1 run 1 jobs")]);
}

#[test]
fn it_is_the_next_or_behind_others() {
    let mut cluster = Cluster::new();
    let ids = cluster.submit(vec![job(), job(), JobSpec { priority: 1, ..job() }]);
    cluster.worker(4);
    cluster.says(ids[2], &[("next", "it is the next of its kind: a worker that asks gets it")]);
    cluster.says(ids[1], &[("behind", "2 ready jobs of its queue and kind go first")]);
}

#[test]
fn another_queue_is_at_its_turn() {
    let mut cluster = Cluster::new();
    cluster.define(QueueSpec::new("r".parse().unwrap()));
    let ids = cluster.submit(vec![job(), job(), JobSpec::new("r".parse().unwrap(), Payload::default())]);
    cluster.worker(4);
    cluster.lease();
    cluster.says(ids[1], &[("other_queues", "it may run, and a job of another queue is at its turn")]);
}

#[test]
fn its_queue_is_paused_or_full() {
    let mut cluster = Cluster::new();
    cluster.define(QueueSpec { max_running: Some(1), ..QueueSpec::new("q".parse().unwrap()) });
    let ids = cluster.submit(vec![job(), job()]);
    cluster.worker(4);
    cluster.lease();
    cluster.says(ids[1], &[("queue_full", "queue q runs 1 of at most 1 jobs")]);
    let decision = cluster.state.pause(&"q".parse().unwrap(), "contract under review").unwrap();
    cluster.record(decision);
    cluster.says(
        ids[1],
        &[
            ("queue_paused", "queue q is paused: contract under review"),
            ("queue_full", "queue q runs 1 of at most 1 jobs"),
        ],
    );
}

#[test]
fn limits_are_reached() {
    let mut cluster = Cluster::new();
    cluster.limit("host=*", Some(1), None);
    cluster.limit("running", Some(1), None);
    let ids = cluster.submit(vec![on("a.org"), on("a.org"), job()]);
    cluster.worker(4);
    cluster.lease();
    cluster.says(ids[1], &[("limit_reached", "running is at 1 of 1"), ("limit_reached", "host=a.org is at 1 of 1")]);
    cluster.says(
        ids[2],
        &[("limit_reached", "running is at 1 of 1"), ("behind", "1 ready jobs of its queue and kind go first")],
    );
}

#[test]
fn it_wants_more_of_a_semaphore_than_is_free_or_than_there_is() {
    let mut cluster = Cluster::new();
    cluster.limit("gpu_slots", Some(4), None);
    let wants = |units| {
        let mut spec = job();
        spec.semaphores.insert("gpu_slots".parse().unwrap(), units);
        spec
    };
    let ids = cluster.submit(vec![wants(3), wants(2), wants(5)]);
    cluster.worker(4);
    cluster.lease();
    cluster.says(ids[1], &[("limit_reached", "gpu_slots is at 3 of 4, and it wants 2")]);
    let never = "it wants 5 of gpu_slots, of which there is 4 in all: it can never run so";
    cluster.says(ids[2], &[("never_fits", never), ("behind", "1 ready jobs of its queue and kind go first")]);
}

#[test]
fn a_rate_is_spent() {
    let mut cluster = Cluster::new();
    cluster.limit("host=*", None, Some(Rate { tokens: 1, per: Span(2000), burst: 1 }));
    let ids = cluster.submit(vec![on("a.org"), on("a.org")]);
    cluster.worker(4);
    cluster.lease();
    let text = "the rate of host=a.org allows the next start at 2026-11-21T08:40:02.000Z";
    let said = cluster.why(ids[1])[0].to_string();
    assert_eq!(said, text);
    cluster.now.wall = cluster.now.wall.plus(Span(1999));
    assert!(!cluster.state.refill(cluster.now.wall));
    cluster.now.wall = cluster.now.wall.plus(Span(1));
    assert!(cluster.state.refill(cluster.now.wall));
    cluster.says(ids[1], &[("next", "it is the next of its kind: a worker that asks gets it")]);
}

#[test]
fn it_is_not_ready() {
    let mut cluster = Cluster::new();
    let named = JobSpec { name: Some("first".into()), ..job() };
    let after = JobSpec { depends_on: vec!["first".into()], ..job() };
    let later = JobSpec { delay: Some(Span(60_000)), ..job() };
    let ids = cluster.submit(vec![named, after, later]);
    let worker = cluster.worker(1);
    cluster.says(ids[1], &[("blocked", &format!("it waits for job {}", ids[0]))]);
    let until = cluster.now.wall.plus(Span(60_000));
    cluster.says(ids[2], &[("delayed", &format!("it is delayed until {until}"))]);
    cluster.lease();
    let lease = *cluster.state.leases().keys().next().unwrap();
    cluster.says(ids[0], &[("leased", &format!("it runs on worker w1, under lease {lease}"))]);
    let decision = cluster
        .state
        .fail(&worker, lease, FailureReport::new(FailureClass::Permanent, "no"), cluster.now.wall)
        .unwrap();
    cluster.record(decision);
    let text = "it failed for good (permanent): put it back with `orchctl retry-failed`";
    cluster.says(ids[0], &[("failed", text)]);
}

#[test]
fn a_worker_is_explained() {
    let mut cluster = Cluster::new();
    let worker = cluster.worker(2);
    let words =
        |cluster: &Cluster| explain::worker(&cluster.state, &cluster.workers, &worker, cluster.now).unwrap().words();
    assert_eq!(words(&cluster), ["kind download: no job is ready"]);
    cluster.limit("host=*", Some(1), None);
    let ids = cluster.submit(vec![on("a.org"), on("a.org")]);
    assert_eq!(words(&cluster), [format!("kind download: job {} is next, of 2 ready jobs", ids[0])]);
    cluster.lease();
    assert_eq!(
        words(&cluster),
        ["kind download: 1 jobs are ready, and limits, pauses or what they need hold back all of them"]
    );
    cluster.now.tick = Tick(STALE_AFTER.0 + 1);
    assert_eq!(words(&cluster)[0], "it was not heard of for too long: its jobs go to others");
    assert!(explain::worker(&cluster.state, &cluster.workers, &"nobody".parse().unwrap(), cluster.now).is_none());
}

/// A worker that offers resources, labels and so much time.
fn offers(cluster: &mut Cluster, name: &str, pools: &[(&str, Pool)], zone: &str, lives_for: Option<Span>) {
    let registration = Registration {
        kinds: vec![kind()],
        slots: 4,
        labels: [("zone".to_owned(), zone.to_owned())].into(),
        pools: Pools(pools.iter().map(|(name, pool)| (name.parse().unwrap(), pool.clone())).collect()),
        lives_for,
        ..Registration::default()
    };
    cluster.workers.register(name.parse().unwrap(), registration, cluster.now);
}

fn gpus(gib: &[u64]) -> Pool {
    Pool::Items(gib.iter().enumerate().map(|(n, gib)| Item::new(n.to_string(), gib << 10)).collect())
}

fn needs(text: &str) -> JobSpec {
    let resources = Needs(text.split(" or ").map(|variant| variant.parse().unwrap()).collect());
    JobSpec { resources, ..job() }
}

#[test]
fn no_worker_has_what_it_needs() {
    let mut cluster = Cluster::new();
    let in_zone = |zone: &str| JobSpec { labels: [("zone".to_owned(), zone.to_owned())].into(), ..job() };
    let ids = cluster.submit(vec![
        needs("gpus=1@24GiB"),
        needs("gpus=3"),
        needs("tpu=1 or mem=64GiB"),
        needs("cpus=1,min_time=2h"),
        needs("gpus=1,fpga=1"),
        in_zone("south"),
    ]);
    let cpus: Pool = "range(0-7)".parse().unwrap();
    let mem = Pool::sum("32GiB".parse().unwrap());
    for (name, gib) in [("a", &[16, 16][..]), ("b", &[8]), ("c", &[16])] {
        let pools = [("gpus", gpus(gib)), ("cpus", cpus.clone()), ("mem", mem.clone())];
        offers(&mut cluster, name, &pools, "north", Some(Span::seconds(3600)));
    }
    offers(&mut cluster, "d", &[("fpga", "sum(2)".parse().unwrap())], "north", Some(Span::seconds(600)));
    let lacks = [
        "needs 1 gpu with 24 GiB: 3 of 4 workers have gpus, the largest has 16 GiB",
        "needs 3 gpus: 3 of 4 workers have gpus, the most is 2",
        "needs 1 tpu: no worker has tpu; needs 64 GiB of mem: 3 of 4 workers have mem, the most is 32 GiB",
        "needs 1 cpu and a worker that lives for 2h more: the longest that a worker lives is 1h more",
        "needs 1 gpu and 1 fpga: no single worker has all of it",
        "no worker has the label zone=south",
    ];
    for (id, text) in ids.iter().zip(lacks) {
        let why = &cluster.why(*id)[0];
        assert_eq!((why.code(), why.to_string().as_str()), ("no_fit", text));
    }
    let unoffered = explain::unoffered(&cluster.state, &cluster.workers, cluster.now);
    assert_eq!(unoffered.len(), lacks.len());
    assert!(unoffered.iter().all(|group| group.jobs == 1 && lacks.contains(&group.lacking.as_str())), "{unoffered:?}");
}

#[test]
fn what_it_needs_is_in_use() {
    let mut cluster = Cluster::new();
    offers(&mut cluster, "w1", &[("gpus", gpus(&[16, 16]))], "north", None);
    let ids = cluster.submit(vec![needs("gpus=1.5"), needs("gpus=1"), needs("gpus=0.5"), job()]);
    let offer = explain::offer(&cluster.state, &cluster.workers, &"w1".parse().unwrap(), cluster.now).unwrap();
    let request = LeaseRequest { offer, ..LeaseRequest::new("w1".parse().unwrap(), vec![kind()], 1) };
    let decision = cluster.state.lease(&request, &mut |_| Payload::default());
    assert_eq!(cluster.record(decision).unwrap().job, ids[0]);
    let text = "needs 1 gpu: 1 worker could run it, and what it has is in use";
    cluster.says(ids[1], &[("resources_taken", text)]);
    // A job that does not fit is in nobody's way.
    assert_eq!(cluster.why(ids[2]).last(), Some(&Why::Behind { jobs: 1 }));
    let seen = explain::worker(&cluster.state, &cluster.workers, &"w1".parse().unwrap(), cluster.now).unwrap();
    assert_eq!(seen.offers[0].next, Some(ids[2]), "what fits goes first");
}

/// Situations as people see them, a snapshot each: one job, every reason in words and by its code.
#[test]
fn ten_situations_and_two_more() {
    let tell = |title: &str, cluster: &Cluster, job: JobId| {
        let lines: Vec<String> = cluster.why(job).iter().map(|why| format!("{:<16} {why}", why.code())).collect();
        insta::assert_snapshot!(format!("situation_{}", title.replace(' ', "_")), lines.join("\n"));
    };

    let mut cluster = Cluster::new();
    let ids = cluster.submit(vec![needs("gpus=1@24GiB"), needs("gpus=2 or cpus=64"), job(), job()]);
    tell("01 nobody offers the kind", &cluster, ids[2]);
    for (name, gib) in [("a", &[16, 16][..]), ("b", &[8]), ("w1", &[16])] {
        offers(&mut cluster, name, &[("gpus", gpus(gib)), ("cpus", "range(0-15)".parse().unwrap())], "north", None);
    }
    tell("02 no GPU is large enough", &cluster, ids[0]);
    tell("03 it is behind others", &cluster, ids[3]);
    let held = cluster.submit(vec![needs("gpus=2")])[0];
    let offer = explain::offer(&cluster.state, &cluster.workers, &"a".parse().unwrap(), cluster.now).unwrap();
    let request = LeaseRequest { offer, ..LeaseRequest::new("a".parse().unwrap(), vec![kind()], 1) };
    let decision = cluster.state.lease(&request, &mut |_| Payload::default());
    assert_eq!(cluster.record(decision).unwrap().job, ids[1]);
    tell("04 its GPUs are in use", &cluster, held);

    let mut cluster = Cluster::new();
    cluster.worker(2);
    cluster.limit("host=*", Some(1), None);
    cluster.limit("gpu_slots", Some(4), Some(Rate { tokens: 1, per: Span::seconds(60), burst: 1 }));
    let mut units = on("a.org");
    units.semaphores.insert("gpu_slots".parse().unwrap(), 3);
    let ids = cluster.submit(vec![units.clone(), units]);
    cluster.lease();
    tell("05 two limits and a rate hold it back", &cluster, ids[1]);
    let decision = cluster.state.pause(&"q".parse().unwrap(), "contract under review").unwrap();
    cluster.record(decision);
    let other = cluster.submit(vec![job()])[0];
    tell("06 its queue is paused", &cluster, other);

    let mut cluster = Cluster::new();
    let worker = cluster.worker(1);
    let ids = cluster.submit(vec![job(), job()]);
    cluster.lease();
    tell("07 every worker is full", &cluster, ids[1]);
    let decision = cluster.state.pause_retries("the file server is down", cluster.now.wall);
    cluster.record(decision);
    let lease = *cluster.state.leases().keys().next().unwrap();
    let failed = FailureReport::new(FailureClass::Error, "no");
    let decision = cluster.state.fail(&worker, lease, failed, cluster.now.wall).unwrap();
    cluster.record(decision);
    tell("08 retries are paused", &cluster, ids[0]);

    let mut cluster = Cluster::new();
    let worker = cluster.worker(9);
    let ids = cluster.submit(vec![job(); 8]);
    let event = Event::WorkerSetAside { worker, reason: "5 different jobs failed on it in a row".into() };
    cluster.record(Decision { events: vec![event], answer: () });
    tell("09 the only worker was set aside", &cluster, ids[0]);
    let elsewhere = JobSpec { labels: [("zone".to_owned(), "south".to_owned())].into(), ..job() };
    let elsewhere = cluster.submit(vec![elsewhere])[0];
    offers(&mut cluster, "n", &[], "north", Some(Span::seconds(600)));
    tell("10 no worker has the label", &cluster, elsewhere);

    let mut cluster = Cluster::new();
    cluster.worker(4);
    let hasty = JobSpec { queue_timeout: Some(Span(60_000)), ..job() };
    let of = |user: &str| JobSpec { fair_key: Some(user.parse().unwrap()), ..job() };
    let ids = cluster.submit(vec![hasty, of("ada"), of("bob")]);
    tell("11 it does not wait for ever", &cluster, ids[0]);
    tell("12 another fair key is at its turn", &cluster, ids[2]);
}

#[test]
fn the_next_lease_is_told_with_every_step_of_the_choice() {
    let mut cluster = Cluster::new();
    assert_eq!(explain::next_of_all(&cluster.state), None);
    cluster.define(QueueSpec { weight: Some(300), ..QueueSpec::new("other".parse().unwrap()) });
    let of = |queue: &str, fair_key: Option<&str>, priority| {
        let mut spec = job();
        spec.queue = queue.parse().unwrap();
        (spec.kind, spec.priority) = (Some(kind()), priority);
        spec.fair_key = fair_key.map(|value| value.parse().unwrap());
        spec
    };
    let ids = cluster.submit(vec![
        of("other", None, 0),
        of("q", Some("ada"), 0),
        of("q", Some("bob"), 5),
        of("q", Some("ada"), 5),
    ]);
    let worker = cluster.worker(9);
    let next = |cluster: &Cluster| explain::next_of_all(&cluster.state).unwrap();
    // Whatever is told of the next lease is what the next lease is.
    for (job, why) in [
        (
            ids[0],
            vec![
                "of 2 queues of that kind, other of weight 300 is furthest behind its share",
                "0 is the highest priority there",
            ],
        ),
        (
            ids[2],
            vec![
                "queue q is the only one of that kind with such a job",
                "5 is the highest priority there",
                "fair key bob of weight 100 is furthest behind its share",
            ],
        ),
        (ids[3], vec!["queue q is the only one of that kind with such a job", "5 is the highest priority there"]),
        (ids[1], vec!["queue q is the only one of that kind with such a job", "0 is the highest priority there"]),
    ] {
        let told = next(&cluster);
        let first = "kind download is the only one with a job that may run";
        let expected: Vec<&str> = [first].into_iter().chain(why).chain(["it is the oldest of those"]).collect();
        assert_eq!((told.job, told.why.iter().map(String::as_str).collect::<Vec<_>>()), (job, expected));
        let seen = explain::worker(&cluster.state, &cluster.workers, &worker, cluster.now).unwrap();
        assert_eq!(seen.next, Some(told), "the worker could run all");
        assert_eq!(cluster.lease(), job);
    }
    assert_eq!(explain::next_of_all(&cluster.state), None);
}

#[test]
fn a_job_that_does_not_wait_for_ever_says_so() {
    let mut cluster = Cluster::new();
    cluster.worker(4);
    let ids = cluster.submit(vec![JobSpec { queue_timeout: Some(Span(60_000)), ..job() }]);
    let until = cluster.now.wall.plus(Span(60_000));
    cluster.says(
        ids[0],
        &[
            ("next", "it is the next of its kind: a worker that asks gets it"),
            ("queue_timeout", &format!("it is cancelled at {until} if no worker has taken it by then")),
        ],
    );
}

#[test]
fn gangs_of_two_queues_that_are_alike_are_told_of_together() {
    let mut cluster = Cluster::new();
    cluster.define(QueueSpec::new("r".parse().unwrap()));
    let gang = |queue: &str| {
        let gang = Some(GangSpec { workers: 2, timeout: None });
        JobSpec { gang, queue: queue.parse().unwrap(), ..needs("gpus=1") }
    };
    let ids = cluster.submit(vec![gang("q"), gang("r")]);
    let offer_one = |cluster: &mut Cluster, name| offers(cluster, name, &[("gpus", gpus(&[16]))], "north", None);
    offer_one(&mut cluster, "a");
    let unoffered = explain::unoffered(&cluster.state, &cluster.workers, cluster.now);
    assert_eq!((unoffered.len(), unoffered[0].jobs), (1, 2));
    offer_one(&mut cluster, "b");
    let codes = |id| cluster.why(id).iter().map(Why::code).collect::<Vec<_>>();
    assert_eq!((codes(ids[0]), codes(ids[1])), (vec!["next"], vec!["other_queues"]));
}

#[test]
fn a_gang_lacks_workers_waits_for_them_and_runs_on_them() {
    let mut cluster = Cluster::new();
    let gang = |workers| JobSpec { gang: Some(GangSpec { workers, timeout: None }), ..needs("gpus=2") };
    let ids = cluster.submit(vec![gang(2), gang(3), gang(2)]);
    for (name, gib) in [("a", &[16, 16][..]), ("b", &[16, 16]), ("c", &[16])] {
        offers(&mut cluster, name, &[("gpus", gpus(gib))], "north", None);
    }
    let text = "needs 3 workers at once: 2 registered fit";
    cluster.says(ids[1], &[("gang_too_few", text), ("behind", "1 ready jobs of its queue and kind go first")]);
    let unoffered = explain::unoffered(&cluster.state, &cluster.workers, cluster.now);
    assert_eq!((unoffered.len(), unoffered[0].jobs, unoffered[0].lacking.as_str()), (1, 1, text));
    cluster.says(ids[0], &[("next", "it is the next of its kind: a worker that asks gets it")]);
    // Both workers take it together.
    let offer = |cluster: &Cluster, name: &str| {
        let offer = explain::offer(&cluster.state, &cluster.workers, &name.parse().unwrap(), cluster.now).unwrap();
        LeaseRequest { offer, ..LeaseRequest::new(name.parse().unwrap(), vec![kind()], 1) }
    };
    let (a, b, bounds) = (offer(&cluster, "a"), offer(&cluster, "b"), LeaseBounds::default());
    let others = Others { waiting: &|| vec![(&a, &bounds)], enough: &|_| true };
    let mut gathering = Gathering::default();
    let payload = &mut |_| Payload::default();
    let decision = cluster.state.lease_among(&b, &bounds, &others, &mut gathering, cluster.now.tick, payload);
    cluster.record(decision);
    let lease = *cluster.state.leases().keys().next().unwrap();
    cluster.says(ids[0], &[("leased", &format!("it runs on workers a, b, under lease {lease}"))]);
    let waits = "needs 2 workers at once: of 2 that fit 0 have room for it";
    cluster.says(ids[2], &[("gang_waits", waits), ("behind", "1 ready jobs of its queue and kind go first")]);
    // One of them leaves: it says so until it runs again.
    let decision = cluster.state.release(&"b".parse().unwrap(), &[lease]);
    cluster.record(decision);
    let back = "its last attempt was given back at 2026-11-21T08:40:00.000Z: worker b gave it back";
    assert!(cluster.why(ids[0]).iter().any(|why| (why.code(), why.to_string().as_str()) == ("given_back", back)));
    let enough = |workers| {
        let required = cluster.state.job(ids[if workers == 2 { 0 } else { 1 }]).unwrap();
        explain::enough_workers(&cluster.state, &cluster.workers, cluster.state.requirements(required), cluster.now)
    };
    assert!(enough(2) && !enough(3));
}

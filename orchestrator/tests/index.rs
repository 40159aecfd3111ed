//! The index follows, survives whatever is done to its directory, and agrees with the state.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_core::id::{JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, OnDependencyFailure, Payload};
use orch_core::policy::RetryPatch;
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, ExpiryCause, FailureClass, Record};
use orch_core::state::{Decision, JobState, LeaseRequest, State, Submission};
use orch_core::summary::JobPhase;
use orch_core::time::{Span, Timestamp};
use orch_orchestrator::index::{
    Entry, Filter, Follower, FollowerOptions, Index, IndexStatus, Read, Source, SourceError, directory,
};
use proptest::prelude::*;
use tokio::sync::watch;

const LEDGER: &str = "0190b5a4-3c00-7000-8000-000000000001";
const LONG: Duration = Duration::from_secs(60);

/// A ledger in memory.
#[derive(Clone, Default)]
struct Records(Arc<Mutex<Vec<Record>>>);

impl Source for Records {
    fn read(&mut self, after: Seq, until: Seq) -> Result<Vec<Read>, SourceError> {
        let records = self.0.lock().unwrap();
        // A few at a time, so that steps have edges.
        let end = (until.0 as usize).min(records.len()).min(after.0 as usize + 7);
        let some = records[after.0 as usize..end].iter();
        Ok(some.map(|record| Read { record: record.clone(), witness: witness(record) }).collect())
    }

    fn witness(&mut self, seq: Seq) -> Result<Option<u32>, SourceError> {
        Ok(self.0.lock().unwrap().get(seq.0 as usize - 1).map(witness))
    }
}

fn witness(record: &Record) -> u32 {
    (record.at.0 as u32) ^ (record.seq.0 as u32).wrapping_mul(0x9e37_79b9)
}

/// A state, and the ledger that it came from.
struct World {
    state: State,
    ledger: Records,
    durable: watch::Sender<Seq>,
    now: Timestamp,
}

impl World {
    fn new() -> Self {
        let durable = watch::Sender::new(Seq(0));
        Self { state: State::default(), ledger: Records::default(), durable, now: Timestamp(1_000_000) }
    }

    fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let record = Record { seq: self.state.next_seq(), at: self.now, event };
            self.state.apply(&record).unwrap();
            self.ledger.0.lock().unwrap().push(record);
        }
        self.durable.send_replace(self.state.last_seq());
        decision.answer
    }

    fn submit(&mut self, queues: Vec<QueueSpec>, jobs: Vec<JobSpec>) {
        let submission = Submission { contracts: Vec::new(), queues, jobs };
        let decision = self.state.submit(&submission, self.now).unwrap();
        self.record(decision);
    }

    /// Two queues, and some jobs in them.
    fn with_jobs(n: u64) -> Self {
        let mut world = Self::new();
        world.submit(vec![queue("a"), queue("b")], Vec::new());
        world.submit(Vec::new(), (0..n).map(|i| job(if i % 3 == 0 { "b" } else { "a" })).collect());
        world
    }

    fn follow(&self, data: Option<&Path>) -> Follower {
        let options = FollowerOptions { dir: data.map(|data| directory(data, LEDGER)), pace: Duration::from_millis(1) };
        Follower::start(options, Box::new(self.ledger.clone()), self.durable.subscribe()).unwrap()
    }

    /// What the index must hold, folded without it.
    fn model(&self) -> BTreeMap<JobId, Entry> {
        let mut entries: BTreeMap<JobId, Entry> = BTreeMap::new();
        for record in self.ledger.0.lock().unwrap().iter() {
            if let Some((job, entry)) = Entry::begin(record) {
                entries.insert(job, entry);
            } else if let Some(job) = orch_core::summary::job_of(record) {
                entries.get_mut(&job).unwrap().take(record);
            }
        }
        entries
    }

    async fn assert_followed(&self, index: &Index) -> IndexStatus {
        let last = self.state.last_seq();
        let status = index.wait_for(last, LONG).await;
        assert_eq!((status.applied, status.problem.as_str()), (last, ""));
        let model = self.model();
        let page = index.list(Filter::default(), JobId::new(0), usize::MAX).await.unwrap();
        let all: Vec<_> = model.iter().map(|(job, entry)| (*job, entry.summary.clone())).collect();
        assert_eq!(page.jobs, all);
        for (job, entry) in &model {
            assert_eq!(index.get(*job).await.unwrap().as_ref(), Some(entry));
        }
        status
    }
}

fn queue(name: &str) -> QueueSpec {
    let mut queue = QueueSpec::new(QueueName::new(name).unwrap());
    queue.kind = Some(Kind::new("k").unwrap());
    queue
}

fn job(queue: &str) -> JobSpec {
    JobSpec::new(QueueName::new(queue).unwrap(), Payload::default())
}

fn worker() -> WorkerId {
    WorkerId::new("w").unwrap()
}

fn lease_some(world: &mut World, max: usize) -> Vec<LeaseId> {
    let request = LeaseRequest { worker: worker(), kinds: vec![Kind::new("k").unwrap()], max };
    let decision = world.state.lease(&request, &mut |_| Payload::default());
    world.record(decision).into_iter().map(|granted| granted.lease).collect()
}

#[tokio::test]
async fn it_follows_and_goes_on_where_it_was() {
    let data = tempfile::tempdir().unwrap();
    let mut world = World::with_jobs(40);
    let follower = world.follow(Some(data.path()));
    let status = world.assert_followed(&follower.index()).await;
    assert_eq!(status.kind, "sled");
    let leases = lease_some(&mut world, 5);
    world.assert_followed(&follower.index()).await;
    follower.stop();

    let decision = world.state.complete(&worker(), leases[0], 0, world.now).unwrap();
    world.record(decision);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    let done = Filter { phases: vec![JobPhase::Done], ..Filter::default() };
    let page = follower.index().list(done, JobId::new(0), 10).await.unwrap();
    assert_eq!((page.jobs.len(), page.next), (1, None));
    follower.stop();
}

#[tokio::test]
async fn it_works_in_memory_alone() {
    let world = World::with_jobs(20);
    let follower = world.follow(None);
    assert_eq!(world.assert_followed(&follower.index()).await.kind, "memory");
    follower.stop();
}

#[tokio::test]
async fn an_index_that_was_deleted_while_down_is_built_again() {
    let data = tempfile::tempdir().unwrap();
    let world = World::with_jobs(40);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
    std::fs::remove_dir_all(data.path().join("index")).unwrap();
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
}

#[tokio::test]
async fn an_index_ahead_of_its_ledger_is_built_again() {
    let data = tempfile::tempdir().unwrap();
    let follower = {
        let ahead = World::with_jobs(40);
        let follower = ahead.follow(Some(data.path()));
        ahead.assert_followed(&follower.index()).await;
        follower
    };
    follower.stop();
    let world = World::with_jobs(10);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
}

#[tokio::test]
async fn an_index_of_a_ledger_that_was_put_back_and_went_on_is_built_again() {
    let data = tempfile::tempdir().unwrap();
    let world = World::with_jobs(10);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
    // The same number of records, others in them.
    let mut other = World::new();
    other.now = Timestamp(2_000_000);
    other.submit(vec![queue("a"), queue("b")], Vec::new());
    other.submit(Vec::new(), (0..30).map(|_| job("b")).collect());
    let follower = other.follow(Some(data.path()));
    other.assert_followed(&follower.index()).await;
    follower.stop();
}

#[tokio::test]
async fn indexes_of_other_versions_and_ledgers_are_removed_and_nothing_else() {
    let data = tempfile::tempdir().unwrap();
    let index = data.path().join("index");
    std::fs::create_dir_all(index.join("0-other")).unwrap();
    std::fs::create_dir_all(index.join("notes")).unwrap();
    let world = World::with_jobs(3);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
    assert!(!index.join("0-other").exists());
    assert!(index.join("notes").exists());
}

#[tokio::test]
async fn garbage_in_its_directory_is_thrown_away() {
    let world = World::with_jobs(60);
    for garbage in [&b"nothing of sled's"[..], &[0; 70_000], b""] {
        for file in ["db", "conf", "snap.0000000000000000"] {
            let data = tempfile::tempdir().unwrap();
            let dir = directory(data.path(), LEDGER);
            std::fs::create_dir_all(&dir).unwrap();
            std::fs::write(dir.join(file), garbage).unwrap();
            let follower = world.follow(Some(data.path()));
            world.assert_followed(&follower.index()).await;
            follower.stop();
        }
    }
}

#[tokio::test]
async fn a_file_where_its_directory_should_be_is_thrown_away() {
    let data = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(data.path().join("index")).unwrap();
    std::fs::write(directory(data.path(), LEDGER), "x").unwrap();
    let world = World::with_jobs(5);
    let follower = world.follow(Some(data.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
}

#[tokio::test]
async fn a_place_where_nothing_can_be_made_leaves_it_in_memory() {
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("index"), "a file, where the directory should be").unwrap();
    let world = World::with_jobs(5);
    let follower = world.follow(Some(data.path()));
    let status = world.assert_followed(&follower.index()).await;
    assert_eq!(status.kind, "memory");
    follower.stop();
}

/// Flips bytes all over a closed database. Whatever sled makes of it, the index is right in the end.
#[tokio::test]
async fn damage_anywhere_is_found_and_built_over() {
    let good = tempfile::tempdir().unwrap();
    let mut world = World::with_jobs(400);
    lease_some(&mut world, 50);
    let follower = world.follow(Some(good.path()));
    world.assert_followed(&follower.index()).await;
    follower.stop();
    let from = directory(good.path(), LEDGER);
    let db = std::fs::read(from.join("db")).unwrap();
    let used = db.iter().rposition(|byte| *byte != 0).unwrap();
    for i in 0..24 {
        let data = tempfile::tempdir().unwrap();
        let dir = directory(data.path(), LEDGER);
        std::fs::create_dir_all(&dir).unwrap();
        for entry in std::fs::read_dir(&from).unwrap().flatten().filter(|entry| entry.path().is_file()) {
            std::fs::copy(entry.path(), dir.join(entry.file_name())).unwrap();
        }
        let mut bad = db.clone();
        bad[used * i / 24] ^= 0x55;
        std::fs::write(dir.join("db"), bad).unwrap();
        let follower = world.follow(Some(data.path()));
        world.assert_followed(&follower.index()).await;
        follower.stop();
    }
}

#[tokio::test]
async fn listings_are_pages_by_age_whatever_the_filter() {
    let mut world = World::with_jobs(1200);
    lease_some(&mut world, 300);
    let follower = world.follow(None);
    let index = follower.index();
    world.assert_followed(&index).await;
    let a = QueueName::new("a").unwrap();
    let filters = [
        Filter::default(),
        Filter { queue: Some(a.clone()), ..Filter::default() },
        Filter { queue: Some(a.clone()), phases: vec![JobPhase::Leased], ..Filter::default() },
        Filter { phases: vec![JobPhase::Ready, JobPhase::Leased], ..Filter::default() },
        Filter { worker: Some(worker()), ..Filter::default() },
        Filter { jobs: (1..900).step_by(7).map(JobId::new).collect(), ..Filter::default() },
        Filter { queue: Some(QueueName::new("none").unwrap()), ..Filter::default() },
    ];
    for filter in filters {
        let means = |job: &JobId, entry: &Entry| {
            let summary = &entry.summary;
            filter.queue.as_ref().is_none_or(|queue| *queue == summary.queue)
                && (filter.phases.is_empty() || filter.phases.contains(&summary.phase))
                && filter.worker.as_ref().is_none_or(|worker| summary.worker.as_ref() == Some(worker))
                && (filter.jobs.is_empty() || filter.jobs.contains(job))
        };
        let expected: Vec<JobId> =
            world.model().iter().filter(|(job, entry)| means(job, entry)).map(|(job, _)| *job).collect();
        let mut found = Vec::new();
        let mut after = Some(JobId::new(0));
        while let Some(from) = after {
            let page = index.list(filter.clone(), from, 100).await.unwrap();
            assert!(page.jobs.len() <= 100);
            found.extend(page.jobs.into_iter().map(|(job, _)| job));
            after = page.next;
        }
        assert_eq!(found, expected, "{filter:?}");
    }
    follower.stop();
}

#[derive(Clone, Debug)]
enum Act {
    Submit { delayed: bool, chained: bool, go_on: bool },
    Lease(usize),
    Release(usize),
    Complete(usize),
    Fail(usize, bool),
    Expire(usize),
    Cancel(usize),
    Retry(usize),
    Later(u64),
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        3 => any::<(bool, bool, bool)>().prop_map(|(delayed, chained, go_on)| Act::Submit { delayed, chained, go_on }),
        4 => (1..4usize).prop_map(Act::Lease),
        1 => any::<usize>().prop_map(Act::Release),
        2 => any::<usize>().prop_map(Act::Complete),
        3 => any::<(usize, bool)>().prop_map(|(i, permanent)| Act::Fail(i, permanent)),
        2 => any::<usize>().prop_map(Act::Expire),
        1 => any::<usize>().prop_map(Act::Cancel),
        1 => any::<usize>().prop_map(Act::Retry),
        2 => (1..100_000u64).prop_map(Act::Later),
    ]
}

impl World {
    fn act(&mut self, act: &Act) {
        let leases: Vec<LeaseId> = self.state.leases().keys().copied().collect();
        let pick = |i: usize| (!leases.is_empty()).then(|| leases[i % leases.len()]);
        let mut jobs: Vec<JobId> = self.state.jobs().map(|(id, _)| id).collect();
        jobs.sort_unstable();
        match act {
            Act::Submit { delayed, chained, go_on } => {
                let mut specs = vec![job("a"), job("b")];
                specs[0].name = Some("first".into());
                specs[0].delay = delayed.then_some(Span::seconds(30));
                specs[0].retry = RetryPatch { max_attempts: Some(2), crash_limit: Some(2), ..RetryPatch::default() };
                if *chained {
                    specs[1].depends_on = vec!["first".into()];
                    specs[1].delay = delayed.then_some(Span::seconds(90));
                }
                if *go_on {
                    specs[1].on_dependency_failure = OnDependencyFailure::Continue;
                }
                self.submit(Vec::new(), specs);
            }
            Act::Lease(max) => drop(lease_some(self, *max)),
            Act::Release(i) => {
                let Some(lease) = pick(*i) else { return };
                let decision = self.state.release(&worker(), &[lease]);
                self.record(decision);
            }
            Act::Complete(i) => {
                let Some(lease) = pick(*i) else { return };
                let decision = self.state.complete(&worker(), lease, 0, self.now).unwrap();
                self.record(decision);
            }
            Act::Fail(i, permanent) => {
                let Some(lease) = pick(*i) else { return };
                let class = if *permanent { FailureClass::Permanent } else { FailureClass::Error };
                let decision = self.state.fail(&worker(), lease, class, "boom".into(), self.now).unwrap();
                self.record(decision);
            }
            Act::Expire(i) => {
                let Some(lease) = pick(*i) else { return };
                let decision = self.state.expire(lease, ExpiryCause::Ttl);
                self.record(decision);
            }
            Act::Cancel(i) if !jobs.is_empty() => {
                let decision = self.state.cancel(jobs[i % jobs.len()], "no longer needed");
                self.record(decision);
            }
            Act::Retry(i) if !jobs.is_empty() => {
                let decision = self.state.retry(jobs[i % jobs.len()]);
                self.record(decision);
            }
            Act::Cancel(_) | Act::Retry(_) => {}
            Act::Later(ms) => {
                self.now = self.now.plus(Span(*ms));
                let decision = self.state.ready_due(self.now, 100);
                self.record(decision);
            }
        }
    }

    /// Every summary stands where the state says the job stands, and counts what the state counts.
    fn assert_agrees(&self) {
        let model = self.model();
        let mut phases: BTreeMap<JobPhase, u64> = BTreeMap::new();
        for (id, Entry { summary, .. }) in &model {
            *phases.entry(summary.phase).or_default() += 1;
            let Some(job) = self.state.job(*id) else {
                assert!(matches!(summary.phase, JobPhase::Done | JobPhase::Cancelled), "{id}: {summary:?}");
                continue;
            };
            let (phase, due) = match &job.state {
                JobState::Blocked { .. } => (JobPhase::Blocked, None),
                JobState::Ready => (JobPhase::Ready, None),
                JobState::Delayed { until } => (JobPhase::Delayed, Some(*until)),
                JobState::Leased { lease } => {
                    assert_eq!(summary.lease, Some(*lease));
                    (JobPhase::Leased, None)
                }
                JobState::Failed { class, .. } => {
                    assert_eq!(summary.class, Some(*class));
                    (JobPhase::Failed, None)
                }
            };
            assert_eq!((summary.phase, summary.not_before), (phase, due), "{id}");
            assert_eq!(
                (summary.attempts, summary.failures, summary.crashes, summary.submitted_at),
                (job.attempts, job.failures, job.crashes, job.submitted_at),
                "{id}"
            );
        }
        let count = |phase| phases.get(&phase).copied().unwrap_or_default();
        let jobs = &self.state.counts().jobs;
        let counted = [jobs.blocked, jobs.ready, jobs.delayed, jobs.leased, jobs.done, jobs.failed, jobs.cancelled];
        let listed = [
            JobPhase::Blocked,
            JobPhase::Ready,
            JobPhase::Delayed,
            JobPhase::Leased,
            JobPhase::Done,
            JobPhase::Failed,
            JobPhase::Cancelled,
        ];
        assert_eq!(listed.map(count), counted);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn summaries_agree_with_the_state_and_the_index_with_both(acts in proptest::collection::vec(act(), 1..80)) {
        let mut world = World::with_jobs(4);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let follower = world.follow(None);
        for (i, act) in acts.iter().enumerate() {
            world.act(act);
            world.assert_agrees();
            if i % 16 == 0 {
                runtime.block_on(world.assert_followed(&follower.index()));
            }
        }
        runtime.block_on(world.assert_followed(&follower.index()));
        follower.stop();
        // Built anew from the first record, it is the same.
        let rebuilt = world.follow(None);
        runtime.block_on(world.assert_followed(&rebuilt.index()));
        rebuilt.stop();
    }
}

#[test]
fn a_booted_record_belongs_to_no_job() {
    let event = Event::Booted { epoch: 1, version: "1".into(), host: "h".into(), pid: 1 };
    let record = Record { seq: Seq(1), at: Timestamp(0), event };
    assert!(Entry::begin(&record).is_none());
}

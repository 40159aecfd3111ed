//! The index follows, survives whatever is done to its directory, and agrees with the state.

#[path = "../../../ledger/tests/support/replay.rs"]
mod replay;

mod damage;
mod world;

use std::collections::BTreeMap;

use orch_core::id::{JobId, LeaseId, QueueName, Seq};
use orch_core::job::OnDependencyFailure;
use orch_core::policy::RetryPatch;
use orch_core::record::{Event, ExpiryCause, FailureClass, Record};
use orch_core::state::{FailureReport, JobState};
use orch_core::summary::JobPhase;
use orch_core::time::{Span, Timestamp};
use orch_orchestrator::index::{Entry, Filter, directory};
use proptest::prelude::*;
use world::{LEDGER, World, job, lease_some, queue, worker};

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

/// The long form is `cargo run --release -p orch-orchestrator --example index_damage`.
#[test]
fn damage_of_every_kind_is_found_and_built_over() {
    let pool = damage::Pool::new();
    let mut tally = damage::Tally::default();
    for seed in 0..50 {
        tally.add(&replay::told(&damage::command(seed), || damage::case(&pool, seed)));
    }
    println!("{tally:?}");
    assert!(tally.built_again > 10 && tally.used > 0, "{tally:?}");
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
                    specs[0].array = Some("1-3%2".parse().unwrap());
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
                let decision = self.state.fail(&worker(), lease, FailureReport::new(class, "boom"), self.now).unwrap();
                self.record(decision);
            }
            Act::Expire(i) => {
                let Some(lease) = pick(*i) else { return };
                let decision = self.state.expire(lease, ExpiryCause::Ttl, self.now);
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
            // An array counts for the tasks that were not made, and shows the attempts of the others.
            let made = model.values().filter(|entry| entry.summary.task.is_some_and(|task| task.array == *id));
            let weight = summary.tasks.map_or(1, |tasks| tasks.tasks() - made.clone().count() as u64);
            let attempts: u32 = made.map(|entry| entry.summary.attempts).sum();
            *phases.entry(summary.phase).or_default() += weight;
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
                JobState::Running => (JobPhase::Running, None),
                JobState::Failed { class, .. } => {
                    assert_eq!(summary.class, Some(*class));
                    (JobPhase::Failed, None)
                }
            };
            assert_eq!((summary.phase, summary.not_before), (phase, due), "{id}");
            assert_eq!(
                (summary.attempts, summary.failures, summary.crashes, summary.submitted_at),
                (job.attempts + attempts, job.failures, job.crashes, job.submitted_at),
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

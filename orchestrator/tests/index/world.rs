//! A ledger in memory with its state, and the index that follows it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use orch_core::id::{JobId, Kind, LeaseId, QueueName, Seq, WorkerId};
use orch_core::job::{JobSpec, Payload};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, Record};
use orch_core::state::{Decision, LeaseRequest, State, Submission};
use orch_core::time::Timestamp;
use orch_orchestrator::index::{
    Entry, Filter, Follower, FollowerOptions, Index, IndexStatus, Read, Source, SourceError, directory,
};
use tokio::sync::watch;

pub const LEDGER: &str = "0190b5a4-3c00-7000-8000-000000000001";
pub const LONG: Duration = Duration::from_secs(60);

/// A ledger in memory.
#[derive(Clone, Default)]
pub struct Records(pub Arc<Mutex<Vec<Record>>>);

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
pub struct World {
    pub state: State,
    pub ledger: Records,
    pub durable: watch::Sender<Seq>,
    pub now: Timestamp,
}

impl World {
    pub fn new() -> Self {
        let durable = watch::Sender::new(Seq(0));
        Self { state: State::default(), ledger: Records::default(), durable, now: Timestamp(1_000_000) }
    }

    pub fn record<T>(&mut self, decision: Decision<T>) -> T {
        for event in decision.events {
            let record = Record { seq: self.state.next_seq(), at: self.now, event };
            self.state.apply(&record).unwrap();
            self.ledger.0.lock().unwrap().push(record);
        }
        self.durable.send_replace(self.state.last_seq());
        decision.answer
    }

    pub fn submit(&mut self, queues: Vec<QueueSpec>, jobs: Vec<JobSpec>) {
        let submission = Submission { queues, jobs, ..Submission::default() };
        let decision = self.state.submit(&submission, self.now).unwrap();
        self.record(decision);
    }

    /// Two queues, and some jobs in them.
    pub fn with_jobs(n: u64) -> Self {
        let mut world = Self::new();
        world.submit(vec![queue("a"), queue("b")], Vec::new());
        world.submit(Vec::new(), (0..n).map(|i| job(if i % 3 == 0 { "b" } else { "a" })).collect());
        world
    }

    pub fn follow(&self, data: Option<&Path>) -> Follower {
        let options = FollowerOptions { dir: data.map(|data| directory(data, LEDGER)), pace: Duration::from_millis(1) };
        Follower::start(options, Box::new(self.ledger.clone()), self.durable.subscribe()).unwrap()
    }

    /// What the index must hold, folded without it.
    pub fn model(&self) -> BTreeMap<JobId, Entry> {
        let mut entries: BTreeMap<JobId, Entry> = BTreeMap::new();
        for record in self.ledger.0.lock().unwrap().iter() {
            if let Some((job, entry)) = Entry::begin(record) {
                entries.insert(job, entry);
            } else if let Event::TaskMade { array, .. } = &record.event {
                let (job, entry) = Entry::begin_task(entries.get_mut(array).unwrap(), record).unwrap();
                entries.insert(job, entry);
            } else if let Some(job) = orch_core::summary::job_of(record) {
                let entry = entries.get_mut(&job).unwrap();
                let before = entry.summary.clone();
                entry.take(record);
                let after = entry.summary.clone();
                if let Some(task) = after.task {
                    entries.get_mut(&task.array).unwrap().summary.follow(Some(&before), &after);
                }
            }
        }
        entries
    }

    pub async fn assert_followed(&self, index: &Index) -> IndexStatus {
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

pub fn queue(name: &str) -> QueueSpec {
    let mut queue = QueueSpec::new(QueueName::new(name).unwrap());
    queue.kind = Some(Kind::new("k").unwrap());
    queue
}

pub fn job(queue: &str) -> JobSpec {
    JobSpec::new(QueueName::new(queue).unwrap(), Payload::default())
}

pub fn worker() -> WorkerId {
    WorkerId::new("w").unwrap()
}

pub fn lease_some(world: &mut World, max: usize) -> Vec<LeaseId> {
    let request = LeaseRequest::new(worker(), vec![Kind::new("k").unwrap()], max);
    let next = |world: &mut World| {
        let decision = world.state.lease(&request, &mut |_| Payload::default());
        world.record(decision).map(|granted| granted.lease)
    };
    std::iter::from_fn(|| next(world)).take(max).collect()
}

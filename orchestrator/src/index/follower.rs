//! The thread that keeps the index behind the ledger.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use orch_core::id::Seq;
use orch_core::record::Record;
use tokio::sync::{Notify, watch};
use tokio::time::sleep;

use super::fold::Step;
use super::guard;
use super::handle::{Index, IndexStatus, Shared};
use super::mark::Mark;
use super::memory::MemoryStore;
use super::open::{self, Opened};
use super::store::{Store, StoreError};

/// A record as the follower reads it.
#[derive(Clone, Debug)]
pub struct Read {
    /// The record.
    pub record: Record,
    /// The checksum of its line.
    pub witness: u32,
}

/// Why a record could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the ledger cannot be read: {0}")]
pub struct SourceError(pub String);

/// Where records come from: the ledger's files, or a vector in tests.
pub trait Source: Send {
    /// The records behind `after` up to `until`, in order: at least one, and no more than fit into some MiB.
    ///
    /// # Errors
    /// [`SourceError`]; it may go away by itself.
    fn read(&mut self, after: Seq, until: Seq) -> Result<Vec<Read>, SourceError>;

    /// The checksum of the line at `seq`; None if there is no such record.
    ///
    /// # Errors
    /// [`SourceError`]; it may go away by itself.
    fn witness(&mut self, seq: Seq) -> Result<Option<u32>, SourceError>;
}

/// Where the index lies and how it follows.
#[derive(Clone, Debug)]
pub struct FollowerOptions {
    /// The directory of the index itself: see [`super::directory`]. None keeps it in memory.
    pub dir: Option<PathBuf>,
    /// The least time between two steps, unless somebody waits: what changes often is then written once.
    pub pace: Duration,
}

/// The most records and changed jobs of one step.
const STEP_RECORDS: usize = 1 << 16;
const STEP_JOBS: usize = 1 << 14;

/// Broken so often, sled is given up for the life of this process.
const MAX_REBUILDS: u32 = 3;

/// How long to wait after an error that may go away by itself.
const RETRY: Duration = Duration::from_secs(1);

/// How long a stop waits for the last step and for sled to close.
const STOP_LIMIT: Duration = Duration::from_secs(10);

/// The running follower.
pub struct Follower {
    index: Index,
    stop: Arc<Notify>,
    stopped: mpsc::Receiver<()>,
}

impl Follower {
    /// Starts the thread. It opens the index, or begins a new one, and follows `durable`.
    ///
    /// # Errors
    /// If the system gives no thread.
    pub fn start(options: FollowerOptions, source: Box<dyn Source>, durable: watch::Receiver<Seq>) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let shared = Shared::new();
        let stop = Arc::new(Notify::new());
        let (sender, stopped) = mpsc::sync_channel(1);
        let work = Work { options, source, durable, shared: Arc::clone(&shared), stop: Arc::clone(&stop) };
        thread::Builder::new().name("index".into()).spawn(move || {
            runtime.block_on(work.run());
            let _ = sender.send(());
        })?;
        Ok(Self { index: Index { shared }, stop, stopped })
    }

    /// The index that it keeps.
    pub fn index(&self) -> Index {
        self.index.clone()
    }

    /// Stops after the step at work. A store that hangs is left behind: it is only a cache.
    pub fn stop(self) {
        self.stop.notify_one();
        if self.stopped.recv_timeout(STOP_LIMIT).is_err() {
            tracing::warn!("the index did not stop in time: the next start checks or rebuilds it");
        }
    }
}

/// Why following ended.
enum End {
    Stopped,
    Broken(StoreError),
}

struct Work {
    options: FollowerOptions,
    source: Box<dyn Source>,
    durable: watch::Receiver<Seq>,
    shared: Arc<Shared>,
    stop: Arc<Notify>,
}

impl Work {
    async fn run(mut self) {
        let mut broken = 0;
        let mut why = None;
        loop {
            let opened = self.open(broken, why.take());
            match self.follow(opened).await {
                End::Stopped => return self.close(),
                End::Broken(error) => {
                    broken += 1;
                    tracing::warn!(%error, "the index is thrown away and built again");
                    why = Some(error.to_string());
                    self.close();
                    // A store that breaks at once, again and again, must not take a core.
                    if broken > MAX_REBUILDS && self.pause(RETRY).await {
                        return;
                    }
                }
            }
        }
    }

    fn open(&mut self, broken: u32, why: Option<String>) -> Opened {
        let durable = *self.durable.borrow();
        let mut opened = match &self.options.dir {
            Some(dir) if broken <= MAX_REBUILDS => {
                if broken > 0
                    && let Err(error) = open::discard(dir)
                {
                    tracing::warn!(%error, dir = %dir.display(), "the index cannot be removed");
                }
                open::open(dir, durable, &mut *self.source)
            }
            Some(_) | None => Opened { store: Arc::new(MemoryStore::default()), mark: Mark::default(), anew: None },
        };
        opened.anew = why.or(opened.anew);
        *self.shared.store.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&opened.store);
        opened
    }

    /// Lets go of the store. sled writes when it is dropped: that may hang, too.
    fn close(&self) {
        let empty: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let place = self.shared.store.write();
        let store = std::mem::replace(&mut *place.unwrap_or_else(PoisonError::into_inner), empty);
        let closed = guard::in_time("close", STOP_LIMIT / 2, move || {
            store.flush();
            drop(store);
            Ok(())
        });
        if let Err(error) = closed {
            tracing::warn!(%error, "the index was not closed: the next start checks or rebuilds it");
        }
    }

    async fn follow(&mut self, opened: Opened) -> End {
        let Opened { store, mut mark, anew } = opened;
        let goal = *self.durable.borrow();
        self.forget_broken().await;
        let mut problem = anew.map(|why| format!("being built again: {why}")).unwrap_or_default();
        if !problem.is_empty() {
            tracing::info!(from = %mark.applied, to = %goal, "the index is {problem}");
        }
        self.publish(&*store, mark, &problem);
        loop {
            let durable = *self.durable.borrow_and_update();
            if mark.applied >= goal {
                problem.clear();
                self.publish(&*store, mark, "");
            }
            if mark.applied < durable {
                match self.step(&*store, mark, durable) {
                    Ok(Ok(next)) => {
                        mark = next;
                        let problem = if mark.applied >= goal { "" } else { &problem };
                        self.publish(&*store, mark, problem);
                    }
                    Ok(Err(error)) => {
                        tracing::warn!(%error, "the index waits for the ledger");
                        self.publish(&*store, mark, &error.to_string());
                        if self.pause(RETRY).await {
                            return End::Stopped;
                        }
                    }
                    Err(error) => return End::Broken(error),
                }
                // The pause is between steps that keep up; one that is behind goes on at once.
                let pace = if mark.applied < durable { Duration::ZERO } else { self.options.pace };
                if self.breathe(pace).await {
                    return End::Stopped;
                }
            } else {
                tokio::select! {
                    () = self.stop.notified() => return End::Stopped,
                    () = self.shared.broken.notified() => {
                        return End::Broken(StoreError::Damaged("a look-up failed".into()));
                    }
                    changed = self.durable.changed() => if changed.is_err() {
                        // The engine is gone: nothing more will come.
                        self.stop.notified().await;
                        return End::Stopped;
                    },
                }
            }
        }
    }

    /// Forgets that a look-up found the store before this one broken.
    async fn forget_broken(&self) {
        tokio::select! {
            biased;
            () = self.shared.broken.notified() => {}
            () = std::future::ready(()) => {}
        }
    }

    fn publish(&self, store: &dyn Store, mark: Mark, problem: &str) {
        let status = IndexStatus { applied: mark.applied, kind: store.kind(), problem: problem.to_owned() };
        self.shared.status.send_if_modified(|there| {
            let news = *there != status;
            *there = status;
            news
        });
    }

    /// Reads some records and writes what they change. The outer error is the store's, the inner the ledger's.
    fn step(&mut self, store: &dyn Store, mark: Mark, durable: Seq) -> Result<Result<Mark, SourceError>, StoreError> {
        let mut step = Step::new(store, mark);
        let mut after = mark.applied;
        let mut records = 0;
        while after < durable && records < STEP_RECORDS && step.jobs() < STEP_JOBS {
            let reads = match self.source.read(after, durable) {
                Ok(reads) => reads,
                Err(error) => return Ok(Err(error)),
            };
            for Read { record, witness } in &reads {
                if record.seq != after.next() {
                    let what = format!("record {} came where {} was asked for", record.seq, after.next());
                    return Ok(Err(SourceError(what)));
                }
                step.take(record, *witness)?;
                after = record.seq;
            }
            if reads.is_empty() {
                return Ok(Err(SourceError(format!("record {} is not there", after.next()))));
            }
            records += reads.len();
        }
        let (changes, mark) = step.finish()?;
        // Look-ups hold the lock for reading: what one of them sees is one state.
        let _alone = self.shared.store.write().unwrap_or_else(PoisonError::into_inner);
        store.write(changes)?;
        Ok(Ok(mark))
    }

    /// Waits; true if a stop was asked for.
    async fn pause(&self, span: Duration) -> bool {
        tokio::select! {
            () = self.stop.notified() => true,
            () = sleep(span) => false,
        }
    }

    /// Waits, but not while somebody waits for the index; true if a stop was asked for.
    async fn breathe(&self, span: Duration) -> bool {
        tokio::select! {
            biased;
            () = self.stop.notified() => true,
            () = self.shared.nudge.notified() => false,
            () = sleep(span) => false,
        }
    }
}

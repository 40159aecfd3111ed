//! The engine's thread: takes what has come, runs it as one batch, again.

use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use orch_core::id::Seq;
use orch_core::time::{Now, Span, Tick, Timestamp};
use tokio::sync::watch;

use super::batch::Fatal;
use super::command::Pending;
use super::queue::Queue;
use super::{Engine, Handle};

/// The engine looks at its deadlines at least this often.
pub(super) const TICK: Span = Span(1000);

/// So long after the last batch HEAD is made to name it, whatever is asked meanwhile: readers of the files, who go by
/// HEAD, then see everything that was acknowledged.
const LEVEL_AFTER: Span = Span(50);

/// A running engine.
pub struct EngineThread {
    /// To speak to it.
    pub handle: Handle,
    stop: watch::Sender<bool>,
    thread: JoinHandle<Result<(), Fatal>>,
}

impl EngineThread {
    /// Ends the engine after the batch that it is in, and closes the ledger.
    ///
    /// # Errors
    /// [`Fatal`], on closing.
    ///
    /// # Panics
    /// Never: a panic of the engine has ended the process.
    #[allow(clippy::expect_used)]
    pub fn stop(self) -> Result<(), Fatal> {
        let _ = self.stop.send(true);
        self.handle.wake();
        self.thread.join().expect("a panic of the engine aborts the process")
    }

    /// Whether the engine's thread has ended.
    pub fn is_finished(&self) -> bool {
        self.thread.is_finished()
    }
}

/// Starts the engine's thread.
///
/// A failed sync ends the whole process at once: after it nobody can know what is on the disk, so nothing may be
/// acknowledged, retried or cleaned up. A panic in the engine does the same.
///
/// # Errors
/// If the system has no thread left.
pub fn spawn(mut engine: Engine, clock: Clock) -> Result<EngineThread, std::io::Error> {
    let (sender, receiver) = mpsc::channel();
    let (durable_sender, durable) = watch::channel(engine.state().last_seq());
    let (stop, stopping) = watch::channel(false);
    let handle = Handle::new(sender, durable);
    let body = move || {
        let run = std::panic::AssertUnwindSafe(|| run(&mut engine, &clock, &receiver, &durable_sender, &stopping));
        match std::panic::catch_unwind(run) {
            Ok(Ok(())) => engine.close(),
            Ok(Err(error)) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the ledger could not be written; nothing more is acknowledged, the process ends"
                );
                std::process::abort();
            }
            Err(_) => {
                tracing::error!("the engine has a bug; nothing more is acknowledged, the process ends");
                std::process::abort();
            }
        }
    };
    let thread = std::thread::Builder::new().name("engine".into()).spawn(body)?;
    Ok(EngineThread { handle, stop, thread })
}

fn run(
    engine: &mut Engine,
    clock: &Clock,
    receiver: &Receiver<Box<dyn Pending>>,
    durable: &watch::Sender<Seq>,
    stopping: &watch::Receiver<bool>,
) -> Result<(), Fatal> {
    let mut looked = clock.now();
    let mut queue = Queue::default();
    // Since when HEAD names the batch before the last one.
    let mut lags = Some(looked.tick);
    while !*stopping.borrow() {
        let level_in = lags.map(|since| Span(LEVEL_AFTER.0.saturating_sub(looked.tick.since(since).0)));
        let sleep = level_in.into_iter().fold(engine.idle_for(looked), Span::min);
        let sleep = if queue.is_empty() { sleep } else { Span(0) };
        let first = match receiver.recv_timeout(sleep.duration()) {
            Ok(command) => Some(command),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return Ok(()),
        };
        queue.extend(first.into_iter().chain(receiver.try_iter()));
        let commands = queue.next_batch();
        let (count, began) = (commands.len(), Instant::now());
        let now = clock.now();
        let gap = now.tick.since(looked.tick);
        engine.looked_up_after(gap);
        looked = now;
        let last = engine.run_batch(commands, now)?;
        queue.took(count, began.elapsed());
        if durable.send_if_modified(|seq| std::mem::replace(seq, last) != last) {
            lags = Some(now.tick);
        } else if lags.is_some_and(|since| now.tick.since(since) >= LEVEL_AFTER) {
            engine.level_head()?;
            lags = None;
        }
    }
    Ok(())
}

/// Both clocks of this process.
#[derive(Clone, Debug)]
pub struct Clock {
    started: Instant,
}

impl Default for Clock {
    fn default() -> Self {
        Self { started: Instant::now() }
    }
}

impl Clock {
    /// The time.
    pub fn now(&self) -> Now {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let wall = Timestamp(i64::try_from(since_epoch.as_millis()).unwrap_or(i64::MAX));
        Now { wall, tick: Tick(Span::from(self.started.elapsed()).0) }
    }
}

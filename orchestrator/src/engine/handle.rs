//! How the rest of the program speaks to the engine: a bounded queue in, one answer out.

use std::sync::Arc;
use std::sync::mpsc::Sender;

use orch_core::id::Seq;
use orch_core::receipt::Receipt;
use orch_core::time::Now;
use tokio::sync::oneshot::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};

use super::Engine;
use super::command::{Command, Envelope, Pending, Step};

/// The most commands on their way, those of streams apart: with the edge's bound of 4 MiB a message, and most far below
/// 10 KiB, both bound the memory of a flood, and are enough for thousands of workers that wait in a long poll besides.
pub const MAX_PENDING: usize = 8192;

/// The most commands on their way that wait for room, those of streams above all. They have their own: what streams bring at
/// full speed waits its turn, and nobody else is refused because of it.
pub const MAX_STREAMED: usize = 8192;

/// The most commands that wait for something to happen (long polls). They have their own room, so that waiting
/// workers never shut out working ones.
pub const MAX_WAITING: usize = 65_536;

/// The most urgent commands on their way: one heartbeat each of more workers than there will be.
pub const MAX_URGENT: usize = 65_536;

/// An answer, and the receipt for what it stands on.
#[derive(Clone, Debug)]
pub struct Replied<A> {
    /// The answer.
    pub answer: A,
    /// For everything durable when it was sent, or, for a repeated answer, for the record that it repeats.
    pub receipt: Receipt,
}

/// Why the engine did not run a command. Nothing of it was recorded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The queue is full.
    #[error("the orchestrator has more to do than it can take: try again shortly")]
    Overloaded,
    /// The disk is full, or refuses writes.
    #[error("the ledger is read-only: {0}")]
    ReadOnly(String),
    /// The engine has stopped.
    #[error("the orchestrator is stopping")]
    Stopped,
}

/// Speaks to the engine's thread. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    sender: Sender<Box<dyn Pending>>,
    room: Arc<Semaphore>,
    stream_room: Arc<Semaphore>,
    waiting_room: Arc<Semaphore>,
    urgent_room: Arc<Semaphore>,
    durable: watch::Receiver<Seq>,
}

impl Handle {
    pub(super) fn new(sender: Sender<Box<dyn Pending>>, durable: watch::Receiver<Seq>) -> Self {
        let room = Arc::new(Semaphore::new(MAX_PENDING));
        let stream_room = Arc::new(Semaphore::new(MAX_STREAMED));
        let waiting_room = Arc::new(Semaphore::new(MAX_WAITING));
        let urgent_room = Arc::new(Semaphore::new(MAX_URGENT));
        Self { sender, room, stream_room, waiting_room, urgent_room, durable }
    }

    /// Runs a command, refused at once if the queue is full.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call<C: Command>(&self, command: C) -> Result<Replied<C::Answer>, CallError> {
        let room = if C::URGENT { &self.urgent_room } else { &self.room };
        let room = Arc::clone(room).try_acquire_owned().map_err(|_| CallError::Overloaded)?;
        self.send(command, room).await
    }

    /// Runs a command that came in a stream: waits for room, which holds the stream back.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_in_turn<C: Command>(&self, command: C) -> Result<Replied<C::Answer>, CallError> {
        self.begin(command).await?.answer().await
    }

    /// Hands a command in, behind all that were handed in before it; its answer is awaited separately.
    ///
    /// # Errors
    /// [`CallError::Stopped`].
    pub async fn begin<C: Command>(&self, command: C) -> Result<Begun<C::Answer>, CallError> {
        let room = Arc::clone(&self.stream_room).acquire_owned().await.map_err(|_| CallError::Stopped)?;
        self.hand_in(command, room)
    }

    /// Runs a command that may wait for a long time (a long poll), in a room of its own.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn call_and_wait<C: Command>(&self, command: C) -> Result<Replied<C::Answer>, CallError> {
        let room = Arc::clone(&self.waiting_room).try_acquire_owned().map_err(|_| CallError::Overloaded)?;
        self.send(command, room).await
    }

    /// Looks at the engine between two batches. The answer leaves when everything it saw is durable.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn query<A, F>(&self, look: F) -> Result<A, CallError>
    where
        A: Send + 'static,
        F: FnOnce(&Engine, Now) -> A + Send + 'static,
    {
        Ok(self.call_in_turn(Query(Some(look))).await?.answer)
    }

    /// The last durable record, and its changes.
    pub fn durable(&self) -> watch::Receiver<Seq> {
        self.durable.clone()
    }

    /// Has the engine look up from its sleep.
    pub(super) fn wake(&self) {
        // No room: then commands are on their way, and the engine does not sleep.
        if let Ok(room) = Arc::clone(&self.room).try_acquire_owned() {
            let look = Query(Some(|_: &Engine, _: Now| ()));
            let _ = self.sender.send(Box::new(Envelope::new(look, oneshot::channel().0, Some(room))));
        }
    }

    async fn send<C: Command>(&self, command: C, room: OwnedSemaphorePermit) -> Result<Replied<C::Answer>, CallError> {
        self.hand_in(command, room)?.answer().await
    }

    fn hand_in<C: Command>(&self, command: C, room: OwnedSemaphorePermit) -> Result<Begun<C::Answer>, CallError> {
        let (reply, answer) = oneshot::channel();
        let envelope = Box::new(Envelope::new(command, reply, Some(room)));
        self.sender.send(envelope).map_err(|_| CallError::Stopped)?;
        Ok(Begun(answer))
    }
}

/// A command that was handed in.
pub struct Begun<A>(oneshot::Receiver<Result<Replied<A>, CallError>>);

impl<A> Begun<A> {
    /// Its answer.
    ///
    /// # Errors
    /// [`CallError`].
    pub async fn answer(self) -> Result<Replied<A>, CallError> {
        self.0.await.unwrap_or(Err(CallError::Stopped))
    }

    /// Its answer, if there is one by now: for callers without a runtime, who run batches themselves.
    pub fn try_answer(&mut self) -> Option<Result<Replied<A>, CallError>> {
        match self.0.try_recv() {
            Ok(answer) => Some(answer),
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Closed) => Some(Err(CallError::Stopped)),
        }
    }
}

/// A command ready for [`Engine::run_batch`], and its answer to come: for callers who run batches themselves.
pub fn envelope<C: Command>(command: C) -> (Box<dyn Pending>, Begun<C::Answer>) {
    let (reply, answer) = oneshot::channel();
    (Box::new(Envelope::new(command, reply, None)), Begun(answer))
}

/// A look at the engine.
struct Query<F>(Option<F>);

impl<A, F> Command for Query<F>
where
    A: Send + 'static,
    F: FnOnce(&Engine, Now) -> A + Send + 'static,
{
    type Answer = A;
    const WRITES: bool = false;

    #[allow(clippy::expect_used)]
    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<A> {
        let look = self.0.take().expect("a query never waits, so it runs once");
        Step::Answer(look(engine, now))
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::mpsc;
    use std::task::{Context, Poll, Waker};

    use super::*;
    use crate::engine::commands::bound::MayAct;

    #[tokio::test]
    async fn streams_at_full_speed_wait_and_shut_nobody_out() {
        // Nobody takes anything out of the queue.
        let (sender, _queue) = mpsc::channel();
        let (_known, durable) = watch::channel(Seq(0));
        let handle = Handle::new(sender, durable);
        let mut begun = Vec::new();
        for _ in 0..MAX_STREAMED {
            begun.push(handle.begin(MayAct).await.unwrap());
        }
        let mut context = Context::from_waker(Waker::noop());
        assert!(pin!(handle.begin(MayAct)).poll(&mut context).is_pending(), "there is no room for another one");
        assert!(
            matches!(pin!(handle.call(MayAct)).poll(&mut context), Poll::Pending),
            "it is in, and waits for its answer"
        );
    }
}

//! Commands as the engine runs them: decide now, answer after the sync.

use std::time::Instant;

use orch_core::id::Seq;
use orch_core::receipt::Receipt;
use orch_core::time::{Now, Tick};
use tokio::sync::{OwnedSemaphorePermit, oneshot};

use super::Engine;
use super::handle::{CallError, Replied};

/// Something a caller wants of the engine.
pub trait Command: Send + 'static {
    /// What the caller gets once everything that it stands on is durable.
    type Answer: Send + 'static;

    /// Whether it may lead to records. Such a command is refused while the ledger is read-only.
    const WRITES: bool;

    /// Whether it has a room of its own and goes before what waits in the queue: for what keeps a lease alive, which a
    /// flood of other calls must not end.
    const URGENT: bool = false;

    /// What it is called in the metrics. One that only wraps another has the other's name.
    fn name() -> &'static str {
        std::any::type_name::<Self>()
    }

    /// Decides, and records the decision's events through [`Engine::record`].
    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer>;
}

/// What came of running a command.
pub enum Step<A> {
    /// The answer, to be sent after the sync.
    Answer(A),
    /// The answer, and the record that its receipt must speak for: an older one, when an answer is repeated.
    AnswerFor(A, Seq),
    /// Nothing yet: run it again when something has changed, or at this time at the latest.
    Wait(Tick),
}

/// A command on its way through the engine.
pub trait Pending: Send {
    /// Runs the command. True: it has an answer, to be sent by `finish`.
    fn decide(&mut self, engine: &mut Engine, now: Now) -> bool;
    /// Sends the answer: everything before it is durable.
    fn finish(self: Box<Self>, engine: &Engine);
    /// Sends a refusal instead.
    fn refuse(self: Box<Self>, error: CallError);
    /// Whether it may lead to records.
    fn writes(&self) -> bool;
    /// Whether it goes before others.
    fn is_urgent(&self) -> bool;
    /// Whether nobody waits for the answer any more.
    fn is_abandoned(&self) -> bool;
    /// When it must be run again, if it waits.
    fn wake_at(&self) -> Option<Tick>;
    /// The name of its type, and when it was handed in.
    fn handed_in(&self) -> (&'static str, Instant);
}

type Reply<A> = oneshot::Sender<Result<Replied<A>, CallError>>;

/// A command, its answer once there is one, and who waits for it.
pub(super) struct Envelope<C: Command> {
    command: C,
    answer: Option<(C::Answer, Option<Seq>)>,
    wake_at: Option<Tick>,
    handed_in: Instant,
    reply: Reply<C::Answer>,
    /// Room in the engine's bounded queue, given back when the envelope is dropped; none outside of a queue.
    _room: Option<OwnedSemaphorePermit>,
}

impl<C: Command> Envelope<C> {
    pub(super) fn new(command: C, reply: Reply<C::Answer>, room: Option<OwnedSemaphorePermit>) -> Self {
        Self { command, answer: None, wake_at: None, handed_in: Instant::now(), reply, _room: room }
    }
}

impl<C: Command> Pending for Envelope<C> {
    fn decide(&mut self, engine: &mut Engine, now: Now) -> bool {
        match self.command.run(engine, now) {
            Step::Answer(answer) => self.answer = Some((answer, None)),
            Step::AnswerFor(answer, seq) => self.answer = Some((answer, Some(seq))),
            Step::Wait(until) => {
                self.wake_at = Some(until);
                return false;
            }
        }
        true
    }

    fn finish(self: Box<Self>, engine: &Engine) {
        let Self { answer, reply, .. } = *self;
        let Some((answer, seq)) = answer else { return };
        let head = engine.receipts.head();
        let receipt = match seq {
            // An answer that is older than the remembered links speaks for its record under the newest link.
            Some(seq) => engine.receipts.find(seq).unwrap_or(Receipt { seq, ..head }),
            None => head,
        };
        // The caller may have gone; what it asked for is done and durable all the same.
        let _ = reply.send(Ok(Replied { answer, receipt: engine.sealed(receipt) }));
    }

    fn refuse(self: Box<Self>, error: CallError) {
        let _ = self.reply.send(Err(error));
    }

    fn writes(&self) -> bool {
        C::WRITES
    }

    fn is_urgent(&self) -> bool {
        C::URGENT
    }

    fn is_abandoned(&self) -> bool {
        self.reply.is_closed()
    }

    fn wake_at(&self) -> Option<Tick> {
        self.wake_at
    }

    fn handed_in(&self) -> (&'static str, Instant) {
        (C::name(), self.handed_in)
    }
}

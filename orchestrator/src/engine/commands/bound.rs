//! What a worker does under its own name, where callers are known: only under its own.

use orch_core::access::SessionId;
use orch_core::state::LeaseBounds;
use orch_core::time::Now;

use super::worker::{LeaseAnswer, LeaseJobs, RegisterRefusal, RegisterWorker, Registered};
use crate::engine::sessions::{NotBound, Who};
use crate::engine::{Command, Engine, Step};

/// A command under a worker's name.
pub struct Bound<C> {
    /// Who gives it; None: nobody asks who it is.
    pub who: Option<Who>,
    /// The command.
    pub command: C,
}

impl<C: Command> Command for Bound<C> {
    type Answer = Result<C::Answer, NotBound>;
    const WRITES: bool = C::WRITES;
    const URGENT: bool = C::URGENT;

    fn name() -> &'static str {
        C::name()
    }

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        if let Some(who) = &self.who
            && let Err(not_bound) = engine.check_bound(who)
        {
            return Step::Answer(Err(not_bound));
        }
        match self.command.run(engine, now) {
            Step::Answer(answer) => Step::Answer(Ok(answer)),
            Step::AnswerFor(answer, seq) => Step::AnswerFor(Ok(answer), seq),
            Step::Wait(until) => Step::Wait(until),
        }
    }
}

/// Only asks whether somebody may act under a worker's name.
pub struct MayAct;

impl Command for MayAct {
    type Answer = ();
    const WRITES: bool = false;

    fn run(&mut self, _: &mut Engine, _: Now) -> Step<()> {
        Step::Answer(())
    }
}

/// Registers a worker and gives it a session.
pub struct RegisterBound {
    /// The registration.
    pub command: RegisterWorker,
    /// Who registers.
    pub who: Who,
    /// Its session, unless it has one.
    pub fresh: SessionId,
    /// Whether the name may be another's.
    pub strict: bool,
}

impl Command for RegisterBound {
    type Answer = Result<(Registered, SessionId), RegisterRefusal>;
    const WRITES: bool = true;

    fn name() -> &'static str {
        RegisterWorker::name()
    }

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        if self.strict
            && let Err(taken) = engine.check_name(&self.who, now)
        {
            return Step::Answer(Err(taken.into()));
        }
        match self.command.run(engine, now) {
            Step::Answer(registered) | Step::AnswerFor(registered, _) => {
                Step::Answer(registered.map(|registered| (registered, engine.bind(&self.who, self.fresh))))
            }
            Step::Wait(until) => Step::Wait(until),
        }
    }
}

/// Asks for jobs of some queues, under leases that are bound to a session.
pub struct LeaseJobsWithin {
    /// What is asked for.
    pub command: LeaseJobs,
    /// Of which queues, and for which session.
    pub bounds: LeaseBounds,
}

impl Command for LeaseJobsWithin {
    type Answer = LeaseAnswer;
    const WRITES: bool = true;

    fn name() -> &'static str {
        LeaseJobs::name()
    }

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<LeaseAnswer> {
        self.command.run_within(&self.bounds, engine, now)
    }
}

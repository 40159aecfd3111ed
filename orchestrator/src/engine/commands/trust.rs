//! Workers that were set aside, and the switch for every retry.

use orch_core::id::WorkerId;
use orch_core::state::Refusal;
use orch_core::time::Now;

use crate::engine::{Command, Engine, Step};

/// Gives jobs again to a worker that was set aside.
pub struct ResumeWorker {
    /// The worker.
    pub worker: WorkerId,
}

impl Command for ResumeWorker {
    type Answer = Result<(), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        Step::Answer(engine.state.resume_worker(&self.worker).map(|decision| engine.record(decision, now)))
    }
}

/// Holds back every retry, or lets them go on.
pub struct SwitchRetries {
    /// Why they are held back; None: they go on.
    pub pause: Option<String>,
}

impl Command for SwitchRetries {
    /// Whether that changes anything.
    type Answer = bool;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<bool> {
        let decision = match &self.pause {
            Some(reason) => engine.state.pause_retries(reason, now.wall),
            None => engine.state.resume_retries(),
        };
        Step::Answer(engine.record(decision, now))
    }
}

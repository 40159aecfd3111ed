//! What people do to schedules.

use orch_core::id::ScheduleName;
use orch_core::state::Refusal;
use orch_core::time::Now;

use crate::engine::{Command, Engine, Step};

/// Holds a schedule back, or lets it go on.
pub struct PauseSchedule {
    /// Which.
    pub schedule: ScheduleName,
    /// Why; None: it goes on.
    pub reason: Option<String>,
}

impl Command for PauseSchedule {
    type Answer = Result<bool, Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decision = engine.state.pause_schedule(&self.schedule, self.reason.as_deref());
        Step::Answer(decision.map(|decision| engine.record(decision, now)))
    }
}

/// Removes a schedule.
pub struct RemoveSchedule {
    /// Which.
    pub schedule: ScheduleName,
}

impl Command for RemoveSchedule {
    type Answer = Result<(), Refusal>;
    const WRITES: bool = true;

    fn run(&mut self, engine: &mut Engine, now: Now) -> Step<Self::Answer> {
        let decision = engine.state.remove_schedule(&self.schedule);
        Step::Answer(decision.map(|decision| engine.record(decision, now)))
    }
}

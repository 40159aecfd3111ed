//! A job that several workers have together: how its members start at one time, and end at one time.
//!
//! Each member says in its heartbeats how far it is, and hears from them when to go on. One that is there waits for the
//! others; one that has finished keeps its slot until the first member, whose results are the job's, has ended it.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use orch_proto::v1;
use tokio_util::sync::CancellationToken;

use crate::leases::{Held, StopReason};
use crate::run::Worker;
use crate::runner::Outcome;

/// How often a member says that it waits: the others start or end so much later at most.
const WAITING: Duration = Duration::from_millis(250);

/// How often a member is heard of at least, so that the others of one that is gone do not work on for long.
const WORKING: Duration = Duration::from_secs(2);

/// A member's way from its grant to its end.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    step: AtomicU8,
    start: CancellationToken,
    finish: CancellationToken,
}

const THERE: u8 = 1;
const FINISHED: u8 = 2;

impl Membership {
    /// What its heartbeats say.
    pub(crate) fn step(&self) -> v1::MemberStep {
        match self.step.load(Ordering::Relaxed) {
            FINISHED => v1::MemberStep::Finished,
            THERE => v1::MemberStep::There,
            _ => v1::MemberStep::Unspecified,
        }
    }

    /// How long it may be silent.
    pub(crate) fn interval(&self) -> Duration {
        let starts = self.step() == v1::MemberStep::There && !self.start.is_cancelled();
        if starts || self.has_finished() { WAITING } else { WORKING }
    }

    /// Whether its runner has done its part.
    pub(crate) fn has_finished(&self) -> bool {
        self.step() == v1::MemberStep::Finished
    }

    /// All members are there.
    pub(crate) fn start(&self) {
        self.start.cancel();
    }

    /// All other members have finished.
    pub(crate) fn finish(&self) {
        self.start.cancel();
        self.finish.cancel();
    }

    fn takes(&self, worker: &Worker, step: u8) {
        self.step.store(step, Ordering::Relaxed);
        worker.leases.announce();
    }
}

/// Waits until every member has a slot. False: the job is not to run here. A job of one worker waits for nobody.
pub(crate) async fn all_there(worker: &Worker, held: &Held) -> bool {
    let Some(membership) = &held.membership else { return true };
    membership.takes(worker, THERE);
    tokio::select! {
        () = membership.start.cancelled() => true,
        () = held.stop.raised() => false,
        () = worker.drain.cancelled() => false,
    }
}

/// How a member's run ends for the job: one that is complete waits for the others. The first then ends the job for all.
pub(crate) async fn all_finished(worker: &Worker, held: &Held, rank: u32, outcome: Outcome) -> Outcome {
    let Some(membership) = held.membership.as_ref().filter(|_| outcome == Outcome::Complete) else { return outcome };
    membership.takes(worker, FINISHED);
    tokio::select! {
        () = membership.finish.cancelled(), if rank == 0 => Outcome::Complete,
        () = held.stop.raised() => Outcome::Stopped,
    }
}

/// A lost lease of a member that had finished is how it hears that the job has ended.
pub(crate) fn has_ended(held: &Held) -> bool {
    held.stop.reason() == Some(StopReason::Lost) && held.membership.as_ref().is_some_and(Membership::has_finished)
}

//! What the orchestrator does: it runs batches, answers, dies and starts again; and the faults that strike it.

use orch_core::id::LeaseId;
use orch_core::record::Event;
use orch_orchestrator::engine::commands::worker::LeaseStanding;

use super::call::{Answer, Step};
use super::edge::Out;
use super::faults::Fault;
use super::process::{Ran, Started};
use super::{Happening, World};

impl World {
    /// The engine runs what has come as one batch.
    pub(super) fn engine_runs(&mut self) {
        if self.engine_at == Some(self.now) {
            self.engine_at = None;
        }
        if self.process.engine.is_none() {
            return;
        }
        if self.stalled_until > self.now {
            let until = self.stalled_until;
            self.engine_by(until);
            return;
        }
        let dies_after = self.edge.has_step(Step::CrashAfterCommit);
        let dies_before = self.edge.has_step(Step::CrashBeforeCommit);
        let commands = self.edge.take_commands();
        let was_read_only = self.read_only();
        let gap = self.now - self.process.looked_at();
        self.lease_time.pass(gap);
        let count = commands.len();
        let ran = self.process.run(commands, self.now);
        match ran {
            Ran::Fine => {
                if dies_after {
                    // It is durable, and nobody hears of it.
                    self.orchestrator_dies("after the commit");
                    return;
                }
                let answers = self.edge.take_answers();
                self.follow(&answers, was_read_only);
                if count > 0 {
                    self.trace.step(self.now, format_args!("a batch of {count}, {} answers", answers.len()));
                }
                answers.into_iter().for_each(|out| self.leaves(out));
                if dies_before {
                    // The call wrote nothing, so that there was no commit to die before.
                    self.orchestrator_dies("without a commit");
                    return;
                }
                let idle = if self.edge.has_commands() { 0 } else { self.process.idle_for(self.now) };
                let next = self.now + idle;
                self.engine_by(next);
            }
            Ran::Ended(why) => {
                // What has left before the end has left.
                let answers = self.edge.take_answers();
                answers.into_iter().filter(|out| !is_stopped(out)).for_each(|out| self.leaves(out));
                self.orchestrator_dies(&why);
            }
            Ran::Wrong(rule, message) => self.wrong(rule, message),
        }
    }

    fn read_only(&self) -> bool {
        self.process.engine.as_ref().is_some_and(|engine| engine.read_only().is_some())
    }

    /// The open leases of which the model knows how long they live: not those of gangs, each of whose members has its own time.
    fn held_by_one(&self) -> Vec<LeaseId> {
        let leases = self.process.engine.iter().flat_map(|engine| engine.state().leases());
        leases.filter(|(_, held)| !held.is_gang()).map(|(lease, _)| *lease).collect()
    }

    /// Keeps the models in step with what the batch did.
    fn follow(&mut self, answers: &[Out], was_read_only: bool) {
        let open = self.held_by_one();
        let not_taken = answers.iter().any(|out| matches!(out.reply.answer, Answer::NotTaken(_)));
        if was_read_only || self.read_only() || not_taken {
            self.lease_time.lose_track(open.into_iter());
            self.process.skip_records();
            return;
        }
        for record in self.process.new_records() {
            self.trace.step(self.now, format_args!("record {} {}", record.seq, described(&record.event)));
            let wrong = self.lease_time.take(&record);
            self.wrong_all(wrong);
        }
        for out in answers {
            let heard: Vec<LeaseId> = match &out.reply.answer {
                Answer::Beat(Some((standings, _))) => standings
                    .iter()
                    .filter(|(_, standing)| *standing == LeaseStanding::Extended)
                    .map(|(lease, _)| *lease)
                    .collect(),
                Answer::Registered(Ok(registered)) => {
                    out.named.iter().copied().filter(|lease| !registered.lost.contains(lease)).collect()
                }
                _ => Vec::new(),
            };
            heard.into_iter().for_each(|lease| self.lease_time.renew(lease));
        }
        let wrong = self.lease_time.check(open.into_iter());
        self.wrong_all(wrong);
    }

    /// An answer leaves the orchestrator: from here on it was told.
    fn leaves(&mut self, out: Out) {
        let Out { reply, step, told, named: _ } = out;
        self.told.extend(told);
        if step != Some(Step::ResponseLost) {
            self.travels(reply.to, |_| Happening::Answered(reply.clone()));
        }
    }

    /// The process ends, and is started again some time later.
    pub(super) fn orchestrator_dies(&mut self, why: &str) {
        self.trace.step(self.now, format_args!("the orchestrator dies, power {}: {why}", self.power));
        let power = std::mem::take(&mut self.power);
        self.process.die(power, &mut self.dice);
        self.engine_at = None;
        for reply in self.edge.break_all() {
            // Some connections break with a word, some without.
            if self.dice.chance(700) {
                self.travels(reply.to, |_| Happening::Answered(reply.clone()));
            }
        }
        let down = self.dice.between(20, 3_000);
        self.at(self.now + down, Happening::OrchestratorStarts);
    }

    pub(super) fn orchestrator_starts(&mut self) {
        if self.process.engine.is_some() {
            return;
        }
        self.starts += 1;
        match self.process.start(self.now) {
            Started::Up(recovered) => {
                self.trace.step(self.now, format_args!("the orchestrator is up: {recovered}"));
                let open = self.held_by_one();
                self.lease_time.restart(open.into_iter());
                self.process.skip_records();
                let now = self.now;
                self.engine_by(now);
            }
            Started::NoSpace => {
                self.trace.step(self.now, format_args!("no space to start"));
                // The process has ended; what it wrote is there.
                self.process.die(false, &mut self.dice);
                self.at(self.now + 500, Happening::OrchestratorStarts);
            }
            Started::Ended(why) => self.orchestrator_dies(&why),
            Started::Wrong(rule, message) => self.wrong(rule, message),
        }
    }

    /// A fault strikes.
    pub(super) fn goes(&mut self, fault: Fault) {
        self.trace.step(self.now, format_args!("fault {fault:?}"));
        match fault {
            Fault::WorkerPauses { worker, for_ms } => self.workers[worker].frozen_until = self.now + for_ms,
            Fault::WorkerDies { worker, for_ms, keeps, renamed } => {
                if self.workers[worker].up {
                    self.workers[worker].die(keeps);
                    let at = self.now + for_ms;
                    self.at(at, Happening::WorkerStarts { worker, renamed: renamed && keeps });
                }
            }
            Fault::WorkerLeaves { worker } => self.workers[worker].leave(),
            Fault::WorkerIsCutOff { worker, for_ms } => self.workers[worker].cut_off_until = self.now + for_ms,
            Fault::OrchestratorDies { at_call, torn, power } => {
                self.power = power;
                match at_call {
                    Some(at) => self.process.die_at_call(at, torn),
                    None if self.process.engine.is_some() => self.orchestrator_dies("between two batches"),
                    None => {}
                }
            }
            Fault::SyncFails { at_sync } => self.process.fail_sync(at_sync),
            Fault::DiskIsFull { for_ms, room } => {
                let used: usize = self.process.dir.files().values().map(Vec::len).sum();
                self.process.dir.set_capacity(Some(used as u64 + room));
                self.at(self.now + for_ms, Happening::SpaceReturns);
            }
            Fault::ClockJumps { by_ms } => self.process.wall_off += by_ms,
            Fault::Stall { for_ms } => self.stalled_until = self.now + for_ms,
        }
    }
}

/// Whether an answer only says that the process is gone.
fn is_stopped(out: &Out) -> bool {
    matches!(out.reply.answer, Answer::NotTaken(orch_orchestrator::engine::CallError::Stopped))
}

/// A record in a few words.
fn described(event: &Event) -> String {
    match event {
        Event::LeaseGranted { job, worker, attempt, .. } => format!("job {job} to {worker}, attempt {attempt}"),
        Event::LeaseExpired { job, lease, cause, .. } => format!("lease {lease} of job {job} expired: {cause:?}"),
        Event::LeaseReleased { job, lease, .. } => format!("lease {lease} of job {job} released"),
        Event::JobCompleted { job, lease } => format!("job {job} completed under lease {lease}"),
        Event::AttemptFailed { job, lease, class, .. } => format!("job {job} failed under lease {lease}: {class:?}"),
        Event::BatchJudged(judged) => format!("batch {} of {:?}", judged.number, judged.origin),
        other => other.name().to_owned(),
    }
}

//! One batch: the order of steps that keeps data safe.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use orch_core::id::{LeaseId, Seq, WorkerId};
use orch_core::liveness::Due;
use orch_core::record::ExpiryCause;
use orch_core::seeded::{self, Bug};
use orch_core::time::{Now, Span};
use orch_ledger::{CommitError, NoSpace, OpenError, Written};

use super::command::Pending;
use super::home::Home;
use super::{CallError, Engine};
use crate::access::Tokens;

/// Delayed jobs that one batch readies at most: a million that come due together must not stop the engine.
const MAX_READIED: usize = 10_000;

/// Schedules that one batch looks at at most: each may make up for a hundred missed times.
const MAX_FIRED: usize = 100;

/// Leases, and waits for one, that one batch ends at most, for the same reason.
const MAX_ENDED: usize = 10_000;

/// A commit's worth of staged events. The ledger takes 64 MiB in one batch; the largest single command (a submit of a
/// whole message, with numbers that grow in canonical form) stays well below the rest.
const FULL_BYTES: usize = 16 << 20;

/// Space that is asked of the disk before a batch is decided, beyond what is reserved already.
const RESERVE_BYTES: u64 = 8 * 1024 * 1024;

/// After a write that found no space although it had been reserved (where the file system cannot reserve, or has a
/// quota), the next one is tried so much later. Until then everybody sees that the ledger is read-only.
const WRITE_AGAIN: Span = Span(1000);

impl Engine {
    /// Runs a batch of commands. Decide and apply all of them; one write and one sync; then the answers.
    ///
    /// Returns the last durable record.
    ///
    /// # Errors
    /// [`Fatal`]: the process must end, and no answer has left.
    pub fn run_batch(&mut self, commands: Vec<Box<dyn Pending>>, now: Now) -> Result<Seq, Fatal> {
        let before = self.state.last_seq();
        if commands.is_empty() {
            // Nobody asks: then it is noticed here that the directory is another's.
            self.check_home()?;
        }
        self.make_room(now)?;
        // A heartbeat that waited for the batch before this one came in time: it is heard before any lease is ended.
        let (urgent, commands): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| command.is_urgent());
        let mut heard = Vec::with_capacity(urgent.len());
        for command in urgent {
            self.run(command, now, &mut heard);
        }
        if self.read_only().is_none() {
            self.end_overdue(now);
            let due = self.state.ready_due(now.wall, MAX_READIED);
            self.record(due, now);
            let came = self.state.fire(now.wall, MAX_FIRED);
            self.record(came, now);
            let over = self.state.end_waits(now.wall, MAX_ENDED);
            self.record(over, now);
            self.wake |= self.state.refill(now.wall);
            self.wake |= self.gathering.pass(now.tick);
        }
        let mut answered: Vec<Box<dyn Pending>> = Vec::with_capacity(commands.len());
        let (writes, mut looks): (Vec<_>, Vec<_>) = commands.into_iter().partition(|command| command.writes());
        for command in writes {
            self.commit_if_full(&mut answered, now)?;
            self.run(command, now, &mut answered);
        }
        self.run_waiting(before, &mut answered, &mut looks, now)?;
        if std::mem::take(&mut self.left_to_another) {
            // Who was preferred had its turn: what it did not take is for anybody.
            self.everybody_was_asked = true;
            self.wake = true;
            self.run_waiting(before, &mut answered, &mut looks, now)?;
            self.everybody_was_asked = false;
        }
        // Those who wait are told which gang they are of now; and whoever was kept free for it and is not may have another job.
        while std::mem::take(&mut self.gang_granted) {
            self.wake = true;
            self.run_waiting(before, &mut answered, &mut looks, now)?;
        }
        self.wake = false;
        self.commit(answered, now)?;
        self.answer_looks(looks, heard, now)
    }

    /// Runs those of the waiting commands again for which something may have changed.
    fn run_waiting(
        &mut self,
        before: Seq,
        answered: &mut Vec<Box<dyn Pending>>,
        looks: &mut Vec<Box<dyn Pending>>,
        now: Now,
    ) -> Result<(), Fatal> {
        for command in std::mem::take(&mut self.waiting) {
            self.commit_if_full(answered, now)?;
            // Not "is anything staged": what this batch recorded may have been committed on the way.
            let changed = self.wake || self.state.last_seq() != before;
            if !(changed || command.is_abandoned() || command.wake_at().is_none_or(|at| at <= now.tick)) {
                self.waiting.push_back(command);
            } else if command.writes() {
                self.run(command, now, answered);
            } else {
                looks.push(command);
            }
        }
        Ok(())
    }

    /// Runs what only looks, on what is durable, and answers it together with what was `answered` before: also while
    /// nothing can be written.
    fn answer_looks(
        &mut self,
        looks: Vec<Box<dyn Pending>>,
        mut answered: Vec<Box<dyn Pending>>,
        now: Now,
    ) -> Result<Seq, Fatal> {
        for command in looks {
            self.run(command, now, &mut answered);
        }
        self.commit(answered, now)
    }

    /// Commits between two commands once much is staged: the ledger's batches have a bound, and many callers at once
    /// could reach it together, which no single one can.
    fn commit_if_full(&mut self, answered: &mut Vec<Box<dyn Pending>>, now: Now) -> Result<(), Fatal> {
        if self.ledger.staged_bytes() > FULL_BYTES {
            self.commit(std::mem::take(answered), now)?;
            self.make_room(now)?;
        }
        Ok(())
    }

    fn run(&mut self, mut command: Box<dyn Pending>, now: Now, answered: &mut Vec<Box<dyn Pending>>) {
        if command.is_abandoned() {
            return;
        }
        let before = self.state.last_seq();
        if command.writes()
            && let Some(reason) = self.read_only()
        {
            command.refuse(CallError::ReadOnly(reason.to_owned()));
        } else if command.decide(self, now) {
            if seeded::on(Bug::DuplicateAnsweredBeforeDurable) && self.state.last_seq() == before {
                command.finish(self);
                return;
            }
            answered.push(command);
        } else {
            self.waiting.push_back(command);
        }
    }

    /// Rolls a full segment and reserves space, so that a full disk shows before anything is decided.
    fn make_room(&mut self, now: Now) -> Result<(), Fatal> {
        match self.roll_and_reserve(now) {
            // Room was promised before and was not there: only a write can tell, and not with every batch.
            Ok(()) if self.write_again.is_some_and(|at| at > now.tick) => Ok(()),
            Ok(()) => {
                self.write_again = None;
                if let Some(reason) = self.read_only.take() {
                    tracing::info!(reason, "the ledger can be written again");
                }
                Ok(())
            }
            Err(CommitError::NoSpace(no_space)) => {
                // A seal may be written already, which the state has not seen.
                if self.state.next_seq() != self.ledger.next_seq() {
                    self.rebuild(now)?;
                }
                self.turn_read_only(describe(&no_space));
                Ok(())
            }
            Err(error @ CommitError::Fatal { .. }) => Err(error.into()),
        }
    }

    fn roll_and_reserve(&mut self, now: Now) -> Result<(), CommitError> {
        if let Some(rolled) = self.ledger.maybe_roll(now.wall)? {
            for written in &rolled.records {
                self.take_written(written);
            }
        }
        self.ledger.reserve(RESERVE_BYTES)
    }

    /// Takes a record that the ledger wrote by itself.
    #[allow(clippy::expect_used)]
    fn take_written(&mut self, (record, position): &Written) {
        self.state.apply(record).expect("the state takes the ledger's own records");
        if let Some(chain) = position.chain {
            self.receipts.note(record.seq, chain);
        }
    }

    fn turn_read_only(&mut self, reason: String) {
        if self.read_only.is_none() {
            tracing::error!(reason, "the ledger is read-only until there is space: nothing is leased or accepted");
        }
        self.read_only = Some(reason);
    }

    /// Ends the leases whose time is over or whose worker has been silent for too long.
    fn end_overdue(&mut self, now: Now) {
        for due in self.liveness.overdue(now.tick).into_iter().take(MAX_ENDED) {
            match due {
                Due::Ttl(lease) => self.end_late(lease, now),
                Due::Timeout(lease) => {
                    tracing::warn!(%lease, "the attempt ran longer than its timeout; the lease ends");
                    let decision = self.state.time_out(lease, now.wall);
                    self.record(decision, now);
                    self.liveness.unwatch(lease);
                }
            }
        }
        for worker in self.liveness.newly_stale(now.tick) {
            self.end_leases_of(&worker, ExpiryCause::WorkerStale, now);
        }
    }

    /// Ends every lease of a worker; returns how many.
    pub(crate) fn end_leases_of(&mut self, worker: &WorkerId, cause: ExpiryCause, now: Now) -> u64 {
        let leases: Vec<LeaseId> = self.liveness.held_by(worker).collect();
        let count = leases.len() as u64;
        for lease in leases {
            self.end_lease(lease, Some(worker), cause, now);
        }
        count
    }

    /// Ends a lease whose worker is lost; of a gang, `lost` is the member.
    pub(crate) fn end_lease(&mut self, lease: LeaseId, lost: Option<&WorkerId>, cause: ExpiryCause, now: Now) {
        if let Some(held) = self.state.leases().get(&lease) {
            let worker = lost.unwrap_or(&held.worker);
            tracing::warn!(%lease, job = %held.job, %worker, ?cause, "a lease ends without its worker");
        }
        let decision = self.state.expire_of(lease, lost, cause, now.wall);
        self.record(decision, now);
        self.liveness.unwatch(lease);
    }

    /// Makes what was staged durable, then answers. This function is the promise of the whole system.
    fn commit(&mut self, answered: Vec<Box<dyn Pending>>, now: Now) -> Result<Seq, Fatal> {
        let mut answered = answered;
        if seeded::on(Bug::AckBeforeSync) {
            answered.drain(..).for_each(|command| command.finish(self));
        }
        let staged = self.ledger.staged_records();
        if staged > 0 {
            let began = Instant::now();
            match self.ledger.commit() {
                Ok(commit) => {
                    self.check_home()?;
                    self.measures.committed(staged, began.elapsed());
                    self.receipts.note(commit.last, commit.chain);
                    self.publish_tokens();
                }
                Err(CommitError::NoSpace(no_space)) => {
                    // The bytes are gone again; the state ran ahead of them and is made anew from what is durable.
                    self.rebuild(now)?;
                    let reason = describe(&no_space);
                    for command in answered {
                        command.refuse(CallError::ReadOnly(reason.clone()));
                    }
                    self.turn_read_only(reason);
                    self.write_again = Some(now.tick.plus(WRITE_AGAIN));
                    return Ok(self.state.last_seq());
                }
                Err(error @ CommitError::Fatal { .. }) => return Err(error.into()),
            }
        }
        let answer_at = Instant::now();
        for command in answered {
            let (name, since) = command.handed_in();
            self.measures.answered(name, answer_at.saturating_duration_since(since));
            command.finish(self);
        }
        Ok(self.state.last_seq())
    }

    /// Has the edge know the tokens that are durable now, before anybody is told of them.
    fn publish_tokens(&mut self) {
        if std::mem::take(&mut self.tokens_changed) {
            self.tokens.send_replace(Arc::new(Tokens::of(&self.state)));
        }
    }

    /// Makes sure that what was synced is where everybody looks for it.
    fn check_home(&self) -> Result<(), Fatal> {
        self.home.as_ref().map_or(Ok(()), Home::check)
    }

    /// Makes the state anew from the durable records.
    fn rebuild(&mut self, now: Now) -> Result<(), Fatal> {
        let mut state = orch_core::state::State::default();
        self.ledger.replay_all(&mut |record, _| state.apply(record).map_err(|error| error.to_string()))?;
        self.state = state;
        // What was not durable is undone; nobody was told of it.
        self.tokens_changed = false;
        let watched: Vec<LeaseId> = self.liveness.watched().collect();
        for lease in watched {
            if !self.state.leases().contains_key(&lease) {
                self.liveness.unwatch(lease);
            }
        }
        let open: Vec<LeaseId> = self.state.leases().keys().copied().collect();
        for lease in open {
            self.watch(lease, false, now);
        }
        self.forget_gathering();
        self.measures.waits.truncate(self.state.queues().keys().count());
        Ok(())
    }

    /// How long the engine may sleep if no command comes.
    pub fn idle_for(&self, now: Now) -> Span {
        let lease = self.liveness.next_due_in(now.tick);
        let delayed = self.state.next_due().map(|due| due.since(now.wall));
        let refilled = self.state.next_refill().map(|due| due.since(now.wall));
        let waiting = self.waiting.iter().filter_map(|command| command.wake_at()).min().map(|at| at.since(now.tick));
        let gathered = self.gathering.next_pass().map(|at| at.since(now.tick));
        let soonest =
            [lease, delayed, refilled, waiting, gathered].into_iter().flatten().min().unwrap_or(super::thread::TICK);
        soonest.clamp(Span(1), super::thread::TICK)
    }

    /// Answers every waiting command with "stopped" and closes the ledger.
    ///
    /// # Errors
    /// [`Fatal`], on levelling HEAD or on giving back claimed space.
    pub fn close(mut self) -> Result<(), Fatal> {
        for command in self.waiting.drain(..) {
            command.refuse(CallError::Stopped);
        }
        Ok(self.ledger.close()?)
    }
}

/// Why the process must end: nobody knows any more what is on the disk, and no answer may leave.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// A write or a sync failed.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// The data directory is no longer where it was: another orchestrator may work on what is there.
    #[error("the data directory {} is another one now: it was moved, replaced or taken over while this process ran", dir.display())]
    Moved {
        /// Where it was.
        dir: PathBuf,
        /// What the system said, if there is none.
        source: Option<std::io::Error>,
    },
    /// The ledger could not be read again.
    #[error("failed to rebuild the state from the ledger")]
    Replay(#[from] OpenError),
}

fn describe(no_space: &NoSpace) -> String {
    format!("{no_space}: {}", no_space.source)
}

//! The people of a run: they submit, cancel, retry, pause, and ask again until they are answered.

use std::collections::BTreeMap;

use orch_core::id::{JobId, QueueName};
use orch_core::state::{SubmitFault, SubmitRefusal};

use super::call::{Answer, Call};
use super::dice::Dice;
use super::jobs;
use crate::checker::{Rule, Violation};

/// How long an answer is waited for before the call is made again.
const PATIENCE: u64 = 2_000;

/// Longer than any message is on its way.
const LATEST: u64 = 5_000;

/// Something to do at a time.
enum Wish {
    Call(Call),
    /// Cancels some job that is known by then.
    CancelOne,
}

/// A call that was made, and when it is made again.
struct Made {
    call: Call,
    again_at: u64,
}

/// What people want, and what they know.
pub(crate) struct People {
    wishes: Vec<(u64, Wish)>,
    made: BTreeMap<u64, Made>,
    jobs: Vec<JobId>,
}

impl People {
    /// Draws what people will want in the first `until` milliseconds; with `everything`, some of each.
    pub(crate) fn draw(dice: &mut Dice, until: u64, everything: bool) -> Result<Self, String> {
        let least = usize::from(everything);
        let mut wishes = vec![(10, Wish::Call(Call::Submit(jobs::setup()?)))];
        let batches = 2 + dice.below(3);
        for batch in 0..batches {
            let at = if batch == 0 { 30 } else { dice.between(100, until) };
            let count = 2 + dice.below(6);
            wishes.push((at, Wish::Call(Call::Submit(jobs::jobs(dice, count, batch)?))));
        }
        if dice.chance(500) {
            wishes.push((dice.between(until / 4, until), Wish::Call(Call::Submit(jobs::stricter()?))));
        }
        for _ in 0..least + dice.below(3) {
            wishes.push((dice.between(500, until), Wish::CancelOne));
        }
        for _ in 0..least + dice.below(3) {
            wishes.push((dice.between(500, until), Wish::Call(Call::Retry)));
        }
        if dice.chance(300) || everything {
            let queue = QueueName::new(jobs::QUEUES[dice.below(2)]).map_err(|error| error.to_string())?;
            let at = dice.between(500, until);
            wishes.push((at, Wish::Call(Call::Pause { queue: queue.clone() })));
            wishes.push((at + dice.between(100, 8_000), Wish::Call(Call::Resume { queue })));
        }
        wishes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(Self { wishes, made: BTreeMap::new(), jobs: Vec::new() })
    }

    /// From now on every queue is to go on. A pause that is on its way still may come after the first of these.
    pub(crate) fn resume_all(&mut self, now: u64) -> Result<(), String> {
        let is_pause = |call: &Call| matches!(call, Call::Pause { .. });
        self.made.retain(|_, made| !is_pause(&made.call));
        self.wishes.retain(|(_, wish)| !matches!(wish, Wish::Call(call) if is_pause(call)));
        for queue in jobs::QUEUES {
            let queue = QueueName::new(queue).map_err(|error| error.to_string())?;
            for at in [now, now + LATEST] {
                self.wishes.push((at, Wish::Call(Call::Resume { queue: queue.clone() })));
            }
        }
        self.wishes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(())
    }

    /// Whether everything that they wanted was answered.
    pub(crate) fn content(&self) -> bool {
        self.wishes.is_empty() && self.made.is_empty()
    }

    /// What they ask for now.
    pub(crate) fn look(&mut self, now: u64, dice: &mut Dice) -> Vec<Call> {
        let mut calls = Vec::new();
        while let Some((_, wish)) = self.wishes.pop_if(|(at, _)| *at <= now) {
            match wish {
                Wish::Call(call) => calls.push(call),
                Wish::CancelOne => calls.extend(dice.pick(&self.jobs).map(|job| Call::Cancel { jobs: vec![*job] })),
            }
        }
        let due: Vec<u64> = self.made.iter().filter(|(_, made)| made.again_at <= now).map(|(id, _)| *id).collect();
        calls.extend(due.into_iter().filter_map(|id| self.made.remove(&id)).map(|made| made.call));
        calls
    }

    /// Notes that a call of this number is on its way.
    pub(crate) fn asks(&mut self, id: u64, call: Call, now: u64) {
        self.made.insert(id, Made { call, again_at: now + PATIENCE });
    }

    /// Takes an answer.
    pub(crate) fn take(&mut self, id: u64, answer: &Answer, now: u64) -> Option<Violation> {
        match answer {
            Answer::Submitted(Ok(submitted)) => {
                self.made.remove(&id);
                let new = submitted.jobs.iter().map(|(job, _)| *job).filter(|job| !self.jobs.contains(job));
                let new: Vec<JobId> = new.collect();
                self.jobs.extend(new);
                None
            }
            // What it builds on is still on its way.
            Answer::Submitted(Err(
                SubmitRefusal::UnknownContract { .. } | SubmitRefusal::Job { fault: SubmitFault::UnknownQueue(_), .. },
            )) => None,
            Answer::Submitted(Err(refusal)) => {
                self.made.remove(&id);
                Some(Violation::new(Rule::AcknowledgedIsKept, format!("a submit is refused: {refusal}")))
            }
            // The queue is not there yet.
            Answer::Controlled(Err(_)) => None,
            Answer::Cancelled | Answer::Retried | Answer::Controlled(Ok(())) => {
                self.made.remove(&id);
                None
            }
            Answer::Broken => {
                if let Some(made) = self.made.get_mut(&id) {
                    made.again_at = now;
                }
                None
            }
            Answer::NotTaken(_)
            | Answer::Registered(_)
            | Answer::Leased(_)
            | Answer::Beat(_)
            | Answer::Judged { .. }
            | Answer::Ended { .. }
            | Answer::Released(_)
            | Answer::Left => None,
        }
    }
}

//! The people of a run: they submit, cancel, retry, pause, and ask again until they are answered.

use std::collections::BTreeMap;

use orch_core::id::{JobId, QueueName, WorkerId};
use orch_core::state::{Refusal, ScheduleRefusal, SubmitFault, SubmitRefusal};

use super::call::{Answer, Call};
use super::dice::Dice;
use super::jobs;
use super::variety::Variety;
use super::{calendar, rules};
use crate::checker::{Machine, Rule, Violation};

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
    pub(crate) fn draw(
        dice: &mut Dice,
        until: u64,
        everything: bool,
        variety: &mut Variety,
        machines: &[Machine],
    ) -> Result<Self, String> {
        let least = usize::from(everything);
        let of_queues =
            if variety.rules && variety.dice.chance(500) { Some(rules::list(&mut variety.dice)?) } else { None };
        let mut wishes = vec![(10, Wish::Call(Call::Submit(jobs::setup(&of_queues)?)))];
        let batches = 2 + dice.below(3);
        for batch in 0..batches {
            let at = if batch == 0 { 30 } else { dice.between(100, until) };
            let count = 2 + dice.below(6);
            wishes.push((at, Wish::Call(Call::Submit(jobs::jobs(dice, count, batch, variety, machines)?))));
        }
        if dice.chance(500) {
            wishes.push((dice.between(until / 4, until), Wish::Call(Call::Submit(jobs::stricter(&of_queues)?))));
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
        wishes.extend(besides(until, everything, variety)?.into_iter().map(|(at, call)| (at, Wish::Call(call))));
        wishes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(Self { wishes, made: BTreeMap::new(), jobs: Vec::new() })
    }

    /// From now on every queue is to go on, and every retry. A pause that is on its way still may come after the first of these.
    pub(crate) fn resume_all(&mut self, now: u64) -> Result<(), String> {
        let is_pause = |call: &Call| matches!(call, Call::Pause { .. } | Call::Retries { pause: true });
        self.made.retain(|_, made| !is_pause(&made.call));
        self.wishes.retain(|(_, wish)| !matches!(wish, Wish::Call(call) if is_pause(call)));
        for queue in jobs::QUEUES {
            let queue = QueueName::new(queue).map_err(|error| error.to_string())?;
            for at in [now, now + LATEST] {
                self.wishes.push((at, Wish::Call(Call::Resume { queue: queue.clone() })));
            }
        }
        for at in [now, now + LATEST] {
            self.wishes.push((at, Wish::Call(Call::Retries { pause: false })));
        }
        self.wishes.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
        Ok(())
    }

    /// Lets a worker have jobs again that was set aside, unless that was asked for just now.
    pub(crate) fn trust_again(&mut self, worker: &WorkerId, now: u64) {
        let asks = |call: &Call| matches!(call, Call::Trust { worker: known } if known == worker);
        if !self.made.values().any(|made| asks(&made.call)) {
            self.wishes.push((now, Wish::Call(Call::Trust { worker: worker.clone() })));
        }
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
                SubmitRefusal::UnknownContract { .. }
                | SubmitRefusal::Job { fault: SubmitFault::UnknownQueue(_), .. }
                | SubmitRefusal::Schedule(ScheduleRefusal::Job { fault: SubmitFault::UnknownQueue(_), .. }),
            )) => None,
            Answer::Submitted(Err(refusal)) => {
                self.made.remove(&id);
                Some(Violation::new(Rule::AcknowledgedIsKept, format!("a submit is refused: {refusal}")))
            }
            // Somebody was faster, or it was removed meanwhile.
            Answer::Controlled(Err(Refusal::NotSetAside(_) | Refusal::UnknownSchedule(_))) => {
                self.made.remove(&id);
                None
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

/// What people want besides: retries held back for a while, a worker trusted again, schedules.
fn besides(until: u64, everything: bool, variety: &mut Variety) -> Result<Vec<(u64, Call)>, String> {
    let mut wishes = Vec::new();
    let (rules, schedules, dice) = (variety.rules, variety.schedules, &mut variety.dice);
    if rules && (dice.chance(400) || everything) {
        let at = dice.between(500, until);
        wishes.push((at, Call::Retries { pause: true }));
        wishes.push((at + dice.between(500, 9_000), Call::Retries { pause: false }));
    }
    if rules && (dice.chance(300) || everything) {
        let worker = WorkerId::new("w0").map_err(|error| error.to_string())?;
        wishes.push((dice.between(500, until), Call::Trust { worker }));
    }
    if schedules {
        wishes.extend(calendar::wishes(variety, until)?);
    }
    Ok(wishes)
}

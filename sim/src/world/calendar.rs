//! Schedules of a run, what people do to them, and a wall clock that is set.

use orch_core::id::{QueueName, ScheduleName};
use orch_core::job::{JobSpec, Payload};
use orch_core::state::Submission;
use orch_core::timetable::{Missed, Overlap, ScheduleSpec};

use super::call::{Call, Change};
use super::dice::Dice;
use super::jobs::QUEUES;

/// How many schedules there may be.
const MOST: usize = 2;

/// By how much a wall clock is set, in milliseconds: a minute of the calendar is long in a run.
const STEPS: [i64; 9] = [30_000, 61_000, 61_000, 90_000, 300_000, 1_500_000, -61_000, -300_000, -1_500_000];

/// What people do to schedules in the first `until` milliseconds.
pub(crate) fn wishes(dice: &mut Dice, until: u64) -> Result<Vec<(u64, Call)>, String> {
    let mut wishes = Vec::new();
    for n in 0..1 + dice.below(MOST) {
        let name: ScheduleName = format!("s{n}").parse().map_err(|error| format!("{error}"))?;
        let first = dice.between(20, 3_000);
        wishes.push((first, Call::Submit(set(&name, dice)?)));
        for _ in 0..dice.below(4) {
            let at = dice.between(first, until);
            let change = |change: Change| Call::Schedule { schedule: name.clone(), change };
            match dice.below(4) {
                0 | 1 => wishes.push((at, Call::Submit(set(&name, dice)?))),
                2 => {
                    wishes.push((at, change(Change::Pause)));
                    wishes.push((at + dice.between(100, 9_000), change(Change::Resume)));
                }
                _ => {
                    wishes.push((at, change(Change::Remove)));
                    wishes.push((at + dice.between(100, 9_000), Call::Submit(set(&name, dice)?)));
                }
            }
        }
    }
    Ok(wishes)
}

/// A submit that sets a schedule.
fn set(name: &ScheduleName, dice: &mut Dice) -> Result<Submission, String> {
    let cron = ["* * * * *", "* * * * *", "*/2 * * * *", "*/5 * * * *"][dice.below(4)];
    let missed = [Missed::Skip, Missed::Once, Missed::All][dice.below(3)];
    let overlap = [Overlap::Allow, Overlap::Skip][dice.below(2)];
    let queue = QueueName::new(QUEUES[dice.below(2)]).map_err(|error| error.to_string())?;
    // Beyond what other jobs look at.
    let payload = serde_json::json!({"base": 60 + dice.below(3), "count": 1});
    let job = JobSpec::new(queue, Payload::from_value(&payload));
    let (cron, zone) = (cron.parse()?, orch_core::cron::Zone::default());
    let schedule = ScheduleSpec { name: name.clone(), cron, zone, missed, overlap, job };
    Ok(Submission { schedules: vec![schedule], ..Submission::default() })
}

/// When the wall clock is set, and by how much.
pub(crate) fn steps(dice: &mut Dice, until: u64) -> Vec<(u64, i64)> {
    (0..dice.below(7)).map(|_| (dice.between(500, until), STEPS[dice.below(STEPS.len())])).collect()
}

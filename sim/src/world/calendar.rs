//! Schedules of a run, what people do to them, and a wall clock that is set.

use orch_core::id::{QueueName, ScheduleName};
use orch_core::job::{JobSpec, Payload};
use orch_core::state::Submission;
use orch_core::timetable::{Missed, Overlap, ScheduleSpec};

use super::call::{Call, Change};
use super::dice::Dice;
use super::jobs::QUEUES;
use super::process::EPOCH;
use super::variety::Variety;

/// How many schedules there may be.
const MOST: usize = 2;

/// By how much a wall clock is set, in milliseconds: a minute of the calendar is long in a run.
const STEPS: [i64; 9] = [30_000, 61_000, 61_000, 90_000, 300_000, 1_500_000, -61_000, -300_000, -1_500_000];

/// A night in which the clocks of a zone are changed, and the moment at which they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Night {
    zone: &'static str,
    at: i64,
}

/// The changes that are nearest to the time of a run: 2026 and 2027, back and forward, in the south by half an hour.
const NIGHTS: [Night; 6] = [
    Night { zone: "Australia/Lord_Howe", at: 1_791_041_400_000 },
    Night { zone: "Europe/Berlin", at: 1_792_890_000_000 },
    Night { zone: "America/New_York", at: 1_793_512_800_000 },
    Night { zone: "America/New_York", at: 1_805_007_600_000 },
    Night { zone: "Europe/Berlin", at: 1_806_195_600_000 },
    Night { zone: "Australia/Lord_Howe", at: 1_806_764_400_000 },
];

/// Zones in which times are, besides the one of the night.
const ZONES: [&str; 5] = ["UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

/// Times of all sorts.
const TIMES: [&str; 10] = [
    "0 2 * * *",
    "30 2 * * *",
    "15 2 * * 0",
    "30 1 * * 0",
    "45 1 * * *",
    "15,45 * * * *",
    "*/20 1-3 * * *",
    "0 */2 * * *",
    "5 9-17 * * 1-5",
    "0 0 1 * *",
];

/// By how much a clock is set where days count.
const LEAPS: [i64; 9] =
    [HOUR, 6 * HOUR, 25 * HOUR, 25 * HOUR, 49 * HOUR, 7 * 24 * HOUR, 31 * 24 * HOUR, -HOUR, -25 * HOUR];

/// The same in the night in which clocks are changed.
const STRIDES: [i64; 9] =
    [10 * MINUTE, 25 * MINUTE, 31 * MINUTE, 31 * MINUTE, 61 * MINUTE, 61 * MINUTE, 2 * HOUR, 24 * HOUR, -31 * MINUTE];

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;

/// The night of a run, if it has one.
pub(crate) fn night(dice: &mut Dice) -> Option<Night> {
    dice.chance(600).then(|| NIGHTS[dice.below(NIGHTS.len())])
}

/// When a schedule of such a run comes, and in which zone.
fn time(dice: &mut Dice, night: Option<Night>) -> (&'static str, &'static str) {
    let zone = match night {
        Some(night) if dice.chance(600) => night.zone,
        Some(_) | None => ZONES[dice.below(ZONES.len())],
    };
    (TIMES[dice.below(TIMES.len())], zone)
}

/// When the wall clock is set by hours and days, and by how much: if there is a night, at first to its hours.
pub(crate) fn leaps(variety: &mut Variety, until: u64) -> Vec<(u64, i64)> {
    let Variety { later: dice, night, .. } = variety;
    let mut leaps = Vec::new();
    if let Some(night) = night {
        let before = MINUTE * i64::try_from(dice.between(2, 200)).unwrap_or(0);
        leaps.push((5, night.at - before - EPOCH));
    }
    let by = if night.is_some() { STRIDES } else { LEAPS };
    let more = (0..2 + dice.below(5)).map(|_| (dice.between(3_000, until), by[dice.below(by.len())]));
    leaps.extend(more);
    leaps
}

/// What people do to schedules in the first `until` milliseconds.
pub(crate) fn wishes(variety: &mut Variety, until: u64) -> Result<Vec<(u64, Call)>, String> {
    let mut wishes = Vec::new();
    for n in 0..1 + variety.dice.below(MOST) {
        let name: ScheduleName = format!("s{n}").parse().map_err(|error| format!("{error}"))?;
        let first = variety.dice.between(20, 3_000);
        wishes.push((first, Call::Submit(set(&name, variety)?)));
        for _ in 0..variety.dice.below(4) {
            let at = variety.dice.between(first, until);
            let change = |change: Change| Call::Schedule { schedule: name.clone(), change };
            match variety.dice.below(4) {
                0 | 1 => wishes.push((at, Call::Submit(set(&name, variety)?))),
                2 => {
                    wishes.push((at, change(Change::Pause)));
                    wishes.push((at + variety.dice.between(100, 9_000), change(Change::Resume)));
                }
                _ => {
                    wishes.push((at, change(Change::Remove)));
                    let again = at + variety.dice.between(100, 9_000);
                    wishes.push((again, Call::Submit(set(&name, variety)?)));
                }
            }
        }
    }
    Ok(wishes)
}

/// A submit that sets a schedule.
fn set(name: &ScheduleName, variety: &mut Variety) -> Result<Submission, String> {
    let Variety { dice, later, calendars, night, .. } = variety;
    let cron = ["* * * * *", "* * * * *", "*/2 * * * *", "*/5 * * * *"][dice.below(4)];
    let missed = [Missed::Skip, Missed::Once, Missed::All][dice.below(3)];
    let overlap = [Overlap::Allow, Overlap::Skip][dice.below(2)];
    let queue = QueueName::new(QUEUES[dice.below(2)]).map_err(|error| error.to_string())?;
    // Beyond what other jobs look at.
    let payload = serde_json::json!({"base": 60 + dice.below(3), "count": 1});
    let job = JobSpec::new(queue, Payload::from_value(&payload));
    let (cron, zone) = if *calendars { time(later, *night) } else { (cron, "UTC") };
    let (cron, zone) = (cron.parse()?, zone.parse()?);
    let schedule = ScheduleSpec { name: name.clone(), cron, zone, missed, overlap, job };
    Ok(Submission { schedules: vec![schedule], ..Submission::default() })
}

/// When the wall clock is set, and by how much.
pub(crate) fn steps(dice: &mut Dice, until: u64) -> Vec<(u64, i64)> {
    (0..dice.below(7)).map(|_| (dice.between(500, until), STEPS[dice.below(STEPS.len())])).collect()
}

//! A slow model of calendars, by none of the product's code: it looks at each minute and says whether it is one of an expression's.
//!
//! It knows what is written with numbers, `*`, lists, ranges and steps, and not of days both of the month and of the week; and a few
//! zones, whose rules for summer time stand here. Nothing is said of any other.

use orch_core::timetable::ScheduleSpec;

const HOUR: i64 = 60;
const DAY: i64 = 24 * HOUR;

/// The zones with summer time changed by other rules before this year.
const FIRST_YEAR: i64 = 2009;

/// When something comes. All times are in minutes since 1970.
pub(super) struct Calendar {
    minutes: Set,
    hours: Set,
    days: Set,
    months: Set,
    weekdays: Set,
    /// It follows the clock on the wall, whatever is done to that.
    hourly: bool,
    clocks: Clocks,
}

/// Numbers below 64.
#[derive(Clone, Copy)]
struct Set(u64);

/// The clocks of a zone.
#[derive(Clone, Copy)]
struct Clocks {
    /// How far they are before UTC without summer time.
    winter: i64,
    summer: Option<Summer>,
}

/// Summer time: by how much clocks are put forward, and when.
#[derive(Clone, Copy)]
struct Summer {
    by: i64,
    begins: Sunday,
    ends: Sunday,
}

/// A moment of each year, so long after the midnight, in UTC, with which a Sunday begins.
#[derive(Clone, Copy)]
struct Sunday {
    month: i64,
    /// The first is 1; the last of a month is 5.
    nth: i64,
    after: i64,
}

impl Calendar {
    /// The times of a schedule; None if that is more than this knows.
    pub(super) fn of(spec: &ScheduleSpec) -> Option<Self> {
        let text = spec.cron.to_string();
        let fields: Vec<&str> = text.split(' ').collect();
        let [minutes, hours, days, months, weekdays] = fields[..] else { return None };
        if days != "*" && weekdays != "*" {
            return None;
        }
        Some(Self {
            minutes: Set::read(minutes, 0, 59)?,
            hours: Set::read(hours, 0, 23)?,
            days: Set::read(days, 1, 31)?,
            months: Set::read(months, 1, 12)?,
            weekdays: Set::read(weekdays, 0, 6)?,
            hourly: hours.starts_with('*'),
            clocks: Clocks::of(&spec.zone.to_string())?,
        })
    }

    /// Whether it comes at this minute; None where that is not known.
    pub(super) fn is_time(&self, minute: i64) -> Option<bool> {
        let local = |minute| self.clocks.local(minute);
        let wall = local(minute)?;
        // Nothing is done to the clocks for some hours.
        if self.hourly || local(minute - 3 * HOUR)? == wall - 3 * HOUR {
            return Some(self.shows(wall));
        }
        // What comes twice counts the first time; what is left out comes when the clocks go on.
        let comes_again = local(minute - 30)? == wall || local(minute - HOUR)? == wall;
        let before = local(minute - 1)?;
        Some(!comes_again && (before + 1..=wall).any(|wall| self.shows(wall)))
    }

    /// The last `most` times behind `since` and not behind `until`, the newest first; None where they are not known.
    pub(super) fn last(&self, since: i64, until: i64, most: usize) -> Option<Vec<i64>> {
        let mut found = Vec::new();
        let mut minute = until;
        while minute > since && found.len() < most {
            if self.is_time(minute)? {
                found.push(minute);
            }
            // A day or an hour that is none of its own is passed over, unless something is done to the clocks in it.
            let wall = self.clocks.local(minute)?;
            let in_vain = match (self.shows_on(wall), self.hours.has(wall.rem_euclid(DAY) / HOUR)) {
                (false, _) => wall.rem_euclid(DAY) + 1,
                (true, false) => wall.rem_euclid(HOUR) + 1,
                (true, true) => 1,
            };
            minute -= if self.clocks.local(minute - in_vain)? == wall - in_vain { in_vain } else { 1 };
        }
        Some(found)
    }

    /// Whether a clock on the wall that shows this is meant.
    fn shows(&self, wall: i64) -> bool {
        let minute = wall.rem_euclid(DAY);
        self.minutes.has(minute % HOUR) && self.hours.has(minute / HOUR) && self.shows_on(wall)
    }

    /// Whether a day is meant.
    fn shows_on(&self, wall: i64) -> bool {
        let days = wall.div_euclid(DAY);
        let (_, month, day) = date(days);
        self.weekdays.has(weekday(days)) && self.months.has(month) && self.days.has(day)
    }
}

impl Set {
    /// Reads one field of an expression.
    fn read(field: &str, low: u32, high: u32) -> Option<Self> {
        let mut set = 0;
        for part in field.split(',') {
            let (range, step) = part.split_once('/').map_or((part, "1"), |(range, step)| (range, step));
            let (from, to) = match range.split_once('-') {
                Some((from, to)) => (from.parse().ok()?, to.parse().ok()?),
                None if range == "*" => (low, high),
                // A step from a number on is written in more than one way.
                None if step != "1" => return None,
                None => (range.parse().ok()?, range.parse().ok()?),
            };
            if from < low || to > high || from > to {
                return None;
            }
            let step = step.parse().ok().filter(|step| *step > 0)?;
            (from..=to).step_by(step).for_each(|n| set |= 1_u64 << n);
        }
        Some(Self(set))
    }

    fn has(self, n: i64) -> bool {
        self.0 >> n & 1 == 1
    }
}

impl Clocks {
    fn of(zone: &str) -> Option<Self> {
        let sunday = |month, nth, after| Sunday { month, nth, after };
        let summer = |by, begins, ends| Some(Summer { by, begins, ends });
        let (winter, summer) = match zone {
            "UTC" => (0, None),
            "Asia/Kolkata" => (5 * HOUR + 30, None),
            "Europe/Berlin" => (HOUR, summer(HOUR, sunday(3, 5, HOUR), sunday(10, 5, HOUR))),
            "America/New_York" => (-5 * HOUR, summer(HOUR, sunday(3, 2, 7 * HOUR), sunday(11, 1, 6 * HOUR))),
            // At two in the morning there it is still Saturday in UTC.
            "Australia/Lord_Howe" => {
                (10 * HOUR + 30, summer(30, sunday(10, 1, -8 * HOUR - 30), sunday(4, 1, -9 * HOUR)))
            }
            _ => return None,
        };
        Some(Self { winter, summer })
    }

    /// What they show; None for years of which that is not known.
    fn local(self, minute: i64) -> Option<i64> {
        let Some(Summer { by, begins, ends }) = self.summer else { return Some(minute + self.winter) };
        let (year, _, _) = date(minute.div_euclid(DAY));
        if year < FIRST_YEAR {
            return None;
        }
        let (begins, ends) = (begins.of(year), ends.of(year));
        let is_summer = if begins < ends {
            (begins..ends).contains(&minute)
        } else {
            // In the south it is summer at the turn of the year.
            !(ends..begins).contains(&minute)
        };
        Some(minute + self.winter + if is_summer { by } else { 0 })
    }
}

impl Sunday {
    fn of(self, year: i64) -> i64 {
        let Self { month, nth, after } = self;
        let day = if nth == 5 {
            let last = days_until(if month == 12 { year + 1 } else { year }, month % 12 + 1, 1) - 1;
            last - weekday(last)
        } else {
            let first = days_until(year, month, 1);
            first + (7 - weekday(first)) % 7 + 7 * (nth - 1)
        };
        day * DAY + after
    }
}

/// The day of the week of a day since 1970: 0 is a Sunday. 1970 began with a Thursday.
const fn weekday(days: i64) -> i64 {
    (days + 4).rem_euclid(7)
}

/// How many days are between 1970 and a date. Years are counted from March, so that the odd day is the last of them.
const fn days_until(year: i64, month: i64, day: i64) -> i64 {
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let in_year = (153 * month + 2) / 5 + day - 1;
    year * 365 + year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400) + in_year - 719_468
}

/// Year, month and day of a day since 1970.
fn date(days: i64) -> (i64, i64, i64) {
    let mut year = 1970 + days.div_euclid(365);
    while days_until(year, 1, 1) > days {
        year -= 1;
    }
    while days_until(year + 1, 1, 1) <= days {
        year += 1;
    }
    let in_year = days - days_until(year, 1, 1);
    let is_leap = days_until(year + 1, 1, 1) - days_until(year, 1, 1) == 366;
    let mut left = in_year;
    let mut month = 1;
    for length in [31, if is_leap { 29 } else { 28 }, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if left < length {
            break;
        }
        left -= length;
        month += 1;
    }
    (year, month, left + 1)
}

#[cfg(test)]
mod tests {
    use orch_core::time::Timestamp;

    use super::*;

    const ZONES: [&str; 5] = ["UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"];

    fn spec(cron: &str, zone: &str) -> ScheduleSpec {
        let spec = serde_json::json!({"schedule": "s", "cron": cron, "zone": zone, "job": {"queue": "q"}});
        serde_json::from_value(spec).unwrap()
    }

    /// The minute of an instant like 2026-10-25T01:00.
    fn at(date: &str) -> i64 {
        let n = |from: usize, to: usize| date[from..to].parse::<i64>().unwrap();
        days_until(n(0, 4), n(5, 7), n(8, 10)) * DAY + n(11, 13) * HOUR + n(14, 16)
    }

    #[test]
    fn a_date_is_a_day_and_back() {
        for days in -200_000..200_000 {
            let (year, month, day) = date(days);
            assert_eq!(days_until(year, month, day), days);
        }
        assert_eq!((date(0), weekday(at("2026-10-25T00:00") / DAY)), ((1970, 1, 1), 0));
    }

    #[test]
    fn what_clocks_leave_out_comes_when_they_go_on_and_what_comes_twice_counts_once() {
        let times = |cron, zone, from, to| Calendar::of(&spec(cron, zone)).unwrap().last(at(from), at(to), 9).unwrap();
        let berlin = |cron, from, to| times(cron, "Europe/Berlin", from, to);
        assert_eq!(berlin("30 2 * * *", "2027-03-28T00:00", "2027-03-28T12:00"), [at("2027-03-28T01:00")]);
        assert_eq!(berlin("30 2 * * 0", "2026-10-24T12:00", "2026-10-25T12:00"), [at("2026-10-25T00:30")]);
        let hourly = berlin("30 * * * *", "2026-10-24T23:45", "2026-10-25T02:00");
        assert_eq!(hourly, [at("2026-10-25T01:30"), at("2026-10-25T00:30")]);
        let south = times("45 1 * * *", "Australia/Lord_Howe", "2027-04-03T00:00", "2027-04-04T00:00");
        assert_eq!(south, [at("2027-04-03T14:45")]);
        assert_eq!(times("0 0 1 * *", "UTC", "2026-11-18T11:06", "2027-01-05T00:00").len(), 2);
    }

    #[test]
    fn it_says_what_the_product_says() {
        let crons =
            ["0 2 * * *", "30 2 * * *", "30 1 * * 0", "15,45 * * * *", "0 */2 * * *", "*/20 1-3 * * 1-5", "0 0 1 * *"];
        for (cron, zone) in crons.iter().flat_map(|cron| ZONES.map(|zone| (*cron, zone))) {
            let spec = spec(cron, zone);
            let calendar = Calendar::of(&spec).unwrap();
            for (from, to) in [("2026-10-02T00:00", "2026-11-03T00:00"), ("2027-03-12T00:00", "2027-04-06T00:00")] {
                let (from, to) = (at(from), at(to));
                let mut found = calendar.last(from, to, usize::MAX).unwrap();
                found.reverse();
                let next = |at: &i64| spec.next(Timestamp(at * 60_000)).map(|at| at.0 / 60_000);
                let theirs = std::iter::successors(next(&from), next).take_while(|at| *at <= to);
                assert_eq!(found, theirs.collect::<Vec<_>>(), "{cron} in {zone}");
            }
        }
    }

    #[test]
    fn it_is_silent_about_what_it_does_not_know() {
        for (cron, zone) in
            [("0 2 13 * 5", "UTC"), ("0 2 * * mon", "UTC"), ("5/10 * * * *", "UTC"), ("0 2 * * *", "Asia/Tokyo")]
        {
            assert!(Calendar::of(&spec(cron, zone)).is_none(), "{cron} in {zone}");
        }
        let old = Calendar::of(&spec("0 2 * * *", "Europe/Berlin")).unwrap();
        assert_eq!(old.is_time(at("2001-01-01T01:00")), None);
    }
}

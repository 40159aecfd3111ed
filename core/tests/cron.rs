//! Times of the calendar, against a table of places where clocks change.

use orch_core::cron::{Cron, Zone};
use orch_core::time::Timestamp;
use proptest::prelude::*;

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The next times behind one, short of the milliseconds.
fn next(cron: &str, zone: &str, after: &str, count: usize) -> Vec<String> {
    let (cron, zone): (Cron, Zone) = (cron.parse().unwrap(), zone.parse().unwrap());
    let times = std::iter::successors(cron.next(&zone, at(after)), |at| cron.next(&zone, *at));
    times.take(count).map(|at| at.to_string().replace(":00.000Z", "Z")).collect()
}

#[test]
fn clocks_that_change() {
    // Expression, zone, behind when, and the next times in UTC.
    let table: &[(&str, &str, &str, &[&str])] = &[
        ("30 2 * * *", "UTC", "2026-11-21T08:00:00Z", &["2026-11-22T02:30Z", "2026-11-23T02:30Z"]),
        // A minute that has begun is over; its first moment is not behind itself.
        ("0 8 * * *", "UTC", "2026-11-21T07:59:59.999Z", &["2026-11-21T08:00Z"]),
        ("0 8 * * *", "UTC", "2026-11-21T08:00:00Z", &["2026-11-22T08:00Z"]),
        // New York leaves out 2:00 to 3:00: half past two comes when the clocks go on, once.
        ("30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:00Z", "2026-03-09T06:30Z"]),
        ("0,30 2 * * *", "America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:00Z", "2026-03-09T06:00Z"]),
        ("0 2,3 * * *", "America/New_York", "2026-03-07T12:00:00Z", &["2026-03-08T07:00Z", "2026-03-09T06:00Z"]),
        // It has 1:00 to 2:00 twice: half past one comes once, the first time.
        ("30 1 * * *", "America/New_York", "2026-10-31T12:00:00Z", &["2026-11-01T05:30Z", "2026-11-02T06:30Z"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T05:30:00Z", &["2026-11-02T06:30Z"]),
        ("30 1 * * *", "America/New_York", "2026-11-01T06:10:00Z", &["2026-11-02T06:30Z"]),
        // What comes every hour goes on at its pace through both.
        (
            "0 * * * *",
            "America/New_York",
            "2026-11-01T04:30:00Z",
            &["2026-11-01T05:00Z", "2026-11-01T06:00Z", "2026-11-01T07:00Z", "2026-11-01T08:00Z"],
        ),
        (
            "*/30 * * * *",
            "America/New_York",
            "2026-11-01T05:15:00Z",
            &["2026-11-01T05:30Z", "2026-11-01T06:00Z", "2026-11-01T06:30Z", "2026-11-01T07:00Z"],
        ),
        ("30 * * * *", "America/New_York", "2026-03-08T06:00:00Z", &["2026-03-08T06:30Z", "2026-03-08T07:30Z"]),
        // Half an hour of change, in the other half of the year.
        ("15 2 * * *", "Australia/Lord_Howe", "2026-10-03T00:00:00Z", &["2026-10-03T15:30Z", "2026-10-04T15:15Z"]),
        ("45 1 * * *", "Australia/Lord_Howe", "2026-04-03T20:00:00Z", &["2026-04-04T14:45Z", "2026-04-05T15:15Z"]),
        // Apia left out a whole day.
        ("0 12 30 12 *", "Pacific/Apia", "2011-12-01T00:00:00Z", &["2011-12-30T10:00Z", "2012-12-29T22:00Z"]),
        (
            "0 12 * * *",
            "Pacific/Apia",
            "2011-12-29T00:00:00Z",
            &["2011-12-29T22:00Z", "2011-12-30T10:00Z", "2011-12-30T22:00Z"],
        ),
        // A quarter of an hour from everybody else.
        ("0 0 1 1 *", "Asia/Kathmandu", "2026-06-01T00:00:00Z", &["2026-12-31T18:15Z"]),
        // The last day, and leap days.
        ("0 0 29 2 *", "UTC", "2026-01-01T00:00:00Z", &["2028-02-29T00:00Z", "2032-02-29T00:00Z"]),
        ("0 0 * * mon-fri", "UTC", "2026-11-20T12:00:00Z", &["2026-11-23T00:00Z", "2026-11-24T00:00Z"]),
    ];
    for (cron, zone, after, times) in table {
        assert_eq!(next(cron, zone, after, times.len()), *times, "{cron} in {zone} behind {after}");
    }
}

#[test]
fn what_cannot_be_is_refused_with_the_words_for_it() {
    for (text, words) in [
        ("* * * *", "it has not five fields"),
        ("* * * * * UTC", "it has not five fields"),
        ("60 * * * *", "write it like 30 2 * * mon-fri"),
        ("", "it has not five fields"),
        ("@daily", "it has not five fields"),
    ] {
        let error = text.parse::<Cron>().unwrap_err();
        assert!(error.contains(words), "{error}");
    }
    assert!("Europe/Atlantis".parse::<Zone>().unwrap_err().contains("Europe/Berlin"));
    let never: Cron = "0 0 31 2 *".parse().unwrap();
    assert_eq!(never.next(&Zone::default(), Timestamp(0)), None);
    assert_eq!(serde_json::to_string(&"5  0 * * *".parse::<Cron>().unwrap()).unwrap(), "\"5 0 * * *\"");
    assert_eq!("europe/berlin".parse::<Zone>().unwrap().to_string(), "Europe/Berlin");
}

#[test]
fn the_last_times_are_found_from_behind() {
    let (cron, zone): (Cron, Zone) = ("* * * * *".parse().unwrap(), "America/New_York".parse().unwrap());
    let until = at("2026-11-21T08:00:30Z");
    let last = cron.last(&zone, at("2001-01-01T00:00:00Z"), until, 3);
    assert_eq!(last, [at("2026-11-21T07:58:00Z"), at("2026-11-21T07:59:00Z"), at("2026-11-21T08:00:00Z")]);
    let yearly: Cron = "0 0 1 1 *".parse().unwrap();
    assert_eq!(
        yearly.last(&Zone::default(), at("2024-06-01T00:00:00Z"), until, 9),
        [at("2025-01-01T00:00:00Z"), at("2026-01-01T00:00:00Z")]
    );
    assert_eq!(yearly.last(&Zone::default(), at("2026-06-01T00:00:00Z"), until, 9), []);
    let years = yearly.last(&Zone::default(), at("1990-01-01T00:00:00Z"), until, 30);
    assert_eq!(years.len(), 30, "further back than five years");
    assert_eq!(yearly.last(&Zone::default(), at("1990-01-01T00:00:00Z"), until, 99).len(), 36);
    // Over eight years without a leap day.
    let leap: Cron = "0 0 29 2 *".parse().unwrap();
    let days = leap.last(&Zone::default(), at("2095-01-01T00:00:00Z"), at("2110-01-01T00:00:00Z"), 99);
    assert_eq!(days.last(), Some(&at("2108-02-29T00:00:00Z")));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Times only go forward, none is left out between two looks, and each is the minute on the wall that it should be.
    #[test]
    fn times_go_forward_and_none_is_left_out(
        minute in 0..60u32, hour in 0..24u32, every_hour in any::<bool>(),
        zone in prop::sample::select(vec!["UTC", "America/New_York", "Europe/Berlin", "Australia/Lord_Howe", "Asia/Tehran", "America/Sao_Paulo"]),
        start in 1_500_000_000_000..1_900_000_000_000i64, within in 0..90_000_000i64,
    ) {
        let text = if every_hour { format!("{minute} * * * *") } else { format!("{minute} {hour} * * *") };
        let (cron, zone): (Cron, Zone) = (text.parse().unwrap(), zone.parse().unwrap());
        let first = cron.next(&zone, Timestamp(start)).unwrap();
        prop_assert!(first.0 > start && first.0 % 60_000 == 0);
        let longest = if every_hour { 2 * 3_600_000 } else { 26 * 3_600_000 };
        prop_assert!(first.0 - start <= longest, "{} ms", first.0 - start);
        // From anywhere before it the same one is found.
        let between = Timestamp(start + within % (first.0 - start));
        prop_assert_eq!(cron.next(&zone, between), Some(first));
        let second = cron.next(&zone, first).unwrap();
        prop_assert!(second > first);
        prop_assert_eq!(cron.last(&zone, Timestamp(start), second, 9), [first, second]);
    }
}

//! Times of schedules.

use orch_core::id::{JobId, QueueName};
use orch_core::queue::QueueSpec;
use orch_core::record::{Event, JobSubmitted};
use orch_core::time::Timestamp;
use orch_core::timetable::{Firing, ScheduleSpec};
use orch_sim::checker::Rule;

use super::rules;

#[test]
fn a_time_of_a_schedule_comes_once_and_missed_ones_by_their_policy() {
    const MINUTE: i64 = 60_000;
    let story = |missed: &str, overlap: &str, fired: &[(i64, i64, bool)]| {
        let spec = format!(
            r#"{{"schedule":"s","cron":"*/5 * * * *","missed":"{missed}","overlap":"{overlap}","job":{{"queue":"q"}}}}"#
        );
        let spec: ScheduleSpec = serde_json::from_str(&spec).unwrap();
        let mut queue = QueueSpec::new(QueueName::new("q").unwrap());
        queue.kind = Some("k".parse().unwrap());
        let mut records =
            vec![(1, Event::QueueDefined(Box::new(queue))), (1, Event::ScheduleSet(Box::new(spec.clone())))];
        for (at, due, submits) in fired {
            let (at, due) = (at * MINUTE, Timestamp(due * MINUTE));
            let mut outcome = Firing::Missed;
            if *submits {
                let spec = spec.job_at(due);
                let submitted = JobSubmitted { spec, kind: "k".parse().unwrap(), depends_on: vec![], not_before: None };
                records.push((at, Event::JobSubmitted(Box::new(submitted))));
                outcome = Firing::Submitted(JobId::new(records.len() as u64));
            }
            records.push((at, Event::ScheduleFired { schedule: spec.name.clone(), due, outcome }));
        }
        let mut rules = rules(&records, &[]);
        rules.dedup();
        rules
    };
    assert_eq!(story("skip", "allow", &[(5, 5, true), (10, 10, true)]), []);
    assert!(story("skip", "allow", &[(5, 5, true), (6, 5, true)]).contains(&Rule::Schedule), "twice");
    assert_eq!(story("skip", "allow", &[(5, 10, true)]), [Rule::Schedule], "early");
    assert_eq!(story("skip", "allow", &[(7, 7, true)]), [Rule::Schedule], "no such time");
    assert_eq!(story("skip", "allow", &[(18, 15, false)]), []);
    assert_eq!(story("skip", "allow", &[(18, 15, true)]), [Rule::Schedule], "missed");
    assert_eq!(story("skip", "allow", &[(5, 5, false)]), [Rule::Schedule], "in time");
    assert_eq!(story("once", "allow", &[(18, 15, true)]), []);
    assert_eq!(story("once", "allow", &[(18, 10, true)]), [Rule::Schedule], "for the last");
    assert_eq!(story("all", "allow", &[(18, 5, true), (18, 10, true), (18, 15, true)]), []);
    assert_eq!(story("all", "allow", &[(18, 10, true)]), [Rule::Schedule], "one is left out");
    assert_eq!(story("skip", "skip", &[(5, 5, true), (10, 10, true)]), [Rule::Schedule], "the first has not ended");
}

#[test]
fn times_of_other_zones_are_judged_with_their_summer_time() {
    let fires = |due: &str| {
        let spec = r#"{"schedule":"s","cron":"30 2 * * *","zone":"Europe/Berlin","missed":"once","job":{"queue":"q"}}"#;
        let spec: ScheduleSpec = serde_json::from_str(spec).unwrap();
        let mut queue = QueueSpec::new(QueueName::new("q").unwrap());
        queue.kind = Some("k".parse().unwrap());
        let instant = |text: &str| text.parse::<Timestamp>().unwrap();
        let (set, at, due) = (instant("2027-03-27T12:00:00Z").0, instant("2027-03-28T05:00:00Z").0, instant(due));
        let submitted =
            JobSubmitted { spec: spec.job_at(due), kind: "k".parse().unwrap(), depends_on: vec![], not_before: None };
        let outcome = Firing::Submitted(JobId::new(3));
        let mut rules = rules(
            &[
                (set, Event::QueueDefined(Box::new(queue))),
                (set, Event::ScheduleSet(Box::new(spec.clone()))),
                (at, Event::JobSubmitted(Box::new(submitted))),
                (at, Event::ScheduleFired { schedule: spec.name.clone(), due, outcome }),
            ],
            &[],
        );
        rules.dedup();
        rules
    };
    assert_eq!(fires("2027-03-28T01:00:00Z"), [], "half past two is left out: it comes when the clocks go on");
    assert_eq!(fires("2027-03-28T00:30:00Z"), [Rule::Schedule], "by the clocks of the day after");
    assert_eq!(fires("2027-03-28T01:30:00Z"), [Rule::Schedule], "by the clocks of the day before");
}
